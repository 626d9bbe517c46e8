"""The conversion table: the gradcam ops for each op of PyTorch, and the reasons why some ops are refused.

A converter takes a `Call`, builds at the current insertion point and returns the level-1 value of the op's first
result, or the values of the list that it gives. The operand order is that of PyTorch's schemas
(`torch.ops.aten.conv2d.default._schema`).
"""

from __future__ import annotations

from collections.abc import Callable

from torch_mlir import ir

from gradcam.dialect import cam_ops, ops
from gradcam.passes.ir.given_ranges import give_range
from gradcam.passes.torch import activations, arithmetic, branches, channels, resampling, shapes, torch_ir, windows
from gradcam.passes.torch.call import Call, Converted, dims, tensor
from gradcam.passes.torch.numbers import real
from gradcam.passes.torch.onnx_node import REASON
from gradcam.passes.torch.view import View

Converter = Callable[[Call], Converted]
#: What to do about an op in training mode; the model may be in eval mode already, and its code say training=True.
_EVAL = "call .eval() on the model before the import, and let its code pass training=self.training"


def _normalize(call: Call, eps: float) -> ir.Value:
    x = call.features(0)
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


def _target(call: Call) -> ir.Value:
    path = ir.StringAttr.get(call.static(1))
    return cam_ops.TargetOp(call.activation(0, rank=4), path, call.type, loc=call.loc()).result


def _range(call: Call) -> Converted:
    """The range that a quantized model gives a feature map or the image."""
    view = call.view(0)
    give_range(view.value, call.static(1))
    return call.seen(view)


_TABLE: dict[str, Converter] = {
    "aten.batch_norm": _batch_norm,
    "aten._native_batch_norm_legit_no_training": _batch_norm_no_training,
    "aten._native_batch_norm_legit_functional": _batch_norm_training,
    "aten._native_batch_norm_legit": _batch_norm_training,
    "aten._native_batch_norm_legit.no_stats": _batch_norm_without_statistics,
    "aten.dropout": _dropout,
    "aten.feature_dropout": _dropout,
    "aten.alpha_dropout": _dropout,
    "aten.native_dropout": _native_dropout,
    "aten.bernoulli": _training,
    "aten.bernoulli.p": _training,
    "gradcam.range": _range,
    "gradcam.target": _target,
}
_TABLE |= activations.TABLE | shapes.TABLE | windows.TABLE | resampling.TABLE | channels.TABLE | arithmetic.TABLE
_TABLE |= branches.TABLE | dict.fromkeys(arithmetic.NO_OPS, _same)


def convert(call: Call) -> Converted:
    """Builds the gradcam ops of one torch op and returns the value of its first result.

    Raises:
        GradcamError: the op, or how it is used, is not supported.
        Cascade: an operand could not be converted.
    """
    converter = _TABLE.get(call.name)
    if converter is None:
        raise call.error(_unsupported(call))
    if torch_ir.has_uses(list(call.op.results)[1:]):
        raise call.error("is used for more than its first result, which is not supported")
    return converter(call)


_OWN_STATISTICS = (
    "normalizes by a mean and a variance that it computes of its input for every image, which is not supported; "
    "batch norms are, whose statistics are constants"
)
_ATTENTION = "multiplies two tensors computed from the image as matrices, as attention does, which is not supported"

_BETWEEN = (
    "computes elements between those of its input, which is not supported; train the model with mode='nearest' and a "
    "whole factor"
)

#: Why an op is refused, where more can be said than that it is not supported.
_REASONS = {
    **dict.fromkeys(("layer_norm", "native_layer_norm", "group_norm", "native_group_norm"), _OWN_STATISTICS),
    **dict.fromkeys(("instance_norm", "rms_norm", "linalg_vector_norm"), _OWN_STATISTICS),
    **dict.fromkeys(("bmm", "baddbmm", "scaled_dot_product_attention", "multi_head_attention_forward"), _ATTENTION),
    **dict.fromkeys(("upsample_bilinear2d", "upsample_bicubic2d", "_upsample_bilinear2d_aa"), _BETWEEN),
}


def _unsupported(call: Call) -> str:
    if REASON in call.op.attributes:
        return ir.StringAttr(call.op.attributes[REASON]).value
    name = call.name
    base = name.split(".")[1] if "." in name else name
    if base.endswith("_"):
        return "writes in place, which is not supported: import run_decompositions({}) of the program"
    return _REASONS.get(base, "is not supported")
