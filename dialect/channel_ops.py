"""Ops that put channels together and take them apart: no arithmetic, so that layouts can carry them out.

Feature maps are `1xCxHxW`, vectors `1xC`.
"""

from collections.abc import Sequence
from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import ext

from gradcam.dialect.gradcam import GradCAM
from gradcam.dialect.traits import (
    AlignsParts,
    Forward,
    Gradient,
    KeepsNonnegative,
    KeepsScale,
    LinearInFirst,
    MovesChannels,
    Rowwise,
)
from gradcam.dialect.verify import by, require, result_shape, shape, verifier


def _map_or_vector(value: Any, what: str) -> list[int]:
    """Shape of a feature map or a vector."""
    found = shape(value)
    require(len(found) in (2, 4), f"{what} must have 2 or 4 dimensions, got {value.type}")
    return found


class ConcatOp(
    GradCAM.Operation, name="concat", traits=[ext.Pure, Forward(), Gradient(), KeepsNonnegative(), AlignsParts()]
):
    """The channels of x, then those of y. x: 1xC..., y: 1xD..., z: 1x(C+D)...

    Quantized: each operand is brought to the scales that the result has for its channels.
    """

    x: ext.Operand[Any]
    y: ext.Operand[Any]
    z: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _, first, *size = _map_or_vector(op.operands[0], "first input")
        _, second, *other = _map_or_vector(op.operands[1], "second input")
        require(len(size) == len(other), "inputs must be two feature maps or two vectors")
        require(size == other, f"inputs must agree in height and width, got {by(size)} and {by(other)}")
        result_shape(op, [1, first + second, *size])


class TakeChannelsOp(
    GradCAM.Operation,
    name="take_channels",
    traits=[
        ext.Pure,
        Forward(),
        Gradient(),
        LinearInFirst(),
        Rowwise(),
        KeepsNonnegative(),
        KeepsScale(),
        MovesChannels(),
    ],
):
    """y[c] = x[order[c]], and 0 where order[c] is -1. No channel of x is taken twice. x: 1xC..., y: 1xD...

    A slice, a permutation such as torch.nn.functional.channel_shuffle, and their adjoints.
    """

    x: ext.Operand[Any]
    order: ir.ArrayAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _, channels, *size = _map_or_vector(op.operands[0], "input")
        order = order_of(op)
        taken = [c for c in order if c != -1]
        require(all(0 <= c < channels for c in taken), f"attribute 'order' must hold -1 or numbers below {channels}")
        require(len(set(taken)) == len(taken), "attribute 'order' must not take a channel twice")
        result_shape(op, [1, len(order), *size])


def channel_ranges(concat: Any) -> list[range]:
    """The channels of the result that each operand of a concat becomes."""
    first, total = shape(concat.operands[0])[1], shape(concat.results[0])[1]
    return [range(first), range(first, total)]


def joined(x: ir.Value, y: ir.Value) -> ir.Value:
    """The channels of `x`, then those of `y`, at the current insertion point."""
    _, channels, *size = shape(x)
    type_ = ir.RankedTensorType.get([1, channels + shape(y)[1], *size], ir.RankedTensorType(x.type).element_type)
    return ConcatOp(x, y, type_).result


def taken(x: ir.Value, order: Sequence[int]) -> ir.Value:
    """`x` with its channels in `order`, at the current insertion point; `x` itself where that changes nothing."""
    _, channels, *size = shape(x)
    if list(order) == list(range(channels)):
        return x
    type_ = ir.RankedTensorType.get([1, len(order), *size], ir.RankedTensorType(x.type).element_type)
    integer = ir.IntegerType.get_signless(64)
    return TakeChannelsOp(x, ir.ArrayAttr.get([ir.IntegerAttr.get(integer, c) for c in order]), type_).result


def order_of(take: Any) -> list[int]:
    """The attribute `order` of a take_channels."""
    return [ir.IntegerAttr(c).value for c in ir.ArrayAttr(take.attributes["order"])]


def inverse(order: Sequence[int], channels: int) -> list[int]:
    """The order that brings `channels` channels back to their places, with -1 for those that `order` does not take."""
    back = [-1] * channels
    for place, channel in enumerate(order):
        if channel >= 0:
            back[channel] = place
    return back
