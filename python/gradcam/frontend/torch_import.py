"""An exported program as `torch` dialect IR, its weights readable and its ops named by module path."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.export.graph_signature import OutputKind
from torch_mlir import ir
from torch_mlir.extras.fx_importer import FxImporter, FxImporterHooks, GraphNodeImporter

from gradcam.errors import GradcamError, fail
from gradcam.faults import Faults
from gradcam.frontend.layers import NAME
from gradcam.outside import outside

_ELEMENTS = {
    **{torch.float32: "f32", torch.float64: "f64", torch.float16: "f16", torch.bfloat16: "bf16"},
    **{torch.int64: "si64", torch.int32: "si32"},
}


def to_torch_ir(program: torch.export.ExportedProgram, context: ir.Context) -> ir.Module:
    """Imports `program` into a module of `context`, as a function `main` that names no Python files.

    Raises:
        GradcamError: torch-mlir cannot import the program.
    """
    if faults := _control_flow_faults(program.graph, context):
        raise Faults(faults)
    importer = FxImporter(context=context, hooks=_Literals(), graph_node_importer_cls=_NamedNodeImporter)
    for node in program.graph.nodes:
        node.meta = {key: value for key, value in node.meta.items() if key != "stack_trace"}
    # The other outputs are writes to the input, which nobody sees, and to buffers, which are a fault already.
    signature = program.graph_signature
    signature.output_specs = [spec for spec in signature.output_specs if spec.kind == OutputKind.USER_OUTPUT]
    with outside("torch-mlir cannot import the program"):
        importer.import_program(program, func_name="main")
    return importer.module


def _control_flow_faults(graph: fx.Graph, context: ir.Context) -> list[GradcamError]:
    return [
        fail(ir.Location.name(node.meta[NAME], context=context), f"control flow ({node.target}) is not supported")
        for node in graph.nodes
        if isinstance(node.target, torch._ops.HigherOrderOperator)
    ]


class _NamedNodeImporter(GraphNodeImporter):
    """Locates every op by its name."""

    def _import_torch_op_overload(self, loc: ir.Location, node: fx.Node, concrete_target: Any = None) -> None:
        if NAME in node.meta:
            loc = ir.Location.name(node.meta[NAME], context=self._c)
        super()._import_torch_op_overload(loc, node, concrete_target)


class _Literals(FxImporterHooks):
    """Writes tensors of floats and integers as `dense` constants, once each.

    The importer's `dense_resource` cannot be read back.
    """

    def __init__(self) -> None:
        self._values: dict[str, ir.Value] = {}

    def resolve_input(self, gni: GraphNodeImporter, value: Any, info: Any) -> ir.Value | None:
        """A parameter or buffer, located by its name in the state dict."""
        name = info.input_spec.target
        if name not in self._values:
            with ir.Location.name(name):
                self._values[name] = self.resolve_literal(gni, value, info) or gni._import_literal(value)
        return self._values[name]

    def resolve_literal(self, gni: GraphNodeImporter, literal: Any, info: Any) -> ir.Value | None:
        """A `torch.vtensor.literal` for a tensor of floats or integers; None leaves the value to the importer."""
        if not isinstance(literal, torch.Tensor) or literal.dtype not in _ELEMENTS:
            return None
        shape, element = list(literal.shape), _ELEMENTS[literal.dtype]
        data = literal.detach().cpu().contiguous()
        bits = data.view(torch.int16) if literal.dtype == torch.bfloat16 else data  # NumPy has no bfloat16
        type_ = ir.Type.parse(f"tensor<{''.join(f'{n}x' for n in shape)}{element}>")
        result = ir.Type.parse(f"!torch.vtensor<{shape},{element}>")
        attributes = {"value": ir.DenseElementsAttr.get(bits.numpy(), type=type_)}
        return ir.Operation.create("torch.vtensor.literal", results=[result], attributes=attributes).result
