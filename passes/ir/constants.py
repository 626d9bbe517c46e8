"""Reading and making the constant tensors that passes fold."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.errors import fail


def read_constant(value: ir.Value) -> np.ndarray | None:
    """The array of a dense `arith.constant`, a read-only view; None for any other value."""
    if not isinstance(value.owner, arith.ConstantOp):
        return None
    attr = value.owner.attributes["value"]
    return np.asarray(attr) if isinstance(attr, ir.DenseElementsAttr) else None


def dense_values(op: Any) -> np.ndarray:
    """The tensor that an `arith.constant` holds, a read-only view that keeps the attribute alive.

    Raises:
        GradcamError: the constant is not a `dense<...>` tensor.
    """
    attr = op.attributes["value"]
    if not isinstance(attr, ir.DenseElementsAttr):
        raise fail(op, f"constant must be a dense tensor, got {attr.type}")
    return np.asarray(attr)


def make_constant(array: np.ndarray) -> ir.Value:
    """Builds an f32 constant tensor at the current insertion point and location; `array` is rounded to f32."""
    rounded = np.ascontiguousarray(array, np.float32)
    type_ = ir.RankedTensorType.get(rounded.shape, ir.F32Type.get())
    return arith.ConstantOp(type_, ir.DenseElementsAttr.get(rounded, type=type_)).result


def erase_if_unused(value: ir.Value) -> None:
    """Erases the constant that defines `value` if no op reads it any more."""
    if isinstance(value.owner, arith.ConstantOp) and not any(True for _ in value.uses):
        value.owner.erase()
