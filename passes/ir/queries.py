"""Small queries about IR that several passes need: kinds of buffers, users, trip counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.ir.constants import elements_of


def location_name(op: Any) -> str:
    """The name in the op's location, "" when it has none."""
    location = op.location
    return location.name_str if isinstance(location, ir.NameLoc) else ""


def result_locations(op: Any) -> list[ir.Location]:
    """The location of each result; a fused op has the fused locations of the ops whose results it computes."""
    location, count = op.location, len(op.results)
    is_theirs = isinstance(location, ir.FusedLoc) and len(location.locations) == count
    return list(location.locations) if is_theirs else [location] * count


def owner_name(value: ir.Value) -> str:
    """Name of the op that defines the value, "" for a block argument."""
    # Not `owner.name`: memref.get_global has a field of that name.
    return "" if isinstance(value.owner, ir.Block) else value.owner.operation.name


def users(value: ir.Value) -> list[Any]:
    """The ops that read the value, once per use."""
    return [use.owner for use in value.uses]


def only_user(op: Any) -> Any:
    """The only user of the op's result, if it uses the result once; else None."""
    found = users(op.results[0]) if isinstance(op, ir.OpView) and len(op.results) == 1 else []
    return found[0] if len(found) == 1 else None


def is_global(value: ir.Value) -> bool:
    """Whether a buffer is a constant."""
    return owner_name(value) == "memref.get_global"


def global_values(value: ir.Value) -> np.ndarray | None:
    """The integers of a constant buffer; None for any other buffer."""
    if not is_global(value):
        return None
    name = ir.FlatSymbolRefAttr(value.owner.operation.attributes["name"]).value
    initial = ir.SymbolTable(value.owner.operation.parent.parent)[name].attributes["initial_value"]
    return elements_of(initial)


def constant_entries(value: ir.Value) -> tuple[int, ...] | None:
    """The integers of a constant buffer of one dimension; None for any other buffer."""
    found = global_values(value) if len(ir.MemRefType(value.type).shape) == 1 else None
    return None if found is None else tuple(found.tolist())


def is_argument(value: ir.Value) -> bool:
    """Whether a buffer is a function argument: a stream or a port, not a memory."""
    return isinstance(value, ir.BlockArgument)


def is_scalar(value: ir.Value) -> bool:
    """Whether a buffer holds one element: a register, not a memory. A constant is in a memory."""
    return list(ir.MemRefType(value.type).shape) == [1] and not is_global(value)


def symbol_register(value: ir.Value) -> ir.Value:
    """The one-element buffer an index symbol is read from: `arith.index_cast` of a `memref.load`."""
    op = value.owner
    if owner_name(value) == "arith.index_cast" and owner_name(op.operands[0]) == "memref.load":
        memref = op.operands[0].owner.operands[0]
        if is_scalar(memref) and not is_argument(memref):
            return memref
    raise fail(op, "an index that is no loop must be read from a buffer of one element that a nest writes")


def strides_of(type_: ir.MemRefType) -> list[int]:
    """Row-major strides in elements."""
    strides, step = [], 1
    for n in reversed(type_.shape):
        strides.append(step)
        step *= n
    return strides[::-1]


def int_constant(value: ir.Value) -> int | None:
    """The integer of an `arith.constant`, or None."""
    if owner_name(value) != "arith.constant":
        return None
    attribute = value.owner.attributes["value"]
    return ir.IntegerAttr(attribute).value if isinstance(attribute, (ir.IntegerAttr, ir.BoolAttr)) else None


def constant_trip(op: ir.OpView) -> int:
    """Trip count of an `affine.for` from 0 by 1.

    Raises:
        GradcamError: it has other bounds or another step.
    """
    lower, upper = (ir.AffineMapAttr(op.attributes[n]).value for n in ("lowerBoundMap", "upperBoundMap"))
    bounds = [list(m.results) for m in (lower, upper)]
    constant = all(len(b) == 1 and isinstance(b[0], ir.AffineConstantExpr) for b in bounds)
    if not constant or bounds[0][0].value != 0 or ir.IntegerAttr(op.attributes["step"]).value != 1:
        raise fail(op, "a loop must run from 0 to a constant by step 1; run affine-loop-normalize first")
    return bounds[1][0].value


def parallel_extents(op: ir.OpView) -> list[int]:
    """Lane counts of an `affine.parallel` from 0 by 1.

    Raises:
        GradcamError: it has other bounds or steps.
    """
    lower, upper = (list(ir.AffineMapAttr(op.attributes[f"{n}BoundsMap"]).value.results) for n in ("lower", "upper"))
    steps = [ir.IntegerAttr(s).value for s in ir.ArrayAttr(op.attributes["steps"])]
    constant = all(isinstance(e, ir.AffineConstantExpr) for e in lower + upper)
    if not constant or any(e.value for e in lower) or set(steps) != {1}:
        raise fail(op, "lanes must run from 0 to a constant by step 1; run affine-loop-normalize first")
    return [e.value for e in upper]


def block_ops(op: ir.OpView) -> list[ir.OpView]:
    """Ops of the op's first block, without the terminator."""
    return list(op.regions[0].blocks[0].operations)[:-1]


def main_function(module: ir.Module) -> ir.OpView:
    """The function that is compiled: the only `func.func` with a body.

    Raises:
        GradcamError: there is none, or more than one.
    """
    functions = [o for o in module.body.operations if o.operation.name == "func.func" and o.regions[0].blocks]
    if len(functions) != 1:
        raise fail(module.operation, f"a module must hold exactly one function to compile, found {len(functions)}")
    return functions[0]


def contributing(steps: Sequence[tuple[set[ir.Value], set[ir.Value]]], result: ir.Value) -> set[int]:
    """The numbers of the steps that a result depends on.

    Args:
        steps: the buffers that each step of a program reads, and those that it writes, in program order.
        result: the buffer of the result.
    """
    found, wanted = set[int](), {result}
    for number, (read, written) in reversed(list(enumerate(steps))):
        if written & wanted:
            found.add(number)
            wanted |= read
    return found
