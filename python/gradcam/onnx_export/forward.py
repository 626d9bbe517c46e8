"""Layers of a network, and what puts their channels together and takes them apart, as ONNX operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcam.adaptive import axes_of
from gradcam.dialect import adjoint_ops, cam_ops, channel_ops, ops, product_ops, resample_ops
from gradcam.dialect.verify import ints, is_padded, shape, sides
from gradcam.onnx_export.attributes import flag, real, window
from gradcam.onnx_export.graph import Graph, Rule


def _conv2d(graph: Graph, op: Any, x: str, *parameters: str) -> str:
    return graph("Conv", x, *parameters, group=ops.groups_of(op), **window(op, shape(op.operands[1])[2:]))


def _linear(graph: Graph, op: Any, x: str, *parameters: str) -> str:
    return graph("Gemm", x, *parameters, transB=1)


def _batch_norm(graph: Graph, op: Any, x: str, gamma: str, beta: str, mean: str, var: str) -> str:
    return graph("BatchNormalization", x, gamma, beta, mean, var, epsilon=real(op, "eps"))


def _avg_pool2d(graph: Graph, op: Any, x: str) -> str:
    kernel, counts_padding = ints(op, "kernel", 2, 1), flag(op, "count_include_pad")
    if kernel == shape(op.operands[0])[2:] and not is_padded(op):
        return graph("GlobalAveragePool", x)
    attributes = window(op, kernel)
    del attributes["dilations"]  # since opset 19, and always 1 here
    if counts_padding and is_padded(op):  # runtimes refuse padding as large as the window, which is a pad with zeros
        x, attributes["pads"] = padded(graph, op, x, 0.0), [0, 0, 0, 0]
    if kernel == [1, 1] and attributes["strides"] == [1, 1]:
        return x
    return graph("AveragePool", x, **attributes)


def padded(graph: Graph, op: Any, x: str, value: float) -> str:
    """`x` with the padding of the op's window."""
    (top, left), (bottom, right) = sides(op)
    return graph("Pad", x, graph.integers(0, 0, top, left, 0, 0, bottom, right), graph.constant(value))


def _flatten(graph: Graph, op: Any, x: str) -> str:
    return graph("Flatten", x, axis=1)


def _unflatten(graph: Graph, op: Any, x: str) -> str:
    return graph.reshape(x, [-1, *shape(op.results[0])[1:]])


def _same(graph: Graph, op: Any, x: str) -> str:
    """The value itself: what only names it, or changes how it is stored in int8."""
    return x


def _add(graph: Graph, op: Any, x: str, y: str) -> str:
    return graph("Add", x, y)


def _mul(graph: Graph, op: Any, x: str, y: str) -> str:
    map_, numbers = (shape(operand) for operand in op.operands)
    return graph("Mul", x, y if len(map_) == len(numbers) else graph.reshape(y, [*numbers, 1, 1]))


def _product_sums(graph: Graph, op: Any, x: str, y: str) -> str:
    return graph.sum(graph("Mul", x, y), (2, 3), keep=len(shape(op.results[0])) == 4)


def _scale(graph: Graph, op: Any, x: str) -> str:
    return graph("Mul", x, graph.constant(real(op, "factor")))


def _concat(graph: Graph, op: Any, x: str, y: str) -> str:
    return graph("Concat", x, y, axis=1)


def _take_channels(graph: Graph, op: Any, x: str) -> str:
    order, channels = channel_ops.order_of(op), shape(op.operands[0])[1]
    if -1 in order:  # a channel of zeros behind the others
        pads = [0] * 2 * len(shape(op.operands[0]))
        pads[len(pads) // 2 + 1] = 1
        x, order = graph("Pad", x, graph.integers(*pads)), [channels if c == -1 else c for c in order]
    return taken(graph, x, order)


def taken(graph: Graph, x: str, order: Sequence[int]) -> str:
    """The channels `order` of x."""
    if list(order) == list(range(order[0], order[0] + len(order))):
        return graph("Slice", x, *(graph.integers(n) for n in (order[0], order[-1] + 1, 1)))
    return graph("Gather", x, graph.integers(*order), axis=1)


def _upsample2d(graph: Graph, op: Any, x: str) -> str:
    scales = graph.constant([1, 1, *ints(op, "kernel", 2, 1)])
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph("Resize", x, "", scales, **nearest)


def _upsample2d_adjoint(graph: Graph, op: Any, g: str) -> str:
    factors = zip(shape(op.results[0])[2:], ints(op, "kernel", 2, 1), strict=True)
    return graph.separable(g, *(np.repeat(np.eye(size), factor, 1) for size, factor in factors))


def _adaptive(graph: Graph, op: Any, x: str) -> str:
    return graph.separable(x, *(axis.weights / axis.divisor for axis in axes_of(op)))


#: The rules by op class.
RULES: dict[Any, Rule] = {
    ops.Conv2dOp: _conv2d,
    ops.LinearOp: _linear,
    ops.BatchNormOp: _batch_norm,
    ops.AvgPool2dOp: _avg_pool2d,
    ops.FlattenOp: _flatten,
    ops.AddOp: _add,
    adjoint_ops.UnflattenOp: _unflatten,
    adjoint_ops.RequantizeOp: _same,
    cam_ops.TargetOp: _same,
    cam_ops.ScaleOp: _scale,
    product_ops.MulOp: _mul,
    product_ops.ProductSumsOp: _product_sums,
    channel_ops.ConcatOp: _concat,
    channel_ops.TakeChannelsOp: _take_channels,
    resample_ops.Upsample2dOp: _upsample2d,
    resample_ops.Upsample2dAdjointOp: _upsample2d_adjoint,
    resample_ops.AdaptiveAvgPool2dOp: _adaptive,
    resample_ops.AdaptiveAvgPool2dAdjointOp: _adaptive,
}
