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
from gradcam.dialect.verify import ints, shape
from gradcam.passes.constants import erase_if_unused
from gradcam.passes.ir_queries import owner_name
from gradcam.passes.pass_base import Pass
from gradcam.pe import PE
from gradcam.quant_types import per_channel, per_tensor, scale, scales
from gradcam.reference.interpreter import constant


@dataclass(frozen=True)
class UnfoldStem(Pass):
    """Moves kernel positions of a convolution of an image with few channels into the channels, to fill the lanes.

    A 3-channel stem on 16 input lanes wastes 13 of them in each of its kernel positions. With the pixels of several
    positions side by side it needs one step for all of them; the sums stay the same integers. The image is laid out
    while it arrives (gradcam-stream-inputs), so that it costs the inference no cycle. How many rows and columns of the
    kernel go into the channels is what takes the fewest steps; where it saves none, nothing changes. Convolutions that
    share an image must have the same window.

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
    pe: str = "16x16"

    def run(self, module: ir.Module) -> None:
        """Rewrites the quantized convolutions of the arguments of every function for which it saves steps."""
        pe = PE.parse(self.pe)
        with module.context, ir.Location.unknown():
            for function in module.body.operations:
                if function.operation.name == "func.func" and function.regions[0].blocks:
                    entry = function.regions[0].blocks[0]
                    for image in entry.arguments:
                        _unfold_image(image, [op for op in entry.operations if image in list(op.operands)], pe)


class _Axis(NamedTuple):
    """A convolution along height or width, of which `factor` kernel positions in a row go into the channels."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    out: int
    factor: int = 1

    @property
    def groups(self) -> int:
        """Kernel positions that are left."""
        return -(-self.kernel // self.factor)

    @property
    def distance(self) -> int:
        """Windows of the unfolded image between two of them."""
        return self.dilation * self.factor // self.stride if self.groups > 1 else 1

    @property
    def windows(self) -> int:
        """Windows that the outputs read; of an axis that is left alone, its pixels."""
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
    def left(self) -> tuple[int, int, int]:
        """Stride, padding and dilation of the convolution of the unfolded image."""
        return (self.stride, self.padding, self.dilation) if self.factor == 1 else (1, 0, self.distance)

    def choices(self) -> list[_Axis]:
        """The axis with every factor for which the positions that are left lie whole windows apart.

        Pixels of strided and dilated windows do not arrive in the order of the windows, so these stay as they are.
        """
        factors = range(1, self.kernel + 1 if 1 in (self.stride, self.dilation) else 2)
        axes = [self._replace(factor=f) for f in factors]
        return [a for a in axes if a.factor == 1 or a.groups == 1 or a.dilation * a.factor % a.stride == 0]


def _unfold_image(image: ir.Value, readers: list[Any], pe: PE) -> None:
    if not readers or not all(map(_is_quantized_conv, readers)):
        return
    axes, *others = [_axes(op) for op in readers]
    if any(a != axes for a in others):
        return
    channels = shape(image)[1]
    chosen = min(
        (pair for pair in product(*(a.choices() for a in axes)) if _lanes(pair, channels) <= max(pe.ic, channels)),
        key=_steps,
    )
    if _steps(chosen)[0] < _steps(axes)[0]:
        unfolded = _unfold(readers[0], image, chosen)
        for op in readers:
            _replace(op, unfolded, chosen)


def _is_quantized_conv(op: Any) -> bool:
    """Whether the op is a convolution without groups, its weights quantized constants."""
    if op.operation.name != "gradcam.conv2d" or ir.IntegerAttr(op.groups).value != 1:
        return False
    return owner_name(op.w) == "quant.scast" and owner_name(op.w.owner.operands[0]) == "arith.constant"


def _axes(op: Any) -> tuple[_Axis, ...]:
    window = (ints(op, name, 2, 0) for name in ("stride", "padding", "dilation"))
    return tuple(map(_Axis, shape(op.x)[2:], shape(op.w)[2:], *window, shape(op.y)[2:]))


def _lanes(axes: tuple[_Axis, ...], channels: int) -> int:
    taps = axes[0].factor * axes[1].factor
    return taps * channels_per_tap(channels) if taps > 1 else channels


def _steps(axes: tuple[_Axis, ...]) -> tuple[int, int]:
    """Steps per output, and the taps to be stored; of two equal choices rows stay rows."""
    rows, columns = axes
    return rows.groups * columns.groups, rows.windows * rows.factor * columns.windows * columns.factor


def _unfold(op: Any, image: ir.Value, axes: tuple[_Axis, ...]) -> ir.Value:
    """The unfolded image, before its first reader."""
    type_ = per_tensor([1, _lanes(axes, shape(image)[1]), *(a.windows for a in axes)], scale(image))
    with ir.InsertionPoint(op), part_location(op, "unfold"):
        return layout_ops.Unfold2dOp(image, *_pairs(a.unfolding for a in axes), type_).y


def _replace(op: Any, x: ir.Value, axes: tuple[_Axis, ...]) -> None:
    """Replaces a convolution of the image by one of the unfolded image."""
    old, steps = op.w, scales(op.w)
    w = _moved(constant(old.owner.operands[0].owner), axes)
    kind = per_channel(w.shape, steps) if steps.ndim else per_tensor(w.shape, float(steps))
    with ir.InsertionPoint(op), op.location:
        window = _pairs(a.left for a in axes)
        new = ops.Conv2dOp(x, _quantized(w, kind), op.bias, *window, op.groups, op.y.type).y
    op.y.replace_all_uses_with(new)
    op.operation.erase()
    if not list(old.uses):
        source = old.owner.operands[0]
        old.owner.erase()
        erase_if_unused(source)


def _moved(w: np.ndarray, axes: tuple[_Axis, ...]) -> np.ndarray:
    """Weights O x C x KH x KW for the unfolded image: zeros where a kernel or the channels are filled up."""
    out, channels = w.shape[:2]
    (rows, dy), (columns, dx) = ((a.groups, a.factor) for a in axes)
    filled = channels_per_tap(channels)
    whole = np.zeros((out, filled, rows * dy, columns * dx), w.dtype)
    whole[:, :channels, : w.shape[2], : w.shape[3]] = w
    parts = whole.reshape(out, filled, rows, dy, columns, dx).transpose(0, 3, 5, 1, 2, 4)
    return parts.reshape(out, dy * dx * filled, rows, columns)


def _pairs(axes: Iterable[tuple[int, ...]]) -> list[ir.ArrayAttr]:
    """Attributes with a number for height and one for width, from all numbers of either."""
    i64 = ir.IntegerType.get_signless(64)
    return [ir.ArrayAttr.get([ir.IntegerAttr.get(i64, n) for n in pair]) for pair in zip(*axes, strict=True)]


def _quantized(array: np.ndarray, type_: ir.RankedTensorType) -> ir.Value:
    """A constant of stored integers seen as the quantized type."""
    storage = ir.RankedTensorType.get(array.shape, ir.IntegerType.get_signless(8))
    attribute = ir.DenseElementsAttr.get(np.ascontiguousarray(array), type=storage)
    value = arith.ConstantOp(storage, attribute).result
    return ir.Operation.create("quant.scast", [type_], [value]).results[0]
