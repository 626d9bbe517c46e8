"""The lowering of each quantized elementwise op of the forward pass to linalg: one function per op, and their table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.dialect.verify import shape as type_shape
from gradcam.passes.ir.queries import location_name
from gradcam.passes.linalg.builders import clipped, const, elementwise, width
from gradcam.passes.linalg.lowering import (
    Lowering,
    is_greater,
    scale_term,
    stored,
    together,
    users_named,
    whole_or_parts,
)
from gradcam.passes.linalg.slopes import SLOPES, slope_bits, slopes_of
from gradcam.passes.linalg.values import Halves, Parities, joined, pointwise
from gradcam.quant_types import clamp_bounds, has_same_scale, is_unsigned, levels, storage_bits, storage_limits


def _lower_add(lowering: Lowering, op: Any) -> list[Any]:
    vectors: list[ir.Value] = []
    first, second = (scale_term(lowering, op, v, vectors) for v in op.operands)
    x, y = (whole_or_parts(lowering, v) for v in op.operands)

    def body(x: ir.Value, y: ir.Value, *m: ir.Value) -> ir.Value:
        return stored(arith.addi(first(x, m), second(y, m)), op.results[0])

    return [pointwise([x, y], vectors, storage_bits(op.results[0]), body)]


def requantized(lowering: Lowering, op: Any, before: Callable[..., ir.Value]) -> list[Any]:
    """Applies `before` to each element of operand 0, then requantizes it to the scale and storage of the result."""
    x, y = op.operands[0], op.results[0]
    if has_same_scale(x, y) and storage_limits(x) == storage_limits(y):
        return changed(lowering, op, [], before)
    vectors: list[ir.Value] = []
    term = scale_term(lowering, op, op.operands[0], vectors)
    return changed(lowering, op, vectors, lambda a, *m: term(before(a), m))


def changed(lowering: Lowering, op: Any, vectors: list[ir.Value], body: Callable[..., ir.Value]) -> list[Any]:
    """`body` of each element of operand 0 and of `vectors`, at the scale of the result, saturated to its storage."""
    bits, x = storage_bits(op.results[0]), whole_or_parts(lowering, op.operands[0])
    is_stored = isinstance(x, Parities) or has_same_scale(op.operands[0], op.results[0])
    slopes = [] if is_stored else slopes_of(op.operands[0])
    if not slopes:
        return [pointwise([x], vectors, bits, lambda a, *m: stored(body(a, *m), op.results[0]))]
    count = len(vectors)
    formulas = [SLOPES[slope.operation.name](lowering, slope, vectors) for slope in slopes]

    def with_slopes(a: ir.Value, *m: ir.Value) -> list[ir.Value]:
        return [stored(body(a, *m[:count]), op.results[0]), *(formula(a, m) for formula in formulas)]

    # One linalg op computes the slopes and the result, so that their common operand is never stored.
    with together(op, *slopes):
        widths = [bits, *(slope_bits(slope) for slope in slopes)]
        result, *others = elementwise(x, vectors, widths, with_slopes)
    lowering.values |= {slope.results[0]: other for slope, other in zip(slopes, others, strict=True)}
    return [result]


def _lower_slope(lowering: Lowering, op: Any) -> list[Any]:
    if op.results[0] in lowering.values:  # made beside the activation
        return [lowering.values[op.results[0]]]
    vectors = list[ir.Value]()
    formula = SLOPES[op.name](lowering, op, vectors)
    x, bits = lowering.tensor(op.operands[0]), slope_bits(op)
    return [elementwise(x, vectors, bits, lambda a, *m: formula(a, m))]


def _lower_relu(lowering: Lowering, op: Any) -> list[Any]:
    """The maximum of x and 0, where the storage of x or of the result has negative numbers."""
    if is_unsigned(op.operands[0]) or is_unsigned(op.results[0]):
        return requantized(lowering, op, lambda a: a)
    return requantized(lowering, op, lambda a: arith.maxsi(a, const(width(a), 0)))


def _lower_clamp(lowering: Lowering, op: Any) -> list[Any]:
    """x within bounds; of an unsigned x, or one that is stored unsigned, those that the storage does not have."""
    lo, hi = clamp_bounds(op)
    if is_unsigned(op.operands[0]):
        return requantized(lowering, op, lambda a: _clipped_unsigned(a, lo, hi))
    if is_unsigned(op.results[0]) and lo <= 0 <= hi:
        return requantized(lowering, op, lambda a: arith.minsi(a, const(width(a), hi)))
    return requantized(lowering, op, lambda a: clipped(a, lo, hi))


def _clipped_unsigned(x: ir.Value, lo: int, hi: int) -> ir.Value:
    """A narrow unsigned integer limited to lo..hi, as far as it has other values."""
    bits = width(x)
    x = arith.maxui(x, const(bits, lo)) if lo > 0 else x
    return arith.minui(x, const(bits, hi)) if hi < levels(bits, True) else x


def _lower_leaky_relu(lowering: Lowering, op: Any) -> list[Any]:
    """x or slope * x by the sign of x, each brought to the scale of the result by a rescale of its own."""
    vectors, slope = list[ir.Value](), ir.FloatAttr(op.attributes["slope"]).value
    keep, leak = (scale_term(lowering, op, op.operands[0], vectors, factor) for factor in (1.0, slope))

    def body(a: ir.Value, *m: ir.Value) -> ir.Value:
        is_positive = is_greater(a, const(width(a), 0), is_unsigned(op.operands[0]))
        return arith.select(is_positive, keep(a, m), leak(a, m))

    return changed(lowering, op, vectors, body)


def _lower_requantize(lowering: Lowering, op: Any) -> list[Any]:
    """All that is requantized of one gradient comes from one linalg op, so that a wide gradient is never stored."""
    if op.results[0] in lowering.values:  # made beside another one
        return [lowering.values[op.results[0]]]
    beside = sorted(users_named(op.operands[0], op.name), key=lambda user: user.operation == op, reverse=True)
    vectors, x = list[ir.Value](), lowering.values[op.operands[0]]
    terms = [scale_term(lowering, each, each.operands[0], vectors) for each in beside]
    maps = list(x) if isinstance(x, Halves) else [whole_or_parts(lowering, op.operands[0])]

    halved = [_is_halved(lowering, each) for each in beside]
    widths, names = list[int](), list[ir.Location]()
    for each, is_halved in zip(beside, halved, strict=True):
        widths += [8, 8] if is_halved else [storage_bits(each.results[0])]
        names += [_part(each, half) for half in ("high", "low")] if is_halved else [each.location]

    def body(*scalars: ir.Value) -> list[ir.Value]:
        value, m = Halves.whole(*scalars[:2]) if len(maps) > 1 else scalars[0], scalars[len(maps) :]
        found = list[ir.Value]()
        for each, term, is_halved in zip(beside, terms, halved, strict=True):
            y = each.results[0]
            of_it = term(value, m)
            found += Halves.parts(clipped(of_it, *storage_limits(y))) if is_halved else [stored(of_it, y)]
        return found

    with ir.Location.fused(names) if len(names) > 1 else names[0]:
        results = iter(pointwise(maps, vectors, widths, body))
    for each, is_halved in zip(beside, halved, strict=True):
        parts = Halves(joined(next(results)), joined(next(results))) if is_halved else next(results)
        lowering.values[each.results[0]] = parts
    return [lowering.values[op.results[0]]]


def _is_halved(lowering: Lowering, requantize: Any) -> bool:
    """Whether a gradient is a map for the formula of a method alone, whose halves lie beside maps of 8 bits."""
    y = requantize.results[0]
    read = users_named(y, "gradcam.weighted_sum")
    is_map = len(type_shape(y)) == 4
    return is_map and len(read) == len(list(y.uses)) and storage_bits(y) > lowering.factors.weight


def _part(op: Any, half: str) -> ir.Location:
    """The location of a half of the result of `op`, by which its buffer gets a name."""
    return ir.Location.name(f"{location_name(op)}.{half}")


#: The lowering of each op: a function that returns the values for the op's results.
LOWERINGS: dict[str, Callable[[Lowering, Any], list[Any]]] = {
    "gradcam.add": _lower_add,
    "gradcam.clamp": _lower_clamp,
    "gradcam.hardtanh": _lower_clamp,
    "gradcam.leaky_relu": _lower_leaky_relu,
    **dict.fromkeys(SLOPES, _lower_slope),
    "gradcam.relu": _lower_relu,
    "gradcam.requantize": _lower_requantize,
}
