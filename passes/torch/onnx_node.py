"""An ONNX op of level 0 during its conversion to torch ops: its attributes, its constants, and what is built for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.errors import GradcamError, fail
from gradcam.passes.torch import torch_ir

#: What the importer of torch-mlir calls an operator of ONNX, and what an op is called that is not converted.
PREFIX, KEPT = "onnx.", "torch.onnx."

#: The attribute of an op that is not converted, with the reason.
REASON = "gradcam.reason"


@dataclass(frozen=True)
class OnnxNode:
    """A `torch.operator "onnx.X"`, at the insertion point and location of the block.

    Attributes:
        op: the operation.
    """

    op: Any

    @property
    def name(self) -> str:
        """The operator's name, such as "Conv"."""
        return ir.StringAttr(self.op.attributes["name"]).value.removeprefix(PREFIX)

    def error(self, message: str) -> GradcamError:
        """The error that this op is refused with; use as `raise node.error(...)`."""
        return fail(self.op, f"{PREFIX}{self.name} {message}")

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute as a number, a text or a list of numbers."""
        key = f"torch.onnx.{name}"
        return _python(self.op.attributes[key]) if key in self.op.attributes else default

    def has(self, index: int) -> bool:
        """Whether input `index` is given."""
        if index >= len(self.op.operands):
            return False
        owner = torch_ir.defining_op(self.op.operands[index])
        return owner is None or owner.name != "torch.constant.none"

    def input(self, index: int) -> ir.Value:
        """Input `index`."""
        return self.op.operands[index]

    def shape(self, index: int) -> list[int]:
        """The shape of input `index`."""
        return list(torch_ir.tensor_type(self.input(index).type).shape)

    def constant(self, index: int) -> np.ndarray | None:
        """Input `index` as an array; None where it is left out or computed from the image."""
        owner = torch_ir.defining_op(self.op.operands[index]) if self.has(index) else None
        if owner is None or owner.name != "torch.operator" or OnnxNode(owner).name != "Constant":
            return None
        return np.asarray(ir.DenseElementsAttr(owner.attributes["torch.onnx.value"]))

    def known(self, index: int, what: str) -> np.ndarray:
        """Input `index`, which must be a constant where it is given; `what` names it.

        Raises:
            GradcamError: it is computed from the image.
        """
        value = self.constant(index)
        if value is None:
            raise self.error(f"has {what} that are computed from the image, or left out; they must be constant")
        return value

    def numbers(self, index: int, attribute: str) -> list[int] | None:
        """Integers that older opsets have as an attribute, and newer ones as input `index`; None where left out."""
        if not self.has(index):
            return self.attribute(attribute)
        return [int(n) for n in self.known(index, attribute).reshape(-1)]

    @property
    def result(self) -> ir.Type:
        """The type of the first output."""
        return self.op.results[0].type

    @property
    def result_shape(self) -> list[int]:
        """The shape of the first output."""
        return list(torch_ir.tensor_type(self.result).shape)

    def torch(self, name: str, *arguments: Any, shape: Sequence[int] | None = None) -> ir.Value:
        """Builds a torch op and gives its result.

        Args:
            name: such as "aten.relu".
            *arguments: values, or Python constants, which are built before the op.
            shape: of the f32 result; by default it has the type of the first output.
        """
        operands = [_argument(argument) for argument in arguments]
        type_ = self.result if shape is None else tensor_type(shape)
        return ir.Operation.create(f"torch.{name}", results=[type_], operands=operands).result

    def own(self, name: str, *arguments: Any) -> ir.Value:
        """Builds a `torch.operator "torch.gradcam.NAME"`, an op that PyTorch lacks, of the first output's type."""
        operands = [_argument(argument) for argument in arguments]
        attributes = {"name": ir.StringAttr.get(f"torch.gradcam.{name}")}
        return ir.Operation.create("torch.operator", [self.result], operands, attributes).result

    def literal(self, values: np.ndarray, name: str) -> ir.Value:
        """Builds an f32 constant that is called like this op, a point and a name."""
        return self._literal(np.ascontiguousarray(values, np.float32), "f32", name)

    def integers(self, values: np.ndarray) -> ir.Value:
        """Builds a constant of 64-bit integers that is called like this op, a point and "indices"."""
        return self._literal(np.ascontiguousarray(values, np.int64), "si64", "indices")

    def _literal(self, data: np.ndarray, element: str, name: str) -> ir.Value:
        attribute = ir.DenseElementsAttr.get(data, type=ir.RankedTensorType.get(data.shape, ir.Type.parse(element)))
        where = self.op.location
        if isinstance(where, ir.NameLoc):
            where = ir.Location.name(f"{where.name_str}.{name}")
        types, attributes = [tensor_type(data.shape, element)], {"value": attribute}
        return ir.Operation.create(torch_ir.LITERAL, results=types, attributes=attributes, loc=where).result


def tensor_type(shape: Sequence[int], element: str = "f32") -> ir.Type:
    """The torch tensor type of a static shape."""
    return ir.Type.parse(f"!torch.vtensor<[{','.join(map(str, shape))}],{element}>")


def _argument(argument: Any) -> ir.Value:
    """An argument of a torch op as a value."""
    if isinstance(argument, ir.Value):
        return argument
    if isinstance(argument, list):
        kind = "float" if any(isinstance(item, float) for item in argument) else "int"
        type_ = ir.Type.parse(f"!torch.list<{kind}>")
        items = [_argument(item) for item in argument]
        return ir.Operation.create(torch_ir.LIST, results=[type_], operands=items).result
    i64 = ir.IntegerType.get_signless(64)
    name, value = {
        type(None): lambda: ("none", None),
        bool: lambda: ("bool", ir.BoolAttr.get(argument)),
        int: lambda: ("int", ir.IntegerAttr.get(i64, argument)),
        float: lambda: ("float", ir.FloatAttr.get(ir.F64Type.get(), argument)),
        str: lambda: ("str", ir.StringAttr.get(argument)),
    }[type(argument)]()
    attributes = {} if value is None else {"value": value}
    type_ = ir.Type.parse(f"!torch.{name}")
    return ir.Operation.create(f"torch.constant.{name}", results=[type_], attributes=attributes).result


def _python(attribute: ir.Attribute) -> Any:
    """An attribute as the importer writes it: f32, si64, text, dense tensor, or an array of these."""
    if isinstance(attribute, ir.ArrayAttr):
        return [_python(item) for item in attribute]
    if isinstance(attribute, ir.DenseElementsAttr):
        return np.asarray(attribute)
    kinds = ir.FloatAttr | ir.IntegerAttr | ir.StringAttr
    return attribute.value if isinstance(attribute, kinds) else attribute
