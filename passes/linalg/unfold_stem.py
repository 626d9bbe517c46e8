"""gradcam-unfold-stem."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
from torch_mlir import ir

from gradcam.dialect import layout_ops, ops
from gradcam.dialect.adjoints import part_location
from gradcam.dialect.layout_ops import channels_per_tap
from gradcam.dialect.verify import ints, padding_of, shape, sides
from gradcam.errors import fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.attributes import STEM
from gradcam.passes.ir.platform import Platform
from gradcam.passes.linalg.stem_axes import DenseStem, StemAxis, Windows, cheapest, densest, lanes_of, longest
from gradcam.passes.linalg.stored_constants import (
    erase_stored_if_unused,
    integer_list,
    is_stored_constant,
    store_like,
    stored_integers,
)
from gradcam.pe import PE
from gradcam.quant_types import per_tensor, scale, storage_bits
from gradcam.schema.schedule import read_schedule

#: Words without gaps must save this part of the steps of all convolutions.
WORTH = 50


@dataclass(frozen=True)
class UnfoldStem(Pass):
    """Moves kernel positions of a convolution of an image with few channels into the channels, to fill the lanes.

    A 3-channel stem on 16 input lanes wastes 13 of them in each of its kernel positions. With the pixels of several
    positions side by side, one step computes all of them; the sums stay the same integers. The image is laid out while
    it arrives (gradcam-stream-inputs). The numbers of kernel rows and columns that go into the channels are chosen for
    the fewest steps, of the convolutions and of the image's arrival together. Where no step is saved, nothing changes.
    A schedule `file` that names them takes precedence. Convolutions that share an image must have the same window. The
    module's attribute `gradcam.stem` keeps the choice.

    Taps in powers of two of lanes leave gaps in the words. All taps of a window side by side without a gap fill them: 5
    words of 32 lanes hold the 147 values of a 7x7 window of 3 channels. A pixel then belongs to too many words for the
    load to store it in each. The load puts a few columns side by side; copies, each on an engine of its own, put these
    together to the rows of windows, and these to windows. That is done where it saves a fiftieth of the steps of all
    convolutions, for it takes memory.

    This pass turns:

        %y = "gradcam.conv2d"(%image, %w) {padding = [3, 3], stride = [2, 2]}
          : (tensor<1x3x64x64x!q>, tensor<16x3x7x7x!w>) -> tensor<1x16x32x32x!r>

    into:

        %x = "gradcam.unfold2d"(%image) {kernel = [1, 4], stride = [1, 2], low = [0, 3], high = [0, 3]}
          : (tensor<1x3x64x64x!q>) -> tensor<1x16x64x34x!q>
        %y = "gradcam.conv2d"(%x, %w2) {dilation = [1, 2], padding = [3, 0], stride = [2, 1]}
          : (tensor<1x16x64x34x!q>, tensor<16x16x7x2x!w>) -> tensor<1x16x32x32x!r>

    or, where that is worth it, into:

        %a = "gradcam.unfold2d"(%image) {kernel = [1, 4], stride = [1, 2], taken = 3, ...}
          : (tensor<1x3x64x64x!q>) -> tensor<1x12x64x34x!q>
        %b = "gradcam.unfold2d"(%a) {kernel = [1, 2], dilation = [1, 2], taken = 12, ...}
          : (tensor<1x12x64x34x!q>) -> tensor<1x24x64x32x!q>
        %x = "gradcam.unfold2d"(%b) {kernel = [7, 1], stride = [2, 1], taken = 21, ...}
          : (tensor<1x24x64x32x!q>) -> tensor<1x147x32x32x!q>
        %y = "gradcam.conv2d"(%x, %w2) : (tensor<1x147x32x32x!q>, tensor<16x147x1x1x!w>) -> tensor<1x16x32x32x!r>
    """

    name: ClassVar[str] = "gradcam-unfold-stem"
    file: str = ""

    def run(self, module: ir.Module) -> None:
        """Rewrites the quantized convolutions of the arguments of every function for which it saves steps."""
        pe, asked = Platform.of(module.operation).pe, read_schedule(self.file).stem
        with module.context, ir.Location.unknown():
            for function in module.body.operations:
                if function.operation.name == "func.func" and function.regions[0].blocks:
                    entry = function.regions[0].blocks[0]
                    readers = [(x, [op for op in entry.operations if x in list(op.operands)]) for x in entry.arguments]
                    stems = [(image, ops) for image, ops in readers if _is_stem(ops)]
                    if asked and not stems:
                        reason = "no input is read by convolutions with one window alone"
                        raise fail(function, f"the schedule has a stem, but {reason}")
                    for image, ops in stems:
                        dense = _choose_dense(image, ops, pe, asked, _steps(entry, pe))
                        if dense is not None:
                            STEM.set(module.operation, [dense.rows.kernel, dense.columns.kernel])
                            _lay_out(image, ops, dense)
                            continue
                        chosen = _choose(image, ops, pe, asked)
                        STEM.set(module.operation, [a.factor for a in chosen])
                        if any(a.factor > 1 for a in chosen):
                            _unfold_image(image, ops, chosen)


def _is_stem(readers: list[Any]) -> bool:
    """Whether all readers of an image are quantized convolutions with the same window."""
    return bool(readers) and all(map(_is_quantized_conv, readers)) and len(set(map(_axes, readers))) == 1


def _choose(image: ir.Value, readers: list[Any], pe: PE, asked: tuple[int, int] | None) -> tuple[StemAxis, ...]:
    """The axes with the requested factors, or with the factors that take the fewest steps.

    Raises:
        GradcamError: a requested factor is impossible.
    """
    axes, channels = _axes(readers[0]), shape(image)[1]
    if asked is None:
        return cheapest(axes, channels, [shape(op.w)[0] for op in readers], pe)[0]
    chosen = tuple(a._replace(factor=f) for a, f in zip(axes, asked, strict=True))
    fault = next((a.fault for a in chosen if a.fault), None)
    if fault is None and lanes_of(chosen, channels) > max(pe.ic, channels):
        fault = f"it takes {lanes_of(chosen, channels)} lanes, and the array has {pe.ic}"
    if fault:
        raise fail(readers[0], f"the schedule's stem of {asked[0]} rows and {asked[1]} columns cannot be: {fault}")
    return chosen


def _steps(block: Any, pe: PE) -> int:
    """The steps of all convolutions, roughly."""
    found = 0
    for op in block.operations:
        if op.operation.name == "gradcam.conv2d":
            (out, channels, *kernel), pixels = shape(op.operands[1]), shape(op.results[0])[2:]
            found += -(-out // pe.oc) * -(-channels // pe.ic) * prod(kernel) * prod(pixels)
    return found


def _choose_dense(
    image: ir.Value, readers: list[Any], pe: PE, asked: tuple[int, int] | None, steps: int
) -> DenseStem | None:
    """All taps side by side, where that saves enough of the `steps` of all convolutions, or a schedule asks for it."""
    axes, channels, outputs = _axes(readers[0]), shape(image)[1], [shape(op.w)[0] for op in readers]
    dense = densest(axes, channels, outputs, pe)
    if dense is None:
        return None
    if asked is not None:
        whole = tuple(a._replace(factor=a.kernel) for a in axes)
        fits = lanes_of(whole, channels) <= max(pe.ic, channels)
        return None if fits or asked != tuple(a.kernel for a in axes) else dense
    usual = longest(cheapest(axes, channels, outputs, pe)[0], channels, outputs, pe)
    return dense if (usual - dense.steps(outputs, pe)) * WORTH > steps else None


def _lay_out(image: ir.Value, readers: list[Any], dense: DenseStem) -> None:
    """Makes the unfolded image of a dense stem, and lets the convolutions read one pixel of it for each window."""
    x = image
    with ir.InsertionPoint(readers[0]), part_location(readers[0], "unfold"):
        for axes, taken in dense.stages:
            x = _windows(x, axes, taken)
    for op in readers:
        w = stored_integers(op.w)
        taps = w.transpose(0, 2, 3, 1).reshape(len(w), -1, 1, 1)
        filled = np.pad(taps, ((0, 0), (0, shape(x)[1] - taps.shape[1]), (0, 0), (0, 0)))
        _replace_conv(op, x, filled, [(1, 0, 0, 1)] * 2)


def _windows(x: ir.Value, axes: tuple[Windows, Windows], taken: int) -> ir.Value:
    """Windows of a map, without a gap between the `taken` channels of their taps."""
    lists = _pairs(
        (a.kernel, a.stride, a.padding, a.behind(n), a.dilation) for a, n in zip(axes, shape(x)[2:], strict=True)
    )
    size = [1, prod(a.kernel for a in axes) * taken, *(a.out for a in axes)]
    op = layout_ops.Unfold2dOp(x, *lists, per_tensor(size, scale(x), storage_bits(x)))
    op.operation.attributes["taken"] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), taken)
    return op.y


def _unfold_image(image: ir.Value, readers: list[Any], chosen: tuple[StemAxis, ...]) -> None:
    unfolded = _unfold(readers[0], image, chosen)
    for op in readers:
        _replace_conv(op, unfolded, _moved(stored_integers(op.w), chosen), [a.left for a in chosen])


def _is_quantized_conv(op: Any) -> bool:
    """Whether the op is a convolution without groups whose weights are quantized constants."""
    if op.operation.name != "gradcam.conv2d" or ir.IntegerAttr(op.groups).value != 1:
        return False
    return is_stored_constant(op.w)


def _axes(op: Any) -> tuple[StemAxis, ...]:
    window = ints(op, "stride", 2, 1), *sides(op), ints(op, "dilation", 2, 1)
    return tuple(map(StemAxis, shape(op.x)[2:], shape(op.w)[2:], *window, shape(op.y)[2:]))


def _unfold(op: Any, image: ir.Value, axes: tuple[StemAxis, ...]) -> ir.Value:
    """The unfolded image, before its first reader."""
    type_ = per_tensor(
        [1, lanes_of(axes, shape(image)[1]), *(a.windows for a in axes)], scale(image), storage_bits(image)
    )
    with ir.InsertionPoint(op), part_location(op, "unfold"):
        return layout_ops.Unfold2dOp(image, *_pairs(a.unfolding for a in axes), type_).y


def _replace_conv(op: Any, x: ir.Value, w: np.ndarray, window: Sequence[tuple[int, int, int, int]]) -> None:
    """Replaces a convolution of the image by one of the unfolded image.

    Args:
        op: the convolution.
        x: the unfolded image.
        w: the weights for it.
        window: stride, padding before and behind, and dilation along height and width.
    """
    old = op.w
    with ir.InsertionPoint(op), op.location:
        stride, low, high, dilation = zip(*window, strict=True)
        numbers = integer_list(stride), integer_list(padding_of(low, high)), integer_list(dilation)
        new = ops.Conv2dOp(x, store_like(w, old), op.bias, *numbers, op.groups, op.y.type).y
    op.y.replace_all_uses_with(new)
    op.operation.erase()
    erase_stored_if_unused(old)


def _moved(w: np.ndarray, axes: tuple[StemAxis, ...]) -> np.ndarray:
    """The weights O x C x KH x KW for the unfolded image, with zeros where kernel or channels are padded."""
    out, channels = w.shape[:2]
    (rows, dy), (columns, dx) = ((a.groups, a.factor) for a in axes)
    filled = channels_per_tap(channels)
    whole = np.zeros((out, filled, rows * dy, columns * dx), w.dtype)
    whole[:, :channels, : w.shape[2], : w.shape[3]] = w
    parts = whole.reshape(out, filled, rows, dy, columns, dx).transpose(0, 3, 5, 1, 2, 4)
    return parts.reshape(out, dy * dx * filled, rows, columns)


def _pairs(axes: Iterable[tuple[int, ...]]) -> list[ir.ArrayAttr]:
    """Attributes with a number for height and one for width, from all numbers of either."""
    return [integer_list(pair) for pair in zip(*axes, strict=True)]
