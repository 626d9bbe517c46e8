"""Forward ops of a CNN.

Feature maps are `1xCxHxW`, features `1xN`. The same ops carry f32 (level 1) and `!quant.uniform` elements (level 2).
"""

from collections.abc import Sequence
from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import ext

from gradcam.dialect.gradcam import GradCAM
from gradcam.dialect.traits import (
    Activation,
    AlignsOperands,
    ChannelAffine,
    Elementwise,
    Forward,
    Gradient,
    KeepsNonnegative,
    KeepsScale,
    LinearInFirst,
    Product,
    Sum,
)
from gradcam.dialect.verify import by, check_slope, ints, rank, require, result_shape, shape, sides, verifier, window


def groups_of(op: Any) -> int:
    """Groups of a convolution or of its adjoint; 1 for any other product."""
    return ir.IntegerAttr(op.attributes["groups"]).value if "groups" in op.attributes else 1


def is_depthwise(op: Any) -> bool:
    """Whether each output channel of a convolution, or of the one whose adjoint `op` is, is computed of its own input.

    That is one group per channel, and as many outputs as inputs.
    """
    groups = groups_of(op)
    return groups > 1 and shape(op.operands[1])[:2] == [groups, 1]


def check_conv(op: Any, x: Any, w: Any, y_shape: Sequence[int]) -> None:
    """Checks the shapes of a convolution from `x` (1xCxHxW) with `w` (OxC/groupsxKHxKW) to `y_shape`."""
    _, channels, *size = rank(x, 4, "input")
    out_channels, in_per_group, *kernel = rank(w, 4, "weight")
    groups = ir.IntegerAttr(op.attributes["groups"]).value
    require(groups >= 1, f"attribute 'groups' must be at least 1, got {groups}")
    require(
        channels == in_per_group * groups,
        f"weight expects {in_per_group * groups} input channels ({in_per_group} x {groups} groups), "
        f"input has {channels}",
    )
    require(out_channels % groups == 0, f"{out_channels} output channels do not divide into {groups} groups")
    wanted = [1, out_channels, *window(op, size, kernel)]
    require(list(y_shape) == wanted, f"output must have shape {by(wanted)}, got {by(y_shape)}")


def check_bias(op: Any, channels: int) -> None:
    """Checks that the optional third operand is a vector of `channels`."""
    if len(op.operands) == 3:
        require(shape(op.operands[2]) == [channels], f"bias must have shape {channels}, got {op.operands[2].type}")


class Conv2dOp(GradCAM.Operation, name="conv2d", traits=[ext.Pure, Forward(), Product()]):
    """y[o,h,w] = bias[o] + sum over c,i,j of w[o,c,i,j] * x[c, h*stride + i*dilation - padding, ...]; zero outside x.

    As torch.nn.functional.conv2d. x: 1xCxHxW, w: OxC/groupsxKHxKW, bias: O, y: 1xOxOHxOW.

    The padding of this and all other windows is [top, left, bottom, right], or [height, width] where it is the same on
    both sides; formulas name the one before the map.
    """

    x: ext.Operand[Any]
    w: ext.Operand[Any]
    bias: ext.Operand[Any] | None
    stride: ir.ArrayAttr
    padding: ir.ArrayAttr
    dilation: ir.ArrayAttr
    groups: ir.IntegerAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        check_conv(op, op.operands[0], op.operands[1], shape(op.results[0]))
        check_bias(op, shape(op.operands[1])[0])


class LinearOp(GradCAM.Operation, name="linear", traits=[ext.Pure, Forward(), Product()]):
    """y = x w^T + bias. x: 1xI, w: OxI, bias: O, y: 1xO."""

    x: ext.Operand[Any]
    w: ext.Operand[Any]
    bias: ext.Operand[Any] | None
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _, features = rank(op.operands[0], 2, "input")
        out, wanted = rank(op.operands[1], 2, "weight")
        require(features == wanted, f"weight expects {wanted} features, input has {features}")
        check_bias(op, out)
        result_shape(op, [1, out])


class ReluOp(
    GradCAM.Operation,
    name="relu",
    traits=[ext.Pure, Forward(), Gradient(), Activation(lo=0.0), KeepsScale(), Elementwise()],
):
    """y = max(x, 0), elementwise."""

    x: ext.Operand[Any]
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        result_shape(op, shape(op.operands[0]))


def _check_bounds(op: Any) -> None:
    """Checks the bounds and the shape of a clamp or hardtanh."""
    lo, hi = (ir.FloatAttr(op.attributes[n]).value for n in ("lo", "hi"))
    require(lo < hi, f"lower bound {lo} must be less than upper bound {hi}")
    result_shape(op, shape(op.operands[0]))


class ClampOp(
    GradCAM.Operation,
    name="clamp",
    traits=[ext.Pure, Forward(), Activation(lo="lo", hi="hi", closed=True), KeepsScale(), Elementwise()],
):
    """y = min(max(x, lo), hi), elementwise, as torch.clamp: the gradient passes where lo <= x <= hi.

    The bounds are in real units at every level; either may be infinite.
    """

    x: ext.Operand[Any]
    lo: ir.FloatAttr
    hi: ir.FloatAttr
    y: ext.Result[Any]

    verify_invariants = verifier(_check_bounds)


class HardtanhOp(
    GradCAM.Operation,
    name="hardtanh",
    traits=[ext.Pure, Forward(), Activation(lo="lo", hi="hi"), KeepsScale(), Elementwise()],
):
    """y = min(max(x, lo), hi), as torch.nn.functional.hardtanh: the gradient passes where lo < x < hi.

    ReLU6 is lo = 0, hi = 6. The bounds are in real units at every level.
    """

    x: ext.Operand[Any]
    lo: ir.FloatAttr
    hi: ir.FloatAttr
    y: ext.Result[Any]

    verify_invariants = verifier(_check_bounds)


class LeakyReluOp(
    GradCAM.Operation,
    name="leaky_relu",
    traits=[ext.Pure, Forward(), Activation(lo=0.0, slope="slope"), KeepsNonnegative(), KeepsScale(), Elementwise()],
):
    """y = x where x > 0, else slope * x, elementwise, as torch.nn.functional.leaky_relu with 0 < slope < 1.

    A slope of 0 is a relu. Quantized, slope * x is rescaled once, with the scales of x and y.
    """

    x: ext.Operand[Any]
    slope: ir.FloatAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        require(check_slope(op) > 0, "attribute 'slope' must be positive; with a slope of 0 it is gradcam.relu")
        result_shape(op, shape(op.operands[0]))


class AddOp(
    GradCAM.Operation,
    name="add",
    traits=[ext.Pure, Forward(), Gradient(), KeepsNonnegative(), AlignsOperands(), Elementwise()],
):
    """z = x + y, elementwise, equal shapes. Quantized: each operand is rescaled to the result's scale, then added."""

    x: ext.Operand[Any]
    y: ext.Operand[Any]
    z: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        x, y = op.operands[0], op.operands[1]
        require(
            shape(x) == shape(y),
            f"operands must have equal shapes, got {x.type} and {y.type}; broadcasting is not lowered",
        )
        result_shape(op, shape(x))


def check_pool(op: Any, x: Any, y_shape: Sequence[int]) -> None:
    """Checks the shapes of a pool from `x` to `y_shape`, and that no window lies on padding alone, unless it counts."""
    _, channels, *size = rank(x, 4, "input")
    kernel, stride = ints(op, "kernel", 2, 1), ints(op, "stride", 2, 1)
    wanted = [1, channels, *window(op, size, kernel)]
    if not ("count_include_pad" in op.attributes and ir.IntegerAttr(op.attributes["count_include_pad"]).value):
        for n, k, s, low, out in zip(size, kernel, stride, sides(op)[0], wanted[2:], strict=True):
            require(2 * low <= k, f"padding {low} must be at most half the kernel {k}")
            require((out - 1) * s < low + n, f"the last window of {k} must not lie on padding alone")
    require(list(y_shape) == wanted, f"output must have shape {by(wanted)}, got {by(y_shape)}")


class MaxPool2dOp(GradCAM.Operation, name="max_pool2d", traits=[ext.Pure, Forward(), KeepsNonnegative(), KeepsScale()]):
    """Maximum over a sliding window; padding is minus infinity. As torch.nn.functional.max_pool2d.

    The window that ceil_mode adds is one over more padding behind the map.
    """

    x: ext.Operand[Any]
    kernel: ir.ArrayAttr
    stride: ir.ArrayAttr
    padding: ir.ArrayAttr
    dilation: ir.ArrayAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        check_pool(op, op.operands[0], shape(op.results[0]))


class AvgPool2dOp(
    GradCAM.Operation,
    name="avg_pool2d",
    traits=[ext.Pure, Forward(), LinearInFirst(), KeepsNonnegative(), Sum("window", mean=True)],
):
    """Mean over a sliding window; a window as large as the map is the global average pool.

    count_include_pad: padded zeros count in the divisor. A window of one element is then a pad with zeros.
    dilation is always 1 (kept so that all windows read alike).
    """

    x: ext.Operand[Any]
    kernel: ir.ArrayAttr
    stride: ir.ArrayAttr
    padding: ir.ArrayAttr
    dilation: ir.ArrayAttr
    count_include_pad: ir.IntegerAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        check_pool(op, op.operands[0], shape(op.results[0]))
        require(ints(op, "dilation", 2, 1) == [1, 1], "an average pool has no dilation")


class BatchNormOp(GradCAM.Operation, name="batch_norm", traits=[ext.Pure, Forward(), ChannelAffine()]):
    """y = (x - mean) / sqrt(var + eps) * gamma + beta, per channel, in eval mode.

    x: 1xCxHxW or 1xC, gamma, beta, mean, var: C, in real units at every level.
    """

    x: ext.Operand[Any]
    gamma: ext.Operand[Any]
    beta: ext.Operand[Any]
    mean: ext.Operand[Any]
    var: ext.Operand[Any]
    eps: ir.FloatAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        x = op.operands[0]
        channels = rank(x, 2 if len(shape(x)) == 2 else 4, "input")[1]
        for value, name in zip(list(op.operands)[1:], ("gamma", "beta", "mean", "var"), strict=True):
            require(shape(value) == [channels], f"{name} must have shape {channels}, got {value.type}")
        result_shape(op, shape(op.operands[0]))


class FlattenOp(
    GradCAM.Operation,
    name="flatten",
    traits=[ext.Pure, Forward(), Gradient(), LinearInFirst(), KeepsNonnegative(), KeepsScale()],
):
    """1xCxHxW to 1x(C*H*W), row-major."""

    x: ext.Operand[Any]
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _, c, h, w = rank(op.operands[0], 4, "input")
        result_shape(op, [1, c * h * w])
