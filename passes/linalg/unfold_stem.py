"""gradcam-unfold-stem."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.dialect import layout_ops, ops
from gradcam.dialect.adjoints import part_location
from gradcam.dialect.layout_ops import channels_per_tap
from gradcam.dialect.verify import ints, padding_of, shape, sides
from gradcam.errors import fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.attributes import STEM
from gradcam.passes.ir.constants import dense_values, erase_if_unused, integers_attr
from gradcam.passes.ir.platform import Platform
from gradcam.passes.ir.queries import owner_name
from gradcam.pe import PE
from gradcam.quant_types import per_channel, per_tensor, scale, scales, storage_bits
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


class _Axis(NamedTuple):
    """A convolution along height or width, of which `factor` adjacent kernel positions go into the channels.

    `padding` is that before the map, `behind` that behind it.
    """

    size: int
    kernel: int
    stride: int
    padding: int
    behind: int
    dilation: int
    out: int
    factor: int = 1

    @property
    def groups(self) -> int:
        """Kernel positions that remain in the convolution."""
        return -(-self.kernel // self.factor)

    @property
    def distance(self) -> int:
        """Windows of the unfolded image from one remaining kernel position to the next."""
        return self.dilation * self.factor // self.stride if self.groups > 1 else 1

    @property
    def windows(self) -> int:
        """The number of windows that the outputs read; the number of pixels of an axis that is not unfolded."""
        return self.size if self.factor == 1 else self.out + (self.groups - 1) * self.distance

    @property
    def unfolding(self) -> tuple[int, int, int, int, int]:
        """Kernel, stride, zeros before and behind, and dilation of the windows."""
        if self.factor == 1:
            return 1, 1, 0, 0, 1
        reach = (self.windows - 1) * self.stride + self.dilation * (self.factor - 1) + 1
        high = max(0, reach - self.size - self.padding)
        return self.factor, self.stride, self.padding, high, self.dilation

    @property
    def left(self) -> tuple[int, int, int, int]:
        """Stride, padding before and behind, and dilation of the convolution of the unfolded image."""
        return (self.stride, self.padding, self.behind, self.dilation) if self.factor == 1 else (1, 0, 0, self.distance)

    @property
    def load(self) -> int:
        """Steps of the load, in which each pixel is stored once per window (gradcam-stream-inputs)."""
        if self.factor == 1:
            return self.size
        held = -(-self.factor // self.stride)
        pixels = max(self.windows + self.dilation * (held - 1), -(-(self.size + self.padding) // self.stride))
        return pixels * self.stride * held

    @property
    def fault(self) -> str | None:
        """The reason why the factor is impossible; None when it is possible."""
        apart = self.dilation * self.factor
        if self.factor > self.kernel:
            return f"the kernel has {self.kernel} positions"
        if self.factor > 1 and 1 not in (self.stride, self.dilation):
            order = "strided and dilated windows take them in another order"
            return f"it violates a dependence, from each pixel of the stream to the next one: {order}"
        if self.factor > 1 and self.groups > 1 and apart % self.stride:
            return f"what is left would lie {apart} pixels apart, no whole windows of stride {self.stride}"
        return None

    def choices(self) -> list[_Axis]:
        """The axis with every possible factor."""
        return [a for a in (self._replace(factor=f) for f in range(1, self.kernel + 1)) if a.fault is None]


def _is_stem(readers: list[Any]) -> bool:
    """Whether all readers of an image are quantized convolutions with the same window."""
    return bool(readers) and all(map(_is_quantized_conv, readers)) and len(set(map(_axes, readers))) == 1


def _choose(image: ir.Value, readers: list[Any], pe: PE, asked: tuple[int, int] | None) -> tuple[_Axis, ...]:
    """The axes with the requested factors, or with the factors that take the fewest steps.

    Raises:
        GradcamError: a requested factor is impossible.
    """
    axes, channels = _axes(readers[0]), shape(image)[1]
    most = max(pe.ic, channels)
    if asked is None:
        fitting = (pair for pair in product(*(a.choices() for a in axes)) if _lanes(pair, channels) <= most)
        tiles = sum(-(-shape(op.w)[0] // pe.oc) for op in readers) * -(-channels // pe.ic)
        return min(fitting, key=lambda pair: _steps(pair, tiles))
    chosen = tuple(a._replace(factor=f) for a, f in zip(axes, asked, strict=True))
    fault = next((a.fault for a in chosen if a.fault), None)
    if fault is None and _lanes(chosen, channels) > most:
        fault = f"it takes {_lanes(chosen, channels)} lanes, and the array has {pe.ic}"
    if fault:
        raise fail(readers[0], f"the schedule's stem of {asked[0]} rows and {asked[1]} columns cannot be: {fault}")
    return chosen


def _unfold_image(image: ir.Value, readers: list[Any], chosen: tuple[_Axis, ...]) -> None:
    unfolded = _unfold(readers[0], image, chosen)
    for op in readers:
        _replace(op, unfolded, chosen)


def _is_quantized_conv(op: Any) -> bool:
    """Whether the op is a convolution without groups whose weights are quantized constants."""
    if op.operation.name != "gradcam.conv2d" or ir.IntegerAttr(op.groups).value != 1:
        return False
    return owner_name(op.w) == "quant.scast" and owner_name(op.w.owner.operands[0]) == "arith.constant"


def _axes(op: Any) -> tuple[_Axis, ...]:
    window = ints(op, "stride", 2, 1), *sides(op), ints(op, "dilation", 2, 1)
    return tuple(map(_Axis, shape(op.x)[2:], shape(op.w)[2:], *window, shape(op.y)[2:]))


def _lanes(axes: tuple[_Axis, ...], channels: int) -> int:
    taps = axes[0].factor * axes[1].factor
    return taps * channels_per_tap(channels) if taps > 1 else channels


def _steps(axes: tuple[_Axis, ...], tiles: int) -> tuple[int, int]:
    """The cost of the axes' factors: steps of the convolutions and of the load, then the number of taps to store.

    `tiles` are the tiles of weights per kernel position. Of equal choices, rows are not unfolded.
    """
    rows, columns = axes
    convolution = tiles * rows.out * columns.out * rows.groups * columns.groups
    return convolution + rows.load * columns.load, rows.windows * rows.factor * columns.windows * columns.factor


def _unfold(op: Any, image: ir.Value, axes: tuple[_Axis, ...]) -> ir.Value:
    """The unfolded image, before its first reader."""
    type_ = per_tensor(
        [1, _lanes(axes, shape(image)[1]), *(a.windows for a in axes)], scale(image), storage_bits(image)
    )
    with ir.InsertionPoint(op), part_location(op, "unfold"):
        return layout_ops.Unfold2dOp(image, *_pairs(a.unfolding for a in axes), type_).y


def _replace(op: Any, x: ir.Value, axes: tuple[_Axis, ...]) -> None:
    """Replaces a convolution of the image by one of the unfolded image."""
    old, steps = op.w, scales(op.w)
    w, bits = _moved(dense_values(old.owner.operands[0].owner), axes), storage_bits(old)
    kind = per_channel(w.shape, steps, bits) if steps.ndim else per_tensor(w.shape, float(steps), bits)
    with ir.InsertionPoint(op), op.location:
        stride, low, high, dilation = zip(*(a.left for a in axes), strict=True)
        window = _integers(stride), _integers(padding_of(low, high)), _integers(dilation)
        new = ops.Conv2dOp(x, _quantized(w, kind), op.bias, *window, op.groups, op.y.type).y
    op.y.replace_all_uses_with(new)
    op.operation.erase()
    if not list(old.uses):
        source = old.owner.operands[0]
        old.owner.erase()
        erase_if_unused(source)


def _moved(w: np.ndarray, axes: tuple[_Axis, ...]) -> np.ndarray:
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
    return [_integers(pair) for pair in zip(*axes, strict=True)]


def _integers(numbers: Iterable[int]) -> ir.ArrayAttr:
    i64 = ir.IntegerType.get_signless(64)
    return ir.ArrayAttr.get([ir.IntegerAttr.get(i64, n) for n in numbers])


def _quantized(array: np.ndarray, type_: ir.RankedTensorType) -> ir.Value:
    """A constant of stored integers, cast to the quantized type."""
    attribute = integers_attr(array, storage_bits(type_))
    value = arith.ConstantOp(attribute.type, attribute).result
    return ir.Operation.create("quant.scast", [type_], [value]).results[0]
