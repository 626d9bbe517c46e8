"""The conversion table: the gradcam ops for each op of PyTorch, and the reasons why some ops are refused.

A converter takes a `Call`, builds at the current insertion point and returns the level-1 value of the op's first
result, or the values of the list that it gives. The operand order is that of PyTorch's schemas
(`torch.ops.aten.conv2d.default._schema`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch_mlir import ir

from gradcam.dialect import cam_ops, ops
from gradcam.dialect.verify import by
from gradcam.passes.torch import activations, arithmetic, channels, shapes, torch_ir
from gradcam.passes.torch.call import Call, Converted, dims, tensor
from gradcam.passes.torch.numbers import flag, integer, ints, real
from gradcam.passes.torch.view import View

Converter = Callable[[Call], Converted]
#: What to do about an op in training mode; the model may be in eval mode already, and its code say training=True.
_EVAL = "call .eval() on the model before the import, and let its code pass training=self.training"

_Window = tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]  # kernel, stride, padding, dilation


def _conv(call: Call, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int) -> ir.Value:
    x, weight, bias = call.activation(0, rank=4), call.weight(1), call.optional_weight(2)
    if len(dims(weight)) != 4:
        raise call.error(f"has a weight of shape {by(dims(weight))}; only two-dimensional convolutions are supported")
    attributes = ints(stride), ints(padding), ints(dilation), integer(groups)
    return ops.Conv2dOp(x, weight, bias, *attributes, call.type, loc=call.loc()).result


def _conv2d(call: Call) -> ir.Value:
    return _conv(call, call.pair(3), call.pair(4), call.pair(5), call.static(6))


def _conv2d_padding(call: Call) -> ir.Value:
    mode, dilation = call.static(4), call.pair(5)
    kernel = dims(call.weight(1))[2:]
    total = [d * (k - 1) if mode == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
    if any(t % 2 for t in total):
        raise call.error(f"has padding='same' with a {by(kernel)} kernel, which pads one side more than the other")
    return _conv(call, call.pair(3), [t // 2 for t in total], dilation, call.static(6))


def _convolution(call: Call) -> ir.Value:
    if call.static(6):
        raise call.error("is a transposed convolution, which is not supported")
    return _conv(call, call.pair(3), call.pair(4), call.pair(5), call.static(8))


def _pad(call: Call) -> ir.Value:
    raise call.error(f"with mode '{call.static(2)}' is not supported; a convolution can pad with zeros")


def _normalize(call: Call, eps: float) -> ir.Value:
    x = call.activation(0, rank=4)
    channels = dims(x)[1]
    mean, var = call.optional_weight(3), call.optional_weight(4)
    if mean is None or var is None:
        raise call.error("has no running statistics (track_running_stats=False) to normalize with")
    gamma = call.optional_weight(1) or call.filled(1.0, channels, "weight")
    beta = call.optional_weight(2) or call.filled(0.0, channels, "bias")
    return ops.BatchNormOp(x, gamma, beta, mean, var, real(eps), call.type, loc=call.loc()).result


def _batch_norm(call: Call) -> ir.Value:
    if call.is_none(3):
        return _batch_norm_without_statistics(call)
    if call.static(5):
        return _training(call)
    return _normalize(call, call.static(7))


def _batch_norm_no_training(call: Call) -> ir.Value:
    return _normalize(call, call.static(6))


def _batch_norm_training(call: Call) -> ir.Value:
    raise call.error(f"normalizes with the batch's own statistics: {_EVAL}")


def _batch_norm_without_statistics(call: Call) -> ir.Value:
    raise call.error(
        "has no running statistics (track_running_stats=False) and normalizes by those of its input, which are not "
        "known before it runs; train it with track_running_stats=True"
    )


def _training(call: Call) -> ir.Value:
    raise call.error(f"is in training mode: {_EVAL}")


def _dropout(call: Call) -> ir.Value | View:
    return _training(call) if call.static(2) else _same(call)


def _native_dropout(call: Call) -> ir.Value | View:
    return _training(call) if call.is_none(2) or call.static(2) else _same(call)


def _same(call: Call) -> ir.Value | View:
    """An op without effect on values: its result is its operand."""
    view = call.view(0)
    if tensor(*view.shape) != call.type:
        raise call.error(f"changes {tensor(*view.shape)} to {call.type}, which is not supported")
    return call.seen(view)


def _check_ceil_mode(call: Call, ceil_mode: bool, x: ir.Value, window: _Window) -> None:
    """Refuses ceil_mode where it adds a window that starts in the padding or hangs over the edge."""
    axes = zip(dims(x)[2:], *window, strict=True)
    floor = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]
    found = list(call.type.shape)[2:]
    if ceil_mode and floor != found:
        raise call.error(f"has ceil_mode=True and gives {by(found)} instead of {by(floor)}, which is not supported")


def _max_pool2d(call: Call) -> ir.Value:
    x, kernel, padding, dilation = call.activation(0, rank=4), call.pair(1), call.pair(3), call.pair(4)
    window = kernel, call.pair(2) or kernel, padding, dilation
    _check_ceil_mode(call, call.static(5), x, window)
    return ops.MaxPool2dOp(x, *map(ints, window), call.type, loc=call.loc()).result


def _average(call: Call, x: ir.Value, window: _Window, y_type: ir.Type, include_pad: bool = True) -> ir.Value:
    return ops.AvgPool2dOp(x, *map(ints, window), flag(include_pad), y_type, loc=call.loc()).result


def _avg_pool2d(call: Call) -> ir.Value:
    x, kernel, padding = call.activation(0, rank=4), call.pair(1), call.pair(3)
    if not call.is_none(6):
        raise call.error(f"has divisor_override={call.static(6)}, which is not supported")
    window = kernel, call.pair(2) or kernel, padding, [1, 1]
    _check_ceil_mode(call, call.static(4), x, window)
    return _average(call, x, window, call.type, call.static(5))


def _adaptive_window(call: Call, x: ir.Value) -> _Window:
    size, out = dims(x)[2:], list(call.type.shape)[2:]
    if any(n % m for n, m in zip(size, out, strict=True)):
        raise call.error(f"makes {by(out)} of {by(size)}; supported is an output that divides the input")
    kernel = [n // m for n, m in zip(size, out, strict=True)]
    return kernel, kernel, [0, 0], [1, 1]


def _adaptive_avg_pool2d(call: Call) -> ir.Value:
    x = call.activation(0, rank=4)
    return _average(call, x, _adaptive_window(call, x), call.type)


def _adaptive_max_pool2d(call: Call) -> ir.Value:
    x = call.activation(0, rank=4)
    return ops.MaxPool2dOp(x, *map(ints, _adaptive_window(call, x)), call.type, loc=call.loc()).result


def _target(call: Call) -> ir.Value:
    path = ir.StringAttr.get(call.static(1))
    return cam_ops.TargetOp(call.activation(0, rank=4), path, call.type, loc=call.loc()).result


_TABLE: dict[str, Converter] = {
    "aten.conv2d": _conv2d,
    "aten.conv2d.padding": _conv2d_padding,
    "aten.convolution": _convolution,
    "aten.pad": _pad,
    "aten.batch_norm": _batch_norm,
    "aten._native_batch_norm_legit_no_training": _batch_norm_no_training,
    "aten._native_batch_norm_legit_functional": _batch_norm_training,
    "aten._native_batch_norm_legit": _batch_norm_training,
    "aten._native_batch_norm_legit.no_stats": _batch_norm_without_statistics,
    "aten.max_pool2d": _max_pool2d,
    "aten.max_pool2d_with_indices": _max_pool2d,
    "aten.avg_pool2d": _avg_pool2d,
    "aten.adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "aten.adaptive_max_pool2d": _adaptive_max_pool2d,
    "aten.dropout": _dropout,
    "aten.feature_dropout": _dropout,
    "aten.alpha_dropout": _dropout,
    "aten.native_dropout": _native_dropout,
    "aten.bernoulli": _training,
    "aten.bernoulli.p": _training,
    "gradcam.target": _target,
}
_NO_OPS = "alias alias_copy detach detach_copy contiguous clone lift_fresh_copy _to_copy to.dtype"
_TABLE |= activations.TABLE | shapes.TABLE | channels.TABLE | arithmetic.TABLE
_TABLE |= dict.fromkeys(arithmetic.NO_OPS, _same)


def convert(call: Call) -> Converted:
    """Builds the gradcam ops of one torch op and returns the value of its first result.

    Raises:
        GradcamError: the op, or how it is used, is not supported.
        Cascade: an operand could not be converted.
    """
    if (constant := arithmetic.folded(call)) is not None:
        return constant
    converter = _TABLE.get(call.name)
    if converter is None:
        raise call.error(_unsupported(call.name))
    if torch_ir.has_uses(list(call.op.results)[1:]):
        raise call.error("is used for more than its first result, which is not supported")
    return converter(call)


def _unsupported(name: str) -> str:
    base = name.split(".")[1] if "." in name else name
    if base.endswith("_"):
        return "writes in place, which is not supported: import run_decompositions({}) of the program"
    return "is not supported"
