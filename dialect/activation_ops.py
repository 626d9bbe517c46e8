"""Activations that bend more than a line with two ends, and their slopes, which the backward pass multiplies with.

The slope of an activation at its input is a feature map of its own: it is computed beside the activation, and the
gradient at x is the product of the gradient at y with it.
"""

from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import ext

from gradcam.dialect.gradcam import GradCAM
from gradcam.dialect.traits import Curve, Elementwise, Forward, KeepsNonnegative, Nonnegative, Slope
from gradcam.dialect.verify import require, result_shape, shape, verifier
from gradcam.functions import FUNCTIONS

#: Where a hard sigmoid and a hard swish bend: at -3 and 3.
BEND = 3.0


def _same_shape(op: Any) -> None:
    result_shape(op, shape(op.operands[0]))


def _check_slopes(op: Any) -> None:
    channels = shape(op.operands[0])[1]
    require(shape(op.operands[1]) == [channels], f"slopes must have shape {channels}, got {op.operands[1].type}")
    _same_shape(op)


def _check_function(op: Any) -> None:
    name = ir.StringAttr(op.attributes["function"]).value
    require(name in FUNCTIONS, f"attribute 'function' must be one of {', '.join(FUNCTIONS)}, got '{name}'")
    _same_shape(op)


class PReluOp(GradCAM.Operation, name="prelu", traits=[ext.Pure, Forward(), Curve("sum")]):
    """y = x where x > 0, else slopes[c] * x, as torch.nn.functional.prelu. x: 1xC or 1xCxHxW, slopes: C, constant."""

    x: ext.Operand[Any]
    slopes: ext.Operand[Any]
    y: ext.Result[Any]

    verify_invariants = verifier(_check_slopes)


class PReluSlopeOp(GradCAM.Operation, name="prelu_slope", traits=[ext.Pure, Forward(), Slope(), Curve("sum")]):
    """y = 1 where x > 0, else slopes[c]: the slope of a prelu at its input."""

    x: ext.Operand[Any]
    slopes: ext.Operand[Any]
    y: ext.Result[Any]

    verify_invariants = verifier(_check_slopes)


class HardSigmoidOp(
    GradCAM.Operation,
    name="hard_sigmoid",
    traits=[ext.Pure, Forward(), Nonnegative(), Curve("sum", bend=BEND), Elementwise()],
):
    """y = min(max(x + 3, 0), 6) / 6, elementwise, as torch.nn.functional.hardsigmoid."""

    x: ext.Operand[Any]
    y: ext.Result[Any]

    verify_invariants = verifier(_same_shape)


class HardSwishOp(
    GradCAM.Operation,
    name="hard_swish",
    traits=[ext.Pure, Forward(), KeepsNonnegative(), Curve("sum", bend=BEND), Elementwise()],
):
    """y = x * min(max(x + 3, 0), 6) / 6, elementwise, as torch.nn.functional.hardswish (Howard et al. 2019)."""

    x: ext.Operand[Any]
    y: ext.Result[Any]

    verify_invariants = verifier(_same_shape)


class HardSwishSlopeOp(
    GradCAM.Operation,
    name="hard_swish_slope",
    traits=[ext.Pure, Forward(), Slope(), Curve("sum", bend=BEND), Elementwise()],
):
    """y = 0 where x <= -3, 1 where x >= 3, else (2 x + 3) / 6: the slope of a hard swish at its input, as PyTorch's."""

    x: ext.Operand[Any]
    y: ext.Result[Any]

    verify_invariants = verifier(_same_shape)


class FunctionOp(
    GradCAM.Operation, name="function", traits=[ext.Pure, Forward(), KeepsNonnegative(), Curve("byte"), Elementwise()]
):
    """y = f(x), elementwise; f is one of `gradcam.functions.FUNCTIONS`, by its name. Quantized, f is a table."""

    x: ext.Operand[Any]
    function: ir.StringAttr
    y: ext.Result[Any]

    verify_invariants = verifier(_check_function)


class FunctionSlopeOp(
    GradCAM.Operation, name="function_slope", traits=[ext.Pure, Forward(), Slope(), Curve("byte"), Elementwise()]
):
    """y = f'(x), elementwise: the derivative of the function of `gradcam.function`. Quantized, it is a table."""

    x: ext.Operand[Any]
    function: ir.StringAttr
    y: ext.Result[Any]

    verify_invariants = verifier(_check_function)
