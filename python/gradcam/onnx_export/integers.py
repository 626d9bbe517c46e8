"""Quantized ops as ONNX operators that compute the integers of the reference.

Integers are numbers of float64, which holds every one below 2^53: sums of products are below 2^31, and their products
with multipliers below 2^47. So a rescale is exact, and its shift is a multiplication by a power of two and a floor.
Convolutions are ConvInteger. Both of its operands are unsigned, with a zero point for what has a sign: products of
unsigned and signed bytes saturate on processors whose instructions add pairs of them in 16 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcam.adaptive import axes_of
from gradcam.bits import whole_bits
from gradcam.dialect import adjoint_ops, cam_ops, channel_ops, ops, product_ops, resample_ops
from gradcam.dialect.verify import ints, is_padded, shape, sides
from gradcam.errors import fail
from gradcam.onnx_export import explanation, forward
from gradcam.onnx_export.adjoints import cut, pool_windows, scattered, tap_sums, turned
from gradcam.onnx_export.attributes import window
from gradcam.onnx_export.graph import Graph, Rule
from gradcam.passes.ir.channel_affine import affine_rescale
from gradcam.passes.ir.constants import read_constant
from gradcam.quant_types import (
    INT8_LEVELS,
    is_accumulator,
    is_narrow,
    is_unsigned,
    operand_rescale,
    part_rescale,
    result_rescale,
    storage_bits,
    storage_limits,
)
from gradcam.windows import average_of

#: What a signed byte gets added to become an unsigned one.
ZERO_POINT = 128


# Rescales.


def along(graph: Graph, values: Any, ndim: int) -> str:
    """One number, or one per channel, as a constant that broadcasts against 1xCx... of `ndim` dimensions."""
    array = np.asarray(values)
    return graph.constant(array.reshape(-1, *[1] * (ndim - 2)) if array.ndim else array)


def rescale(graph: Graph, acc: str, m: Any, s: int, ndim: int) -> str:
    """(acc * m + (1 << (s - 1))) >> s."""
    return shifted(graph, graph("Mul", acc, along(graph, m, ndim)), 1 << (s - 1), s, ndim)


def shifted(graph: Graph, x: str, offset: Any, s: int, ndim: int) -> str:
    """(x + offset) >> s."""
    return graph("Floor", graph("Mul", graph("Add", x, along(graph, offset, ndim)), graph.constant(2.0**-s)))


def clip(graph: Graph, x: str, low: float, high: float) -> str:
    """x from `low` to `high`."""
    return graph("Clip", x, graph.constant(low), graph.constant(high))


def store(graph: Graph, op: Any, x: str) -> str:
    """Saturates a rescaled value to a narrow type."""
    return clip(graph, x, *storage_limits(op.results[0])) if is_narrow(op.results[0]) else x


def rescaled(graph: Graph, op: Any, acc: str) -> str:
    """Exact results at the scale and in the storage of the op's result."""
    return store(graph, op, rescale(graph, acc, *result_rescale(op), len(shape(op.results[0]))))


def finish(graph: Graph, op: Any, acc: str, bias: str | None = None) -> str:
    """Adds the bias to accumulators and brings them to the scale of the result."""
    if bias is not None:
        acc = graph("Add", acc, graph.reshape(bias, [-1, *[1] * (len(shape(op.results[0])) - 2)]))
    return acc if is_accumulator(op) else rescaled(graph, op, acc)


def by_constants(graph: Graph, x: str, constants: tuple[np.ndarray, int] | None, ndim: int) -> str:
    """x rescaled, or as it is where there are no multipliers and shift."""
    return x if constants is None else rescale(graph, x, *constants, ndim)


def at_scale(graph: Graph, op: Any, index: int, x: str, factor: float = 1.0) -> str:
    """Operand `index`, times `factor`, at the scale of the result."""
    constants = operand_rescale(op.operands[index], op.results[0], factor)
    return by_constants(graph, x, constants, len(shape(op.operands[index])))


# Sums of products.


def _convolved(graph: Graph, op: Any, x: str, weights: np.ndarray, **attributes: Any) -> str:
    """The exact sums of a convolution of operand 0 of `op` with int8 weights, byte by byte of what is wider."""
    total, place = "", 1.0
    for part, zero in _bytes(graph, op.operands[0], x):
        unsigned = graph.constant(weights.astype(np.int16) + ZERO_POINT, np.uint8, "weight")
        points = (graph.constant(point, np.uint8) for point in (zero, ZERO_POINT))
        sums = graph.cast(graph("ConvInteger", part, unsigned, *points, **attributes), graph.dtype)
        share = graph("Mul", sums, graph.constant(place)) if total else sums
        total, place = graph("Add", total, share) if total else share, place * 256
    return total


def _bytes(graph: Graph, value: Any, x: str) -> list[tuple[str, int]]:
    """The bytes of which integers consist, as uint8, the lowest one first, and the zero point of each."""
    parts = list[tuple[str, int]]()
    for _ in range(whole_bits(storage_bits(value)) // 8 - 1):
        upper = graph("Floor", graph("Mul", x, graph.constant(1 / 256)))
        lower = graph("Sub", x, graph("Mul", upper, graph.constant(256)))
        parts.append((graph.cast(lower, np.uint8), 0))
        x = upper
    zero = 0 if is_unsigned(value) else ZERO_POINT
    return [*parts, (graph.cast(graph("Add", x, graph.constant(zero)) if zero else x, np.uint8), zero)]


def _weights(op: Any) -> np.ndarray:
    """The constant integers of operand 1."""
    stored = op.operands[1].owner
    array = read_constant(stored.operands[0] if stored.operation.name == "quant.scast" else op.operands[1])
    if array is None:
        raise fail(op, f"'{op.operation.name}' of weights that are no constant has no form in ONNX")
    return array


def _conv2d(graph: Graph, op: Any, x: str, _: str, bias: str | None = None) -> str:
    weights = _weights(op)
    attributes = window(op, weights.shape[2:])
    return finish(graph, op, _convolved(graph, op, x, weights, group=ops.groups_of(op), **attributes), bias)


def _conv2d_adjoint(graph: Graph, op: Any, g: str, _: str) -> str:
    """A convolution of the gradient, with zeros between its elements where the forward one had a stride."""
    weights, stride, size = _weights(op), ints(op, "stride", 2, 1), shape(op.results[0])[2:]
    channels, *out = shape(op.operands[0])[1:]
    attributes, (low, _high) = window(op, weights.shape[2:]), sides(op)
    if stride != [1, 1]:
        apart = graph.reshape(g, [1, channels, out[0], 1, out[1], 1])
        pads = [0] * 9 + [stride[0] - 1, 0, stride[1] - 1]
        g = graph.reshape(
            graph("Pad", apart, graph.integers(*pads)),
            [1, channels, *(n * s for n, s in zip(out, stride, strict=True))],
        )
    reach = [d * (k - 1) for d, k in zip(attributes["dilations"], weights.shape[2:], strict=True)]
    before = [r - p for r, p in zip(reach, low, strict=True)]
    behind = [n + r - o * s - b for n, r, o, s, b in zip(size, reach, out, stride, before, strict=True)]
    around = [*before, *behind]
    attributes |= {"pads": [max(0, n) for n in around], "strides": [1, 1]}
    groups = ops.groups_of(op)
    sums = _convolved(graph, op, g, turned(weights, groups), group=groups, **attributes)
    return rescaled(graph, op, cut(graph, sums, [max(0, -n) for n in around], size))


def _linear(graph: Graph, op: Any, x: str, w: str, bias: str | None = None) -> str:
    return finish(graph, op, graph("MatMul", x, graph("Transpose", w, perm=[1, 0])), bias)


def _linear_adjoint(graph: Graph, op: Any, g: str, w: str) -> str:
    return rescaled(graph, op, graph("MatMul", g, w))


# Layers.


def _add(graph: Graph, op: Any, x: str, y: str) -> str:
    return store(graph, op, graph("Add", at_scale(graph, op, 0, x), at_scale(graph, op, 1, y)))


def _requantize(graph: Graph, op: Any, x: str) -> str:
    return store(graph, op, at_scale(graph, op, 0, x))


def _channel_affine(graph: Graph, op: Any, x: str, *_parameters: str) -> str:
    (m, b, s), ndim = affine_rescale(op), len(shape(op.results[0]))
    product = graph("Mul", x, along(graph, m.astype(np.int64), ndim))
    return store(graph, op, shifted(graph, product, b.astype(np.int64), s, ndim))


def _same(graph: Graph, op: Any, x: str) -> str:
    """The integers as they are, at another scale."""
    return x


def _concat(graph: Graph, op: Any, *parts: str) -> str:
    ndim = len(shape(op.results[0]))
    stored = (store(graph, op, by_constants(graph, x, part_rescale(op, n), ndim)) for n, x in enumerate(parts))
    return graph("Concat", *stored, axis=1)


def _mul(graph: Graph, op: Any, x: str, y: str) -> str:
    map_, numbers = (shape(operand) for operand in op.operands)
    factor = y if len(map_) == len(numbers) else graph.reshape(y, [*numbers, 1, 1])
    return rescaled(graph, op, graph("Mul", x, factor))


def _product_sums(graph: Graph, op: Any, x: str, y: str) -> str:
    sums = graph.sum(graph("Mul", x, y), (2, 3), keep=len(shape(op.results[0])) == 4)
    return rescaled(graph, op, sums)


# Pools and other windows.


def _max_pool(graph: Graph, op: Any, x: str) -> Any:
    """Padding is the smallest integer, and may be the first maximum."""
    attributes = window(op, ints(op, "kernel", 2, 1))
    if is_padded(op):
        x, attributes["pads"] = forward.padded(graph, op, x, storage_limits(op.operands[0])[0]), [0, 0, 0, 0]
    return graph.node("MaxPool", x, **attributes)


def _max_pool2d(graph: Graph, op: Any, x: str) -> str:
    return _max_pool(graph, op, x).output[0]


def _max_pool2d_index(graph: Graph, op: Any, x: str) -> str:
    return graph.indices(_max_pool(graph, op, x))


def _max_unpool2d(graph: Graph, op: Any, g: str, places: str) -> str:
    return rescaled(graph, op, scattered(graph, op, g, places, sides(op)))


def _avg_pool2d(graph: Graph, op: Any, x: str) -> str:
    rows, columns = pool_windows(op, shape(op.operands[0])[2:], shape(op.results[0])[2:])
    weights = average_of(op).weights
    sums = graph.separable(x, rows, columns)
    return finish(graph, op, sums if weights is None else graph("Mul", sums, graph.constant(weights)))


def _avg_pool2d_adjoint(graph: Graph, op: Any, g: str) -> str:
    rows, columns = pool_windows(op, shape(op.results[0])[2:], shape(op.operands[0])[2:])
    weights = average_of(op).weights
    shares = g if weights is None else graph("Mul", g, graph.constant(weights))
    return rescaled(graph, op, graph.separable(shares, rows.T, columns.T))


def _tap_sums(graph: Graph, op: Any, g: str) -> str:
    return rescaled(graph, op, tap_sums(graph, op, g))


def _channel_weights(graph: Graph, op: Any, g: str) -> str:
    return rescaled(graph, op, graph.sum(g, (2, 3)))


def _upsample2d(graph: Graph, op: Any, x: str) -> str:
    return graph.separable(x, *(m.T for m in _blocks(shape(op.operands[0])[2:], op)))


def _upsample2d_adjoint(graph: Graph, op: Any, g: str) -> str:
    return rescaled(graph, op, graph.separable(g, *_blocks(shape(op.results[0])[2:], op)))


def _blocks(size: Sequence[int], op: Any) -> list[np.ndarray]:
    """Which elements of an upsampled map each one of `size` has become, for rows and columns."""
    return [np.repeat(np.eye(n), k, 1) for n, k in zip(size, ints(op, "kernel", 2, 1), strict=True)]


def _adaptive(graph: Graph, op: Any, x: str) -> str:
    return finish(graph, op, graph.separable(x, *(axis.weights for axis in axes_of(op))))


# The explanation.


def _one_hot(graph: Graph, op: Any, cls: str) -> str:
    return graph("Mul", explanation.RULES[cam_ops.OneHotOp](graph, op, cls), graph.constant(INT8_LEVELS))


#: The rules by op class; the others are those of the float program, which move integers or choose classes.
RULES: dict[Any, Rule] = {
    ops.Conv2dOp: _conv2d,
    ops.LinearOp: _linear,
    ops.AddOp: _add,
    ops.BatchNormOp: _channel_affine,
    ops.MaxPool2dOp: _max_pool2d,
    ops.AvgPool2dOp: _avg_pool2d,
    ops.FlattenOp: forward.RULES[ops.FlattenOp],
    adjoint_ops.UnflattenOp: forward.RULES[adjoint_ops.UnflattenOp],
    adjoint_ops.RequantizeOp: _requantize,
    adjoint_ops.BatchNormAdjointOp: _channel_affine,
    adjoint_ops.Conv2dAdjointOp: _conv2d_adjoint,
    adjoint_ops.LinearAdjointOp: _linear_adjoint,
    adjoint_ops.AvgPool2dAdjointOp: _avg_pool2d_adjoint,
    adjoint_ops.TapSumsOp: _tap_sums,
    adjoint_ops.MaxPool2dIndexOp: _max_pool2d_index,
    adjoint_ops.MaxUnpool2dOp: _max_unpool2d,
    channel_ops.ConcatOp: _concat,
    channel_ops.TakeChannelsOp: forward.RULES[channel_ops.TakeChannelsOp],
    product_ops.MulOp: _mul,
    product_ops.ProductSumsOp: _product_sums,
    resample_ops.Upsample2dOp: _upsample2d,
    resample_ops.Upsample2dAdjointOp: _upsample2d_adjoint,
    resample_ops.AdaptiveAvgPool2dOp: _adaptive,
    resample_ops.AdaptiveAvgPool2dAdjointOp: _adaptive,
    cam_ops.ScaleOp: _same,
    cam_ops.TargetOp: _same,
    cam_ops.OneHotOp: _one_hot,
    cam_ops.ChannelWeightsOp: _channel_weights,
    **{op: explanation.RULES[op] for op in (cam_ops.SelectClassOp, cam_ops.NextClassOp, cam_ops.ClassRowOp)},
    cam_ops.WeightedSumOp: explanation.RULES[cam_ops.WeightedSumOp],
    cam_ops.PoolMapOp: explanation.pool_sums,
}
