"""The masks and slopes of activations as formulas of one element, which `elementwise_ops` computes beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith, tensor

from gradcam.dialect.traits import Slope, has
from gradcam.functions import FUNCTIONS, Real
from gradcam.passes.ir.constants import dense_values
from gradcam.passes.linalg.builders import clipped, const, const_tensor, rescaled, widened, width
from gradcam.passes.linalg.lowering import Lowering, channel_vector, fixed, is_greater, stored
from gradcam.quant_types import (
    INT16_LIMITS,
    hard_bend,
    hard_rescale,
    is_quantized,
    is_unsigned,
    mask_bounds,
    quantize_array,
    storage_bits,
    storage_limits,
    table,
)

#: Computes a scalar from one of x and one of each of the vectors.
Formula = Callable[[ir.Value, Sequence[ir.Value]], ir.Value]


def slopes_of(x: ir.Value) -> list[Any]:
    """The masks and slopes of activations with input `x`."""

    def place(slope: Any) -> tuple[str, tuple[int, ...], str]:
        name = slope.operation.name
        return name, mask_bounds(slope) if name == "gradcam.mask" else (), str(slope.attributes)

    return sorted((use.owner for use in x.uses if has(use.owner, Slope)), key=place)


def slope_bits(op: Any) -> int:
    """Width of the result of a mask or slope."""
    return storage_bits(op.results[0]) if is_quantized(op.results[0]) else 1


def _mask(_lowering: Lowering, op: Any, _vectors: list[ir.Value]) -> Formula:
    lo, hi = mask_bounds(op)
    return lambda x, _: _is_between(x, lo, hi, op.operands[0])


def _is_between(x: ir.Value, lo: int, hi: int, like: ir.Value) -> ir.Value:
    """i1: lo < x < hi, for a scalar of `like`, without comparisons that every x of its storage fulfils."""
    (low, high), unsigned = storage_limits(like), is_unsigned(like)
    above = None if lo < low else is_greater(x, const(width(x), lo), unsigned)
    below = None if hi > high else is_greater(const(width(x), hi), x, unsigned)
    given = [test for test in (above, below) if test is not None]
    return arith.andi(*given) if len(given) == 2 else given[0] if given else const(1, 1)


def _prelu_slope(lowering: Lowering, op: Any, vectors: list[ir.Value]) -> Formula:
    one, *others = quantize_array(np.array([1.0, *dense_values(op.operands[1].owner)]), op.results[0])
    position, bits = len(vectors), storage_bits(op.results[0])
    vectors.append(channel_vector(lowering, np.array(others), bits=bits))

    def formula(x: ir.Value, scalars: Sequence[ir.Value]) -> ir.Value:
        is_positive = is_greater(x, const(width(x), 0), is_unsigned(op.operands[0]))
        return arith.select(is_positive, const(bits, int(one)), scalars[position])

    return formula


def _hard_swish_slope(_lowering: Lowering, op: Any, _vectors: list[ir.Value]) -> Formula:
    bend, (m, s), bits = hard_bend(op), fixed(op, hard_rescale, op), storage_bits(op.results[0])
    one = int(quantize_array(np.array(1.0), op.results[0]))

    def formula(x: ir.Value, _: Sequence[ir.Value]) -> ir.Value:
        x = within_int16(x, is_unsigned(op.operands[0]))
        inside = clipped(x, -bend, bend)
        slope = stored(rescaled(arith.addi(arith.addi(inside, inside), const(32, bend)), int(m), s), op.results[0])
        is_low, is_high = (
            arith.cmpi(predicate, x, const(32, bound))
            for predicate, bound in ((arith.CmpIPredicate.sle, -bend), (arith.CmpIPredicate.sge, bend))
        )
        return arith.select(is_low, const(bits, 0), arith.select(is_high, const(bits, one), slope))

    return formula


def within_int16(x: ir.Value, unsigned: bool) -> ir.Value:
    """Scalar `x` (32 bits, or fewer which may be unsigned) limited to the range of i16, as i32."""
    return clipped(x, *INT16_LIMITS) if width(x) == 32 else widened(x, 32, unsigned)


def looked_up(op: Any, function: Real) -> Formula:
    """The entry of the table of a function at each integer; the index is its bits without a sign."""
    ascending = table(function, op.operands[0], op.results[0])
    entries = const_tensor(np.roll(ascending, storage_limits(op.operands[0])[0]), storage_bits(op.results[0]))

    def formula(x: ir.Value, _: Sequence[ir.Value]) -> ir.Value:
        return tensor.extract(entries, [arith.index_castui(ir.IndexType.get(), x)])

    return formula


def _function_slope(_lowering: Lowering, op: Any, _vectors: list[ir.Value]) -> Formula:
    return looked_up(op, FUNCTIONS[ir.StringAttr(op.attributes["function"]).value].slope)


#: The formula of each mask and slope; it may append operands to the list of vectors.
SLOPES: dict[str, Callable[[Lowering, Any, list[ir.Value]], Formula]] = {
    "gradcam.function_slope": _function_slope,
    "gradcam.hard_swish_slope": _hard_swish_slope,
    "gradcam.mask": _mask,
    "gradcam.prelu_slope": _prelu_slope,
}
