"""Activations, their masks and their slopes as ONNX operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch_mlir import ir

from gradcam.dialect import activation_ops, adjoint_ops, ops
from gradcam.dialect.activation_ops import BEND
from gradcam.dialect.verify import shape
from gradcam.onnx_export.attributes import flag, real
from gradcam.onnx_export.graph import Graph, Rule


def _relu(graph: Graph, op: Any, x: str) -> str:
    return graph("Relu", x)


def _clamp(graph: Graph, op: Any, x: str) -> str:
    return _clipped(graph, x, real(op, "lo"), real(op, "hi"))


def _clipped(graph: Graph, x: str, lo: float, hi: float) -> str:
    bounds = [graph.constant(bound) if math.isfinite(bound) else "" for bound in (lo, hi)]
    return graph("Clip", x, *(bounds if bounds[1] else bounds[:1]))


def _leaky_relu(graph: Graph, op: Any, x: str) -> str:
    return graph("LeakyRelu", x, alpha=real(op, "slope"))


def _mask(graph: Graph, op: Any, x: str) -> str:
    return _inside(graph, op, x)


def _inside(graph: Graph, op: Any, x: str) -> str:
    """Whether x lies within the bounds of the op."""
    lo, hi, end = real(op, "lo"), real(op, "hi"), "OrEqual" if flag(op, "closed") else ""
    if not end:
        x = _activated(graph, x, lo, hi)
    bounds = [(kind, bound) for kind, bound in (("Greater", lo), ("Less", hi)) if math.isfinite(bound)]
    first, *second = (graph(kind + end, x, graph.constant(bound)) for kind, bound in bounds)
    return graph("And", first, *second) if second else first


def _activated(graph: Graph, x: str, lo: float, hi: float) -> str:
    """The activation of x with these bounds where the graph has it, else x: inside of the bounds they are equal.

    A runtime can then join the activation with the convolution before it, which only it reads.
    """
    made = graph.made("Relu", x) if (lo, hi) == (0.0, math.inf) else None
    return made or x


def _apply_mask(graph: Graph, op: Any, g: str, mask: str) -> str:
    if slope := real(op, "slope"):
        return graph("Mul", g, graph("Where", mask, graph.constant(1.0), graph.constant(slope)))
    return graph("Mul", g, graph.cast(mask, graph.dtype))  # several times as fast as Where


def _activation_adjoint(graph: Graph, op: Any, g: str, y: str) -> str:
    return _apply_mask(graph, op, g, _inside(graph, op, y))


def _per_channel(graph: Graph, op: Any, slopes: str) -> str:
    return graph.reshape(slopes, [-1, *[1] * (len(shape(op.operands[0])) - 2)])


def _prelu(graph: Graph, op: Any, x: str, slopes: str) -> str:
    return graph("PRelu", x, _per_channel(graph, op, slopes))


def _prelu_slope(graph: Graph, op: Any, x: str, slopes: str) -> str:
    return graph(
        "Where", graph("Greater", x, graph.constant(0.0)), graph.constant(1.0), _per_channel(graph, op, slopes)
    )


def _hard_sigmoid(graph: Graph, op: Any, x: str) -> str:
    return graph("HardSigmoid", x, alpha=1 / (2 * BEND), beta=0.5)


def _hard_swish(graph: Graph, op: Any, x: str) -> str:
    return graph("HardSwish", x)


def _hard_swish_slope(graph: Graph, op: Any, x: str) -> str:
    inside = graph("Add", graph("Mul", x, graph.constant(1 / BEND)), graph.constant(0.5))
    upper = graph("Where", graph("GreaterOrEqual", x, graph.constant(BEND)), graph.constant(1.0), inside)
    return graph("Where", graph("LessOrEqual", x, graph.constant(-BEND)), graph.constant(0.0), upper)


class _Terms:
    """Terms of formulas of x, with which the functions and their derivatives are written down."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def number(self, value: float | str) -> str:
        """A value, or a number as one."""
        return value if isinstance(value, str) else self.graph.constant(value)

    def mul(self, *factors: float | str) -> str:
        """The product of values and numbers."""
        return self._joined("Mul", factors)

    def add(self, *terms: float | str) -> str:
        """The sum of values and numbers."""
        return self._joined("Add", terms)

    def one_minus(self, x: str) -> str:
        """1 - x."""
        return self.graph("Sub", self.number(1.0), x)

    def _joined(self, kind: str, parts: tuple[float | str, ...]) -> str:
        first, *others = map(self.number, parts)
        for other in others:
            first = self.graph(kind, first, other)
        return first


_Formula = Callable[[_Terms, str], str]


def _sigmoid(t: _Terms, x: str) -> str:
    return t.graph("Sigmoid", x)


def _sigmoid_slope(t: _Terms, x: str) -> str:
    return t.mul(_sigmoid(t, x), _sigmoid(t, t.graph("Neg", x)))


def _tanh(t: _Terms, x: str) -> str:
    return t.graph("Tanh", x)


def _tanh_slope(t: _Terms, x: str) -> str:
    return t.one_minus(t.mul(_tanh(t, x), _tanh(t, x)))


def _silu(t: _Terms, x: str) -> str:
    return t.mul(x, _sigmoid(t, x))


def _silu_slope(t: _Terms, x: str) -> str:
    return t.add(_sigmoid(t, x), t.mul(x, _sigmoid_slope(t, x)))


def _normal(t: _Terms, x: str) -> str:
    """The distribution function of the standard normal distribution."""
    return t.mul(0.5, t.add(1.0, t.graph("Erf", t.mul(x, math.sqrt(0.5)))))


def _gelu(t: _Terms, x: str) -> str:
    return t.mul(x, _normal(t, x))


def _gelu_slope(t: _Terms, x: str) -> str:
    density = t.mul(t.graph("Exp", t.mul(-0.5, x, x)), 1 / math.sqrt(2 * math.pi))
    return t.add(_normal(t, x), t.mul(x, density))


def _inner(t: _Terms, x: str) -> str:
    return t.mul(math.sqrt(2 / math.pi), t.add(x, t.mul(0.044715, x, x, x)))


def _gelu_tanh(t: _Terms, x: str) -> str:
    return t.mul(0.5, x, t.add(1.0, _tanh(t, _inner(t, x))))


def _gelu_tanh_slope(t: _Terms, x: str) -> str:
    inner_slope = t.mul(math.sqrt(2 / math.pi), t.add(1.0, t.mul(3 * 0.044715, x, x)))
    outer = t.mul(0.5, t.add(1.0, _tanh(t, _inner(t, x))))
    return t.add(outer, t.mul(0.5, x, _tanh_slope(t, _inner(t, x)), inner_slope))


def _softplus(t: _Terms, x: str) -> str:
    return t.graph("Softplus", x)


def _mish(t: _Terms, x: str) -> str:
    return t.mul(x, _tanh(t, _softplus(t, x)))


def _mish_slope(t: _Terms, x: str) -> str:
    inner = _softplus(t, x)
    return t.add(_tanh(t, inner), t.mul(x, _tanh_slope(t, inner), _sigmoid(t, x)))


#: The functions of `gradcam.functions` and their derivatives by name.
FORMULAS: dict[str, tuple[_Formula, _Formula]] = {
    "gelu": (_gelu, _gelu_slope),
    "gelu_tanh": (_gelu_tanh, _gelu_tanh_slope),
    "mish": (_mish, _mish_slope),
    "sigmoid": (_sigmoid, _sigmoid_slope),
    "silu": (_silu, _silu_slope),
    "tanh": (_tanh, _tanh_slope),
}


def _function(graph: Graph, op: Any, x: str) -> str:
    return FORMULAS[ir.StringAttr(op.attributes["function"]).value][0](_Terms(graph), x)


def _function_slope(graph: Graph, op: Any, x: str) -> str:
    return FORMULAS[ir.StringAttr(op.attributes["function"]).value][1](_Terms(graph), x)


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
    activation_ops.FunctionOp: _function,
    activation_ops.FunctionSlopeOp: _function_slope,
    adjoint_ops.MaskOp: _mask,
    adjoint_ops.ApplyMaskOp: _apply_mask,
    adjoint_ops.ActivationAdjointOp: _activation_adjoint,
}
