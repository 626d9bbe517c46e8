"""Ops that change the size of a feature map by a ratio, and their adjoints."""

from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import ext

from gradcam.dialect.gradcam import GradCAM
from gradcam.dialect.traits import Forward, Gradient, KeepsNonnegative, KeepsScale, LinearInFirst, Rowwise, Sum
from gradcam.dialect.verify import by, ints, rank, require, verifier


class Upsample2dOp(
    GradCAM.Operation,
    name="upsample2d",
    traits=[ext.Pure, Forward(), LinearInFirst(), KeepsNonnegative(), KeepsScale()],
):
    """y[c, h, w] = x[c, h // KH, w // KW]: each element becomes a block, the attribute `kernel`, of KHxKW equal ones.

    As torch.nn.functional.interpolate with mode='nearest' and a whole factor. x: 1xCxHxW, y: 1xCx(H*KH)x(W*KW).
    """

    x: ext.Operand[Any]
    kernel: ir.ArrayAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _check_blocks(op, op.operands[0], op.results[0])


class Upsample2dAdjointOp(
    GradCAM.Operation,
    name="upsample2d_adjoint",
    traits=[ext.Pure, Gradient(), LinearInFirst(), Rowwise(), Sum("window", mean=False)],
):
    """The sum of the gradients of each block of an upsample2d: gx[c, h, w] = sum over i,j of g[c, h*KH + i, w*KW + j].

    g: 1xCx(H*KH)x(W*KW), gx: 1xCxHxW.
    """

    g: ext.Operand[Any]
    kernel: ir.ArrayAttr
    gx: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _check_blocks(op, op.results[0], op.operands[0])


class AdaptiveAvgPool2dOp(
    GradCAM.Operation,
    name="adaptive_avg_pool2d",
    traits=[ext.Pure, Forward(), LinearInFirst(), KeepsNonnegative(), Sum("window", mean=True)],
):
    """The mean of each of OHxOW windows of different sizes, as torch.nn.functional.adaptive_avg_pool2d.

    Window h has the rows from floor(h * H / OH) up to ceil((h + 1) * H / OH), alike for columns; windows may overlap.
    Where all windows are alike, it is an avg_pool2d, and where all have one element, an upsample2d.
    x: 1xCxHxW, y: 1xCxOHxOW.
    """

    x: ext.Operand[Any]
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _check_channels(op, op.operands[0], op.results[0])


class AdaptiveAvgPool2dAdjointOp(
    GradCAM.Operation,
    name="adaptive_avg_pool2d_adjoint",
    traits=[ext.Pure, Gradient(), LinearInFirst(), Rowwise(), Sum("window", mean=True)],
):
    """Each gradient, divided by the size of its window of an adaptive_avg_pool2d, goes to every element of the window.

    g: 1xCxOHxOW, gx: 1xCxHxW.
    """

    g: ext.Operand[Any]
    gx: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _check_channels(op, op.operands[0], op.results[0])


def _check_channels(op: Any, x: Any, y: Any) -> None:
    """Checks that two maps have equal numbers of channels."""
    channels = rank(x, 4, "operand")[1], rank(y, 4, "result")[1]
    require(channels[0] == channels[1], f"operand and result must have equal channels, got {x.type} and {y.type}")


def _check_blocks(op: Any, small: Any, large: Any) -> None:
    """Checks that each element of the map `small` is a block, the attribute `kernel`, of the map `large`."""
    _, channels, *size = rank(small, 4, "the smaller map")
    wanted = [1, channels, *(n * k for n, k in zip(size, ints(op, "kernel", 2, 1), strict=True))]
    found = rank(large, 4, "the larger map")
    require(found == wanted, f"the larger map must have shape {by(wanted)}, got {by(found)}")
