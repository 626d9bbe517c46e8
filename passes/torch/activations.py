"""Converters of activations, which compute each element by itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch_mlir import ir

from gradcam.dialect import activation_ops, ops
from gradcam.dialect.verify import by
from gradcam.passes.ir.constants import dense_values, make_constant
from gradcam.passes.torch.call import Call, dims
from gradcam.passes.torch.numbers import real
from gradcam.passes.torch.view import View


def elementwise(call: Call, build: Callable[[ir.Value], ir.OpView]) -> ir.Value | View:
    """An op that computes each element by itself, whichever dimensions PyTorch sees."""
    view = call.view(0)
    with call.loc():
        return call.seen(view._replace(value=build(view.value).results[0]))


def _relu(call: Call) -> ir.Value | View:
    return elementwise(call, lambda x: ops.ReluOp(x, x.type))


def _bounded(call: Call, kind: type, lo: float | None, hi: float | None) -> ir.Value | View:
    """A clamp or hardtanh, which have their gradients on the bounds as PyTorch has them."""
    lo, hi = -math.inf if lo is None else lo, math.inf if hi is None else hi
    if not lo < hi:
        raise call.error(f"has bounds {lo} and {hi}; the lower one must be less than the upper one")
    return elementwise(call, lambda x: kind(x, real(lo), real(hi), x.type))


def _clamp(call: Call) -> ir.Value | View:
    return _bounded(call, ops.ClampOp, call.static(1), call.static(2))


def _clamp_max(call: Call) -> ir.Value | View:
    return _bounded(call, ops.ClampOp, None, call.static(1))


def _hardtanh(call: Call) -> ir.Value | View:
    return _bounded(call, ops.HardtanhOp, call.static(1), call.static(2))


def _clamp_min(call: Call) -> ir.Value | View:
    return _bounded(call, ops.ClampOp, call.static(1), None)


def _relu6(call: Call) -> ir.Value | View:
    return _bounded(call, ops.HardtanhOp, 0.0, 6.0)


def _leaky_relu(call: Call) -> ir.Value | View:
    slope = call.static(1)
    if slope == 0:
        return _relu(call)
    if not 0 < slope < 1:
        raise call.error(f"has negative_slope={slope}; supported is at least 0 and less than 1")
    return elementwise(call, lambda x: ops.LeakyReluOp(x, real(slope), x.type))


def _prelu(call: Call) -> ir.Value | View:
    """A slope per channel, or one for all."""
    view, slopes = call.view(0), dense_values(call.weight(1).owner)
    if view.groups[1:2] != ((1,),):
        raise call.error(f"takes a tensor of shape {by(view.shape)}, whose dimension 1 is not that of the channels")
    if not np.isfinite(slopes).all():
        raise call.error("has slopes that are not finite")
    channels = dims(view.value)[1]
    with call.loc("slopes"):
        constant = make_constant(np.broadcast_to(slopes, channels))
    return elementwise(call, lambda x: activation_ops.PReluOp(x, constant, x.type))


def _hard_sigmoid(call: Call) -> ir.Value | View:
    return elementwise(call, lambda x: activation_ops.HardSigmoidOp(x, x.type))


def _hard_swish(call: Call) -> ir.Value | View:
    return elementwise(call, lambda x: activation_ops.HardSwishOp(x, x.type))


def function(name: str) -> Callable[[Call], ir.Value | View]:
    """The converter of a function of `gradcam.functions`."""
    return lambda call: elementwise(call, lambda x: activation_ops.FunctionOp(x, ir.StringAttr.get(name), x.type))


def _gelu(call: Call) -> ir.Value | View:
    return function("gelu_tanh" if call.static(1) == "tanh" else "gelu")(call)


#: The converters by torch op.
TABLE: dict[str, Callable[[Call], ir.Value | View]] = {
    "aten.relu": _relu,
    "aten.relu6": _relu6,
    "aten.hardtanh": _hardtanh,
    "aten.clamp": _clamp,
    "aten.clip": _clamp,
    "aten.clamp_max": _clamp_max,
    "aten.clamp_min": _clamp_min,
    "aten.leaky_relu": _leaky_relu,
    "aten.prelu": _prelu,
    "aten._prelu_kernel": _prelu,
    "aten.hardsigmoid": _hard_sigmoid,
    "aten.hardswish": _hard_swish,
    "aten.gelu": _gelu,
    "aten.mish": function("mish"),
    "aten.silu": function("silu"),
    "aten.tanh": function("tanh"),
}
