"""The choice of the class and the formulas of the methods as ONNX operators."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.dialect import cam_ops
from gradcam.dialect.verify import shape
from gradcam.onnx_export.attributes import real
from gradcam.onnx_export.graph import Graph, Rule

_MAP = (2, 3)


def _select_class(graph: Graph, op: Any, logits: str, request: str) -> str:
    best = graph("ArgMax", logits, axis=1, keepdims=0)
    chosen = graph("Where", graph("Less", request, graph.integers(0)), best, request)
    return graph("Gather", _classes(graph, op), chosen)  # a class that does not exist is an error of the runtime


def _classes(graph: Graph, op: Any) -> str:
    """All classes, K numbers."""
    return graph.integers(*range(shape(op.operands[0])[1]))


def _next_class(graph: Graph, op: Any, logits: str, *chosen: str) -> str:
    places = graph("Concat", *chosen, axis=0)
    lowest = graph.constant(np.full((1, len(chosen)), -math.inf))
    others = graph("ScatterElements", logits, graph.reshape(places, [1, -1]), lowest, axis=1)
    return graph("ArgMax", others, axis=1, keepdims=0)


def _one_hot(graph: Graph, op: Any, cls: str) -> str:
    classes = graph.integers(*range(shape(op.results[0])[1]))
    return graph.cast(graph("Equal", classes, graph.reshape(cls, [-1, 1])), graph.dtype)


def _class_row(graph: Graph, op: Any, table: str, cls: str) -> str:
    return graph("Gather", table, cls, axis=0)


def _channel_weights(graph: Graph, op: Any, g: str) -> str:
    return graph("ReduceMean", g, axes=_MAP, keepdims=0)


def _xgradcam_weights(graph: Graph, op: Any, g: str, a: str) -> str:
    total = graph("Add", graph.sum(a, _MAP), graph.constant(real(op, "eps")))
    return graph("Div", graph.sum(graph("Mul", g, a), _MAP), total)


def _gradcam_plus_plus_weights(graph: Graph, op: Any, g: str, a: str) -> str:
    square = graph("Mul", g, g)
    terms = graph("Mul", graph("Add", graph.constant(2.0), graph("Mul", graph.sum(a, _MAP, keep=True), g)), square)
    alpha = graph("Div", square, graph("Add", terms, graph.constant(real(op, "eps"))))
    return graph.sum(graph("Mul", alpha, graph("Relu", g)), _MAP)


def _channel_sum(graph: Graph, op: Any, x: str) -> str:
    return graph.sum(x, [1])


def _weighted_sum(graph: Graph, op: Any, weights: str, a: str) -> str:
    channels, *size = shape(op.operands[1])[1:]
    if len(shape(op.operands[0])) == 4:
        return graph.sum(graph("Mul", weights, a), [1])
    flat = graph.reshape(a, [channels, math.prod(size)])
    return graph.reshape(graph("MatMul", weights, flat), [1, *size])


def pool_sums(graph: Graph, op: Any, x: str) -> str:
    """The sums of the blocks of a `gradcam.pool_map`."""
    size, (height, width) = ir.IntegerAttr(op.attributes["size"]).value, shape(op.results[0])[1:]
    starts, ends = graph.integers(0, 0), graph.integers(height * size, width * size)
    whole = graph("Slice", x, starts, ends, graph.integers(1, 2))
    return graph.sum(graph.reshape(whole, [1, height, size, width, size]), [2, 4])


def _pool_map(graph: Graph, op: Any, x: str) -> str:
    size = ir.IntegerAttr(op.attributes["size"]).value
    return graph("Mul", pool_sums(graph, op, x), graph.constant(1 / size**2))


#: The rules by op class.
RULES: dict[Any, Rule] = {
    cam_ops.SelectClassOp: _select_class,
    cam_ops.NextClassOp: _next_class,
    cam_ops.OneHotOp: _one_hot,
    cam_ops.ClassRowOp: _class_row,
    cam_ops.ChannelWeightsOp: _channel_weights,
    cam_ops.XGradCamWeightsOp: _xgradcam_weights,
    cam_ops.GradCamPlusPlusWeightsOp: _gradcam_plus_plus_weights,
    cam_ops.ChannelSumOp: _channel_sum,
    cam_ops.WeightedSumOp: _weighted_sum,
    cam_ops.PoolMapOp: _pool_map,
}
