"""gradcam-extract-masks: what the backward pass needs of an activation is one bit per element."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch_mlir import ir

from gradcam.dialect import adjoint_ops, ops
from gradcam.dialect.adjoints import part_location
from gradcam.dialect.verify import shape
from gradcam.passes.pass_base import Pass


@dataclass(frozen=True)
class ExtractMasks(Pass):
    """Makes the masks of relu and clamp adjoints values of their own, of one bit, read from the activation's input.

    So the backward pass keeps a bit of a feature map alive and not the map. Where an activation is quantized, its input
    still tells a small positive value, which the mask lets through, from a negative one; the rounded output does not.

    This pass turns:

        %y = "gradcam.relu"(%x)
        %gx = "gradcam.relu_adjoint"(%g, %y)

    into:

        %y = "gradcam.relu"(%x)
        %mask = "gradcam.mask"(%x) {lo = 0.0 : f64, hi = 0x7FF0000000000000 : f64} : (...) -> tensor<1x4x8x8xi1>
        %gx = "gradcam.apply_mask"(%g, %mask)
    """

    name: ClassVar[str] = "gradcam-extract-masks"

    def run(self, module: ir.Module) -> None:
        """Transforms every function of `module` in place."""
        with module.context:
            for function in module.body.operations:
                masks: dict[Any, ir.Value] = {}
                for block in (block for region in function.regions for block in region):
                    for op in [op for op in block.operations if isinstance(op, tuple(LIMITS))]:
                        _extract(op, masks)


def _relu_limits(_: Any) -> tuple[float, float]:
    return 0.0, math.inf


def _clamp_limits(op: Any) -> tuple[float, float]:
    return op.lo.value, op.hi.value


#: Adjoints with a mask, and between which limits of the forward output (or input) the gradient passes.
LIMITS = {adjoint_ops.ReluAdjointOp: _relu_limits, adjoint_ops.ClampAdjointOp: _clamp_limits}


def _extract(op: Any, masks: dict[Any, ir.Value]) -> None:
    limits = LIMITS[type(op)](op)
    key = op.y, *limits
    if key not in masks:
        masks[key] = _mask(op.y, *limits)
    with ir.InsertionPoint(op), op.location:
        masked = adjoint_ops.ApplyMaskOp(op.g, masks[key], op.gx.type)
    op.gx.replace_all_uses_with(masked.gx)
    op.erase()


def _mask(y: ir.Value, lo: float, hi: float) -> ir.Value:
    """The mask of a forward output `y`, made right after it."""
    op = y.owner
    x = op.x if isinstance(op, ops.ReluOp | ops.ClampOp) else y
    f64, i1 = ir.F64Type.get(), ir.IntegerType.get_signless(1)
    is_argument = isinstance(op, ir.Block)
    point = ir.InsertionPoint.at_block_begin(op) if is_argument else ir.InsertionPoint.after(op)
    with point, ir.Location.unknown() if is_argument else part_location(op, "mask"):
        type_ = ir.RankedTensorType.get(shape(x), i1)
        return adjoint_ops.MaskOp(x, ir.FloatAttr.get(f64, lo), ir.FloatAttr.get(f64, hi), type_).result
