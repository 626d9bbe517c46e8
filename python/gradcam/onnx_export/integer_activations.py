"""Activations of quantized values, their masks and their slopes as ONNX operators; see `integers`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.dialect import activation_ops, adjoint_ops, ops
from gradcam.dialect.verify import shape
from gradcam.functions import FUNCTIONS, Function, Real
from gradcam.onnx_export.attributes import real
from gradcam.onnx_export.graph import Graph, Rule
from gradcam.onnx_export.integers import along, at_scale, clip, rescale, store
from gradcam.passes.ir.constants import read_constant
from gradcam.quant_types import (
    INT16_LIMITS,
    clamp_bounds,
    hard_bend,
    hard_rescale,
    mask_bounds,
    quantize_array,
    signed_rescale,
    storage_limits,
    table,
)


def _relu(graph: Graph, op: Any, x: str) -> str:
    positive = graph("Max", x, graph.constant(0))  # onnxruntime cannot join a Relu of float64 with a Clip, and fails
    return store(graph, op, at_scale(graph, op, 0, positive))


def _clamp(graph: Graph, op: Any, x: str) -> str:
    return store(graph, op, at_scale(graph, op, 0, clip(graph, x, *clamp_bounds(op))))


def _is_positive(graph: Graph, x: str) -> str:
    return graph("Greater", x, graph.constant(0))


def _leaky_relu(graph: Graph, op: Any, x: str) -> str:
    sides = (at_scale(graph, op, 0, x, factor) for factor in (1.0, real(op, "slope")))
    return store(graph, op, graph("Where", _is_positive(graph, x), *sides))


def _mask(graph: Graph, op: Any, x: str) -> str:
    lo, hi = mask_bounds(op)
    return graph("And", graph("Greater", x, graph.constant(lo)), graph("Less", x, graph.constant(hi)))


def _apply_mask(graph: Graph, op: Any, g: str, mask: str) -> str:
    slope = real(op, "slope")
    other = at_scale(graph, op, 0, g, slope) if slope else graph.constant(0)
    return store(graph, op, graph("Where", mask, g, other))


def _slopes(op: Any) -> np.ndarray:
    slopes = read_constant(op.operands[1])
    assert slopes is not None, "the slopes of a prelu are constant"
    return slopes


def _prelu(graph: Graph, op: Any, x: str, _: str) -> str:
    m, s = signed_rescale(op.operands[0], op.results[0], _slopes(op))
    below = rescale(graph, x, m, s, len(shape(op.results[0])))
    return store(graph, op, graph("Where", _is_positive(graph, x), at_scale(graph, op, 0, x), below))


def _prelu_slope(graph: Graph, op: Any, x: str, _: str) -> str:
    one, *others = quantize_array(np.array([1.0, *_slopes(op)]), op.results[0])
    below = along(graph, np.array(others), len(shape(op.results[0])))
    return graph("Where", _is_positive(graph, x), graph.constant(one), below)


def _hard_sigmoid(graph: Graph, op: Any, x: str) -> str:
    bend = hard_bend(op)
    lifted = clip(graph, graph("Add", x, graph.constant(bend)), 0, 2 * bend)
    return store(graph, op, rescale(graph, lifted, *hard_rescale(op), len(shape(op.results[0]))))


def _hard_swish(graph: Graph, op: Any, x: str) -> str:
    bend, x = hard_bend(op), clip(graph, x, *INT16_LIMITS)
    lifted = clip(graph, graph("Add", x, graph.constant(bend)), 0, 2 * bend)
    return store(graph, op, rescale(graph, graph("Mul", x, lifted), *hard_rescale(op), len(shape(op.results[0]))))


def _hard_swish_slope(graph: Graph, op: Any, x: str) -> str:
    bend, x = hard_bend(op), clip(graph, x, *INT16_LIMITS)
    twice = graph("Mul", clip(graph, x, -bend, bend), graph.constant(2))
    sums = graph("Add", twice, graph.constant(bend))
    inside = rescale(graph, sums, *hard_rescale(op), len(shape(op.results[0])))
    one = graph.constant(quantize_array(np.array(1.0), op.results[0]))
    upper = graph("Where", graph("GreaterOrEqual", x, graph.constant(bend)), one, inside)
    is_low = graph("LessOrEqual", x, graph.constant(-bend))
    return store(graph, op, graph("Where", is_low, graph.constant(0), upper))


def _looked_up(choose: Callable[[Function], Real]) -> Rule:
    def look_up(graph: Graph, op: Any, x: str) -> str:
        function = FUNCTIONS[ir.StringAttr(op.attributes["function"]).value]
        entries = graph.constant(table(choose(function), op.operands[0], op.results[0]), name="table")
        low, _ = storage_limits(op.operands[0])
        return graph("Gather", entries, graph.cast(graph("Sub", x, graph.constant(low)), np.int64))

    return look_up


#: The rules by op class.
RULES: dict[Any, Rule] = {
    ops.ReluOp: _relu,
    ops.ClampOp: _clamp,
    ops.HardtanhOp: _clamp,
    ops.LeakyReluOp: _leaky_relu,
    activation_ops.PReluOp: _prelu,
    activation_ops.PReluSlopeOp: _prelu_slope,
    activation_ops.HardSigmoidOp: _hard_sigmoid,
    activation_ops.HardSwishOp: _hard_swish,
    activation_ops.HardSwishSlopeOp: _hard_swish_slope,
    activation_ops.FunctionOp: _looked_up(lambda function: function.value),
    activation_ops.FunctionSlopeOp: _looked_up(lambda function: function.slope),
    adjoint_ops.MaskOp: _mask,
    adjoint_ops.ApplyMaskOp: _apply_mask,
}
