"""Reading IR of the `torch` dialect: names, static arguments, tensor types, live ops."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch_mlir import ir

_VTENSOR = re.compile(r"!torch\.vtensor<(?:\[(?P<shape>[^\]]*)\]|\*)(?:,(?P<element>\w+))?>")
_CONSTANTS = {
    "torch.constant.int": lambda op: ir.IntegerAttr(op.attributes["value"]).value,
    "torch.constant.float": lambda op: ir.FloatAttr(op.attributes["value"]).value,
    "torch.constant.bool": lambda op: ir.BoolAttr(op.attributes["value"]).value,
    "torch.constant.str": lambda op: ir.StringAttr(op.attributes["value"]).value,
    "torch.constant.none": lambda op: None,
}
LIST = "torch.prim.ListConstruct"
UNPACK = "torch.prim.ListUnpack"
LITERAL = "torch.vtensor.literal"
_CLONE = "torch.aten.clone"
#: The ops that read places of elements, each with the number of that operand.
_INDICES = {("torch.aten.index_select", 2), ("torch.aten.index.Tensor", 1)}
#: Ops that only hold an argument; they are read together with the ops that use them.
ARGUMENTS = (*_CONSTANTS, LIST)


class NotStatic(Exception):
    """A value that the compiler needs is only known at run time."""


def op_name(op: Any) -> str:
    """Name as PyTorch spells it: `aten.conv2d`, `gradcam.target`; of a `torch.operator`, the operator's."""
    name = ir.StringAttr(op.attributes["name"]).value if op.name == "torch.operator" else op.name
    return name.removeprefix("torch.")


def defining_op(value: ir.Value) -> Any | None:
    """The operation that defines `value`; None for a block argument."""
    return None if isinstance(value.owner, ir.Block) else value.owner.operation


def static_argument(value: ir.Value) -> Any:
    """A constant int, float, bool, str or None, or a list of such, as a Python value.

    Raises:
        NotStatic: the value is computed.
    """
    op = defining_op(value)
    if op is not None and op.name == LIST:
        return [static_argument(v) for v in op.operands]
    if op is None or op.name not in _CONSTANTS:
        raise NotStatic
    return _CONSTANTS[op.name](op)


def list_items(value: ir.Value) -> list[ir.Value]:
    """The values in a list of tensors.

    Raises:
        NotStatic: the list is not built in place.
    """
    op = defining_op(value)
    if op is None or op.name != LIST:
        raise NotStatic
    return list(op.operands)


def is_none(value: ir.Value) -> bool:
    """Whether an argument is left out."""
    op = defining_op(value)
    return op is not None and op.name == "torch.constant.none"


def is_index(op: Any) -> bool:
    """Whether an op makes a constant that is only read as places of elements."""
    if op.name not in (LITERAL, LIST, _CLONE):
        return False
    uses = [(use.owner.operation, use.operand_number) for use in op.results[0].uses]
    return bool(uses) and all((reader.name, number) in _INDICES or is_index(reader) for reader, number in uses)


def integers(value: ir.Value) -> np.ndarray:
    """A constant tensor of integers.

    Raises:
        NotStatic: the value is computed, or is none of integers.
    """
    op = defining_op(value)
    while op is not None and op.name == _CLONE:
        op = defining_op(op.operands[0])
    if op is None or op.name != LITERAL or not isinstance(op.attributes["value"], ir.DenseElementsAttr):
        raise NotStatic
    found = np.asarray(op.attributes["value"])
    if found.dtype.kind != "i":
        raise NotStatic
    return found


def tensor_type(type_: ir.Type) -> ir.RankedTensorType:
    """The builtin tensor type of a `!torch.vtensor`; signed integers become signless.

    Raises:
        NotStatic: the type is no tensor, or its shape or element type is not static.
    """
    match = _VTENSOR.fullmatch(str(type_))
    if match is None or match["shape"] is None or match["element"] is None or "?" in match["shape"]:
        raise NotStatic
    dims = [f"{dim}x" for dim in match["shape"].split(",") if dim]
    element = re.sub(r"^[su]i", "i", match["element"])
    return ir.RankedTensorType(ir.Type.parse(f"tensor<{''.join(dims)}{element}>"))


def live_ops(block: ir.Block) -> list[Any]:
    """The ops before the terminator that the returned values depend on, in program order."""
    *ops, terminator = (op.operation for op in block.operations)
    needed = set(terminator.operands)
    live = []
    for op in reversed(ops):
        if any(result in needed for result in op.results):
            needed.update(op.operands)
            live.append(op)
    return live[::-1]


def has_uses(values: Iterable[ir.Value]) -> bool:
    """Whether any of `values` is read."""
    return any(next(iter(value.uses), None) is not None for value in values)
