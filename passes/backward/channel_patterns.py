"""Patterns for ops that move channels: most concatenations and slices of the backward pass cancel."""

from __future__ import annotations

from typing import Any

from torch_mlir import ir

from gradcam.dialect import adjoint_ops, cam_ops, ops
from gradcam.dialect.channel_ops import ConcatOp, TakeChannelsOp, channel_ranges, joined, order_of, taken
from gradcam.dialect.verify import shape
from gradcam.passes.backward.rewrites import Pattern, like, rebuilt, scaled


def drop_identity(op: Any) -> ir.Value | None:
    """take_channels(x) -> x where every channel keeps its place."""
    return op.x if order_of(op) == list(range(shape(op.x)[1])) else None


def merge_takes(op: Any) -> ir.Value | None:
    """take_channels(take_channels(x)) -> take_channels(x)."""
    inner = op.x.owner
    if not isinstance(inner, TakeChannelsOp):
        return None
    first = order_of(inner)
    return taken(inner.x, [-1 if c < 0 else first[c] for c in order_of(op)])


def take_of_part(op: Any) -> ir.Value | None:
    """take_channels(concat(x, y)) -> take_channels(x) where all channels that are taken are those of x, alike for y."""
    inner, order = op.x.owner, order_of(op)
    if not isinstance(inner, ConcatOp):
        return None
    for part, channels in zip(inner.operands, channel_ranges(inner), strict=True):
        if all(c in channels for c in order if c >= 0):
            return taken(part, [-1 if c < 0 else c - channels.start for c in order])
    return None


def sum_of_takes(op: Any) -> ir.Value | None:
    """add(take_channels(x), take_channels(y)) -> take_channels(concat(x, y)) where one of both is 0 in each channel."""
    x, y = op.x.owner, op.y.owner
    if not (isinstance(x, TakeChannelsOp) and isinstance(y, TakeChannelsOp)):
        return None
    first, second = order_of(x), order_of(y)
    if any(a >= 0 and b >= 0 for a, b in zip(first, second, strict=True)):
        return None
    channels = shape(x.x)[1]
    return taken(joined(x.x, y.x), [b + channels if b >= 0 else a for a, b in zip(first, second, strict=True)])


def pull_scale_of_parts(op: Any) -> ir.Value | None:
    """concat(scale(x), scale(y)) -> scale(concat(x, y)) for equal factors."""
    x, y = op.x.owner, op.y.owner
    if not all(isinstance(inner, cam_ops.ScaleOp) for inner in (x, y)) or x.factor.value != y.factor.value:
        return None
    return scaled(joined(x.x, y.x), x.factor.value)


def mean_of_take(op: Any) -> ir.Value | None:
    """channel_weights(take_channels(g)) -> take_channels(channel_weights(g)) where that frees an adjoint."""
    take = op.g.owner
    if not isinstance(take, TakeChannelsOp) or not all(len(list(v.uses)) == 1 for v in (take.x, take.y)):
        return None
    freed = (
        adjoint_ops.Conv2dAdjointOp,
        adjoint_ops.AvgPool2dAdjointOp,
        adjoint_ops.MaxPool2dAdjointOp,
        ConcatOp,
        ops.AddOp,
    )
    if not isinstance(take.x.owner, freed):
        return None
    return taken(rebuilt(op, take.x, like(take.x, shape(take.x)[:2])), order_of(take))


def mean_of_concat(op: Any) -> ir.Value | None:
    """channel_weights(concat(x, y)) -> concat(channel_weights(x), channel_weights(y))."""
    concat = op.g.owner
    if not isinstance(concat, ConcatOp) or len(list(concat.z.uses)) != 1:
        return None
    return joined(*(rebuilt(op, part, like(part, shape(part)[:2])) for part in concat.operands))


PATTERNS: dict[type, list[Pattern]] = {
    TakeChannelsOp: [drop_identity, merge_takes, take_of_part],
    ConcatOp: [pull_scale_of_parts],
    ops.AddOp: [sum_of_takes],
    cam_ops.ChannelWeightsOp: [mean_of_take, mean_of_concat],
}
