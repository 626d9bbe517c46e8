"""ConvertOnnxToTorch: the operators of ONNX that torch-mlir's own conversion refuses or gets wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch_mlir import ir

from gradcam.errors import GradcamError
from gradcam.outside import outside
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.torch import torch_ir
from gradcam.passes.torch.onnx_conversions import LEFT, TABLE
from gradcam.passes.torch.onnx_node import KEPT, PREFIX, REASON, OnnxNode


@dataclass(frozen=True)
class ConvertOnnxToTorch(Pass):
    """Converts operators of an imported ONNX graph to torch ops, before torch-mlir's convert-torch-onnx-to-torch.

    Those that torch-mlir converts well are left to it. Those that neither converts get another name, so that it skips
    them, and convert-torch-to-gradcam reports them together with everything else that it refuses.

    This pass turns:

        %axes = torch.operator "onnx.Constant"() {torch.onnx.value = dense<[2, 3]> : tensor<2xsi64>} : ...
        %y = torch.operator "onnx.ReduceMean"(%x, %axes) {torch.onnx.keepdims = 0 : si64} : ...
        %z = torch.operator "onnx.Einsum"(%y) ...

    into:

        %dims = torch.prim.ListConstruct %int2, %int3 : (!torch.int, !torch.int) -> !torch.list<int>
        %y = torch.aten.mean.dim %x, %dims, %false, %none : ... -> !torch.vtensor<[1,16],f32>
        %z = torch.operator "torch.onnx.Einsum"(%y) ...
    """

    name: ClassVar[str] = "gradcam-convert-onnx-to-torch"

    def run(self, module: ir.Module) -> None:  # noqa: D102
        for function in module.body.operations:
            for op in [op.operation for block in function.operation.regions[0].blocks for op in block.operations]:
                if op.name == "torch.operator" and ir.StringAttr(op.attributes["name"]).value.startswith(PREFIX):
                    with module.context:
                        _convert(OnnxNode(op))


def _convert(node: OnnxNode) -> None:
    """Converts one op in place, if that is not left to torch-mlir."""
    converter = TABLE.get(node.name)
    if converter is None:
        if node.name not in LEFT:
            _keep(node, "is not supported")
        return
    try:
        with ir.InsertionPoint(node.op), node.op.location, outside(f"{PREFIX}{node.name} has inputs that do not fit"):
            results = converter(node)
    except GradcamError as error:
        _keep(node, error.message.removeprefix(f"{PREFIX}{node.name} "))
        return
    results = [results] if isinstance(results, ir.Value) else results
    if results is None:
        return
    if torch_ir.has_uses(list(node.op.results)[len(results) :]):
        _keep(node, "is used for more than its first output, which is not supported")
        return
    for old, new in zip(node.op.results, results, strict=False):
        old.replace_all_uses_with(new)
    node.op.erase()


def _keep(node: OnnxNode, reason: str) -> None:
    """Replaces an op by one that is refused later, without its constants, which are then no reason for more lines."""
    op, attributes = node.op, {"name": ir.StringAttr.get(KEPT + node.name), REASON: ir.StringAttr.get(reason)}
    inputs = [value for n, value in enumerate(op.operands) if node.has(n) and node.constant(n) is None]
    with ir.InsertionPoint(op), op.location:
        kept = ir.Operation.create("torch.operator", [r.type for r in op.results], inputs, attributes)
    for old, new in zip(op.results, kept.results, strict=True):
        old.replace_all_uses_with(new)
    op.erase()
