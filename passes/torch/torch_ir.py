"""Reading IR of the `torch` dialect: names, static arguments, tensor types, live ops."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

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
