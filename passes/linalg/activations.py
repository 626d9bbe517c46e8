"""The lowering of activations with a scale of their own, and of products of two computed values, to linalg."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.dialect.adjoints import part_location
from gradcam.dialect.verify import shape as type_shape
from gradcam.functions import FUNCTIONS
from gradcam.passes.ir.constants import dense_values
from gradcam.passes.linalg.builders import (
    clipped,
    const,
    extract_slice,
    product,
    rescaled,
    shape,
    widened,
    width,
)
from gradcam.passes.linalg.elementwise_ops import changed
from gradcam.passes.linalg.lowering import (
    Lowering,
    add_up,
    fixed,
    is_greater,
    require_narrow,
    rescaled_result,
    rescaling,
    scale_term,
    stored,
    whole_or_parts,
)
from gradcam.passes.linalg.slopes import looked_up, within_int16
from gradcam.passes.linalg.values import pointwise
from gradcam.passes.linalg.windows import reduce_windows, window_loops
from gradcam.quant_types import hard_bend, hard_rescale, is_unsigned, result_rescale, signed_rescale, storage_bits


def _lower_prelu(lowering: Lowering, op: Any) -> list[Any]:
    """x or slope * x by the sign of x, as a leaky relu, with a signed multiplier per channel."""
    vectors, slopes = list[ir.Value](), dense_values(op.operands[1].owner)
    keep = scale_term(lowering, op, op.operands[0], vectors)
    constants, unsigned = fixed(op, signed_rescale, op.operands[0], op.results[0], slopes), is_unsigned(op.operands[0])
    leak = rescaling(lowering, op, constants, len(slopes), vectors, unsigned)

    def body(a: ir.Value, *scalars: ir.Value) -> ir.Value:
        is_positive = is_greater(a, const(width(a), 0), unsigned)
        return arith.select(is_positive, keep(a, scalars), leak(a, scalars))

    return changed(lowering, op, vectors, body)


def _lower_hard_sigmoid(lowering: Lowering, op: Any) -> list[Any]:
    bend, (m, s), unsigned = hard_bend(op), fixed(op, hard_rescale, op), is_unsigned(op.operands[0])

    def body(x: ir.Value) -> ir.Value:
        return rescaled(clipped(arith.addi(widened(x, 32, unsigned), const(32, bend)), 0, 2 * bend), int(m), s)

    return changed(lowering, op, [], body)


def _lower_hard_swish(lowering: Lowering, op: Any) -> list[Any]:
    bend, (m, s) = hard_bend(op), fixed(op, hard_rescale, op)

    def body(x: ir.Value) -> ir.Value:
        x = within_int16(x, is_unsigned(op.operands[0]))
        gate = clipped(arith.addi(x, const(32, bend)), 0, 2 * bend)
        return rescaled(arith.muli(x, gate), int(m), s)

    return changed(lowering, op, [], body)


def _lower_function(lowering: Lowering, op: Any) -> list[Any]:
    require_narrow(op, op.operands[0])
    formula = looked_up(op, FUNCTIONS[ir.StringAttr(op.attributes["function"]).value].value)
    return changed(lowering, op, [], lambda x: formula(x, ()))


# --- products ---


def _lower_mul(lowering: Lowering, op: Any) -> list[Any]:
    """The product of each element with that of a second map, or with the number of its channel."""
    for operand in op.operands:
        require_narrow(op, operand)
    x, y = whole_or_parts(lowering, op.operands[0]), lowering.tensor(op.operands[1])
    if type_shape(op.operands[0]) != type_shape(op.operands[1]):
        y = extract_slice(y, [0, 0, 0], [1, 1, shape(y)[2]], [shape(y)[2]])
    vectors = list[ir.Value]()
    rescale = rescaling(lowering, op, fixed(op, result_rescale, op), type_shape(op.results[0])[1], vectors)
    signs = _unsigned(op)

    def body(x: ir.Value, y: ir.Value, *scalars: ir.Value) -> ir.Value:
        return stored(rescale(product(x, y, signs), scalars), op.results[0])

    return [pointwise([x], [y, *vectors], storage_bits(op.results[0]), body)]


def _unsigned(op: Any) -> tuple[bool, bool]:
    """Whether each of both operands is unsigned."""
    x, y = op.operands
    return is_unsigned(x), is_unsigned(y)


def _lower_product_sums(lowering: Lowering, op: Any) -> list[Any]:
    for operand in op.operands:
        require_narrow(op, operand)
    (_, channels, *size), place = type_shape(op.operands[0]), window_loops()[1]
    ins, signs = [(lowering.tensor(v), place) for v in op.operands], _unsigned(op)

    def add_product(x: ir.Value, y: ir.Value, acc: ir.Value) -> ir.Value:
        return add_up(acc, product(x, y, signs))

    with part_location(op, "sums"):
        sums = reduce_windows(lowering, channels, ins, size, [1, 1], [(32, 0)], add_product)
    return [rescaled_result(lowering, op, sums)]


#: The lowering of each op: a function that returns the values for the op's results.
LOWERINGS: dict[str, Callable[[Lowering, Any], list[Any]]] = {
    "gradcam.function": _lower_function,
    "gradcam.hard_sigmoid": _lower_hard_sigmoid,
    "gradcam.hard_swish": _lower_hard_swish,
    "gradcam.mul": _lower_mul,
    "gradcam.prelu": _lower_prelu,
    "gradcam.product_sums": _lower_product_sums,
}
