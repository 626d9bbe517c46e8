"""Converters of activations, which compute each element by itself."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch_mlir import ir

from gradcam.dialect import ops
from gradcam.passes.torch.call import Call
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
}
