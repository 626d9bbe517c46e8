"""gradcam-unfold-stem."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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
from gradcam.passes.linalg.stem_axes import StemAxis, cheapest, lanes_of
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


@dataclass(frozen=True)
class UnfoldStem(Pass):
    """Moves kernel positions of a convolution of an image with few channels into the channels, to fill the lanes.

    A 3-channel stem on 16 input lanes wastes 13 of them in each of its kernel positions. With the pixels of several
    positions side by side, one step computes all of them; the sums stay the same integers. The image is laid out while
    it arrives (gradcam-stream-inputs). The numbers of kernel rows and columns that go into the channels are chosen for
    the fewest steps, of the convolutions and of the image's arrival together. Where no step is saved, nothing changes.
    A schedule `file` that names them takes precedence. Convolutions that share an image must have the same window. The
    module's attribute `gradcam.stem` keeps the choice.

    This pass turns:

        %y = "gradcam.conv2d"(%image, %w) {padding = [3, 3], stride = [2, 2]}
          : (tensor<1x3x64x64x!q>, tensor<16x3x7x7x!w>) -> tensor<1x16x32x32x!r>

    into:

        %x = "gradcam.unfold2d"(%image) {kernel = [1, 4], stride = [1, 2], low = [0, 3], high = [0, 3]}
          : (tensor<1x3x64x64x!q>) -> tensor<1x16x64x34x!q>
        %y = "gradcam.conv2d"(%x, %w2) {dilation = [1, 2], padding = [3, 0], stride = [2, 1]}
          : (tensor<1x16x64x34x!q>, tensor<16x16x7x2x!w>) -> tensor<1x16x32x32x!r>
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


def _unfold_image(image: ir.Value, readers: list[Any], chosen: tuple[StemAxis, ...]) -> None:
    unfolded = _unfold(readers[0], image, chosen)
    for op in readers:
        _replace(op, unfolded, chosen)


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


def _replace(op: Any, x: ir.Value, axes: tuple[StemAxis, ...]) -> None:
    """Replaces a convolution of the image by one of the unfolded image."""
    old = op.w
    with ir.InsertionPoint(op), op.location:
        stride, low, high, dilation = zip(*(a.left for a in axes), strict=True)
        window = integer_list(stride), integer_list(padding_of(low, high)), integer_list(dilation)
        w = store_like(_moved(stored_integers(old), axes), old)
        new = ops.Conv2dOp(x, w, op.bias, *window, op.groups, op.y.type).y
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
