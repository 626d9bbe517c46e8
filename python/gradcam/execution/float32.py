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
from gradcam.dialect import adjoint_ops, cam_ops, channel_ops, layout_ops, ops
from gradcam.dialect.layout_ops import channels_per_tap
from gradcam.dialect.verify import ints, shape
from gradcam.errors import fail
from gradcam.execution import activations
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


def _window(op: Any) -> tuple[list[int], list[int], list[int]]:
    """Stride, padding and dilation, (H, W) each."""
    return ints(op, "stride", 2, 1), ints(op, "padding", 2, 0), ints(op, "dilation", 2, 1)


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
    return F.conv2d(x, w, bias, *_window(op), _integer(op, "groups"))


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
    return F.max_pool2d(x, ints(op, "kernel", 2, 1), *_window(op))


def _avg_pool2d(op: Any, x: Tensor) -> Tensor:
    count_include_pad = bool(_integer(op, "count_include_pad"))
    kernel, stride, padding = ints(op, "kernel", 2, 1), ints(op, "stride", 2, 1), ints(op, "padding", 2, 0)
    return F.avg_pool2d(x, kernel, stride, padding, count_include_pad=count_include_pad)


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
    return _transposed(g, w, shape(op.results[0]), _window(op), _integer(op, "groups"))


def _transposed(g: Tensor, w: Tensor, x_shape: list[int], window: Sequence[list[int]], groups: int) -> Tensor:
    """The transposed convolution from `g` to the size of the forward input.

    The forward floor division drops up to stride - 1 rows and columns at the end; `output_padding` restores them.
    """
    stride, padding, dilation = window
    axes = zip(x_shape[2:], g.shape[2:], w.shape[2:], stride, padding, dilation, strict=True)
    dropped = [n - ((out - 1) * s - 2 * p + d * (k - 1) + 1) for n, out, k, s, p, d in axes]
    return F.conv_transpose2d(g, w, None, stride, padding, dropped, groups, dilation)


@_image_by_image
def _tap_sums(op: Any, g: Tensor) -> Tensor:
    axes = zip(ints(op, "kernel", 2, 1), *_window(op), ints(op, "size", 2, 1), g.shape[2:], strict=True)
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
    _, where = F.max_pool2d_with_indices(x, ints(op, "kernel", 2, 1), *_window(op))
    gx = torch.zeros_like(x).flatten(2)
    return gx.scatter_add(2, where.flatten(2), g.flatten(2)).reshape(x.shape)


def _max_pool2d_index(op: Any, x: Tensor) -> Tensor:
    kernel, stride, (ph, pw), dilation = map(tuple, (ints(op, "kernel", 2, 1), *_window(op)))
    windows = F.unfold(F.pad(x, (pw, pw, ph, ph), value=-math.inf), kernel, dilation, 0, stride)
    # NumPy's argmax is the first maximum; PyTorch does not say which one it returns.
    taps = windows.reshape(*x.shape[:2], math.prod(kernel), -1).numpy().argmax(2)
    return torch.from_numpy(taps).reshape(-1, *shape(op.results[0])[1:]).to(torch.int8)


def _max_unpool2d(op: Any, g: Tensor, index: Tensor) -> Tensor:
    kernel, stride, padding, dilation = map(tuple, (ints(op, "kernel", 2, 1), *_window(op)))
    taps = torch.arange(math.prod(kernel)).reshape(1, 1, -1, 1)
    windows = torch.where(index.flatten(2)[:, :, None] == taps, g.flatten(2)[:, :, None], 0)
    return F.fold(windows.flatten(1, 2), tuple(shape(op.results[0])[2:]), kernel, dilation, padding, stride)


@_image_by_image
def _avg_pool2d_adjoint(op: Any, g: Tensor) -> Tensor:
    x_shape, window, (kh, kw) = shape(op.results[0]), _window(op), ints(op, "kernel", 2, 1)
    if _integer(op, "count_include_pad"):
        divisor = g.new_tensor(kh * kw)
    else:
        divisor = F.conv2d(g.new_ones(1, 1, *x_shape[2:]), g.new_ones(1, 1, kh, kw), None, *window)
    channels = x_shape[1]
    return _transposed(g / divisor, g.new_ones(channels, 1, kh, kw), x_shape, window, channels)


def _batch_norm_adjoint(op: Any, g: Tensor, gamma: Tensor, var: Tensor) -> Tensor:
    return g * _channels(gamma / torch.sqrt(var + _real(op, "eps")))


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


def _scale(op: Any, x: Tensor) -> Tensor:
    return x * _real(op, "factor")


def _unfold2d(op: Any, x: Tensor) -> Tensor:
    kernel, stride, dilation = (tuple(ints(op, name, 2, 1)) for name in ("kernel", "stride", "dilation"))
    (top, left), (bottom, right) = ints(op, "low", 2, 0), ints(op, "high", 2, 0)
    columns = F.unfold(F.pad(x, (left, right, top, bottom)), kernel, dilation, 0, stride)
    taps = columns.reshape(*x.shape[:2], kernel[0] * kernel[1], -1).transpose(1, 2)
    filled = F.pad(taps, (0, 0, 0, channels_per_tap(x.shape[1]) - x.shape[1]))
    return filled.reshape(-1, *shape(op.results[0])[1:])


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
        cam_ops.ScaleOp: _scale,
        layout_ops.Unfold2dOp: _unfold2d,
        **activations.KERNELS,
    }.items()
}
