"""The conversion table of ONNX operators: torch ops for each that torch-mlir's own conversion refuses or gets wrong.

A converter takes an `OnnxNode`, builds at the current insertion point and returns the first outputs; None leaves the op
to torch-mlir. torch-mlir computes the arguments of many ops at run time, although they are constants (axes, pads,
bounds, sizes): here they become numbers. The semantics are those of https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from torch_mlir import ir

from gradcam.dialect.verify import by
from gradcam.passes.torch import onnx_windows
from gradcam.passes.torch.onnx_node import OnnxNode

Converter = Callable[[OnnxNode], ir.Value | Sequence[ir.Value] | None]

#: The largest difference between an attribute, which is f32, and the number that is meant.
_CLOSE = 1e-6

#: The operators that torch-mlir converts; their conversion equals onnxruntime in the tests.
LEFT = frozenset(
    (
        *("Abs", "Add", "Cast", "Concat", "Constant", "Div", "Elu", "Erf", "Exp", "GlobalAveragePool"),
        *("GlobalMaxPool", "HardSwish", "Identity", "LeakyRelu", "LogSoftmax", "Mean", "Mish", "Mul", "Neg", "Pow"),
        *("Relu", "Selu", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Sub", "Sum", "Tanh", "Transpose"),
    )
)


def _batch_norm(node: OnnxNode) -> ir.Value:
    if node.attribute("training_mode", 0):
        raise node.error("is in training mode; export the model in eval mode")
    x, scale, bias, mean, var = (node.input(i) for i in range(5))
    return node.torch("aten.batch_norm", x, scale, bias, mean, var, False, 0.0, node.attribute("epsilon", 1e-5), False)


def _integer(node: OnnxNode) -> ir.Value:
    raise node.error("computes with integers; quantize the model in the QDQ format, QuantFormat.QDQ of onnxruntime")


def _unpaired(node: OnnxNode) -> ir.Value:
    """Pairs of QuantizeLinear and DequantizeLinear, and those of constants, are gone before."""
    other = "DequantizeLinear behind it" if node.name == "QuantizeLinear" else "QuantizeLinear before it"
    raise node.error(f"without a {other} that has the same constant scales is not supported; export the float model")


def _statistics(node: OnnxNode) -> ir.Value:
    raise node.error("normalizes by statistics of its input, which are not known before it runs; use batch norms")


def _dropout(node: OnnxNode) -> ir.Value:
    if node.has(2) and node.known(2, "training_mode").any():
        raise node.error("is in training mode; export the model in eval mode")
    return _same(node)


def _same(node: OnnxNode) -> ir.Value:
    return node.torch("aten.clone", node.input(0), None)


def _view(node: OnnxNode) -> ir.Value:
    """Reshape, Flatten, Squeeze, Unsqueeze: the shape is known by inference, whatever asks for it."""
    return node.torch("aten.view", node.input(0), node.result_shape)


def _clip(node: OnnxNode) -> ir.Value:
    """A clip from 0 is what exporters make of ReLU6; it has the gradient of that, other bounds have that of a clamp."""
    lo, hi = (_number(node.known(i, "bounds")) if node.has(i) else None for i in (1, 2))
    return _bounded(node, 0, lo, hi)


def _bounded(node: OnnxNode, index: int, lo: float | None, hi: float | None) -> ir.Value:
    if lo is None and hi is None:
        return node.torch("aten.clone", node.input(index), None)
    if lo == 0:
        bounds = () if hi in (None, math.inf) else (lo, hi)
        return node.torch("aten.hardtanh" if bounds else "aten.relu", node.input(index), *bounds)
    return node.torch("aten.clamp", node.input(index), lo, hi)


def _expand(node: OnnxNode) -> ir.Value:
    """Expand, and a Tile that repeats dimensions of size 1 alone."""
    shape, wanted = node.shape(0), node.result_shape
    if any(n not in (1, m) for n, m in zip(shape, wanted[-len(shape) :], strict=True)):
        raise node.error(f"repeats {by(shape)} as {by(wanted)}; supported are dimensions of size 1 that are repeated")
    return node.torch("aten.expand", node.input(0), wanted, False)


def _number(value: np.ndarray) -> float:
    return float(value.reshape(-1)[0])


def _extreme(is_lower: bool) -> Converter:
    """Max (`is_lower`) or Min of a tensor and a number."""

    def convert(node: OnnxNode) -> ir.Value:
        bounds = [node.constant(i) for i in range(len(node.op.operands))]
        for index, bound in enumerate(bounds[::-1]):
            if len(bounds) == 2 and bound is not None and bound.size == 1:
                limit = _number(bound)
                return _bounded(node, index, limit, None) if is_lower else _bounded(node, index, None, limit)
        raise node.error("of several tensors is not supported; supported is that of one and a number")

    return convert


def _hard_sigmoid(node: OnnxNode) -> ir.Value:
    """max(0, min(1, alpha * x + beta)); PyTorch's function has 1/6 and 1/2."""
    alpha, beta = node.attribute("alpha", 0.2), node.attribute("beta", 0.5)
    if abs(alpha - 1 / 6) < _CLOSE and abs(beta - 0.5) < _CLOSE:
        return node.torch("aten.hardsigmoid", node.input(0))
    product = node.torch("aten.mul.Scalar", node.input(0), float(alpha))
    return node.torch("aten.hardtanh", node.torch("aten.add.Scalar", product, float(beta), 1), 0.0, 1.0)


def _gelu(node: OnnxNode) -> ir.Value:
    return node.torch("aten.gelu", node.input(0), node.attribute("approximate", "none"))


def _swish(node: OnnxNode) -> ir.Value:
    if abs((alpha := node.attribute("alpha", 1.0)) - 1) > _CLOSE:
        raise node.error(f"has alpha={alpha:g}; supported is 1")
    return node.torch("aten.silu", node.input(0))


def _prelu(node: OnnxNode) -> ir.Value:
    """The slope of PyTorch is a vector; that of ONNX is broadcast to the input, from the last dimension on."""
    slope, shape = node.known(1, "slopes"), node.shape(0)
    per_channel = (1,) * (len(shape) - slope.ndim) + slope.shape
    if slope.size != 1 and per_channel != (1, shape[1], *[1] * (len(shape) - 2)):
        raise node.error(f"has slopes of shape {by(slope.shape)}; supported is one, or one per channel")
    return node.torch("aten.prelu", node.input(0), node.literal(slope.reshape(-1), "weight"))


def _gemm(node: OnnxNode) -> ir.Value:
    """alpha * A' * B' + beta * C with constants B and C, a linear layer: alpha and beta go into these."""
    weight, bias = node.known(1, "weights"), node.known(2, "biases") if node.has(2) else None
    if node.attribute("transA", 0) and 1 not in node.shape(0):
        raise node.error("transposes its first input, which is not supported")
    x = node.input(0)
    if node.attribute("transA", 0):
        x = node.torch("aten.view", x, node.shape(0)[::-1], shape=node.shape(0)[::-1])
    weight = (weight if node.attribute("transB", 0) else weight.T) * np.float32(node.attribute("alpha", 1.0))
    if bias is not None:
        if bias.size not in (1, len(weight)):
            raise node.error(f"adds a constant of shape {by(bias.shape)}; supported is a vector of {len(weight)}")
        bias = np.broadcast_to(bias.reshape(-1), len(weight)) * np.float32(node.attribute("beta", 1.0))
    parameters = (node.literal(weight, "weight"), None if bias is None else node.literal(bias, "bias"))
    return node.torch("aten.linear", x, *parameters)


def _matmul(node: OnnxNode) -> ir.Value | None:
    """A product with a constant matrix behind, a linear layer of the last dimension."""
    weight = node.constant(1)
    if weight is None or weight.ndim != 2:
        raise node.error("of other than a tensor and a constant matrix is not supported")
    return node.torch("aten.linear", node.input(0), node.literal(weight.T, "weight"), None)


def _sum(node: OnnxNode) -> ir.Value:
    """The mean times the number of its elements."""
    mean = _reduction("aten.mean.dim", None)(node)
    return node.torch("aten.mul.Scalar", mean, float(math.prod(node.shape(0)) // math.prod(node.result_shape)))


def _reduction(name: str, *rest: None) -> Converter:
    """A reduction over axes, which stand in an attribute or, from opset 13 or 18 on, in an input."""

    def convert(node: OnnxNode) -> ir.Value:
        axes = node.numbers(1, "axes")
        if not axes and node.attribute("noop_with_empty_axes", 0):
            return _same(node)
        axes = axes or list(range(len(node.shape(0))))
        return node.torch(name, node.input(0), axes, bool(node.attribute("keepdims", 1)), *rest)

    return convert


def _slice(node: OnnxNode) -> ir.Value:
    """Slices of one axis after the other; those with a negative step are turned around behind."""
    starts, ends = (node.known(i, "starts or ends").reshape(-1) for i in (1, 2))
    axes = (node.numbers(3, "axes") if node.has(3) else None) or list(range(len(starts)))
    steps = (node.numbers(4, "steps") if node.has(4) else None) or [1] * len(starts)
    x, shape = node.input(0), node.shape(0)
    for axis, start, end, step in zip(axes, map(int, starts), map(int, ends), steps, strict=True):
        if step == 0:
            raise node.error("has step 0; supported are all others")
        kept = range(*slice(start, end, step).indices(shape[axis]))
        shape[axis], rising = len(kept), kept if step > 0 else kept[::-1]
        x = node.torch("aten.slice.Tensor", x, axis, rising.start, rising.stop, rising.step, shape=shape)
        if step < 0:
            x = node.torch("aten.flip", x, [axis], shape=shape)
    return x


def _split(node: OnnxNode) -> list[ir.Value]:
    """A slice for each part; without sizes all parts are equal, but for the last."""
    shape, axis = node.shape(0), node.attribute("axis", 0)
    size, parts = shape[axis], len(node.op.results)
    sizes = node.numbers(1, "split") or [math.ceil(size / parts)] * (parts - 1)
    edges = [*np.cumsum([0, *sizes]).tolist()[:parts], size]
    found = []
    for start, end in itertools.pairwise(edges):
        part = [end - start if n == axis % len(shape) else m for n, m in enumerate(shape)]
        found.append(node.torch("aten.slice.Tensor", node.input(0), axis, start, end, 1, shape=part))
    return found


def _gather(node: OnnxNode) -> ir.Value:
    """One element of an axis, or some of them in any order."""
    index, axis = node.known(1, "indices"), node.attribute("axis", 0)
    if index.ndim > 1:
        raise node.error(f"takes elements by indices of shape {by(index.shape)}; supported are a number and a vector")
    if index.ndim:
        return _at(node, axis, index)
    return node.torch("aten.select.int", node.input(0), axis, int(index) % node.shape(0)[axis])


def _gather_nd(node: OnnxNode) -> ir.Value:
    """Some elements of the first dimension, which is what exporters make of an index by a list."""
    index = node.known(1, "indices")
    if index.ndim != 2 or index.shape[1] != 1 or node.attribute("batch_dims", 0):
        raise node.error(f"takes elements by indices of shape {by(index.shape)}; supported is a vector of them, Nx1")
    return _at(node, 0, index[:, 0])


def _at(node: OnnxNode, axis: int, index: np.ndarray) -> ir.Value:
    """The elements of an axis at some places, which ONNX also counts from behind."""
    places = np.where(index < 0, index + node.shape(0)[axis], index)
    return node.torch("aten.index_select", node.input(0), axis, node.integers(places))


def _pad(node: OnnxNode) -> ir.Value:
    pads, rank = node.numbers(1, "pads"), len(node.shape(0))
    if pads is None:
        raise node.error("has no pads")
    axes = [axis % rank for axis in node.numbers(3, "axes") or range(rank)] if node.has(3) else list(range(rank))
    value = float(node.known(2, "values").reshape(())) if node.has(2) else 0.0
    return onnx_windows.padded(node, axes, pads, node.attribute("mode", "constant"), value, node.result_shape)


TABLE: dict[str, Converter] = {
    "AveragePool": onnx_windows.average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Conv": onnx_windows.convolution,
    "ConvInteger": _integer,
    "DequantizeLinear": _unpaired,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _view,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GroupNormalization": _statistics,
    "HardSigmoid": _hard_sigmoid,
    "InstanceNormalization": _statistics,
    "LayerNormalization": _statistics,
    "MatMul": _matmul,
    "MatMulInteger": _integer,
    "Max": _extreme(True),
    "MaxPool": onnx_windows.max_pool,
    "Min": _extreme(False),
    "PRelu": _prelu,
    "Pad": _pad,
    "QLinearConv": _integer,
    "QLinearMatMul": _integer,
    "QuantizeLinear": _unpaired,
    "ReduceMax": _reduction("aten.amax"),
    "ReduceMean": _reduction("aten.mean.dim", None),
    "ReduceSum": _sum,
    "Reshape": _view,
    "Resize": onnx_windows.resize,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _view,
    "Swish": _swish,
    "Tile": _expand,
    "Unsqueeze": _view,
}
