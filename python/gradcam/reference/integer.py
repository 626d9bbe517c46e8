"""The meaning of every quantized op in exact integers, which all lower levels and the hardware must reproduce.

Sums of products run as matrix products of floats, which a BLAS makes fast. They are exact in any order, since every
partial sum is an integer that the type represents: in float64 below 2^53 (`gradcam-quantize` keeps accumulators below
2^31), in float32, which takes half the time, at most 2^24 (see `_sums`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController
from torch_mlir import ir

from gradcam.classes import best_class
from gradcam.dialect.layout_ops import lanes_of_tap
from gradcam.dialect.verify import shape, sides
from gradcam.errors import GradcamError, fail
from gradcam.execution.interpreter import OnValue, run
from gradcam.passes.ir.channel_affine import affine_rescale
from gradcam.passes.ir.normalization import entering
from gradcam.passes.ir.queries import main_function
from gradcam.quant_types import (
    clamp_bounds,
    is_quantized,
    mask_bounds,
    quantize_array,
    storage_limits,
    storage_type,
)
from gradcam.reference import activations, channels, resampling
from gradcam.reference.results import along_channels, at_scale, finish, int32, rescaled, store
from gradcam.windows import average_of

#: The most products of two bytes, one of them signed, each below 2^15, whose sum float32 represents in any order.
FLOAT32_TERMS = 512


def _ints(op: Any, name: str) -> list[int]:
    return [ir.IntegerAttr(a).value for a in ir.ArrayAttr(op.attributes[name])]


def _pad(x: np.ndarray, op: Any, value: int) -> np.ndarray:
    around = zip(*sides(op), strict=True)
    return np.pad(x, ((0, 0), (0, 0), *around), constant_values=value)


def _windows(x: np.ndarray, op: Any, kernel: list[int]) -> np.ndarray:
    """View of padded `x` (1xCxHxW) as CxOHxOWxKHxKW."""
    (sh, sw), (dh, dw) = _ints(op, "stride"), _ints(op, "dilation")
    reach = (dh * (kernel[0] - 1) + 1, dw * (kernel[1] - 1) + 1)
    return np.lib.stride_tricks.sliding_window_view(x[0], reach, (1, 2))[:, ::sh, ::sw, ::dh, ::dw]


def _sums(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of matrices, or of stacks of them, of integers, exact: int64.

    Matrices of bytes, of which one is signed, are multiplied in float32, part by part.
    """
    if a.itemsize > 1 or b.itemsize > 1 or a.dtype == b.dtype == np.uint8:
        return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
    total = np.zeros((*a.shape[:-1], b.shape[-1]), np.int64)
    for first in range(0, a.shape[-1], FLOAT32_TERMS):
        part = slice(first, first + FLOAT32_TERMS)
        total += (a[..., part].astype(np.float32) @ b[..., part, :].astype(np.float32)).astype(np.int32)
    return total


def _conv2d(op: Any, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    groups, terms = ir.IntegerAttr(op.attributes["groups"]).value, w[0].size
    windows = _windows(_pad(x, op, 0), op, list(w.shape[2:]))
    height, width = windows.shape[1:3]
    columns = windows.transpose(0, 3, 4, 1, 2).reshape(groups, terms, height * width)
    return finish(op, _sums(w.reshape(groups, -1, terms), columns).reshape(1, len(w), height, width), bias)


def _linear(op: Any, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    return finish(op, _sums(x, w.T), bias)


def _add(op: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return store(op, at_scale(op, 0, x) + at_scale(op, 1, y))


def _relu(op: Any, x: np.ndarray) -> np.ndarray:
    return _requantize(op, np.maximum(x, 0))


def _clamp(op: Any, x: np.ndarray) -> np.ndarray:
    return _requantize(op, np.clip(x, *clamp_bounds(op)))


def _leaky_relu(op: Any, x: np.ndarray) -> np.ndarray:
    slope = ir.FloatAttr(op.attributes["slope"]).value
    return store(op, np.where(x > 0, at_scale(op, 0, x), at_scale(op, 0, x, slope)))


def _requantize(op: Any, x: np.ndarray) -> np.ndarray:
    return store(op, at_scale(op, 0, x))


def _max_pool2d(op: Any, x: np.ndarray) -> np.ndarray:
    return _windows(_pad(x, op, _least(op)), op, _ints(op, "kernel")).max((3, 4))[None]


def _least(op: Any) -> int:
    """The smallest integer that operand 0 can store."""
    return storage_limits(op.operands[0])[0]


def _avg_pool2d(op: Any, x: np.ndarray) -> np.ndarray:
    weights = average_of(op).weights
    sums = _windows(_pad(x, op, 0), op, _ints(op, "kernel")).sum((3, 4), np.int64)[None]
    return finish(op, sums if weights is None else sums * weights, None)


def _channel_affine(op: Any, x: np.ndarray, *_parameters: np.ndarray) -> np.ndarray:
    m, b, s = affine_rescale(op)
    factors, offsets = (along_channels(v.astype(np.int64), x.ndim) for v in (m, b))
    return store(op, (x.astype(np.int64) * factors + offsets) >> s)


def _unfold2d(op: Any, x: np.ndarray) -> np.ndarray:
    channels, kernel = x.shape[1], _ints(op, "kernel")
    around = zip(_ints(op, "low"), _ints(op, "high"), strict=True)
    taken = lanes_of_tap(op)
    filled = np.pad(x[:, :taken], ((0, 0), (0, max(0, taken - channels)), *around))
    windows = _windows(filled, op, kernel)
    return windows.transpose(3, 4, 0, 1, 2).reshape(1, -1, *windows.shape[1:3])


def _fold2d(op: Any, x: np.ndarray) -> np.ndarray:
    (rows, columns), (_, channels, *size) = _ints(op, "kernel"), shape(op.results[0])
    taps = x.reshape(rows, columns, -1, *x.shape[2:])[:, :, :channels]
    return taps.transpose(2, 3, 0, 4, 1).reshape(1, channels, *size)


def _flatten(_op: Any, x: np.ndarray) -> np.ndarray:
    return x.reshape(1, -1)


# The backward pass.


def _conv2d_adjoint(op: Any, g: np.ndarray, w: np.ndarray) -> np.ndarray:
    groups, (per_group, *kernel) = ir.IntegerAttr(op.attributes["groups"]).value, w.shape[1:]
    flat, by_tap = g[0].reshape(groups, len(w) // groups, -1), w.reshape(groups, -1, per_group, *kernel)
    products = (_sums(by_tap[..., i, j].transpose(0, 2, 1), flat) for i, j in np.ndindex(*kernel))
    return rescaled(op, _landed(op, kernel, (p.reshape(-1, *g.shape[2:]) for p in products)))


def _landed(op: Any, kernel: list[int], shares: Iterable[np.ndarray]) -> np.ndarray:
    """Sums at each position of the result the shares of the windows over it; int64.

    Args:
        op: an adjoint with the window's attributes.
        kernel: height and width of the window.
        shares: for each tap, row-major, the share of every window for the position under that tap: CxOHxOW integers.
    """
    (sh, sw), (dh, dw), ((top, left), (bottom, right)) = _ints(op, "stride"), _ints(op, "dilation"), sides(op)
    _, channels, height, width = shape(op.results[0])
    padded = np.zeros((channels, top + height + bottom, left + width + right), np.int64)
    for (i, j), share in zip(np.ndindex(*kernel), shares, strict=True):
        rows, columns = share.shape[1:]
        padded[:, i * dh : i * dh + rows * sh : sh, j * dw : j * dw + columns * sw : sw] += share
    return padded[None, :, top : top + height, left : left + width]


def _linear_adjoint(op: Any, g: np.ndarray, w: np.ndarray) -> np.ndarray:
    return rescaled(op, _sums(g, w))


def _avg_pool2d_adjoint(op: Any, g: np.ndarray) -> np.ndarray:
    kernel, weights = _ints(op, "kernel"), average_of(op).weights
    shares = g[0] if weights is None else g[0] * weights
    return rescaled(op, _landed(op, kernel, (shares for _ in np.ndindex(*kernel))))


def _max_pool2d_index(op: Any, x: np.ndarray) -> np.ndarray:
    windows = _windows(_pad(x, op, _least(op)), op, _ints(op, "kernel"))
    return windows.reshape(*windows.shape[:3], -1).argmax(3).astype(np.int8)[None]


def _max_unpool2d(op: Any, g: np.ndarray, index: np.ndarray) -> np.ndarray:
    kernel, index = _ints(op, "kernel"), index.view(np.uint8)
    return rescaled(op, _landed(op, kernel, (np.where(index == t, g, 0)[0] for t in range(math.prod(kernel)))))


def _tap_sums(op: Any, g: np.ndarray) -> np.ndarray:
    kernel, stride, dilation, size = (_ints(op, name) for name in ("kernel", "stride", "dilation", "size"))
    axes = zip(kernel, stride, sides(op)[0], dilation, size, g.shape[2:], strict=True)
    rows, columns = (_landing(*axis) for axis in axes)
    return rescaled(op, np.einsum("nohw,ih,jw->noij", g.astype(np.int64), rows, columns)[:, :, ::-1, ::-1])


def _landing(kernel: int, stride: int, padding: int, dilation: int, size: int, out: int) -> np.ndarray:
    """1 where tap i at output position h reads inside an axis of `size`, else 0: int64, K x OH."""
    position = np.arange(out) * stride - padding + np.arange(kernel)[:, None] * dilation
    return ((position >= 0) & (position < size)).astype(np.int64)


def _mask(op: Any, x: np.ndarray) -> np.ndarray:
    lo, hi = mask_bounds(op)
    return (x > lo) & (x < hi)


def _apply_mask(op: Any, g: np.ndarray, mask: np.ndarray) -> np.ndarray:
    slope = ir.FloatAttr(op.attributes["slope"]).value
    return store(op, np.where(mask, g, at_scale(op, 0, g, slope) if slope else 0))


def _channel_weights(op: Any, g: np.ndarray) -> np.ndarray:
    return rescaled(op, g.sum((2, 3), np.int64))


def _unflatten(op: Any, g: np.ndarray) -> np.ndarray:
    return g.reshape(shape(op.results[0]))


# The explanation.


def _one_hot(op: Any, cls: np.ndarray) -> np.ndarray:
    size = shape(op.results[0])
    seed = np.zeros(size, storage_type(op.results[0]))
    seed[0, _existing(op, cls, size[1])] = storage_limits(op.results[0])[1]
    return seed


def _existing(op: Any, cls: np.ndarray, classes: int) -> np.ndarray:
    if not cls[0] < classes:
        raise fail(op, f"class {cls[0]} does not exist; the model has classes 0 to {classes - 1}")
    return cls


def _select_class(_op: Any, logits: np.ndarray, request: np.ndarray) -> np.ndarray:
    return np.where(request >= 0, request, best_class(logits[0])).astype(np.int32)


def _next_class(_op: Any, logits: np.ndarray, *chosen: np.ndarray) -> np.ndarray:
    return np.array([best_class(logits[0], [int(c[0]) for c in chosen])], np.int32)


def _class_row(op: Any, w: np.ndarray, cls: np.ndarray) -> np.ndarray:
    return w[_existing(op, cls, len(w))]


def _weighted_sum(op: Any, weights: np.ndarray, a: np.ndarray) -> np.ndarray:
    weights = weights.reshape(*weights.shape[:2], *(weights.shape[2:] or (1, 1)))
    return int32(op, (weights.astype(np.int64) * a).sum(1))


def _pool_map(op: Any, x: np.ndarray) -> np.ndarray:
    size, (_, height, width) = ir.IntegerAttr(op.attributes["size"]).value, x.shape
    blocks = x[:, : height // size * size, : width // size * size].reshape(1, height // size, size, -1, size)
    return int32(op, blocks.sum((2, 4), np.int64))


def _scale(_op: Any, x: np.ndarray) -> np.ndarray:
    return x


#: The quantized ops by name; a kernel takes and returns stored integers (int8 or int32).
KERNELS: dict[str, Callable[..., np.ndarray]] = {
    "gradcam.conv2d": _conv2d,
    "gradcam.linear": _linear,
    "gradcam.add": _add,
    "gradcam.relu": _relu,
    "gradcam.clamp": _clamp,
    "gradcam.hardtanh": _clamp,
    "gradcam.leaky_relu": _leaky_relu,
    "gradcam.batch_norm": _channel_affine,
    "gradcam.batch_norm_adjoint": _channel_affine,
    "gradcam.max_pool2d": _max_pool2d,
    "gradcam.avg_pool2d": _avg_pool2d,
    "gradcam.flatten": _flatten,
    "gradcam.requantize": _requantize,
    "gradcam.fold2d": _fold2d,
    "gradcam.unfold2d": _unfold2d,
    "gradcam.conv2d_adjoint": _conv2d_adjoint,
    "gradcam.linear_adjoint": _linear_adjoint,
    "gradcam.avg_pool2d_adjoint": _avg_pool2d_adjoint,
    "gradcam.max_pool2d_index": _max_pool2d_index,
    "gradcam.max_unpool2d": _max_unpool2d,
    "gradcam.tap_sums": _tap_sums,
    "gradcam.mask": _mask,
    "gradcam.apply_mask": _apply_mask,
    "gradcam.channel_weights": _channel_weights,
    "gradcam.unflatten": _unflatten,
    "gradcam.select_class": _select_class,
    "gradcam.next_class": _next_class,
    "gradcam.one_hot": _one_hot,
    "gradcam.class_row": _class_row,
    "gradcam.weighted_sum": _weighted_sum,
    "gradcam.pool_map": _pool_map,
    "gradcam.scale": _scale,
    **activations.KERNELS,
    **channels.KERNELS,
    **resampling.KERNELS,
}


def run_integer(
    module: ir.Module, image: np.ndarray, cls: int = -1, on_value: OnValue | None = None
) -> list[np.ndarray]:
    """Executes a quantized module.

    Args:
        module: a module after `gradcam-quantize`.
        image: int8, as the module has it, 1xCxHxW; see `quantize_image`.
        cls: the class to explain first; negative is the first maximum of the logits. Unused without an explanation.
        on_value: called with each op's result in program order.

    Returns:
        Logits (int32, 1xK) and the maps (int32, 1xhxw each), at the scales of the types that `@main` returns.

    Raises:
        GradcamError: the module is not quantized, the image has another shape or type, or there is no such class.
    """
    arguments = main_function(module).entry_block.arguments
    if not is_quantized(arguments[0]):
        raise GradcamError("the module is not quantized; run gradcam-quantize first")
    if image.dtype != (wanted := storage_type(arguments[0])):
        raise GradcamError(f"the image must be {wanted}, got {image.dtype}; see quantize_image")
    inputs = [image, np.array([cls], np.int32)][: len(arguments)]
    with _threads().limit(limits=1, user_api="blas"):
        return run(module, inputs, KERNELS, on_value)


@functools.cache
def _threads() -> ThreadpoolController:
    """Limits the threads of NumPy's BLAS: on matrices as small as these they spend more time waiting than computing."""
    return ThreadpoolController()


def quantize_image(module: ir.Module, image: np.ndarray) -> np.ndarray:
    """Quantizes a float image (1xCxHxW), as the model takes it, to the int8 image that a quantized module takes."""
    main = main_function(module)
    return quantize_array(entering(main, image), main.entry_block.arguments[0])
