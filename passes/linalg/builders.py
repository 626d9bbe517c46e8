"""Small builders for linalg on tensors of integers; all use the current insertion point and location."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith, linalg, tensor

from gradcam.bits import signed_bits
from gradcam.numerics import ALIGNED_MULTIPLIER_BITS, LARGEST_ALIGNED_MULTIPLIER, LEAST_SHIFT
from gradcam.passes.ir.constants import integers_attr
from gradcam.quant_types import ACCUMULATOR_BITS

Body = Callable[..., Any]


def integer(width: int) -> ir.Type:
    """The signless integer type of `width` bits."""
    return ir.IntegerType.get_signless(width)


def tensor_type(shape: Sequence[int], width: int) -> ir.RankedTensorType:
    """A tensor of `width`-bit integers."""
    return ir.RankedTensorType.get(list(shape), integer(width))


def width(value: ir.Value) -> int:
    """Bits of a scalar integer or of a tensor's integer elements."""
    type_ = value.type
    element = type_.element_type if isinstance(type_, ir.RankedTensorType) else type_
    return ir.IntegerType(element).width


def shape(value: ir.Value) -> list[int]:
    """Static shape of a tensor."""
    return list(ir.RankedTensorType(value.type).shape)


def const(bits: int, value: int) -> ir.Value:
    """A scalar constant; a number that fits `bits` only without a sign is the integer of the same bits."""
    return arith.constant(integer(bits), value - (1 << bits) if bits > 1 and value >> (bits - 1) == 1 else value)


def const_tensor(array: np.ndarray, bits: int | None = None) -> ir.Value:
    """A constant with the shape and the integers of a NumPy array, in as many bits as these have there by default."""
    attribute = integers_attr(array, bits or array.dtype.itemsize * 8)
    return arith.constant(attribute.type, attribute)


def empty(dims: Sequence[int], bits: int) -> ir.Value:
    """A tensor of undefined content."""
    return tensor.empty(list(dims), integer(bits))


def filled(dims: Sequence[int], bits: int, value: int) -> ir.Value:
    """A tensor with `value` everywhere."""
    return linalg.fill(const(bits, value), outs=[empty(dims, bits)])


def pad(x: ir.Value, low: Sequence[int], high: Sequence[int], value: int) -> ir.Value:
    """`x` with `low` elements of `value` before it and `high` after it in each dimension; `x` itself for no padding."""
    if not any([*low, *high]):
        return x
    dims = [n + before + after for n, before, after in zip(shape(x), low, high, strict=True)]
    fill_value = const(width(x), value)
    op = tensor.PadOp(tensor_type(dims, width(x)), x, [], [], list(low), list(high))
    index = ir.IndexType.get()
    block = op.regions[0].blocks.append(*[index] * len(dims), arg_locs=[op.location] * len(dims))
    with ir.InsertionPoint(block):
        tensor.yield_(fill_value)
    return op.result


def extract_slice(
    x: ir.Value,
    offsets: Sequence[int | ir.Value],
    sizes: Sequence[int],
    result: Sequence[int],
    strides: Sequence[int] | None = None,
) -> ir.Value:
    """`sizes` elements of `x` from `offsets` on in steps of `strides` (default 1), as a tensor of shape `result`.

    `result` is `sizes`, of which unit dimensions may be dropped.
    """
    static = [o if isinstance(o, int) else ir.ShapedType.get_dynamic_size() for o in offsets]
    dynamic = [o for o in offsets if not isinstance(o, int)]
    type_ = tensor_type(result, width(x))
    return tensor.extract_slice(type_, x, dynamic, [], [], static, list(sizes), list(strides or [1] * len(sizes)))


def insert_slice(x: ir.Value, into: ir.Value, offsets: Sequence[int], strides: Sequence[int]) -> ir.Value:
    """`into` with the elements from `offsets` on in steps of `strides` replaced by those of `x`."""
    return tensor.insert_slice(x, into, [], [], [], list(offsets), shape(x), list(strides))


def generic(
    ins: Sequence[ir.Value], outs: Sequence[ir.Value], maps: Sequence[ir.AffineMap], iterators: str, body: Body
) -> Any:
    """A `linalg.generic`.

    Args:
        ins: input tensors.
        outs: initial values of the results.
        maps: one indexing map per input and output.
        iterators: one letter per loop, `p` for parallel and `r` for reduction.
        body: gets one scalar per input and output, returns the scalar (or the list of scalars) to yield.

    Returns:
        The result, or the list of results when there are several.
    """
    names = {"p": "parallel", "r": "reduction"}
    iterator_types = [ir.Attribute.parse(f"#linalg.iterator_type<{names[i]}>") for i in iterators]
    op = linalg.GenericOp(
        [v.type for v in outs],
        list(ins),
        list(outs),
        ir.ArrayAttr.get([ir.AffineMapAttr.get(m) for m in maps]),
        ir.ArrayAttr.get(iterator_types),
    )
    scalars = [integer(width(v)) for v in [*ins, *outs]]
    block = op.regions[0].blocks.append(*scalars, arg_locs=[op.location] * len(scalars))
    with ir.InsertionPoint(block):
        result = body(*block.arguments)
        linalg.yield_(result if isinstance(result, list) else [result])
    return list(op.results) if len(outs) > 1 else op.results[0]


def elementwise(x: ir.Value, others: Sequence[ir.Value], bits: int | Sequence[int], body: Body) -> Any:
    """One `bits`-wide result per element of `x` (HxWxC); `others` are as large as `x`, or vectors over C.

    `body` gets one scalar of `x` and of each of the others. For a list of widths it yields a list, and there is a list
    of as many results.
    """
    dims, widths = shape(x), [bits] if isinstance(bits, int) else list(bits)
    identity = ir.AffineMap.get_identity(len(dims))
    last = ir.AffineMap.get(len(dims), 0, [ir.AffineDimExpr.get(len(dims) - 1)])
    maps = [identity, *(last if len(shape(v)) == 1 and len(dims) > 1 else identity for v in others)]
    maps += [identity] * len(widths)
    outs = [empty(dims, n) for n in widths]
    result = generic([x, *others], outs, maps, "p" * len(dims), lambda *a: body(*a[: -len(widths)]))
    return result if isinstance(bits, int) or len(widths) > 1 else [result]


def one_lane(x: ir.Value, lane: int | ir.Value) -> ir.Value:
    """A lane of `x` (HxWxC) as a tensor HxWx1 of its own, so that the other lanes need not be stored."""
    h, w, _ = shape(x)
    y, x_, _ = (ir.AffineExpr.get_dim(i) for i in range(3))
    maps = [ir.AffineMap.get(3, 0, [y, x_, ir.AffineExpr.get_constant(0)]), ir.AffineMap.get_identity(3)]
    part = extract_slice(x, [0, 0, lane], [h, w, 1], [h, w, 1])
    return generic([part], [empty([h, w, 1], width(x))], maps, "ppp", lambda value, _: value)


def widened(x: ir.Value, bits: int, unsigned: bool = False) -> ir.Value:
    """Scalar `x` extended to `bits` by its sign, or by zeros where it is unsigned; or as it is."""
    if width(x) == bits:
        return x
    return (arith.extui if unsigned else arith.extsi)(integer(bits), x)


def product(
    x: ir.Value, y: ir.Value, unsigned: tuple[bool, bool] = (False, False), bits: int | None = None
) -> ir.Value:
    """The product of two narrow scalars, either of which may be unsigned, in i32.

    It is computed in the bits of both, or in `bits`, which are no fewer.
    """
    bits = bits or width(x) + width(y)  # 128 * 255 fits 16 bits with a sign, 255 * 255 does not
    bits = ACCUMULATOR_BITS if all(unsigned) else bits
    factors = (widened(v, bits, is_unsigned) for v, is_unsigned in zip((x, y), unsigned, strict=True))
    return widened(arith.muli(*factors), ACCUMULATOR_BITS)


def clipped(x: ir.Value, lo: int, hi: int) -> ir.Value:
    """Signed scalar `x` limited to lo..hi."""
    return arith.minsi(arith.maxsi(x, const(width(x), lo)), const(width(x), hi))


def rescaled_by(x: ir.Value, m: ir.Value, pairs: ir.Value, unsigned: bool = False) -> ir.Value:
    """`rescaled` by constants that are not known yet, in the form of `gradcam.numerics.read_form`.

    (p + (1 << (s - 1))) >> s is ((p >> (s - 1)) + 1) >> 1, so that the term that rounds does not depend on the shift.
    """
    product = arith.muli(widened(x, 48, unsigned), widened(m, 48))
    amount = arith.shli(widened(pairs, 48), const(48, 1))
    halves = arith.shrsi(arith.shrsi(product, const(48, LEAST_SHIFT - 1)), amount)
    return arith.trunci(integer(ACCUMULATOR_BITS), arith.shrsi(arith.addi(halves, const(48, 1)), const(48, 1)))


def rescaled(x: ir.Value, m: int | ir.Value, s: int, unsigned: bool = False) -> ir.Value:
    """`(x * m + (1 << (s - 1))) >> s` as i32, for a scalar `x` of up to 32 bits and m of `aligned_form`.

    An x of fewer bits may be unsigned. The intermediate has as many bits as product and rounding term need: 32, else
    49, and 50 where s > 33. With more of them, MLIR would take a shift by 18, of which all bits are cut off but those
    of the result, for one without a sign, which shares no hardware with others. A power of two multiplies nothing.
    """
    is_power = isinstance(m, int) and m & (m - 1) == 0 and m < 1 << (s - 1)
    if is_power:
        s -= m.bit_length() - 1
    largest = 1 << (width(x) if unsigned else width(x) - 1)
    most = largest * LARGEST_ALIGNED_MULTIPLIER + (1 << (s - 1))
    fits = most < 1 << (ACCUMULATOR_BITS - 1)
    bits = ACCUMULATOR_BITS if fits else max(signed_bits(-most, most), ACCUMULATOR_BITS + ALIGNED_MULTIPLIER_BITS)
    if is_power:
        product = widened(x, bits, unsigned)
    else:
        factor = const(bits, m) if isinstance(m, int) else widened(m, bits)
        product = arith.muli(widened(x, bits, unsigned), factor)
    shifted = arith.shrsi(arith.addi(product, const(bits, 1 << (s - 1))), const(bits, s))
    return shifted if fits else arith.trunci(integer(ACCUMULATOR_BITS), shifted)
