"""Python numbers as attributes of level-1 ops."""

from __future__ import annotations

from collections.abc import Sequence

from torch_mlir import ir


def ints(numbers: Sequence[int]) -> ir.ArrayAttr:
    """An array of i64."""
    return ir.ArrayAttr.get([integer(n) for n in numbers])


def integer(number: int) -> ir.IntegerAttr:
    """An i64."""
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(64), number)


def flag(value: bool) -> ir.IntegerAttr:
    """An i1 as IntegerAttr: the op constructors take a false BoolAttr for a missing one."""
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(1), int(value))


def real(number: float) -> ir.FloatAttr:
    """An f64."""
    return ir.FloatAttr.get(ir.F64Type.get(), number)
