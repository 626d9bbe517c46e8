"""Products of two values that are both computed: gates, and what the backward pass multiplies with forward values."""

from typing import Any

from torch_mlir.dialects import ext

from gradcam.dialect.gradcam import GradCAM
from gradcam.dialect.traits import Elementwise, Forward, Gradient, KeepsNonnegative, LinearInFirst, ProductOfBoth
from gradcam.dialect.verify import rank, require, result_shape, shape, verifier


class MulOp(
    GradCAM.Operation,
    name="mul",
    traits=[
        ext.Pure,
        Forward(),
        Gradient(),
        LinearInFirst(),
        KeepsNonnegative(),
        ProductOfBoth("element"),
        Elementwise(),
    ],
):
    """z = x * y, elementwise; y is as large as x, or one number per channel of x.

    The second form is the gate of squeeze-and-excite (Hu et al. 2018). x: 1xC or 1xCxHxW, y: the same, 1xC or 1xCx1x1.
    """

    x: ext.Operand[Any]
    y: ext.Operand[Any]
    z: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        x, y = op.operands[0], op.operands[1]
        per_channel = shape(x)[:2]
        require(
            shape(y) in (shape(x), per_channel, [*per_channel, 1, 1]),
            f"operands must have equal shapes, or the second one a number per channel, got {x.type} and {y.type}",
        )
        result_shape(op, shape(x))


class ProductSumsOp(
    GradCAM.Operation, name="product_sums", traits=[ext.Pure, Gradient(), LinearInFirst(), ProductOfBoth("map")]
):
    """z[c] = sum over h,w of x[c,h,w] * y[c,h,w]: the adjoint of `mul` for its numbers per channel.

    x, y: 1xCxHxW, z: 1xC or 1xCx1x1.
    """

    x: ext.Operand[Any]
    y: ext.Operand[Any]
    z: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        x, y = op.operands[0], op.operands[1]
        per_channel = rank(x, 4, "first operand")[:2]
        require(shape(x) == shape(y), f"operands must have equal shapes, got {x.type} and {y.type}")
        if shape(op.results[0]) != per_channel:
            result_shape(op, [*per_channel, 1, 1])
