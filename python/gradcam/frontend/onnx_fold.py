"""Computes at import what an ONNX graph computes from constants and from shapes, by ONNX's own reference evaluator."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from gradcam.errors import GradcamError
from gradcam.frontend.onnx_model import array, attribute, opset_versions, replace
from gradcam.outside import outside

#: Operators without inputs, or whose values differ from run to run, that are no constants.
_NOT_CONSTANT = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}

#: The oldest opset for which the evaluator has an operator, of which it lacks older forms; they mean the same.
_EVALUATED_FROM = {"DequantizeLinear": 19, "QuantizeLinear": 19}

#: The most numbers of a tensor that is computed at import. A small file can ask for any number.
MOST_NUMBERS = 1 << 28


def fold_constants(model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Replaces the nodes that compute constants by initializers, in place.

    Args:
        model: the model; its functions are inlined.
        shapes: those of its tensors that are known.

    Returns:
        Whether a node was replaced: shapes that were not known may be known now.

    Raises:
        GradcamError: a constant cannot be computed, or has too many numbers.
    """
    graph, kept = model.graph, list[NodeProto]()
    known = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        tensors = _values(node, known, shapes, model)
        if tensors is None:
            kept.append(node)
            continue
        known |= {tensor.name: tensor for tensor in tensors}
        graph.initializer.extend(tensors)
    changed = len(kept) < len(graph.node)
    replace(graph.node, kept)
    return changed


def _values(
    node: NodeProto,
    known: Mapping[str, TensorProto],
    shapes: Mapping[str, tuple[int, ...]],
    model: ModelProto,
) -> list[TensorProto] | None:
    """The outputs of a node that are constants; None where they are not."""
    if node.op_type == "Constant" and (value := attribute(node, "value")) is not None:
        named = TensorProto()
        named.CopyFrom(value)
        named.name = node.output[0]
        return [named]
    if node.op_type in ("Shape", "Size"):
        shape = shapes.get(node.input[0])
        if shape is None:
            return None
        start, end = attribute(node, "start", 0), attribute(node, "end")
        value = np.array(shape[start:end] if node.op_type == "Shape" else math.prod(shape), np.int64)
        return [numpy_helper.from_array(value, node.output[0])]
    has_graph = any(a.HasField("g") or a.graphs for a in node.attribute)
    if has_graph or node.op_type in _NOT_CONSTANT or not all(name in known for name in node.input if name):
        return None
    return _computed(node, {name: array(known[name], f"'{name}'") for name in node.input if name}, shapes, model)


def _computed(
    node: NodeProto,
    inputs: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    model: ModelProto,
) -> list[TensorProto]:
    """The outputs of a node by its inputs."""
    where, outputs = f"the constant '{node.output[0]}' of node '{node.name}'", [name for name in node.output if name]
    types = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in inputs.items()
    ]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([node], "constant", types, results)
    (version,) = opset_versions(model)
    opset = helper.make_opsetid("", max(version, _EVALUATED_FROM.get(node.op_type, 0)))
    alone = helper.make_model(graph, opset_imports=[opset], ir_version=model.ir_version)
    with outside(f"{where} cannot be computed"):
        shape = shapes.get(node.output[0])
        count = _numbers(node, list(inputs.values())) if shape is None else math.prod(shape)
        if count > MOST_NUMBERS:
            raise GradcamError(f"{where} has {count:,} numbers; the most are {MOST_NUMBERS:,}")
        values = ReferenceEvaluator(alone).run(None, dict(inputs))
    return [numpy_helper.from_array(np.asarray(v), name) for name, v in zip(outputs, values, strict=True)]


def _numbers(node: NodeProto, inputs: list[np.ndarray]) -> int:
    """The numbers that a node may compute, where its shape is not inferred, by the inputs that say how many."""
    largest = max((value.size for value in inputs), default=1)
    if node.op_type == "Range":
        start, limit, step = (float(value.reshape(-1)[0]) for value in inputs)
        return int(max((limit - start) / step, 0)) if step else 0
    if node.op_type in ("ConstantOfShape", "Expand", "Tile", "Pad", "Resize", "CenterCropPad", "OneHot"):
        factors = [max(abs(int(n)), 1) for value in inputs if value.ndim <= 1 for n in value.reshape(-1)]
        return largest * math.prod(factors)
    return largest
