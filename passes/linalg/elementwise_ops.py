"""The lowering of each quantized elementwise op of the forward pass to linalg: one function per op, and their table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.passes.linalg.builders import clipped, const, elementwise, stored, width
from gradcam.passes.linalg.lowering import Lowering, scale_term, together, users_named, whole_or_parts
from gradcam.passes.linalg.values import Parities, pointwise
from gradcam.quant_types import clamp_bounds, has_same_scale, mask_bounds, storage_bits


def _lower_add(lowering: Lowering, op: Any) -> list[Any]:
    bits = storage_bits(op.results[0])
    vectors: list[ir.Value] = []
    first, second = (scale_term(lowering, op, v, vectors) for v in op.operands)
    x, y = (whole_or_parts(lowering, v) for v in op.operands)
    return [pointwise([x, y], vectors, bits, lambda x, y, *m: stored(arith.addi(first(x, m), second(y, m)), bits))]


def requantized(lowering: Lowering, op: Any, before: Callable[..., ir.Value]) -> list[Any]:
    """Applies `before` to each element of operand 0, then requantizes it to the scale and storage of the result."""
    if has_same_scale(op.operands[0], op.results[0]):
        return changed(lowering, op, [], before)
    vectors: list[ir.Value] = []
    term = scale_term(lowering, op, op.operands[0], vectors)
    return changed(lowering, op, vectors, lambda a, *m: term(before(a), m))


def changed(lowering: Lowering, op: Any, vectors: list[ir.Value], body: Callable[..., ir.Value]) -> list[Any]:
    """`body` of each element of operand 0 and of `vectors`, at the scale of the result, saturated to its storage."""
    bits, x = storage_bits(op.results[0]), whole_or_parts(lowering, op.operands[0])
    is_stored = isinstance(x, Parities) or has_same_scale(op.operands[0], op.results[0])
    masks = [] if is_stored else _masks_of(op.operands[0])
    if not masks:
        return [pointwise([x], vectors, bits, lambda a, *m: stored(body(a, *m), bits))]

    def with_masks(a: ir.Value, *m: ir.Value) -> list[ir.Value]:
        return [stored(body(a, *m), bits), *(_is_between(a, *mask_bounds(mask)) for mask in masks)]

    # One linalg op computes the masks and the result, so that their common operand is never stored.
    with together(op, *masks):
        result, *bitmaps = elementwise(x, vectors, [bits, *[1] * len(masks)], with_masks)
    lowering.values |= {mask.results[0]: bitmap for mask, bitmap in zip(masks, bitmaps, strict=True)}
    return [result]


def _masks_of(x: ir.Value) -> list[Any]:
    return sorted(users_named(x, "gradcam.mask"), key=lambda mask: mask_bounds(mask))


def _is_between(x: ir.Value, lo: int, hi: int) -> ir.Value:
    """i1: lo < x < hi, without comparisons that every x of this width fulfils."""
    low, high = -(1 << (width(x) - 1)), (1 << (width(x) - 1)) - 1
    above = None if lo < low else arith.cmpi(arith.CmpIPredicate.sgt, x, const(width(x), lo))
    below = None if hi > high else arith.cmpi(arith.CmpIPredicate.slt, x, const(width(x), hi))
    given = [test for test in (above, below) if test is not None]
    return arith.andi(*given) if len(given) == 2 else given[0] if given else const(1, 1)


def _lower_mask(lowering: Lowering, op: Any) -> list[Any]:
    if op.results[0] in lowering.values:  # made beside the activation
        return [lowering.values[op.results[0]]]
    bounds = mask_bounds(op)
    return [elementwise(lowering.tensor(op.operands[0]), [], 1, lambda x: _is_between(x, *bounds))]


def _lower_relu(lowering: Lowering, op: Any) -> list[Any]:
    return requantized(lowering, op, lambda a: arith.maxsi(a, const(width(a), 0)))


def _lower_clamp(lowering: Lowering, op: Any) -> list[Any]:
    lo, hi = clamp_bounds(op)
    return requantized(lowering, op, lambda x: clipped(x, lo, hi))


def _lower_leaky_relu(lowering: Lowering, op: Any) -> list[Any]:
    """x or slope * x by the sign of x, each brought to the scale of the result by a rescale of its own."""
    vectors, slope = list[ir.Value](), ir.FloatAttr(op.attributes["slope"]).value
    keep, leak = (scale_term(lowering, op, op.operands[0], vectors, factor) for factor in (1.0, slope))

    def body(a: ir.Value, *m: ir.Value) -> ir.Value:
        is_positive = arith.cmpi(arith.CmpIPredicate.sgt, a, const(width(a), 0))
        return arith.select(is_positive, keep(a, m), leak(a, m))

    return changed(lowering, op, vectors, body)


def _lower_requantize(lowering: Lowering, op: Any) -> list[Any]:
    return requantized(lowering, op, lambda a: a)


#: The lowering of each op: a function that returns the values for the op's results.
LOWERINGS: dict[str, Callable[[Lowering, Any], list[Any]]] = {
    "gradcam.add": _lower_add,
    "gradcam.clamp": _lower_clamp,
    "gradcam.hardtanh": _lower_clamp,
    "gradcam.leaky_relu": _lower_leaky_relu,
    "gradcam.mask": _lower_mask,
    "gradcam.relu": _lower_relu,
    "gradcam.requantize": _lower_requantize,
}
