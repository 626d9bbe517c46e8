"""What `gradcam-quantize` refuses: ops without a quantized form, and values that would leave their registers."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.dialect import adjoint_ops, cam_ops, ops
from gradcam.dialect.verify import ints
from gradcam.errors import GradcamError, fail
from gradcam.passes.explanations import explanations
from gradcam.quant_types import is_accumulator, is_quantized, operand_rescale, result_ratio, result_rescale
from gradcam.reference.interpreter import constant

#: Limits of a 32-bit accumulator, and of a rescaled value that still has to be added to another one.
ACCUMULATOR_LIMIT = 2.0**31
RESULT_LIMIT = 2.0**30
#: An 8-bit operand of a sum is rescaled in 32 bits, which takes shifts up to this.
MAX_OPERAND_SHIFT = 30

SUPPORTED = (
    ops.Conv2dOp,
    ops.LinearOp,
    ops.ReluOp,
    ops.ClampOp,
    ops.AddOp,
    ops.MaxPool2dOp,
    ops.AvgPool2dOp,
    ops.FlattenOp,
    cam_ops.SelectClassOp,
    cam_ops.ClassRowOp,
    cam_ops.WeightedSumOp,
    cam_ops.ScaleOp,
)
BACKWARD = (
    adjoint_ops.LinearAdjointOp,
    adjoint_ops.Conv2dAdjointOp,
    adjoint_ops.ReluAdjointOp,
    adjoint_ops.ClampAdjointOp,
    adjoint_ops.MaxPool2dAdjointOp,
    adjoint_ops.AvgPool2dAdjointOp,
    adjoint_ops.BatchNormAdjointOp,
    adjoint_ops.UnflattenOp,
    adjoint_ops.ChannelSliceOp,
    cam_ops.OneHotOp,
    cam_ops.ChannelWeightsOp,
)


def refuse_unsupported(main: Any) -> None:
    """Raises one GradcamError that names every op of the function that has no quantized form, and why."""
    if is_quantized(main.entry_block.arguments[0]):
        raise fail(main, "the module is quantized already")
    body = [op for op in main.entry_block.operations if op.operation.name not in ("arith.constant", "func.return")]
    problems = [(op, reason) for op in body if not isinstance(op, BACKWARD) and (reason := _reason(op))]
    backward = [op for op in body if isinstance(op, BACKWARD)]
    if backward:
        problems.append((backward[0], _needs_backward(main, backward)))
    if len(problems) == 1:
        raise fail(*problems[0])
    if problems:
        listed = "; ".join(f"{reason} (at {op.location})" for op, reason in problems)
        raise fail(problems[0][0], f"{len(problems)} problems: {listed}")


def _reason(op: Any) -> str:
    """Why a forward or explanation op cannot be quantized; empty when it can."""
    name = f"'{op.operation.name}'"
    if isinstance(op, ops.BatchNormOp):
        return f"{name} has no quantized form; run gradcam-fold-batch-norm first"
    if isinstance(op, cam_ops.ExplainOp | cam_ops.TargetOp):
        return f"{name} has no quantized form; run gradcam-derive-backward and gradcam-simplify-backward first"
    if not isinstance(op, SUPPORTED):
        return f"{name} has no quantized form yet"
    if isinstance(op, ops.ReluOp) and isinstance(op.x.owner, cam_ops.ClassRowOp):
        return f"{name} of 'gradcam.class_row' has no quantized form; run gradcam-simplify-backward first"
    if isinstance(op, cam_ops.ClassRowOp) and len(ir.RankedTensorType(op.w.type).shape) != 2:
        return f"{name} of more than one number per channel has no quantized form yet"
    if isinstance(op, ops.Conv2dOp) and (groups := ir.IntegerAttr(op.attributes["groups"]).value) != 1:
        return f"{name} with {groups} groups has no quantized form yet"
    if isinstance(op, ops.AvgPool2dOp) and any(ints(op, "padding", 2, 0)) and not _counts_padding(op):
        return f"{name} with padding and count_include_pad = false divides by no constant and has no quantized form yet"
    if isinstance(op, cam_ops.ScaleOp) and ir.FloatAttr(op.attributes["factor"]).value <= 0:
        return f"{name} needs a positive factor"
    return ""


def _counts_padding(op: Any) -> bool:
    return bool(ir.IntegerAttr(op.attributes["count_include_pad"]).value)


def _needs_backward(main: Any, found: list[Any]) -> str:
    names = list(dict.fromkeys(f"'{op.operation.name}'" for op in found))
    needs = f"needs {names[0]}, which has" if len(names) == 1 else f"needs {', '.join(names)}, which have"
    layers = ", ".join(f"'{ir.StringAttr(asked['target']).value}'" for asked in explanations(main))
    target = f"target layer {layers}" if layers else "the target layer"
    return (
        f"{target} {needs} no quantized form yet; choose a target layer whose explanation simplifies to a weighted sum "
        "(the input of the global average pool)"
    )


def check_rescale(op: Any) -> None:
    """Checks on a quantized op that no accumulator or rescaled value can leave its 32 bits, and rescales are exact.

    Raises:
        GradcamError: naming the op.
    """
    try:
        if isinstance(op, ops.Conv2dOp | ops.LinearOp | ops.AvgPool2dOp):
            _check_result(op)
        elif isinstance(op, ops.AddOp):
            _check_operands(op)
        elif isinstance(op, cam_ops.WeightedSumOp):
            shape = ir.RankedTensorType(op.operands[1].type).shape
            _require_below(np.array(shape[1] * 128.0 * 128.0), ACCUMULATOR_LIMIT, "accumulator")
    except GradcamError as error:
        raise fail(op, f"'{op.operation.name}' cannot be quantized: {error.message}") from error


def _check_result(op: Any) -> None:
    bound = _accumulator_bound(op)
    _require_below(bound, ACCUMULATOR_LIMIT, "accumulator")
    if isinstance(op, ops.AvgPool2dOp) or not is_accumulator(op):
        result_rescale(op)
        _require_below(bound * result_ratio(op), RESULT_LIMIT, "rescaled result")


def _accumulator_bound(op: Any) -> np.ndarray:
    """Largest possible magnitude of the accumulator: float64, () or (O,)."""
    if isinstance(op, ops.AvgPool2dOp):
        return np.array(128.0 * np.prod(ints(op, "kernel", 2, 1)))
    weight, *bias = (constant(v.owner.operands[0].owner).astype(np.float64) for v in list(op.operands)[1:])
    bound = 128 * np.abs(weight).reshape(len(weight), -1).sum(1)
    return bound + np.abs(bias[0]) if bias else bound


def _require_below(bound: np.ndarray, limit: float, what: str) -> None:
    if bound.max() >= limit:
        raise GradcamError(f"its {what} can reach {bound.max():.4g}, beyond {limit:.4g}")


def _check_operands(op: Any) -> None:
    for operand in op.operands:
        constants = operand_rescale(operand, op.results[0])
        if constants and constants[1] > MAX_OPERAND_SHIFT:
            raise GradcamError(
                f"an operand's range is more than {2**16} times smaller than the sum's; it would add nothing"
            )
