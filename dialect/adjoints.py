"""Adjoint rules: for every differentiable op, ordinary ops that compute the gradient at its input.

With y = f(x) and a scalar score s, a rule turns g = ds/dy into ds/dx = J_f(x)^T g (reverse-mode differentiation;
Griewank and Walther, Evaluating Derivatives, 2008). The network is frozen: only feature maps have gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_mlir import ir

from gradcam.dialect import activation_ops, adjoint_ops, cam_ops, channel_ops, ops, product_ops, resample_ops
from gradcam.dialect.activation_ops import BEND
from gradcam.dialect.gradcam import GradCAM
from gradcam.dialect.traits import Activation, has, trait
from gradcam.dialect.verify import shape
from gradcam.errors import fail

#: rule(op, g, operand): the gradient at operand number `operand` of `op`, given the gradient `g` at the op's result.
Rule = Callable[[Any, Any, int], Any]


def adjoint(op: Any, g: ir.Value, operand: int, part: str = "adjoint") -> ir.Value:
    """Builds the gradient at one operand of `op`, at the current insertion point.

    The ops it makes are located at "NAME.part" of the op's NAME.

    Args:
        op: a forward op.
        g: gradient at its result, of the result's type.
        operand: number of an operand that is a feature map.
        part: a name that tells the gradients of several class scores apart.

    Returns:
        The gradient at that operand, of the operand's type.

    Raises:
        GradcamError: the op has no rule, or the operand is a parameter.
    """
    rule = ADJOINTS.get(type(op))
    if rule is None:
        raise fail(op, f"'{op.operation.name}' lies between the target and the logits and has no adjoint rule")
    with part_location(op, part):
        return rule(op, g, operand)


def part_location(named: Any, part: str) -> ir.Location:
    """The location "NAME.part" for an op or a value at NAME, so that what is made of it has a name of its own."""
    location = named.location
    return ir.Location.name(f"{location.name_str}.{part}") if isinstance(location, ir.NameLoc) else location


def _of_input(rule: Callable[[Any, Any], Any]) -> Rule:
    """The rule of an op whose only feature map is operand 0; its other operands are parameters."""

    def checked(op: Any, g: Any, operand: int) -> Any:
        if operand != 0:
            raise fail(
                op, f"operand {operand} of '{op.operation.name}' is a parameter and must not depend on the target"
            )
        return rule(op, g).result

    return checked


def _conv2d(op: Any, g: Any) -> Any:
    """gx[c, h*stride + i*dilation - padding, ...] += w[o,c,i,j] * g[o,h,w]."""
    window = (op.stride, op.padding, op.dilation)
    return adjoint_ops.Conv2dAdjointOp(g, op.w, *window, op.groups, op.x.type)


def _linear(op: Any, g: Any) -> Any:
    """gx = g w."""
    return adjoint_ops.LinearAdjointOp(g, op.w, op.x.type)


def _activation(op: Any, g: Any) -> Any:
    """gx = g where lo < y < hi, else slope * g: the forward output is in memory anyway, so the mask costs nothing.

    The output of a closed activation does not tell an input on a bound from one beyond it; its input does.
    """
    kind = trait(op, Activation)
    assert kind is not None
    lo, hi, slope = (ir.FloatAttr.get(ir.F64Type.get(), number) for number in kind.pieces(op)[:3])
    closed = ir.IntegerAttr.get(ir.IntegerType.get_signless(1), kind.closed)
    return adjoint_ops.ActivationAdjointOp(g, op.x if kind.closed else op.y, lo, hi, slope, closed, op.x.type)


def _max_pool2d(op: Any, g: Any) -> Any:
    """gx = g at the first maximum of each window of x."""
    window = (op.kernel, op.stride, op.padding, op.dilation)
    return adjoint_ops.MaxPool2dAdjointOp(g, op.x, *window, op.x.type)


def _avg_pool2d(op: Any, g: Any) -> Any:
    """gx = g / divisor at every element of its window."""
    window = (op.kernel, op.stride, op.padding, op.dilation)
    # A BoolAttr `false` is falsy, which the bindings' op builders take for a missing attribute.
    count_include_pad = ir.IntegerAttr(op.count_include_pad)
    return adjoint_ops.AvgPool2dAdjointOp(g, *window, count_include_pad, op.x.type)


def _upsample2d(op: Any, g: Any) -> Any:
    """gx = the sum of g over the block of each element."""
    return resample_ops.Upsample2dAdjointOp(g, op.kernel, op.x.type)


def _adaptive_avg_pool2d(op: Any, g: Any) -> Any:
    """gx = g / size of its window at every element of it."""
    return resample_ops.AdaptiveAvgPool2dAdjointOp(g, op.x.type)


def _batch_norm(op: Any, g: Any) -> Any:
    """gx = g * gamma / sqrt(var + eps): in eval mode the statistics are constants."""
    return adjoint_ops.BatchNormAdjointOp(g, op.gamma, op.var, op.eps, op.x.type)


def _scale(op: Any, g: Any) -> Any:
    """gx = factor * g."""
    return cam_ops.ScaleOp(g, op.factor, op.x.type)


def _flatten(op: Any, g: Any) -> Any:
    """gx = g in the shape of x."""
    return adjoint_ops.UnflattenOp(g, op.x.type)


def _add(op: Any, g: Any, operand: int) -> Any:
    """gx = gy = g."""
    return g


def _concat(op: Any, g: Any, operand: int) -> Any:
    """gx = the first channels of g, gy = the others."""
    here = ir.Location.current
    if isinstance(here, ir.NameLoc):
        here = ir.Location.name(f"{here.name_str}.{'xy'[operand]}")
    with here:
        return channel_ops.taken(g, channel_ops.channel_ranges(op)[operand])


def _take_channels(op: Any, g: Any, operand: int) -> Any:
    """gx[order[c]] = g[c], and 0 for the channels that are not taken."""
    return channel_ops.taken(g, channel_ops.inverse(channel_ops.order_of(op), shape(op.x)[1]))


def _with_slope(build: Callable[[Any], ir.Value]) -> Callable[[Any, Any], Any]:
    """The rule of an activation whose slope is a feature map: gx = g * slope.

    `build` makes the slope, right behind the activation, so that both are computed at once.
    """

    def rule(op: Any, g: Any) -> Any:
        return product_ops.MulOp(g, _behind(op, "slope", build), op.x.type)

    return rule


def _behind(op: Any, part: str, build: Callable[[Any], ir.Value]) -> ir.Value:
    with part_location(op, part), ir.InsertionPoint.after(op):
        return build(op)


def _hard_sigmoid(op: Any, g: Any) -> Any:
    """gx = g / 6 where -3 < x < 3, else 0."""

    def mask(op: Any) -> ir.Value:
        bounds = (ir.FloatAttr.get(ir.F64Type.get(), b) for b in (-BEND, BEND))
        bit = ir.IntegerType.get_signless(1)
        type_ = ir.RankedTensorType.get(shape(op.x), bit)
        return adjoint_ops.MaskOp(op.x, *bounds, ir.IntegerAttr.get(bit, 0), type_).result

    zero, sixth = (ir.FloatAttr.get(ir.F64Type.get(), v) for v in (0.0, 1 / (2 * BEND)))
    masked = adjoint_ops.ApplyMaskOp(g, _behind(op, "mask", mask), zero, op.x.type)
    return cam_ops.ScaleOp(masked.gx, sixth, op.x.type)


def _mul(op: Any, g: Any, operand: int) -> Any:
    """gx = g * y; gy = g * x, summed over the positions where y has one number per channel."""
    other = op.operands[1 - operand]
    if operand == 0 or shape(op.x) == shape(op.y):
        return product_ops.MulOp(g, other, op.operands[operand].type).result
    return product_ops.ProductSumsOp(g, other, op.y.type).result


#: The rules by op class.
ADJOINTS: dict[type, Rule] = {
    ops.Conv2dOp: _of_input(_conv2d),
    ops.LinearOp: _of_input(_linear),
    ops.MaxPool2dOp: _of_input(_max_pool2d),
    ops.AvgPool2dOp: _of_input(_avg_pool2d),
    ops.BatchNormOp: _of_input(_batch_norm),
    resample_ops.Upsample2dOp: _of_input(_upsample2d),
    resample_ops.AdaptiveAvgPool2dOp: _of_input(_adaptive_avg_pool2d),
    ops.FlattenOp: _of_input(_flatten),
    cam_ops.ScaleOp: _of_input(_scale),
    ops.AddOp: _add,
    channel_ops.ConcatOp: _concat,
    channel_ops.TakeChannelsOp: _take_channels,
    product_ops.MulOp: _mul,
    activation_ops.PReluOp: _of_input(
        _with_slope(lambda op: activation_ops.PReluSlopeOp(op.x, op.slopes, op.x.type).result)
    ),
    activation_ops.HardSigmoidOp: _of_input(_hard_sigmoid),
    activation_ops.HardSwishOp: _of_input(
        _with_slope(lambda op: activation_ops.HardSwishSlopeOp(op.x, op.x.type).result)
    ),
    activation_ops.FunctionOp: _of_input(
        _with_slope(lambda op: activation_ops.FunctionSlopeOp(op.x, op.function, op.x.type).result)
    ),
    **{kind: _of_input(_activation) for kind in GradCAM.operations if has(kind, Activation)},
}
