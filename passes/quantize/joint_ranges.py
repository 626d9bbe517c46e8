"""One range for all feature maps that concatenations join, so that each is stored at the scale of the whole at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch_mlir import ir

from gradcam.dialect.traits import Activation, AlignsParts, Forward, has, trait
from gradcam.passes.ir.classes_of_values import Classes
from gradcam.passes.ir.queries import only_user
from gradcam.passes.quantize.calibrate import RANGE
from gradcam.passes.quantize.unsigned_maps import alike


def share_ranges(body: Iterable[Any], gradients: set[ir.Value]) -> None:
    """Gives the operands and the result of a concatenation, and what keeps their scale, the range of the whole.

    Of concatenations that share a part, or that are parts of each other, the largest range counts. An operand whose
    scale is fixed, such as the image, is rescaled by the concatenation.

    Args:
        body: the ops of a calibrated function; their ranges are changed.
        gradients: the results of the backward pass, which are left alone.
    """
    joint = Classes()
    forward = [op for op in body if has(op, Forward) and op.results[0] not in gradients]
    for op in forward:
        for operand in alike(op):
            joint.join(operand, op.results[0])
    ranges: dict[ir.Value, float] = {}
    for op in forward:
        if has(op, AlignsParts) and RANGE in op.attributes:
            root = joint.of(op.results[0])
            ranges[root] = max(ranges.get(root, 0.0), _range(op))
    with ir.Location.unknown():
        for op in forward:
            if RANGE in op.attributes and (whole := ranges.get(joint.of(op.results[0]))) is not None:
                op.attributes[RANGE] = ir.FloatAttr.get(ir.F64Type.get(), whole)


def _range(op: Any) -> float:
    """The range of a concatenation; where an activation that clips alone reads it, that of the activation."""
    user = only_user(op)
    kind = trait(user, Activation)
    clipped = user if user is not None and kind is not None and kind.clips and RANGE in user.attributes else op
    return ir.FloatAttr(clipped.attributes[RANGE]).value
