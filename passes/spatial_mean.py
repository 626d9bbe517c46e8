"""Patterns for `channel_weights`: the spatial mean of a gradient rarely needs the gradient itself."""

from __future__ import annotations

import math
from typing import Any

from torch_mlir import ir

from gradcam.dialect import adjoint_ops, cam_ops, ops
from gradcam.dialect.verify import ints, shape
from gradcam.passes.rewrites import flat, integers, is_point, like, rebuilt, scaled


def mean_of_point(op: Any) -> ir.Value | None:
    """channel_weights(g) -> flatten(g) for a 1x1 map."""
    return flat(op.g) if is_point(op.g) else None


def mean_of_avg_pool_adjoint(op: Any) -> ir.Value | None:
    """channel_weights(avg_pool2d_adjoint(g)) -> channel_weights(g) * OH*OW / (H*W).

    A pool hands on each gradient whole, in shares that sum to 1, unless part of it falls on padding that counts.
    """
    pool = op.g.owner
    if not isinstance(pool, adjoint_ops.AvgPool2dAdjointOp):
        return None
    if ints(pool, "padding", 2, 0) != [0, 0] and bool(pool.count_include_pad.value):
        return None
    return scaled(rebuilt(op, pool.g), _area(pool.g) / _area(pool.gx))


def mean_of_pointwise_adjoint(op: Any) -> ir.Value | None:
    """channel_weights(conv2d_adjoint(g, w)) -> flatten(conv2d_adjoint(channel_weights(g), w)) * OH*OW / (H*W), w 1x1.

    Without padding every gradient reaches the input, at any stride.
    """
    conv = op.g.owner
    if not isinstance(conv, adjoint_ops.Conv2dAdjointOp) or shape(conv.w)[2:] != [1, 1] or is_point(conv.gx):
        return None
    if ints(conv, "padding", 2, 0) != [0, 0]:
        return None
    out = shape(conv.g)[1]
    mean = cam_ops.ChannelWeightsOp(conv.g, like(conv.g, [1, out])).result
    point = adjoint_ops.UnflattenOp(mean, like(conv.g, [1, out, 1, 1])).result
    return scaled(_tap_product(conv, point), _area(conv.g) / _area(conv.gx))


def mean_of_conv2d_adjoint(op: Any) -> ir.Value | None:
    """channel_weights(conv2d_adjoint(g, w)) -> flatten(conv2d_adjoint(avg_pool2d(g), w)) at stride 1.

    Tap (i, j) of the kernel moves the gradient by (padding - i*dilation, ...); what lands inside the input is the sum
    of g over a window of HxW at that offset. The windows of all taps are one average pool of g with kernel HxW, padding
    (K-1)*dilation - padding and stride `dilation`: KxK border sums, the last tap first. Their product with the kernel
    is a conv2d_adjoint with a single output position, which reads the layer's own weight.
    """
    conv = op.g.owner
    if not isinstance(conv, adjoint_ops.Conv2dAdjointOp) or is_point(conv.gx) or ints(conv, "stride", 2, 1) != [1, 1]:
        return None
    size, kernel, dilation = shape(conv.gx)[2:], shape(conv.w)[2:], ints(conv, "dilation", 2, 1)
    padding = [(k - 1) * d - p for k, d, p in zip(kernel, dilation, ints(conv, "padding", 2, 0), strict=True)]
    if kernel == [1, 1] or any(p < 0 or 2 * p > n for p, n in zip(padding, size, strict=True)):
        return None
    sums = ops.AvgPool2dOp(
        conv.g,
        integers(*size),
        integers(*dilation),
        integers(*padding),
        integers(1, 1),
        ir.BoolAttr.get(True),
        like(conv.g, [1, shape(conv.g)[1], *kernel]),
    ).result
    return _tap_product(conv, sums)


def mean_of_add(op: Any) -> ir.Value | None:
    """channel_weights(add(x, y)) -> add(channel_weights(x), channel_weights(y)) where that frees an adjoint."""
    total = op.g.owner
    if not isinstance(total, ops.AddOp):
        return None
    freed = (adjoint_ops.Conv2dAdjointOp, adjoint_ops.AvgPool2dAdjointOp, ops.AddOp)
    if not any(isinstance(x.owner, freed) for x in total.operands):
        return None
    x, y = (rebuilt(op, x) for x in total.operands)
    return ops.AddOp(x, y, op.y.type).result


#: In this order: the cheaper form first.
PATTERNS = (mean_of_point, mean_of_avg_pool_adjoint, mean_of_pointwise_adjoint, mean_of_conv2d_adjoint, mean_of_add)


def _area(value: ir.Value) -> int:
    return math.prod(shape(value)[2:])


def _tap_product(conv: Any, sums: ir.Value) -> ir.Value:
    """sum over o, i, j of w[o,c,i,j] * sums[o, K-1-i, K-1-j], as 1xC; `sums` is 1xOxKHxKW."""
    _, channels, *_ = shape(conv.gx)
    padding = integers(*(k - 1 for k in shape(conv.w)[2:]))
    one = integers(1, 1)
    point = like(sums, [1, channels, 1, 1])
    return flat(adjoint_ops.Conv2dAdjointOp(sums, conv.w, one, padding, one, conv.groups, point).result)
