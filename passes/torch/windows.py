"""Converters of ops with a sliding window, convolutions and pools, and of padding.

Padding is [top, left, bottom, right] or, where it is the same on both sides, [height, width]. A pad with zeros is an
average pool of single elements; `gradcam-fold-padding` lets the windows behind it do it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from torch_mlir import ir

from gradcam.adaptive import Windows
from gradcam.dialect import ops, resample_ops
from gradcam.dialect.verify import by, padding_of
from gradcam.passes.ir.constants import dense_values, make_constant
from gradcam.passes.torch import torch_ir
from gradcam.passes.torch.arithmetic import affine
from gradcam.passes.torch.call import Call, dims, tensor
from gradcam.passes.torch.numbers import flag, integer, ints
from gradcam.passes.torch.view import View

#: kernel, stride, padding, dilation
Window = tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]

#: Values that a pad of a max-pool writes in place of minus infinity are at most this.
_LOWEST = float(np.finfo(np.float32).min)


# --- convolutions ---


def _conv(call: Call, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int) -> ir.Value:
    x, weight, bias = call.activation(0, rank=4), call.weight(1), call.optional_weight(2)
    if len(dims(weight)) != 4:
        raise call.error(f"has a weight of shape {by(dims(weight))}; only two-dimensional convolutions are supported")
    attributes = ints(stride), ints(padding), ints(dilation), integer(groups)
    return ops.Conv2dOp(x, weight, bias, *attributes, call.type, loc=call.loc()).result


def _conv2d(call: Call) -> ir.Value:
    return _conv(call, call.pair(3), call.pair(4), call.pair(5), call.static(6))


def _conv2d_padding(call: Call) -> ir.Value:
    """`padding='same'`: of an odd number of zeros, one more stands behind the map."""
    dilation, kernel = call.pair(5), dims(call.weight(1))[2:]
    is_same = call.static(4) == "same"
    total = [d * (k - 1) if is_same else 0 for d, k in zip(dilation, kernel, strict=True)]
    padding = padding_of([t // 2 for t in total], [t - t // 2 for t in total])
    return _conv(call, call.pair(3), padding, dilation, call.static(6))


def _convolution(call: Call) -> ir.Value | View:
    if call.static(6):
        raise call.error("is a transposed convolution, which is not supported")
    if len(dims(call.weight(1))) == 3:
        return _conv1d(call)
    return _conv(call, call.pair(3), call.pair(4), call.pair(5), call.static(8))


def _conv1d(call: Call) -> View:
    """A convolution along the channels of a vector, 1x1xC, as in ECA (Wang et al. 2020): a linear layer of a band."""
    view, weight, (stride, padding, dilation) = call.view(0), call.weight(1), (call.static(n)[0] for n in (3, 4, 5))
    taps, features = dense_values(weight.owner), view.shape[-1]
    if view.shape != [1, 1, features] or view.walked not in ([1], []) or taps.shape[:2] != (1, 1):
        raise call.error(f"takes a tensor of shape {by(view.shape)}; supported is one along channels, 1x1xC")
    out = list(call.type.shape)[-1]
    band = np.zeros((out, features), np.float32)
    for row, (tap, value) in product(range(out), enumerate(taps[0, 0])):
        column = row * stride + tap * dilation - padding
        if 0 <= column < features:
            band[row, column] = value
    vector = view.value if len(dims(view.value)) == 2 else call.flatten(view.value, "flatten")
    with call.loc():
        bias = np.zeros(1) if call.is_none(2) else dense_values(call.weight(2).owner)
        offsets = make_constant(np.broadcast_to(bias, out).astype(np.float32))
        y = ops.LinearOp(vector, make_constant(band), offsets, tensor(1, out)).result
    return View(y, ((), (), (1,)))


# --- padding ---


def _pad(call: Call) -> ir.Value | View:
    return _padded(call, call.static(2), call.static(3) or 0.0)


def _constant_pad(call: Call) -> ir.Value | View:
    return _padded(call, "constant", call.static(2))


def _other_pad(call: Call) -> ir.Value | View:
    return _padded(call, call.name.removeprefix("aten.").partition("_")[0], 0.0)


def _padded(call: Call, mode: str, value: float) -> ir.Value | View:
    """Zeros around a map; padding with the least number belongs to the max-pools that read it."""
    if mode != "constant":
        raise call.error(f"with mode '{mode}' is not supported: hardware pads with zeros, mode 'constant'")
    low, high = _pad_sides(call)
    if not any([*low, *high]):
        return call.seen(call.view(0))
    if value <= _LOWEST:
        if all(use.owner.operation.name.startswith("torch.aten.max_pool2d") for use in call.op.results[0].uses):
            return call.seen(call.view(0))
        raise call.error(f"pads with {value} and is not read by max-pools alone, which is not supported")
    if value != 0:
        raise call.error(f"pads with {value}; hardware pads with zeros")
    window = [1, 1], [1, 1], padding_of(low, high), [1, 1]
    return _average(call, call.activation(0, rank=4), window, call.type)


def _pad_sides(call: Call) -> tuple[list[int], list[int]]:
    """Rows and columns that a pad adds before and behind a map."""
    given = call.static(1)
    left, right, top, bottom, *others = [*given, *[0] * max(0, 4 - len(given))]
    if any(others):
        raise call.error(f"pads by {given}, also other dimensions than height and width, which is not supported")
    if min(left, right, top, bottom) < 0:
        raise call.error(f"pads by {given}; a negative number cuts, which is not supported")
    return [top, left], [bottom, right]


def _absorbed(call: Call) -> tuple[list[int], list[int]]:
    """The padding with the least number in front of a max-pool."""
    source = torch_ir.defining_op(call.op.operands[0])
    if source is None or torch_ir.op_name(source) not in ("aten.pad", "aten.constant_pad_nd"):
        return [0, 0], [0, 0]
    pad = Call(source, call.values)
    value = pad.static(3 if pad.name == "aten.pad" else 2)
    return _pad_sides(pad) if value is not None and value <= _LOWEST else ([0, 0], [0, 0])


# --- pools ---


def _hanging(size: Sequence[int], out: Sequence[int], window: Window) -> list[int]:
    """Rows and columns by which windows that ceil_mode adds hang over the padding of a map of `size`."""
    axes = zip(size, out, *window, strict=True)
    return [max(0, (m - 1) * s + d * (k - 1) + 1 - n - 2 * p) for n, m, k, s, p, d in axes]


def _added(*numbers: Sequence[int]) -> list[int]:
    return [sum(pair) for pair in zip(*numbers, strict=True)]


def _max_pool2d(call: Call) -> ir.Value:
    x, kernel, padding, dilation = call.activation(0, rank=4), call.pair(1), call.pair(3), call.pair(4)
    stride, (before, behind) = call.pair(2) or kernel, _absorbed(call)
    padded = _added(dims(x)[2:], before, behind)
    over = _hanging(padded, list(call.type.shape)[2:], (kernel, stride, padding, dilation))
    window = kernel, stride, padding_of(_added(padding, before), _added(padding, behind, over)), dilation
    return _maximum(call, x, window, call.type)


def _maximum(call: Call, x: ir.Value, window: Window, y_type: ir.Type) -> ir.Value:
    return ops.MaxPool2dOp(x, *map(ints, window), y_type, loc=call.loc()).result


def _average(
    call: Call, x: ir.Value, window: Window, y_type: ir.Type, include_pad: bool = True, part: str = ""
) -> ir.Value:
    return ops.AvgPool2dOp(x, *map(ints, window), flag(include_pad), y_type, loc=call.loc(part)).result


def _avg_pool2d(call: Call) -> ir.Value:
    """Of the windows that ceil_mode adds, what hangs over the padded map never counts in the divisor."""
    x, kernel, padding, include_pad = call.activation(0, rank=4), call.pair(1), call.pair(3), call.static(5)
    stride = call.pair(2) or kernel
    over = _hanging(dims(x)[2:], list(call.type.shape)[2:], (kernel, stride, padding, [1, 1]))
    if not call.is_none(6):
        return _sum_divided(call, x, (kernel, stride, padding_of(padding, _added(padding, over)), [1, 1]))
    if any(over) and any(padding) and include_pad:
        size = _added(dims(x)[2:], padding, padding)
        whole = tensor(*dims(x)[:2], *size)
        x, padding = _average(call, x, ([1, 1], [1, 1], padding, [1, 1]), whole, part="pad"), [0, 0]
    window = kernel, stride, padding_of(padding, _added(padding, over)), [1, 1]
    return _average(call, x, window, call.type, include_pad and not any(over))


def _sum_divided(call: Call, x: ir.Value, window: Window) -> ir.Value:
    """An average pool with a divisor of its own: the mean times the elements of a window by the divisor."""
    mean = _average(call, x, window, call.type, part="mean")
    return affine(call, mean, math.prod(window[0]) / call.static(6))


def _uncounted_average(call: Call) -> ir.Value:
    """An average pool of ONNX, with padding on four sides that does not count: (x, kernel, stride, padding)."""
    x, (kernel, stride, padding) = call.activation(0, rank=4), map(call.static, (1, 2, 3))
    window = kernel, stride, padding_of(padding[:2], padding[2:]), [1, 1]
    return _average(call, x, window, call.type, include_pad=False)


def _adaptive_window(call: Call, x: ir.Value) -> Window | None:
    """The window of the ordinary pool that an adaptive one is; None where its windows have different sizes."""
    size, out = dims(x)[2:], list(call.type.shape)[2:]
    axes = [Windows.of(n, m).regular for n, m in zip(size, out, strict=True)]
    if None in axes:
        return None
    kernel, stride = zip(*axes, strict=True)
    return kernel, stride, [0, 0], [1, 1]


def _adaptive_avg_pool2d(call: Call) -> ir.Value:
    x = call.activation(0, rank=4)
    if (window := _adaptive_window(call, x)) is not None:
        return _average(call, x, window, call.type)
    return _repeated(call, x) or resample_ops.AdaptiveAvgPool2dOp(x, call.type, loc=call.loc()).result


def _adaptive_max_pool2d(call: Call) -> ir.Value:
    x = call.activation(0, rank=4)
    if (window := _adaptive_window(call, x)) is not None:
        return _maximum(call, x, window, call.type)
    if (repeated := _repeated(call, x)) is not None:
        return repeated
    size, out = dims(x)[2:], list(call.type.shape)[2:]
    raise call.error(
        f"makes {by(out)} of {by(size)}, by windows of different sizes; give it an output that divides {by(size)}"
    )


def _repeated(call: Call, x: ir.Value) -> ir.Value | None:
    """An adaptive pool whose windows have one element each: nearest upsampling."""
    factors = [divmod(m, n) for n, m in zip(dims(x)[2:], list(call.type.shape)[2:], strict=True)]
    if any(rest for _, rest in factors):
        return None
    return resample_ops.Upsample2dOp(x, ints([factor for factor, _ in factors]), call.type, loc=call.loc()).result


_OTHER_PADS = ("reflection_pad2d", "replication_pad2d", "_pad_circular")

#: The converters by torch op.
TABLE: dict[str, Callable[[Call], ir.Value | View]] = {
    "aten.conv2d": _conv2d,
    "aten.conv2d.padding": _conv2d_padding,
    "aten.convolution": _convolution,
    "aten.conv1d": _conv1d,
    "aten.pad": _pad,
    "aten.constant_pad_nd": _constant_pad,
    **{f"aten.{name}": _other_pad for name in _OTHER_PADS},
    "aten.max_pool2d": _max_pool2d,
    "aten.max_pool2d_with_indices": _max_pool2d,
    "aten.avg_pool2d": _avg_pool2d,
    "gradcam.avg_pool2d": _uncounted_average,
    "aten.adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "aten.adaptive_max_pool2d": _adaptive_max_pool2d,
}
