"""The refusals of `gradcam-quantize`: ops without a quantized form, and values that would overflow registers."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.adaptive import is_adaptive, largest_weight
from gradcam.dialect import activation_ops, adjoint_ops, cam_ops, ops
from gradcam.dialect.traits import (
    Activation,
    AlignsOperands,
    AlignsParts,
    ChannelAffine,
    Curve,
    ExactProduct,
    Forward,
    KeepsScale,
    MethodFormula,
    Product,
    ProductOfBoth,
    Quantized,
    Rescales,
    Sum,
    Unscaled,
    has,
    trait,
)
from gradcam.errors import GradcamError, fail
from gradcam.passes.ir.channel_affine import affine, affine_rescale
from gradcam.passes.ir.constants import dense_values
from gradcam.passes.ir.explanations import explanations
from gradcam.passes.ir.queries import only_user, users
from gradcam.quant_types import (
    INT16_LIMITS,
    hard_bend,
    hard_rescale,
    is_accumulator,
    is_narrow,
    is_quantized,
    largest_magnitude,
    largest_sum,
    operand_rescale,
    part_rescale,
    result_ratio,
    result_rescale,
    scale,
    signed_rescale,
)
from gradcam.windows import average_of

#: Limits of a 32-bit accumulator, and of a rescaled value that still has to be added to another one.
ACCUMULATOR_LIMIT = 2.0**31
RESULT_LIMIT = 2.0**30
#: The largest shift of the rescale of an operand of a sum that has fewer bits, which is computed in 32 bits.
MAX_OPERAND_SHIFT = 30

#: The largest weight of a window of an average pool, which is multiplied as 16 bits.
MAX_WEIGHT = 2**15 - 1

#: The passes that replace ops without a quantized form.
RUN_FIRST = {
    adjoint_ops.ActivationAdjointOp: "gradcam-extract-masks",
    adjoint_ops.MaxPool2dAdjointOp: "gradcam-extract-masks",
    cam_ops.ExplainOp: "gradcam-derive-backward and gradcam-simplify-backward",
    cam_ops.TargetOp: "gradcam-derive-backward and gradcam-simplify-backward",
}

_LAYERS = "must come from a linear layer, a convolution or an average pool, or from a ReLU or clamp of one"
#: What can be done about logits that are put together of those of several heads, and about other ops.
_JOIN = "make one linear layer of those before it, over the concatenation of what they read, or compile a single one"
_LEAVE_OUT = "compile the model without this op"
#: What can be done about ops that have a meaning in f32 alone.
_FLOAT = "gradcam-compile --emit onnx keeps it in f32"


def refuse_unsupported(main: Any) -> None:
    """Raises one GradcamError that names every op of the function without a quantized form, with the reason."""
    if is_quantized(main.entry_block.arguments[0]):
        raise fail(main, "the module is quantized already")
    body = [op for op in main.entry_block.operations if op.operation.name not in ("arith.constant", "func.return")]
    problems = [(op, reason) for op in body if (reason := _reason(main, op))]
    if len(problems) == 1:
        raise fail(*problems[0])
    if problems:
        listed = "; ".join(f"{reason} (at {op.location})" for op, reason in problems)
        raise fail(problems[0][0], f"{len(problems)} problems: {listed}")


def _reason(main: Any, op: Any) -> str:
    """The reason why an op cannot be quantized; empty when it can."""
    name = f"'{op.operation.name}'"
    if type(op) in RUN_FIRST:
        return f"{name} has no quantized form; run {RUN_FIRST[type(op)]} first"
    if has(op, MethodFormula) and not has(op, Quantized):
        asked = ", ".join(dict.fromkeys(f"'{ir.StringAttr(e['method']).value}'" for e in explanations(main)))
        method = f"method {asked} needs {name}" if asked else name
        return f"{method}, which has no quantized form at this target; choose gradcam, hirescam or layercam; {_FLOAT}"
    if not has(op, Quantized):
        return f"{name} has no quantized form yet; {_FLOAT}"
    if isinstance(op, ops.ReluOp) and isinstance(op.x.owner, cam_ops.ClassRowOp):
        return f"{name} of 'gradcam.class_row' has no quantized form; run gradcam-simplify-backward first"
    if isinstance(op, cam_ops.ClassRowOp) and len(ir.RankedTensorType(op.w.type).shape) != 2:
        return f"{name} of more than one number per channel has no quantized form yet; {_FLOAT}"
    is_average = isinstance(op, ops.AvgPool2dOp | adjoint_ops.AvgPool2dAdjointOp)
    if is_average and (found := average_of(op)).largest > MAX_WEIGHT:
        return f"{name} has windows of so many sizes that their least common multiple is {found.divisor}"
    if is_adaptive(op) and largest_weight(op) > MAX_WEIGHT:
        return f"{name} has weights up to {largest_weight(op)}, for its sizes; give it an output that divides its input"
    if has(op, ChannelAffine) and affine(op) is None:
        return f"the parameters of {name} must be constants"
    if isinstance(op, cam_ops.PoolMapOp) and not (
        has(op.x.owner, ExactProduct) and isinstance(only_user(op.x.owner), cam_ops.PoolMapOp)
    ):
        return f"{name} must be the only reader of 'gradcam.weighted_sum'; run gradcam-simplify-backward first"
    if isinstance(op, cam_ops.ScaleOp) and ir.FloatAttr(op.attributes["factor"]).value <= 0:
        return f"{name} needs a positive factor"
    return ""


def classifier_of(return_op: Any) -> tuple[Any, set[ir.Value]]:
    """The layer that yields the logits, and the results of the ops behind it, which keep its 32 bits and its scale.

    Raises:
        GradcamError: no layer computes the logits, or another layer reads them, too.
    """
    behind, path = set[ir.Value](), [return_op]
    while has(layer := path[-1].operands[0].owner, Forward) and has(layer, KeepsScale):
        behind.add(layer.results[0])
        path.append(layer)
    if isinstance(layer, ir.Block):
        raise fail(path[-1], f"the logits are those of the image, and {_LAYERS}")
    if not (has(layer, Forward) and has(layer, Product, Sum)):
        name, remedy = layer.operation.name, _JOIN if has(layer, AlignsOperands) else _LEAVE_OUT
        which = f" ({layer.function.value})" if isinstance(layer, activation_ops.FunctionOp) else ""
        raise fail(layer, f"the logits come from '{name}'{which}, and {_LAYERS}; {remedy}")
    for value in (layer.results[0], *behind):
        for user in users(value):
            if user not in path and not has(user, Unscaled):
                reader = f"'{user.operation.name}' at {user.location}"
                raise fail(layer, f"the logits have 32 bits and cannot also feed {reader}; explain an earlier layer")
    return layer, behind


def check_rescale(op: Any) -> None:
    """Checks that no accumulator or rescaled value of a quantized op can overflow 32 bits, and that rescales are exact.

    Raises:
        GradcamError: a value can overflow; the message names the op.
    """
    try:
        if has(op, ChannelAffine):
            affine_rescale(op)
        elif has(op, Rescales):
            _check_result(op)
        elif has(op, AlignsOperands, Activation):
            _check_operands(op)
        elif isinstance(op, activation_ops.PReluOp):
            _check_prelu(op)
        elif (curve := trait(op, Curve)) is not None and curve.bend:
            _check_hard(op)
        elif has(op, ExactProduct):
            _require_below(_exact_bound(op), ACCUMULATOR_LIMIT, "accumulator")
        elif isinstance(op, cam_ops.PoolMapOp):
            _require_below(_exact_bound(op.x.owner) * op.size.value**2, ACCUMULATOR_LIMIT, "accumulator")
    except GradcamError as error:
        raise fail(op, f"'{op.operation.name}' cannot be quantized: {error.message}") from error


def _exact_bound(op: Any) -> np.ndarray:
    """Largest possible magnitude of the sums over channels of an op with the trait `ExactProduct`: float64, ()."""
    if isinstance(row := op.operands[0].owner, cam_ops.ClassRowOp):
        table = dense_values(row.operands[0].owner.operands[0].owner).astype(np.float64)
        factors = np.abs(table).reshape(len(table), -1).sum(1).max()
    else:
        factors = float(ir.RankedTensorType(op.operands[1].type).shape[1] * largest_magnitude(op.operands[0]))
    return np.array(factors * largest_magnitude(op.operands[1]))


def _check_result(op: Any) -> None:
    bound = accumulator_bound(op)
    _require_below(bound, ACCUMULATOR_LIMIT, "accumulator")
    if not is_accumulator(op):
        result_rescale(op)
        is_saturated = is_narrow(op.results[0])  # before it is added to anything
        limit = ACCUMULATOR_LIMIT if is_saturated else RESULT_LIMIT
        _require_below(bound * result_ratio(op), limit, "rescaled result")


def accumulator_bound(op: Any) -> np.ndarray:
    """Largest possible magnitude of the accumulator: float64, () or one per channel of the result."""
    largest = float(largest_magnitude(op.operands[0]))
    product = trait(op, Product)
    if has(op, ProductOfBoth):
        largest *= largest_magnitude(op.operands[1])
    if product is None:
        return np.array(largest * largest_sum(op))
    weight, *bias = (dense_values(v.owner.operands[0].owner).astype(np.float64) for v in list(op.operands)[1:])
    if not product.transposed:
        bound = largest * np.abs(weight).reshape(len(weight), -1).sum(1)
        return bound + np.abs(bias[0]) if bias else bound
    by_group = np.abs(weight).reshape(ops.groups_of(op), -1, *weight.shape[1:])
    return largest * by_group.sum((1, *range(3, by_group.ndim))).ravel()


def _require_below(bound: np.ndarray, limit: float, what: str) -> None:
    if bound.max() >= limit:
        raise GradcamError(f"its {what} can reach {bound.max():.4g}, beyond {limit:.4g}")


def _check_operands(op: Any) -> None:
    for index, operand in enumerate(op.operands):
        is_part = has(op, AlignsParts)
        constants = part_rescale(op, index) if is_part else operand_rescale(operand, op.results[0])
        if is_narrow(operand) and constants and constants[1] > MAX_OPERAND_SHIFT:
            raise GradcamError(
                f"an operand's range is more than {2**16} times smaller than the result's; it would add nothing"
            )


def _check_prelu(op: Any) -> None:
    largest = largest_magnitude(op.x) if is_narrow(op.x) else RESULT_LIMIT
    steepest = max(1.0, float(np.abs(dense_values(op.slopes.owner)).max()))
    signed_rescale(op.x, op.y, dense_values(op.slopes.owner))
    _require_below(np.array(largest * steepest * scale(op.x) / scale(op.y)), ACCUMULATOR_LIMIT, "rescaled result")


def _check_hard(op: Any) -> None:
    largest = float(largest_magnitude(op.x)) if is_narrow(op.x) else -float(INT16_LIMITS[0])
    factor = largest if isinstance(op, activation_ops.HardSwishOp) else 1.0
    bound = np.array(2.0 * factor * hard_bend(op))
    _require_below(bound, ACCUMULATOR_LIMIT, "accumulator")
    m, s = hard_rescale(op)
    _require_below(bound * m / 2.0**s, RESULT_LIMIT, "rescaled result")
