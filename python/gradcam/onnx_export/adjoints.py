"""Adjoints of the layers as ONNX operators: no operator of ONNX differentiates, so these compute the formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradcam.dialect import adjoint_ops, ops
from gradcam.dialect.verify import ints, shape, sides
from gradcam.onnx_export.attributes import flag, real, window
from gradcam.onnx_export.forward import padded
from gradcam.onnx_export.graph import Graph, Rule


def _linear_adjoint(graph: Graph, op: Any, g: str, w: str) -> str:
    return graph("MatMul", g, w)


def _conv2d_adjoint(graph: Graph, op: Any, g: str, w: str) -> str:
    """A ConvTranspose with the weights as the forward pass has them.

    The forward pass may leave out rows and columns at the end; `output_padding` gives them back.
    """
    attributes, size = window(op, shape(op.operands[1])[2:]), shape(op.results[0])[2:]
    low, _ = sides(op)
    axes = zip(size, low, shape(op.operands[0])[2:], *(attributes[n] for n in _WINDOW), strict=True)
    missing = [n - (s * (out - 1) + d * (k - 1) + 1 - p) for n, p, out, k, s, d in axes]
    attributes["pads"] = [*low, *(max(0, -m) for m in missing)]
    attributes["output_padding"] = [max(0, m) for m in missing]
    return graph("ConvTranspose", g, w, group=ops.groups_of(op), **attributes)


_WINDOW = ("kernel_shape", "strides", "dilations")


def _tap_sums(graph: Graph, op: Any, g: str) -> str:
    kernel, stride, dilation, size = (ints(op, name, 2, 1) for name in ("kernel", "stride", "dilation", "size"))
    axes = zip(kernel, stride, sides(op)[0], dilation, size, shape(op.operands[0])[2:], strict=True)
    return graph.separable(g, *(_taps(*axis)[::-1].any(2) for axis in axes))


def _taps(kernel: int, stride: int, low: int, dilation: int, size: int, out: int) -> np.ndarray:
    """Whether tap i at output position h reads element n of an axis of `size`: kernel x out x size."""
    position = np.arange(out) * stride - low + np.arange(kernel)[:, None] * dilation
    return position[:, :, None] == np.arange(size)


def _avg_pool2d_adjoint(graph: Graph, op: Any, g: str) -> str:
    """Each axis by itself: the divisor of a window is its height by its width."""
    (low, _), size, out = sides(op), shape(op.results[0])[2:], shape(op.operands[0])[2:]
    axes = zip(ints(op, "kernel", 2, 1), ints(op, "stride", 2, 1), low, [1, 1], size, out, strict=True)
    matrices = []
    for axis in axes:
        windows = _taps(*axis).any(0)
        matrices.append((windows / (axis[0] if flag(op, "count_include_pad") else windows.sum(1, keepdims=True))).T)
    if op.is_global:
        scaled = graph("Mul", g, graph.constant(1 / math.prod(size)))
        return graph("Expand", scaled, graph.integers(*shape(op.results[0])))
    return graph.separable(g, *matrices)


def _batch_norm_adjoint(graph: Graph, op: Any, g: str, gamma: str, var: str) -> str:
    deviation = graph("Sqrt", graph("Add", var, graph.constant(real(op, "eps"))))
    factor = graph("Div", gamma, deviation)
    return graph("Mul", g, factor if len(shape(op.operands[0])) == 2 else graph.reshape(factor, [-1, 1, 1]))


# Max-pools. The number of a tap that wins is the place of the maximum in the map here, as MaxPool gives it.


def _max_pool2d(graph: Graph, op: Any, x: str) -> str:
    return _pool(graph, op, x).output[0]


def _pool(graph: Graph, op: Any, x: str) -> Any:
    attributes = window(op, ints(op, "kernel", 2, 1))
    if _pads_apart(op):
        x, attributes["pads"] = padded(graph, op, x, -math.inf), [0, 0, 0, 0]
    return graph.node("MaxPool", x, **attributes)


def _pads_apart(op: Any) -> bool:
    """Whether a side has at least as much padding as the window has taps, which runtimes refuse in a pool."""
    return any(n >= k for side in sides(op) for n, k in zip(side, ints(op, "kernel", 2, 1), strict=True))


def _max_pool2d_index(graph: Graph, op: Any, x: str) -> str:
    pool = _pool(graph, op, x)
    if len(pool.output) == 1:
        pool.output.append(graph.name("Indices"))
    return pool.output[1]


def _max_unpool2d(graph: Graph, op: Any, g: str, places: str) -> str:
    """Adds each gradient to the element at its place, in a map as large as the one that was pooled."""
    channels, *size = shape(op.results[0])[1:]
    (top, left), (bottom, right) = sides(op) if _pads_apart(op) else ([0, 0], [0, 0])
    height, width = size[0] + top + bottom, size[1] + left + right
    zeros = graph("ConstantOfShape", graph.integers(channels * height * width))
    flat = [graph.reshape(value, [-1]) for value in (places, g)]
    found = graph("ScatterElements", zeros, *flat, axis=0, reduction="add")
    whole = graph.reshape(found, [1, channels, height, width])
    if [height, width] == size:
        return whole
    ends = [top + size[0], left + size[1]]
    return graph("Slice", whole, *(graph.integers(*n) for n in ([top, left], ends, [2, 3])))


def _max_pool2d_adjoint(graph: Graph, op: Any, g: str, x: str) -> str:
    return _max_unpool2d(graph, op, g, _max_pool2d_index(graph, op, x))


#: The rules by op class.
RULES: dict[Any, Rule] = {
    ops.MaxPool2dOp: _max_pool2d,
    adjoint_ops.LinearAdjointOp: _linear_adjoint,
    adjoint_ops.Conv2dAdjointOp: _conv2d_adjoint,
    adjoint_ops.TapSumsOp: _tap_sums,
    adjoint_ops.AvgPool2dAdjointOp: _avg_pool2d_adjoint,
    adjoint_ops.BatchNormAdjointOp: _batch_norm_adjoint,
    adjoint_ops.MaxPool2dIndexOp: _max_pool2d_index,
    adjoint_ops.MaxUnpool2dOp: _max_unpool2d,
    adjoint_ops.MaxPool2dAdjointOp: _max_pool2d_adjoint,
}
