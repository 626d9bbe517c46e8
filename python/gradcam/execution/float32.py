"""Every gradcam op in f32: forward ops as PyTorch's functional ones, adjoints by their formulas, never by autograd.

Kernels take N images at once. The IR says 1 where their tensors say N: shapes are 1xCxHxW there and NxCxHxW here.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_mlir import ir

from gradcam.classes import best_class
from gradcam.dialect import activation_ops, adjoint_ops, cam_ops, channel_ops, layout_ops, ops
from gradcam.dialect.layout_ops import lanes_of_tap
from gradcam.dialect.verify import ints, shape, sides
from gradcam.errors import fail
from gradcam.execution import activations, resampling
from gradcam.execution.interpreter import Kernel, OnValue, run
from gradcam.passes.ir.normalization import entering
from gradcam.passes.ir.queries import main_function

#: Bytes; PyTorch allocates tensors at multiples of it.
_CACHE_LINE = 64


def run_float(
    module: ir.Module, images: np.ndarray, classes: int | Sequence[int] = -1, on_value: OnValue | None = None
) -> list[np.ndarray]:
    """Executes a level-1 module in f32.

    Args:
        module: its `@main` takes the image, and the class when it has an explanation.
        images: NxCxHxW, converted to f32, as the model takes them, before its own normalization. Each image gives the
            same bits in whatever batch it comes.
        classes: the class to explain first, one for all images or one for each; a negative one selects the first
            maximum of the logits. Unused without an explanation.
        on_value: called with every computed value; see `interpreter.run`.

    Returns:
        The results of `@main`: f32 logits NxK and a map NxHxW per explanation.

    Raises:
        GradcamError: an input of another shape, a class that does not exist, an op without f32 semantics.
    """
    main = main_function(module)
    images = np.ascontiguousarray(entering(main, np.asarray(images, np.float32)), np.float32)
    requests = np.array(np.broadcast_to(np.asarray(classes, np.int32), len(images)))
    inputs = [images, requests][: len(main.entry_block.arguments)]
    return run(module, inputs, KERNELS, on_value, len(images))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Lets PyTorch compute with one thread: on small tensors its threads spend more time waiting than computing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _integer(op: Any, name: str) -> int:
    return ir.IntegerAttr(op.attributes[name]).value


def _real(op: Any, name: str) -> float:
    return ir.FloatAttr(op.attributes[name]).value


def _steps(op: Any) -> tuple[list[int], list[int]]:
    """Stride and dilation, (H, W) each."""
    return ints(op, "stride", 2, 1), ints(op, "dilation", 2, 1)


def _padded(op: Any, x: Tensor, value: float = 0.0) -> Tensor:
    """`x` with the padding of the op's window."""
    (top, left), (bottom, right) = sides(op)
    return F.pad(x, (left, right, top, bottom), value=value) if any((top, left, bottom, right)) else x


def _inside(op: Any, padded: Tensor, size: Sequence[int]) -> Tensor:
    """The map of `size` (H, W) in its padded form."""
    (top, left), (height, width) = sides(op)[0], size
    return padded[:, :, top : top + height, left : left + width]


def _image_by_image(product: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Computes a sum of products for one image after the other, each at an aligned address.

    The libraries behind PyTorch sum in another order for another batch size or alignment, so the values, and with them
    the calibrated ranges, would depend on the images beside an image.
    """

    def of_each(op: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.cat([product(op, _aligned(image), *parameters) for image in x.split(1)])

    return of_each


def _aligned(x: Tensor) -> Tensor:
    return x if x.data_ptr() % _CACHE_LINE == 0 else x.clone()


def _channels(vector: Tensor) -> Tensor:
    """A vector of C as 1xCx1x1."""
    return vector.reshape(1, -1, 1, 1)


# Forward ops.


@_image_by_image
def _conv2d(op: Any, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    low, high = sides(op)
    if low != high:
        x, low = _padded(op, x), [0, 0]
    stride, dilation = _steps(op)
    return F.conv2d(x, w, bias, stride, low, dilation, _integer(op, "groups"))


@_image_by_image
def _linear(op: Any, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, w, bias)


def _relu(op: Any, x: Tensor) -> Tensor:
    return x.clamp(min=0)


def _clamp(op: Any, x: Tensor) -> Tensor:
    return x.clamp(_real(op, "lo"), _real(op, "hi"))


def _leaky_relu(op: Any, x: Tensor) -> Tensor:
    return F.leaky_relu(x, _real(op, "slope"))


def _add(op: Any, x: Tensor, y: Tensor) -> Tensor:
    return x + y


def _max_pool2d(op: Any, x: Tensor) -> Tensor:
    stride, dilation = _steps(op)
    return F.max_pool2d(_padded(op, x, -math.inf), ints(op, "kernel", 2, 1), stride, 0, dilation)


def _avg_pool2d(op: Any, x: Tensor) -> Tensor:
    kernel, stride = ints(op, "kernel", 2, 1), ints(op, "stride", 2, 1)
    if _integer(op, "count_include_pad"):
        return F.avg_pool2d(_padded(op, x), kernel, stride)
    return F.avg_pool2d(_padded(op, x), kernel, stride, divisor_override=1) / _counts(op, x)


def _batch_norm(op: Any, x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    return F.batch_norm(x, mean, var, gamma, beta, training=False, eps=_real(op, "eps"))


def _flatten(op: Any, x: Tensor) -> Tensor:
    return x.flatten(1)


def _requantize(op: Any, x: Tensor) -> Tensor:
    return x


def _concat(op: Any, x: Tensor, y: Tensor) -> Tensor:
    return torch.cat((x, y), 1)


def _take_channels(op: Any, x: Tensor) -> Tensor:
    order = torch.tensor(channel_ops.order_of(op))
    return torch.cat((x, torch.zeros_like(x[:, :1])), 1)[:, order]  # -1 is the last channel, which is 0


# Adjoint ops.


@_image_by_image
def _linear_adjoint(op: Any, g: Tensor, w: Tensor) -> Tensor:
    return g @ w


@_image_by_image
def _conv2d_adjoint(op: Any, g: Tensor, w: Tensor) -> Tensor:
    return _transposed(op, g, w, _integer(op, "groups"))


def _transposed(op: Any, g: Tensor, w: Tensor, groups: int) -> Tensor:
    """The transposed convolution from `g` to the size of the forward input, by the window of the op.

    The forward floor division drops up to stride - 1 rows and columns at the end; `output_padding` restores them.
    Padding is symmetric in PyTorch; what is left of it on one side is cut off.
    """
    (stride, dilation), (low, high), size = _steps(op), sides(op), shape(op.results[0])[2:]
    both = [min(pair) for pair in zip(low, high, strict=True)]
    axes = zip(size, low, both, g.shape[2:], w.shape[2:], stride, dilation, strict=True)
    dropped = [before - p + n - ((out - 1) * s - 2 * p + d * (k - 1) + 1) for n, before, p, out, k, s, d in axes]
    gx = F.conv_transpose2d(g, w, None, stride, both, [max(0, n) for n in dropped], groups, dilation)
    (top, left), (height, width) = (before - p for before, p in zip(low, both, strict=True)), size
    return gx[:, :, top : top + height, left : left + width]


@_image_by_image
def _tap_sums(op: Any, g: Tensor) -> Tensor:
    (stride, dilation), (low, _) = _steps(op), sides(op)
    axes = zip(ints(op, "kernel", 2, 1), stride, low, dilation, ints(op, "size", 2, 1), g.shape[2:], strict=True)
    rows, columns = (_landing(*axis).to(g.dtype) for axis in axes)
    return torch.einsum("nohw,ih,jw->noij", g, rows, columns).flip(2, 3)


def _landing(kernel: int, stride: int, padding: int, dilation: int, size: int, out: int) -> Tensor:
    """Whether tap i at output position h reads inside an axis of `size`, K x OH."""
    position = torch.arange(out) * stride - padding + torch.arange(kernel)[:, None] * dilation
    return (position >= 0) & (position < size)


def _activation_adjoint(op: Any, g: Tensor, y: Tensor) -> Tensor:
    return torch.where(_mask(op, y), g, _real(op, "slope") * g)


def _mask(op: Any, x: Tensor) -> Tensor:
    lo, hi = _real(op, "lo"), _real(op, "hi")
    return (x >= lo) & (x <= hi) if _integer(op, "closed") else (x > lo) & (x < hi)


def _apply_mask(op: Any, g: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, g, _real(op, "slope") * g)


def _max_pool2d_adjoint(op: Any, g: Tensor, x: Tensor) -> Tensor:
    (stride, dilation), padded = _steps(op), _padded(op, x, -math.inf)
    _, where = F.max_pool2d_with_indices(padded, ints(op, "kernel", 2, 1), stride, [0, 0], dilation)
    gx = torch.zeros_like(padded, dtype=g.dtype).flatten(2)
    return _inside(op, gx.scatter_add(2, where.flatten(2), g.flatten(2)).reshape(padded.shape), x.shape[2:])


def _max_pool2d_index(op: Any, x: Tensor) -> Tensor:
    kernel, stride, dilation = map(tuple, (ints(op, "kernel", 2, 1), *_steps(op)))
    windows = F.unfold(_padded(op, x, -math.inf), kernel, dilation, 0, stride)
    # NumPy's argmax is the first maximum; PyTorch does not say which one it returns.
    taps = windows.reshape(*x.shape[:2], math.prod(kernel), -1).numpy().argmax(2)
    return torch.from_numpy(taps).reshape(-1, *shape(op.results[0])[1:]).to(torch.int8)


def _max_unpool2d(op: Any, g: Tensor, index: Tensor) -> Tensor:
    kernel, stride, dilation = map(tuple, (ints(op, "kernel", 2, 1), *_steps(op)))
    size, around = shape(op.results[0])[2:], sides(op)
    taps = torch.arange(math.prod(kernel)).reshape(1, 1, -1, 1)
    windows = torch.where(index.to(torch.uint8).flatten(2)[:, :, None] == taps, g.flatten(2)[:, :, None], 0)
    padded = tuple(n + low + high for n, low, high in zip(size, *around, strict=True))
    return _inside(op, F.fold(windows.flatten(1, 2), padded, kernel, dilation, 0, stride), size)


@_image_by_image
def _avg_pool2d_adjoint(op: Any, g: Tensor) -> Tensor:
    kh, kw = ints(op, "kernel", 2, 1)
    channels, *size = shape(op.results[0])[1:]
    divisor = g.new_tensor(kh * kw) if _integer(op, "count_include_pad") else _counts(op, g.new_ones(1, 1, *size))
    return _transposed(op, g / divisor, g.new_ones(channels, 1, kh, kw), channels)


def _counts(op: Any, x: Tensor) -> Tensor:
    """The number of elements of each window of a pool that lie on the map `x`: 1x1xOHxOW."""
    ones = _padded(op, x.new_ones(1, 1, *x.shape[2:]))
    return F.conv2d(ones, x.new_ones(1, 1, *ints(op, "kernel", 2, 1)), None, ints(op, "stride", 2, 1))


def _batch_norm_adjoint(op: Any, g: Tensor, gamma: Tensor, var: Tensor) -> Tensor:
    factor = gamma / torch.sqrt(var + _real(op, "eps"))
    return g * (_channels(factor) if g.ndim == 4 else factor)


def _unflatten(op: Any, g: Tensor) -> Tensor:
    return g.reshape(-1, *shape(op.results[0])[1:])


# The explanation.


def _target(op: Any, x: Tensor) -> Tensor:
    return x


def _select_class(op: Any, logits: Tensor, requests: Tensor) -> Tensor:
    if len(missing := requests[requests >= logits.shape[1]]):
        raise fail(op, f"there is no class {missing[0]}: the network has {logits.shape[1]}")
    best = torch.tensor([best_class(row) for row in logits.numpy()], dtype=torch.int32)
    return torch.where(requests >= 0, requests, best)


def _next_class(op: Any, logits: Tensor, *chosen: Tensor) -> Tensor:
    rows = zip(logits.numpy(), torch.stack(chosen, 1).tolist(), strict=True)
    return torch.tensor([best_class(row, classes) for row, classes in rows], dtype=torch.int32)


def _one_hot(op: Any, cls: Tensor) -> Tensor:
    return F.one_hot(cls.long(), shape(op.results[0])[1]).float()


def _class_row(op: Any, w: Tensor, cls: Tensor) -> Tensor:
    return w[cls.long()]


def _channel_weights(op: Any, g: Tensor) -> Tensor:
    return g.mean((2, 3))


def _xgradcam_weights(op: Any, g: Tensor, a: Tensor) -> Tensor:
    return (g * a).sum((2, 3)) / (a.sum((2, 3)) + _real(op, "eps"))


def _gradcam_plus_plus_weights(op: Any, g: Tensor, a: Tensor) -> Tensor:
    alpha = g**2 / (2 * g**2 + a.sum((2, 3), keepdim=True) * g**3 + _real(op, "eps"))
    return (alpha * g.clamp(min=0)).sum((2, 3))


def _channel_sum(op: Any, x: Tensor) -> Tensor:
    return x.sum(1)


def _weighted_sum(op: Any, weights: Tensor, a: Tensor) -> Tensor:
    return (weights.reshape(*weights.shape, *[1] * (4 - weights.ndim)) * a).sum(1)


def _pool_map(op: Any, x: Tensor) -> Tensor:
    return F.avg_pool2d(x, _integer(op, "size"))


def _scale(op: Any, x: Tensor) -> Tensor:
    return x * _real(op, "factor")


def _unfold2d(op: Any, x: Tensor) -> Tensor:
    kernel, stride, dilation = (tuple(ints(op, name, 2, 1)) for name in ("kernel", "stride", "dilation"))
    (top, left), (bottom, right) = ints(op, "low", 2, 0), ints(op, "high", 2, 0)
    columns = F.unfold(F.pad(x, (left, right, top, bottom)), kernel, dilation, 0, stride)
    taps = columns.reshape(*x.shape[:2], kernel[0] * kernel[1], -1).transpose(1, 2)
    filled = F.pad(taps, (0, 0, 0, lanes_of_tap(op) - x.shape[1]))
    return filled.reshape(-1, *shape(op.results[0])[1:])


def _fold2d(op: Any, x: Tensor) -> Tensor:
    (rows, columns), (_, channels, *size) = ints(op, "kernel", 2, 1), shape(op.results[0])
    taps = x.reshape(len(x), rows, columns, -1, *x.shape[2:])[:, :, :, :channels]
    return taps.permute(0, 3, 4, 1, 5, 2).reshape(len(x), channels, *size)


def _as_tensor(array: np.ndarray) -> Tensor:
    # Constants are read-only views of the module, which PyTorch must not alias.
    return torch.from_numpy(array) if array.flags.writeable else torch.tensor(array)


def _on_arrays(function: Callable[..., Tensor]) -> Kernel:
    return lambda op, *arrays: function(op, *map(_as_tensor, arrays)).numpy()


#: f32 kernels by op name.
KERNELS: dict[str, Kernel] = {
    op.OPERATION_NAME: _on_arrays(function)
    for op, function in {
        ops.Conv2dOp: _conv2d,
        ops.LinearOp: _linear,
        ops.ReluOp: _relu,
        ops.ClampOp: _clamp,
        ops.HardtanhOp: _clamp,
        ops.LeakyReluOp: _leaky_relu,
        ops.AddOp: _add,
        ops.MaxPool2dOp: _max_pool2d,
        ops.AvgPool2dOp: _avg_pool2d,
        ops.BatchNormOp: _batch_norm,
        ops.FlattenOp: _flatten,
        channel_ops.ConcatOp: _concat,
        channel_ops.TakeChannelsOp: _take_channels,
        adjoint_ops.RequantizeOp: _requantize,
        adjoint_ops.LinearAdjointOp: _linear_adjoint,
        adjoint_ops.Conv2dAdjointOp: _conv2d_adjoint,
        adjoint_ops.TapSumsOp: _tap_sums,
        adjoint_ops.ActivationAdjointOp: _activation_adjoint,
        adjoint_ops.MaskOp: _mask,
        adjoint_ops.ApplyMaskOp: _apply_mask,
        adjoint_ops.MaxPool2dAdjointOp: _max_pool2d_adjoint,
        adjoint_ops.MaxPool2dIndexOp: _max_pool2d_index,
        adjoint_ops.MaxUnpool2dOp: _max_unpool2d,
        adjoint_ops.AvgPool2dAdjointOp: _avg_pool2d_adjoint,
        adjoint_ops.BatchNormAdjointOp: _batch_norm_adjoint,
        adjoint_ops.UnflattenOp: _unflatten,
        cam_ops.TargetOp: _target,
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
        cam_ops.ScaleOp: _scale,
        layout_ops.Fold2dOp: _fold2d,
        layout_ops.Unfold2dOp: _unfold2d,
        **activations.KERNELS,
        **resampling.KERNELS,
        activation_ops.FunctionOp: _image_by_image(activations.KERNELS[activation_ops.FunctionOp]),
    }.items()
}
