"""Ops of the backward pass on a table of all classes: one gradient per row, K x the shape of a gradient without its 1.

The values end up in the compiled program, so they are computed here in f64, by plain formulas, and not by an executor
that they are compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradcam.adaptive import axes_of
from gradcam.dialect import adjoint_ops, cam_ops, channel_ops, ops, resample_ops
from gradcam.dialect.verify import ints, shape, sides


def _linear_adjoint(op: Any, g: np.ndarray, w: np.ndarray) -> np.ndarray:
    return g @ w


def _relu(op: Any, x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def _batch_norm_adjoint(op: Any, g: np.ndarray, gamma: np.ndarray, var: np.ndarray) -> np.ndarray:
    return g * (gamma / np.sqrt(var + op.eps.value)).reshape(-1, *[1] * (g.ndim - 2))


def _take_channels(op: Any, g: np.ndarray) -> np.ndarray:
    return in_order(g, channel_ops.order_of(op), 1)


def _channel_weights(op: Any, g: np.ndarray) -> np.ndarray:
    return g.mean((2, 3))


def _conv2d_adjoint(op: Any, g: np.ndarray, w: np.ndarray) -> np.ndarray:
    by_group = w.reshape(op.groups.value, -1, *w.shape[1:])
    g = g.reshape(len(g), op.groups.value, -1, *g.shape[2:])
    share = np.einsum("ngohw,goiyx->yxngihw", g, by_group)
    return _spread(op, share.reshape(*w.shape[2:], len(g), -1, *g.shape[3:]))


def _avg_pool2d_adjoint(op: Any, g: np.ndarray) -> np.ndarray:
    kernel = ints(op, "kernel", 2, 1)
    inside = [_inside(*axis).sum(0) for axis in _axes(op, kernel, shape(op.results[0])[2:], g.shape[2:])]
    divisor = np.prod(kernel) if op.count_include_pad.value else np.outer(*inside)
    return _spread(op, np.broadcast_to(g / divisor, (*kernel, *g.shape)))


def _upsample2d_adjoint(op: Any, g: np.ndarray) -> np.ndarray:
    height, width = ints(op, "kernel", 2, 1)
    return g.reshape(*g.shape[:2], g.shape[2] // height, height, -1, width).sum((3, 5))


def _adaptive_avg_pool2d_adjoint(op: Any, g: np.ndarray) -> np.ndarray:
    rows, columns = (axis.weights / axis.divisor for axis in axes_of(op))
    return np.einsum("hi,ncij,wj->nchw", rows, g, columns)


def _tap_sums(op: Any, g: np.ndarray) -> np.ndarray:
    axes = _axes(op, ints(op, "kernel", 2, 1), ints(op, "size", 2, 1), g.shape[2:])
    rows, columns = (_inside(*axis) for axis in axes)
    return np.einsum("nohw,yh,xw->noyx", g, rows, columns)[:, :, ::-1, ::-1]


#: The formulas by op: each takes the op, the table and the op's other operands, all f64, and returns the new table.
FORMULAS: dict[type, Callable[..., np.ndarray]] = {
    ops.ReluOp: _relu,
    adjoint_ops.LinearAdjointOp: _linear_adjoint,
    adjoint_ops.Conv2dAdjointOp: _conv2d_adjoint,
    adjoint_ops.AvgPool2dAdjointOp: _avg_pool2d_adjoint,
    adjoint_ops.BatchNormAdjointOp: _batch_norm_adjoint,
    channel_ops.TakeChannelsOp: _take_channels,
    adjoint_ops.TapSumsOp: _tap_sums,
    cam_ops.ChannelWeightsOp: _channel_weights,
    resample_ops.Upsample2dAdjointOp: _upsample2d_adjoint,
    resample_ops.AdaptiveAvgPool2dAdjointOp: _adaptive_avg_pool2d_adjoint,
}


def in_order(values: np.ndarray, order: Sequence[int], axis: int) -> np.ndarray:
    """The entries `order` along an axis, 0 for an entry -1; see `gradcam.take_channels`."""
    end = np.zeros_like(values.take([0], axis))  # which -1 takes
    return np.concatenate((values, end), axis).take(order, axis)


def tap_counts(op: Any) -> np.ndarray:
    """For each tap of a conv2d_adjoint, the number of windows in which it lies on the forward input: f64, KH x KW."""
    rows, columns = (_inside(*axis).sum(1) for axis in _axes(op, shape(op.w)[2:], shape(op.gx)[2:], shape(op.g)[2:]))
    return np.outer(rows, columns)


def diagonal(matrix: np.ndarray, groups: int) -> np.ndarray:
    """The block diagonal matrix, O x C, of `groups` blocks that stand one below the other in `matrix`, O x C/groups."""
    blocks = matrix.reshape(groups, -1, matrix.shape[1])
    return np.einsum("goc,gh->gohc", blocks, np.eye(groups)).reshape(len(matrix), -1)


def _axes(op: Any, kernel: list[int], size: list[int], windows: Sequence[int]) -> list[tuple[int, ...]]:
    """For each axis: taps, stride, padding before the map, dilation, elements of the forward input, windows."""
    stride, dilation = ints(op, "stride", 2, 1), ints(op, "dilation", 2, 1)
    return list(zip(kernel, stride, sides(op)[0], dilation, size, windows, strict=True))


def _inside(taps: int, stride: int, padding: int, dilation: int, size: int, windows: int) -> np.ndarray:
    """1 where a tap of a window lies on the forward input, 0 where it lies on padding: f64, taps x windows."""
    position = np.arange(windows) * stride + np.arange(taps)[:, None] * dilation - padding
    return ((position >= 0) & (position < size)).astype(np.float64)


def _spread(op: Any, share: np.ndarray) -> np.ndarray:
    """Sums the shares of all windows at each element of the forward input: K x C x H x W.

    Args:
        op: an adjoint with the attributes of the forward op's window.
        share: the share of a window for the element under each tap: KH x KW x K x C x OH x OW.
    """
    (sh, sw), (dh, dw) = ints(op, "stride", 2, 1), ints(op, "dilation", 2, 1)
    (top, left), (bottom, right) = sides(op)
    channels, height, width = shape(op.results[0])[1:]
    taps, (rows, columns) = share.shape[:2], share.shape[4:]
    padded = np.zeros((share.shape[2], channels, top + height + bottom, left + width + right))
    for y, x in np.ndindex(*taps):
        padded[:, :, y * dh : y * dh + rows * sh : sh, x * dw : x * dw + columns * sw : sw] += share[y, x]
    return padded[:, :, top : top + height, left : left + width]
