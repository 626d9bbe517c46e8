"""Quantized constants of level 2, and attributes of windows, for passes that rewrite convolutions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.passes.ir.constants import dense_values, erase_if_unused, integers_attr
from gradcam.passes.ir.queries import owner_name
from gradcam.quant_types import per_channel, per_tensor, scales, storage_bits


def is_stored_constant(value: ir.Value) -> bool:
    """Whether a value is a constant of integers, cast to a quantized type."""
    return owner_name(value) == "quant.scast" and owner_name(value.owner.operands[0]) == "arith.constant"


def stored_integers(value: ir.Value) -> np.ndarray:
    """The integers of a constant for which `is_stored_constant` holds, a read-only view."""
    return dense_values(value.owner.operands[0].owner)


def store_like(integers: np.ndarray, like: ir.Value, steps: np.ndarray | None = None) -> ir.Value:
    """A constant of integers, with the bits and the scales of another one, or with the scales `steps`."""
    steps, bits = scales(like) if steps is None else steps, storage_bits(like)
    many = steps.ndim > 0
    type_ = per_channel(integers.shape, steps, bits) if many else per_tensor(integers.shape, float(steps), bits)
    attribute = integers_attr(integers, bits)
    return ir.Operation.create("quant.scast", [type_], [arith.ConstantOp(attribute.type, attribute).result]).results[0]


def erase_stored_if_unused(value: ir.Value) -> None:
    """Erases a constant for which `is_stored_constant` holds if no op reads it any more."""
    if not list(value.uses):
        source = value.owner.operands[0]
        value.owner.erase()
        erase_if_unused(source)


def integer_list(numbers: Iterable[int]) -> ir.ArrayAttr:
    """An attribute of i64."""
    i64 = ir.IntegerType.get_signless(64)
    return ir.ArrayAttr.get([ir.IntegerAttr.get(i64, n) for n in numbers])
