"""Adjoints of the layers as ONNX operators: no operator of ONNX differentiates, so these compute the formulas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcam.dialect import adjoint_ops, ops
from gradcam.dialect.verify import ints, shape, sides
from gradcam.onnx_export.attributes import flag, real, window
from gradcam.onnx_export.forward import padded
from gradcam.onnx_export.graph import Graph, Rule
from gradcam.passes.ir.constants import read_constant


def _linear_adjoint(graph: Graph, op: Any, g: str, w: str) -> str:
    return graph("MatMul", g, w)


def _conv2d_adjoint(graph: Graph, op: Any, g: str, w: str) -> str:
    """A convolution with the weights turned around, which runtimes compute faster than a ConvTranspose of the same.

    Behind a stride it would multiply zeros, so that a ConvTranspose it is there, with the weights of the forward pass.
    """
    weights = read_constant(op.operands[1])
    if weights is None or ints(op, "stride", 2, 1) != [1, 1]:
        return _conv_transpose(graph, op, g, w)
    return _turned_around(graph, op, g, weights)


def _turned_around(graph: Graph, op: Any, g: str, weights: np.ndarray) -> str:
    """The adjoint of a convolution of stride 1: one with the taps in reverse order and the channels exchanged."""
    groups, kernel = ops.groups_of(op), weights.shape[2:]
    attributes = window(op, kernel)
    reach = [d * (k - 1) for d, k in zip(attributes["dilations"], kernel, strict=True)]
    around = [r - p for r, p in zip(2 * reach, attributes["pads"], strict=True)]
    attributes["pads"] = [max(0, n) for n in around]
    reversed_ = graph.constant(turned(weights, groups), name="weight")
    found = graph("Conv", g, reversed_, group=groups, **attributes)
    return cut(graph, found, [max(0, -n) for n in around], shape(op.results[0])[2:])


def turned(weights: np.ndarray, groups: int) -> np.ndarray:
    """The weights of a convolution (OxC/groupsxKHxKW) as its adjoint has them: CxO/groupsxKHxKW, taps in reverse."""
    by_group = weights.reshape(groups, -1, *weights.shape[1:])
    return by_group.swapaxes(1, 2).reshape(-1, by_group.shape[1], *weights.shape[2:])[:, :, ::-1, ::-1]


def cut(graph: Graph, x: str, around: Sequence[int], size: Sequence[int]) -> str:
    """The map of `size` inside of one that has `around` rows and columns more: top, left, bottom, right."""
    if not any(around):
        return x
    starts = around[:2]
    ends = [first + n for first, n in zip(starts, size, strict=True)]
    return graph("Slice", x, *(graph.integers(*numbers) for numbers in (starts, ends, (2, 3))))


def _conv_transpose(graph: Graph, op: Any, g: str, w: str) -> str:
    """The padding is that of the forward pass; `output_padding` is what it leaves out behind the last window."""
    attributes, size = window(op, shape(op.operands[1])[2:]), shape(op.results[0])[2:]
    axes = zip(size, *sides(op), shape(op.operands[0])[2:], *(attributes[n] for n in _WINDOW), strict=True)
    left_out = [n + low + high - (s * (out - 1) + d * (k - 1) + 1) for n, low, high, out, k, s, d in axes]
    return graph("ConvTranspose", g, w, group=ops.groups_of(op), output_padding=left_out, **attributes)


_WINDOW = ("kernel_shape", "strides", "dilations")


def tap_sums(graph: Graph, op: Any, g: str) -> str:
    """One product of matrices: a row of `landing` says which positions of the map a tap reads."""
    kernel, stride, dilation, size = (ints(op, name, 2, 1) for name in ("kernel", "stride", "dilation", "size"))
    channels, *out = shape(op.operands[0])[1:]
    axes = zip(kernel, stride, sides(op)[0], dilation, size, out, strict=True)
    landing = np.kron(*(np.any(_taps(*axis)[::-1], axis=2) for axis in axes))
    flat = graph.reshape(g, [-1, channels, math.prod(out)])
    return graph.reshape(graph("MatMul", flat, graph.constant(landing.T)), [-1, channels, *kernel])


def _taps(kernel: int, stride: int, low: int, dilation: int, size: int, out: int) -> np.ndarray:
    """Whether tap i at output position h reads element n of an axis of `size`: kernel x out x size."""
    position = np.arange(out) * stride - low + np.arange(kernel)[:, None] * dilation
    return position[:, :, None] == np.arange(size)


def pool_windows(op: Any, size: Sequence[int], out: Sequence[int]) -> list[np.ndarray]:
    """Which elements of a map of `size` each window of an average pool to `out` has, for rows and columns: bool."""
    axes = zip(ints(op, "kernel", 2, 1), ints(op, "stride", 2, 1), sides(op)[0], [1, 1], size, out, strict=True)
    return [np.any(_taps(*axis), axis=0) for axis in axes]


def _avg_pool2d_adjoint(graph: Graph, op: Any, g: str) -> str:
    """Each axis by itself: the divisor of a window is its height by its width."""
    size = shape(op.results[0])[2:]
    if op.is_global:
        scaled = graph("Mul", g, graph.constant(1 / math.prod(size)))
        return graph("Expand", scaled, graph.integers(*shape(op.results[0])))
    matrices = []
    for windows, kernel in zip(
        pool_windows(op, size, shape(op.operands[0])[2:]), ints(op, "kernel", 2, 1), strict=True
    ):
        matrices.append((windows / (kernel if flag(op, "count_include_pad") else windows.sum(1, keepdims=True))).T)
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
    return graph.indices(_pool(graph, op, x))


def _max_unpool2d(graph: Graph, op: Any, g: str, places: str) -> str:
    return scattered(graph, op, g, places, sides(op) if _pads_apart(op) else ([0, 0], [0, 0]))


def scattered(graph: Graph, op: Any, g: str, places: str, around: Sequence[Sequence[int]]) -> str:
    """Adds each gradient to the element at its place, in a map as large as the one that was pooled.

    Args:
        graph: gets the nodes.
        op: a max_unpool2d or a max_pool2d_adjoint.
        g: the gradients.
        places: of the maxima in the map with its padding.
        around: that padding, before and behind.
    """
    from onnx import numpy_helper

    channels, *size = shape(op.results[0])[1:]
    (top, left), (bottom, right) = around
    height, width = size[0] + top + bottom, size[1] + left + right
    zero = numpy_helper.from_array(np.zeros(1, graph.dtype))
    zeros = graph("ConstantOfShape", graph.integers(channels * height * width), value=zero)
    flat = [graph.reshape(value, [-1]) for value in (places, g)]
    found = graph("ScatterElements", zeros, *flat, axis=0, reduction="add")
    whole = graph.reshape(found, [1, channels, height, width])
    return cut(graph, whole, (top, left, bottom, right), size)


def _max_pool2d_adjoint(graph: Graph, op: Any, g: str, x: str) -> str:
    return _max_unpool2d(graph, op, g, _max_pool2d_index(graph, op, x))


#: The rules by op class.
RULES: dict[Any, Rule] = {
    ops.MaxPool2dOp: _max_pool2d,
    adjoint_ops.LinearAdjointOp: _linear_adjoint,
    adjoint_ops.Conv2dAdjointOp: _conv2d_adjoint,
    adjoint_ops.TapSumsOp: tap_sums,
    adjoint_ops.AvgPool2dAdjointOp: _avg_pool2d_adjoint,
    adjoint_ops.BatchNormAdjointOp: _batch_norm_adjoint,
    adjoint_ops.MaxPool2dIndexOp: _max_pool2d_index,
    adjoint_ops.MaxUnpool2dOp: _max_unpool2d,
    adjoint_ops.MaxPool2dAdjointOp: _max_pool2d_adjoint,
}
