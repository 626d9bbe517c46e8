"""Patterns for `channel_weights`: the spatial mean of a gradient rarely needs the gradient itself."""

from __future__ import annotations

import math
from typing import Any

from torch_mlir import ir

from gradcam.dialect import adjoint_ops, ops, product_ops, resample_ops
from gradcam.dialect.adjoints import part_location
from gradcam.dialect.verify import is_padded, shape
from gradcam.passes.backward.rewrites import flat, integers, is_point, like, rebuilt, scaled

#: The adjoints of ops that change the size of a map by a ratio.
RESAMPLED = (resample_ops.Upsample2dAdjointOp, resample_ops.AdaptiveAvgPool2dAdjointOp)


def mean_of_point(op: Any) -> ir.Value | None:
    """channel_weights(g) -> flatten(g) for a 1x1 map."""
    return flat(op.g) if is_point(op.g) else None


def mean_of_avg_pool_adjoint(op: Any) -> ir.Value | None:
    """channel_weights(avg_pool2d_adjoint(g)) -> channel_weights(g) * OH*OW / (H*W).

    The shares of a gradient in its window sum to 1, unless some of them fall on padding that counts in the divisor.
    """
    pool = op.g.owner
    if not isinstance(pool, adjoint_ops.AvgPool2dAdjointOp):
        return None
    if is_padded(pool) and bool(pool.count_include_pad.value):
        return None
    return scaled(rebuilt(op, pool.g), _area(pool.g) / _area(pool.gx))


def mean_of_moved(op: Any) -> ir.Value | None:
    """channel_weights(max_pool2d_adjoint(g, x)) -> channel_weights(g) * OH*OW / (H*W): x is not read.

    Every gradient goes whole to one element. Alike for upsample2d_adjoint, and for adaptive_avg_pool2d_adjoint, which
    divides it among several.
    """
    inner = op.g.owner
    if not isinstance(inner, (adjoint_ops.MaxPool2dAdjointOp, *RESAMPLED)):
        return None
    return scaled(rebuilt(op, inner.g), _area(inner.g) / _area(inner.gx))


def mean_of_batch_norm_adjoint(op: Any) -> ir.Value | None:
    """channel_weights(batch_norm_adjoint(g)) -> flatten(batch_norm_adjoint(channel_weights(g)))."""
    norm = op.g.owner
    if not isinstance(norm, adjoint_ops.BatchNormAdjointOp) or is_point(norm.gx):
        return None
    channels = shape(norm.g)[1]
    point = adjoint_ops.UnflattenOp(rebuilt(op, norm.g), like(norm.g, [1, channels, 1, 1])).result
    return flat(rebuilt(norm, point, point.type))


def mean_of_conv2d_adjoint(op: Any) -> ir.Value | None:
    """channel_weights(conv2d_adjoint(g, w)) -> flatten(conv2d_adjoint(tap_sums(g), w)) / (H*W).

    Tap (i, j) of the kernel moves the gradient to (h*stride + i*dilation - padding, ...). For each tap the mean only
    needs the sum of the gradients that it moves to positions inside the input. So these KxK sums are multiplied with
    the kernel, by a conv2d_adjoint with a single output position, which reads the layer's own weight. Where another op
    reads the gradient, too, the pattern does not apply: the gradient is computed anyway, and its mean is cheaper.
    """
    conv = op.g.owner
    if not isinstance(conv, adjoint_ops.Conv2dAdjointOp) or is_point(conv.gx) or not _read_once(conv.gx):
        return None
    size, kernel = shape(conv.gx)[2:], shape(conv.w)[2:]
    sums_type = like(conv.g, [1, shape(conv.g)[1], *kernel])
    window = (integers(*kernel), conv.stride, conv.padding, conv.dilation)
    sums = adjoint_ops.TapSumsOp(conv.g, *window, integers(*size), sums_type).result
    point = like(sums, [1, shape(conv.gx)[1], 1, 1])
    one, last = integers(1, 1), integers(*(k - 1 for k in kernel))
    product = adjoint_ops.Conv2dAdjointOp(sums, conv.w, one, last, one, conv.groups, point).result
    return scaled(flat(product), 1 / math.prod(size))


def mean_of_gate(op: Any) -> ir.Value | None:
    """channel_weights(mul(g, s)) -> mul(channel_weights(g), s) for an s with one number per channel."""
    product = op.g.owner
    if not _is_gate(product) or not _read_once(product.z):
        return None
    numbers = product.y if len(shape(product.y)) == 2 else flat(product.y)
    return product_ops.MulOp(rebuilt(op, product.x), numbers, op.y.type).result


def _is_gate(op: Any) -> bool:
    """Whether an op multiplies a map by one number per channel."""
    return isinstance(op, product_ops.MulOp) and shape(op.x) != shape(op.y)


def mean_of_add(op: Any) -> ir.Value | None:
    """channel_weights(add(x, y)) -> add(channel_weights(x), channel_weights(y)) where that frees an adjoint."""
    total = op.g.owner
    if not isinstance(total, ops.AddOp) or not _read_once(total.z):
        return None
    freed = (
        adjoint_ops.Conv2dAdjointOp,
        adjoint_ops.AvgPool2dAdjointOp,
        adjoint_ops.MaxPool2dAdjointOp,
        adjoint_ops.BatchNormAdjointOp,
        *RESAMPLED,
        ops.AddOp,
    )
    if not any((isinstance(x.owner, freed) or _is_gate(x.owner)) and _read_once(x) for x in total.operands):
        return None
    means = []
    for number, x in enumerate(total.operands):
        with part_location(op, f"term{number}"):  # several terms are stored, and a trace tells them apart by name
            means.append(rebuilt(op, x))
    return ops.AddOp(*means, op.y.type).result


PATTERNS = (
    mean_of_point,
    mean_of_avg_pool_adjoint,
    mean_of_moved,
    mean_of_batch_norm_adjoint,
    mean_of_conv2d_adjoint,
    mean_of_gate,
    mean_of_add,
)


def _area(value: ir.Value) -> int:
    return math.prod(shape(value)[2:])


def _read_once(value: ir.Value) -> bool:
    """Whether the value has a single use, so that its op is erased together with that use."""
    return len(list(value.uses)) == 1
