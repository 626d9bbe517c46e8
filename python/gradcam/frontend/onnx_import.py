"""ONNX models as level 0: torch-mlir's importer and conversions, and those of this project."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import GraphProto, ModelProto, TensorProto
from torch_mlir import ir
from torch_mlir.extras.onnx_importer import ContextCache, ModelInfo, NodeImporter

from gradcam.errors import GradcamError
from gradcam.frontend.layers import TargetError, suggestion, unique
from gradcam.frontend.onnx_graph import prepared, shapes_of
from gradcam.frontend.onnx_model import OnnxModel, array
from gradcam.outside import captured, outside
from gradcam.passes.infra.pass_manager import PassManager
from gradcam.passes.torch import torch_ir

_PASSES = "gradcam-convert-onnx-to-torch,func.func(convert-torch-onnx-to-torch)"


def import_onnx(
    model: OnnxModel, input_shape: Sequence[int] | None, targets: Sequence[str], context: ir.Context
) -> tuple[ir.Module, list[GradcamError]]:
    """Imports a model as `torch` dialect IR, the target layers marked.

    Args:
        model: the model.
        input_shape: (1, C, H, W), or None for the model's own.
        targets: names of nodes, or of tensors that nodes give.
        context: made by `gradcam.dialect.make_context`.

    Returns:
        The module, and the faults of targets that cannot be marked.

    Raises:
        GradcamError: the model cannot be imported.
    """
    graph, ranges = prepared(model, input_shape, context)
    tensors, faults = _tensors(graph.graph, targets)
    with outside(f"torch-mlir cannot import {model.path}"), context, ir.Location.unknown():
        module = _module(graph, tensors, ranges, context)
    _convert(module)
    _name_ops(module)
    return module, faults


def onnx_layers(model: OnnxModel, input_shape: Sequence[int] | None, context: ir.Context) -> list[str]:
    """The names of the nodes whose first output is a feature map, in the order of the graph."""
    return list(_feature_maps(prepared(model, input_shape, context)[0].graph))


def _feature_maps(graph: GraphProto) -> dict[str, str]:
    """The tensors that are feature maps (1xCxHxW) by the names of their nodes."""
    shapes = shapes_of(graph)
    return {node.name: node.output[0] for node in graph.node if len(shapes.get(node.output[0], ())) == 4}


def _tensors(graph: GraphProto, targets: Sequence[str]) -> tuple[dict[str, str], list[GradcamError]]:
    """The tensor of every target layer by its name, and the faults of those that name none."""
    maps, shapes, found, faults = _feature_maps(graph), shapes_of(graph), dict[str, str](), list[GradcamError]()
    computed = {name: node for node in graph.node for name in node.output if name}
    nodes = {node.name: node.output[0] for node in graph.node}
    for name in targets:
        tensor = nodes.get(name, name)
        if tensor in found.values():
            faults.append(GradcamError(f"target layer '{name}' is named twice"))
        elif tensor not in computed:
            what = f"is neither a node nor the output of one{suggestion(name, list(maps))}"
            faults.append(TargetError(f"target layer '{name}' {what}"))
        elif (rank := len(shapes.get(tensor, ()))) != 4:
            what = f"gives a tensor of {rank} dimensions; it must give a feature map, 1xCxHxW"
            faults.append(TargetError(f"target layer '{name}' {what}{suggestion(name, list(maps))}"))
        else:
            found[name] = tensor
    return found, faults


class _DenseConstants(ContextCache):
    """Writes constants as `dense`: the passes compute with them, and `dense_resource` cannot be read back."""

    def tensor_proto_to_attr(self, tp: TensorProto) -> ir.Attribute:
        values, type_ = array(tp, f"the constant '{tp.name}'"), self.tensor_proto_to_builtin_type(tp)
        return ir.DenseElementsAttr.get(values, type=type_)


def _module(model: ModelProto, targets: dict[str, str], ranges: dict[str, float], context: ir.Context) -> ir.Module:
    info = ModelInfo(model)
    module = info.create_module(context=context)
    importer = NodeImporter.define_function(info.main_graph, module.operation, _DenseConstants(context))
    importer.import_all()
    for path, tensor in targets.items():
        text = ("torch.constant.str", ir.StringAttr.get(path))
        _mark(importer._nv_map[tensor], "target", f"{path}.target", *text)
    for tensor, magnitude in ranges.items():
        if tensor in importer._nv_map:
            number = ("torch.constant.float", ir.FloatAttr.get(ir.F64Type.get(), magnitude))
            _mark(importer._nv_map[tensor], "range", f"{tensor}.range", *number)
    return module


def _mark(value: ir.Value, kind: str, location: str, constant: str, argument: ir.Attribute) -> None:
    """Puts a `gradcam.KIND` with an argument behind a value: all who read the value read that instead."""
    start = ir.InsertionPoint.at_block_begin(value.owner) if isinstance(value.owner, ir.Block) else None
    type_ = ir.Type.parse(f"!torch.{constant.rpartition('.')[2]}")
    with ir.Location.name(location), start or ir.InsertionPoint.after(value.owner):
        operand = ir.Operation.create(constant, [type_], [], {"value": argument})
        name = {"name": ir.StringAttr.get(f"torch.gradcam.{kind}")}
        marker = ir.Operation.create("torch.operator", [value.type], [value, operand.result], name)
    value.replace_all_uses_except(marker.result, marker)


def _convert(module: ir.Module) -> None:
    """Converts ONNX's operators to torch ops.

    Raises:
        GradcamError: torch-mlir refuses one.
    """
    with captured():
        PassManager.parse(_PASSES).run(module)


def _name_ops(module: ir.Module) -> None:
    """Gives every op of the function a unique name: its node's; of several ops of a node only the last has it."""
    (function,) = module.body.operations
    ops = [op.operation for op in function.operation.regions[0].blocks[0].operations]
    with module.context:
        named = [op for op in ops if op.name not in torch_ir.ARGUMENTS and isinstance(op.location, ir.NameLoc)]
        last, taken = {op.location.name_str: op for op in named}, {op.location.name_str for op in named}
        for op in named:
            name = op.location.name_str
            if op != last[name]:
                op.location = ir.Location.name(unique(f"{name}.{torch_ir.op_name(op).split('.')[1]}", taken))
