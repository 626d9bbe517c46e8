"""An ONNX graph made ready for the import: a fixed input shape, static types, folded constants, named nodes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, shape_inference
from torch_mlir import ir

from gradcam.checks import checked_shape
from gradcam.errors import GradcamError, fail
from gradcam.faults import Faults
from gradcam.frontend.onnx_fold import fold_constants
from gradcam.frontend.onnx_model import DOMAINS, OnnxModel, attribute, replace
from gradcam.frontend.onnx_quantized import take_quantization
from gradcam.outside import outside

_log = logging.getLogger(__name__)


def prepared(
    model: OnnxModel, input_shape: Sequence[int] | None, context: ir.Context
) -> tuple[ModelProto, dict[str, float]]:
    """A copy of the model for one input shape, of which every tensor has a static shape.

    Args:
        model: the model.
        input_shape: (1, C, H, W); by default the model's own, where its sizes are fixed but for the batch.
        context: for the locations of errors.

    Returns:
        The copy, and the ranges that a quantized model brings, by tensor.

    Raises:
        Faults: operators of other domains, control flow, or tensors whose shapes cannot be inferred.
        GradcamError: the input shape does not fit, or is missing; the shapes contradict each other.
    """
    copy = ModelProto()
    copy.CopyFrom(model.proto)
    graph = copy.graph
    graph.name = "main"
    name_nodes(graph)
    _refuse_other_domains(graph, context)
    _refuse_uneven_splits(graph, context)
    _bind_input(graph, input_shape, model)
    copy = _inferred(copy, model)
    while fold_constants(copy, shapes_of(copy.graph)):
        copy = _inferred(copy, model)
    ranges = take_quantization(copy.graph, model)
    drop_dead(copy.graph)
    _refuse_control_flow(copy.graph, context)
    _refuse_dynamic(copy.graph, context)
    explicit_pads(copy.graph)
    join_bias(copy.graph)
    return copy, ranges


def shapes_of(graph: GraphProto) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of a graph of which all sizes are known."""
    known = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for info in (*graph.input, *graph.output, *graph.value_info):
        sizes = tuple(n for n in _sizes(info) if n is not None)
        if info.type.tensor_type.HasField("shape") and len(sizes) == len(_sizes(info)):
            known.setdefault(info.name, sizes)
    return known


def drop_dead(graph: GraphProto) -> None:
    """Removes the nodes and initializers that no output depends on."""
    needed, live = {info.name for info in graph.output}, list[NodeProto]()
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            live.append(node)
    replace(graph.node, live[::-1])
    replace(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in needed])


def name_nodes(graph: GraphProto) -> None:
    """Gives every node a unique name: its own, or that of its first output."""
    taken = set[str]()
    for node in graph.node:
        candidates = [node.name, *node.output, *(f"{node.op_type}_{i}" for i in range(len(taken) + 1))]
        node.name = next(name for name in candidates if name and name not in taken)
        taken.add(node.name)


def explicit_pads(graph: GraphProto) -> None:
    """Writes the padding that `auto_pad` asks for as `pads`."""
    shapes = shapes_of(graph)
    for node in graph.node:
        mode = attribute(node, "auto_pad", b"NOTSET").decode()
        if node.op_type not in ("Conv", "AveragePool", "MaxPool") or mode == "NOTSET":
            continue
        x, y = (shapes[name][2:] for name in (node.input[0], node.output[0]))
        kernel = attribute(node, "kernel_shape") or shapes[node.input[1]][2:]
        strides, dilations = (attribute(node, name) or [1] * len(kernel) for name in ("strides", "dilations"))
        axes = zip(x, y, kernel, strides, dilations, strict=True)
        total = [max((out - 1) * s + d * (k - 1) + 1 - size, 0) for size, out, k, s, d in axes]
        if mode == "VALID":
            total = [0] * len(kernel)
        small, large = [n // 2 for n in total], [n - n // 2 for n in total]
        replace(node.attribute, [a for a in node.attribute if a.name not in ("auto_pad", "pads")])
        pads = large + small if mode == "SAME_LOWER" else small + large
        node.attribute.append(helper.make_attribute("pads", pads, attr_type=AttributeProto.INTS))


def join_bias(graph: GraphProto) -> None:
    """Makes a Gemm of a MatMul of vectors with constant weights and the Add of a constant behind it."""
    shapes, constants = shapes_of(graph), {tensor.name for tensor in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input) + Counter(o.name for o in graph.output)
    products = {n.output[0]: n for n in graph.node if n.op_type == "MatMul" and n.input[1] in constants}
    for node in graph.node:
        product = next((products[name] for name in node.input if name in products), None)
        if node.op_type != "Add" or product is None or readers[product.output[0]] != 1:
            continue
        (bias,) = (name for name in node.input if name != product.output[0])
        x, weight = (shapes[name] for name in product.input)
        if bias in constants and len(x) == len(weight) == 2 and shapes[bias] in (weight[1:], (1, *weight[1:])):
            node.op_type, inputs = "Gemm", [*product.input, bias]
            replace(node.input, inputs)
    drop_dead(graph)


def _sizes(info: ValueInfoProto) -> tuple[int | None, ...]:
    """The shape that a declaration has; some exporters write -1 or 0 for a size that is not fixed."""
    dims = info.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims)


def _refuse_other_domains(graph: GraphProto, context: ir.Context) -> None:
    found = [node for node in graph.node if node.domain not in DOMAINS]
    if found:
        remedy = "export the model without the optimizations of a runtime, with operators of ONNX alone"
        raise Faults([_fault(n, f"{n.domain}.{n.op_type} is no operator of ONNX; {remedy}", context) for n in found])


def _refuse_uneven_splits(graph: GraphProto, context: ir.Context) -> None:
    """Refuses a Split with another number of outputs than it says, for which shape inference aborts the process."""
    splits = [node for node in graph.node if node.op_type == "Split"]
    wrong = [n for n in splits if attribute(n, "num_outputs", len(n.output)) != len(n.output)]
    if wrong:
        raise Faults(
            [_fault(n, f"onnx.Split has {len(n.output)} outputs and says another number", context) for n in wrong]
        )


def _refuse_control_flow(graph: GraphProto, context: ir.Context) -> None:
    """Refuses If, Loop and Scan, whose graphs may read tensors of this one that are not their inputs."""
    found = [node for node in graph.node if any(a.HasField("g") or a.graphs for a in node.attribute)]
    if found:
        why = "is not supported, since it runs a graph of its own"
        remedy = "export the model without control flow, such as by tracing it for an image of fixed size"
        raise Faults([_fault(node, f"onnx.{node.op_type} {why}; {remedy}", context) for node in found])


def _fault(node: NodeProto, message: str, context: ir.Context) -> GradcamError:
    return fail(ir.Location.name(node.name, context=context), message)


def _bind_input(graph: GraphProto, given: Sequence[int] | None, model: OnnxModel) -> None:
    """Fixes the sizes of the image; a graph with another number of inputs is refused by the conversion."""
    weights = {tensor.name for tensor in graph.initializer}
    images = [info for info in graph.input if info.name not in weights]
    for info in graph.output:
        info.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    if len(images) != 1:
        return
    if (type_ := images[0].type.tensor_type.elem_type) != TensorProto.FLOAT:
        name = TensorProto.DataType.Name(type_).lower()
        raise GradcamError(f"{model.path} takes an image of {name}; only float (f32) is supported: export it so")
    found = _sizes(images[0])
    sizes = ",".join("?" if n is None else str(n) for n in found)
    shape = None if given is None else checked_shape(given)
    if shape and (len(found) != 4 or any(n not in (None, m) for n, m in zip(found, shape, strict=True))):
        raise GradcamError(f"{model.path} has the input shape {sizes}, not {','.join(map(str, shape))}")
    if found[:1] not in ((None,), (1,)):
        remedy = "export it with batch size 1, or with one that is not fixed"
        raise GradcamError(f"{model.path} takes the sizes {sizes}, which are not those of one image; {remedy}")
    if found[0] is None:
        _log.warning("the batch size of %s is not fixed; it is taken as 1", model.path)
        found = (1, *found[1:])
    if shape is None and None in found:
        raise GradcamError(f"{model.path} takes the sizes {sizes}; give the input shape, 1,C,H,W")
    replace(images[0].type.tensor_type.shape.dim, [_dimension(n) for n in shape or found])


def _dimension(size: int | None) -> Any:
    return helper.make_tensor_type_proto(TensorProto.FLOAT, [size]).tensor_type.shape.dim[0]


def _inferred(model: ModelProto, source: OnnxModel) -> ModelProto:
    """The model with the type of every tensor that can be inferred."""
    with outside(f"the shapes of {source.path} cannot be inferred"):
        return shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def _refuse_dynamic(graph: GraphProto, context: ir.Context) -> None:
    """Refuses nodes with outputs of shapes that are only known at run time."""
    shapes = shapes_of(graph)
    used = {name for node in graph.node for name in node.input} | {info.name for info in graph.output}
    faults = [
        _fault(node, f"onnx.{node.op_type} gives '{name}', whose shape depends on more than the input's", context)
        for node in graph.node
        for name in used.intersection(node.output)
        if name not in shapes
    ]
    if faults:
        raise Faults(faults)
