"""gradcam-fold-columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.dialect import ops
from gradcam.dialect.adjoints import part_location
from gradcam.dialect.verify import ints, shape
from gradcam.passes.constants import erase_if_unused
from gradcam.passes.pass_base import Pass
from gradcam.pe import PE
from gradcam.quant_types import per_channel, per_tensor, scale, scales
from gradcam.reference.interpreter import constant


@dataclass(frozen=True)
class FoldColumns(Pass):
    """Moves the kernel columns of a convolution with few input channels into the channels, to fill the array's lanes.

    A 3-channel stem on 16 input lanes wastes 13 of them in each of its 9 kernel positions. A convolution with a kernel
    of zeros and ones, run by the same engine, copies the pixels under a kernel row side by side; the stem then needs
    one step per kernel row. The sums stay the same integers. It is done where it saves steps.

    This pass turns:

        %y = "gradcam.conv2d"(%x, %w) : (tensor<1x3x64x64x!q>, tensor<16x3x3x3x!w>) -> tensor<1x16x64x64x!r>

    into:

        %c = "gradcam.conv2d"(%x, %ones) : (tensor<1x3x64x64x!q>, tensor<9x3x1x3x!o>) -> tensor<1x9x64x64x!q>
        %y = "gradcam.conv2d"(%c, %w2) : (tensor<1x9x64x64x!q>, tensor<16x9x3x1x!w>) -> tensor<1x16x64x64x!r>
    """

    name: ClassVar[str] = "gradcam-fold-columns"
    pe: str = "16x16"

    def run(self, module: ir.Module) -> None:
        """Rewrites the quantized convolutions of `module` for which it saves steps."""
        pe = PE.parse(self.pe)
        with module.context, ir.Location.unknown():
            found: list[Any] = []

            def collect(op: ir.Operation) -> ir.WalkResult:
                if op.name == "gradcam.conv2d" and _pays(op.opview, pe):
                    found.append(op.opview)
                return ir.WalkResult.ADVANCE

            module.operation.walk(collect)
            for op in found:
                _fold(op)


def _pays(op: Any, pe: PE) -> bool:
    """Whether the folded convolution and the copy before it take fewer steps than the convolution alone."""
    _, channels, height, _ = shape(op.x)
    out, _, rows, columns = shape(op.w)
    _, _, out_height, out_width = shape(op.y)
    folded = channels * columns
    if columns == 1 or folded > pe.ic or ir.IntegerAttr(op.groups).value != 1:
        return False
    tiles, copy_tiles = -(-out // pe.oc), -(-folded // pe.oc)
    before = tiles * out_height * out_width * rows * columns
    after = copy_tiles * height * out_width * columns + tiles * out_height * out_width * rows
    return after < before


def _fold(op: Any) -> None:
    _, channels, height, _ = shape(op.x)
    out, _, rows, columns = shape(op.w)
    (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w) = (
        ints(op, name, 2, 0) for name in ("stride", "padding", "dilation")
    )
    width = shape(op.y)[3]
    folded = columns * channels
    w = constant(op.w.owner.operands[0].owner)
    with ir.InsertionPoint(op):
        with part_location(op, "columns"):
            # Folded channel r * C + c is the pixel of channel c under kernel column r; scale 1 copies it unchanged.
            select = np.eye(folded, dtype=np.int8).reshape(folded, columns, channels, 1).transpose(0, 2, 3, 1)
            ones = _quantized(select, per_channel(select.shape, [1.0] * folded))
            type_ = per_tensor([1, folded, height, width], scale(op.x))
            window = (_pair(1, stride_w), _pair(0, pad_w), _pair(1, dilation_w))
            copied = ops.Conv2dOp(op.x, ones, None, *window, op.groups, type_).y
        with op.location:
            moved = w.transpose(0, 3, 1, 2).reshape(out, folded, rows, 1)
            steps = scales(op.w)
            kind = per_channel(moved.shape, steps) if steps.ndim else per_tensor(moved.shape, float(steps))
            window = (_pair(stride_h, 1), _pair(pad_h, 0), _pair(dilation_h, 1))
            new = ops.Conv2dOp(copied, _quantized(moved, kind), op.bias, *window, op.groups, op.y.type).y
    old = op.w
    op.y.replace_all_uses_with(new)
    op.operation.erase()
    if not list(old.uses):
        source = old.owner.operands[0]
        old.owner.erase()
        erase_if_unused(source)


def _pair(first: int, second: int) -> ir.ArrayAttr:
    i64 = ir.IntegerType.get_signless(64)
    return ir.ArrayAttr.get([ir.IntegerAttr.get(i64, n) for n in (first, second)])


def _quantized(array: np.ndarray, type_: ir.RankedTensorType) -> ir.Value:
    """A constant of stored integers seen as the quantized type."""
    storage = ir.RankedTensorType.get(array.shape, ir.IntegerType.get_signless(8))
    attribute = ir.DenseElementsAttr.get(np.ascontiguousarray(array), type=storage)
    value = arith.ConstantOp(storage, attribute).result
    return ir.Operation.create("quant.scast", [type_], [value]).results[0]
