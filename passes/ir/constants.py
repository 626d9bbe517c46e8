"""Reading and making the constant tensors that passes fold."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.bits import whole_bits
from gradcam.errors import fail

#: Bits of the integers that the bindings read and make as arrays of NumPy.
_WHOLE = (1, 8, 16, 32, 64)


def elements_of(attr: ir.DenseElementsAttr) -> np.ndarray:
    """The elements of a `dense<...>` attribute: a read-only view that keeps it alive, where that is possible.

    Integers that are no whole bytes come in the narrowest type that holds them.
    """
    type_ = ir.ShapedType(attr.type)
    if not isinstance(type_.element_type, ir.IntegerType) or type_.element_type.width in _WHOLE:
        return np.asarray(attr)
    # The bindings do not read other widths. Many elements are printed as the bytes that hold them.
    text, bits = str(attr), type_.element_type.width
    dtype = np.dtype(f"int{whole_bits(bits)}")
    text = text[text.index("<") + 1 : text.rindex("> : ")]
    is_raw, stored = text.startswith('"0x'), -(-bits // 8)
    if is_raw:
        data = np.frombuffer(bytes.fromhex(text[3:-1]), np.uint8).reshape(-1, stored)
        values = np.pad(data, ((0, 0), (0, dtype.itemsize - stored))).view(dtype)
    else:
        values = np.array(json.loads(text), dtype)
    unused = dtype.itemsize * 8 - bits
    signed = values << unused >> unused
    return signed.reshape(type_.shape) if is_raw else np.broadcast_to(signed, type_.shape)


def integers_attr(values: np.ndarray, bits: int) -> ir.DenseElementsAttr:
    """The attribute of integers of a NumPy type in a tensor type of `bits`-wide elements, which must hold them."""
    if bits not in _WHOLE:
        values = values.astype(f"int{whole_bits(bits)}") & ((1 << bits) - 1)
    element, stored = ir.IntegerType.get_signless(bits), -(-bits // 8)
    if stored != values.dtype.itemsize:  # 3 bytes, for which there is no type of NumPy
        data = np.ascontiguousarray(values).reshape(-1, 1).view(np.uint8)[:, :stored]
        type_ = ir.RankedTensorType.get(values.shape, element)
        return ir.DenseElementsAttr(ir.Attribute.parse(f'dense<"0x{data.tobytes().hex()}"> : {type_}'))
    return ir.DenseElementsAttr.get(np.ascontiguousarray(values), type=element, shape=values.shape)


def read_constant(value: ir.Value) -> np.ndarray | None:
    """The array of a dense `arith.constant`, a read-only view; None for any other value."""
    if not isinstance(value.owner, arith.ConstantOp):
        return None
    attr = value.owner.attributes["value"]
    return elements_of(attr) if isinstance(attr, ir.DenseElementsAttr) else None


def dense_values(op: Any) -> np.ndarray:
    """The tensor that an `arith.constant` holds, a read-only view that keeps the attribute alive.

    Raises:
        GradcamError: the constant is not a `dense<...>` tensor.
    """
    attr = op.attributes["value"]
    if not isinstance(attr, ir.DenseElementsAttr):
        raise fail(op, f"constant must be a dense tensor, got {attr.type}")
    return elements_of(attr)


def make_constant(array: np.ndarray) -> ir.Value:
    """Builds an f32 constant tensor at the current insertion point and location; `array` is rounded to f32."""
    rounded = np.ascontiguousarray(array, np.float32)
    type_ = ir.RankedTensorType.get(rounded.shape, ir.F32Type.get())
    return arith.ConstantOp(type_, ir.DenseElementsAttr.get(rounded, type=type_)).result


def erase_if_unused(value: ir.Value) -> None:
    """Erases the constant that defines `value` if no op reads it any more."""
    if isinstance(value.owner, arith.ConstantOp) and not any(True for _ in value.uses):
        value.owner.erase()
