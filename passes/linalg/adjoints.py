"""The lowering of each quantized op of the backward pass to linalg: one function per op, and their table."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.bits import signed_bits
from gradcam.dialect.adjoints import part_location
from gradcam.dialect.ops import groups_of, is_depthwise
from gradcam.dialect.verify import shape as type_shape
from gradcam.errors import fail
from gradcam.passes.linalg.builders import (
    clipped,
    const,
    elementwise,
    empty,
    extract_slice,
    filled,
    generic,
    insert_slice,
    integer,
    shape,
    width,
)
from gradcam.passes.linalg.depthwise import Axis, correlate
from gradcam.passes.linalg.lowering import (
    Lowering,
    Rescaling,
    add_up,
    fixed,
    ints,
    rescaled_result,
    rescaling,
    scale_term,
    stored,
    stored_constant,
    whole_or_parts,
)
from gradcam.passes.linalg.products import Factors, TileLoops, multiply_accumulate
from gradcam.passes.linalg.taps import Taps, WindowAxis, axes_of, by_parity, windows_over
from gradcam.passes.linalg.values import Halves, Layout, Row, joined, pointwise
from gradcam.passes.linalg.windows import POINTWISE, reaching, reduce_window
from gradcam.quant_types import is_narrow, result_rescale, storage_bits, storage_limits

# --- products with the forward weights ---


def adjoint_products(g: ir.Value, w: ir.Value, taps: list[Taps], out: list[int], factors: Factors) -> ir.Value:
    """Sums of products of gradients with transposed weights, in i32.

    Args:
        g: H x W x O in lanes.
        w: the forward convolution's tiles, (blocks x) oct x ict x KH x KW x OC x IC; its output lanes are summed over.
        taps: the taps to sum, along height and width.
        out: shape of the result, OH x OW x C in lanes.
        factors: the bits of the factors.
    """
    *_, outs, ins, _, _, oc, ic = shape(w)
    loops = TileLoops.of(w)
    i, o = loops.lanes
    padded, place = windows_over(g, taps, out, loops.place, loops.tap)
    tap = [t.tap(n, k) for n, k, t in zip(loops.place, loops.tap, taps, strict=True)]
    maps = [
        [*place, loops.channel(loops.summed, outs, o, oc)],
        [*loops.block, loops.summed, loops.out, *tap, o, i],
        [*loops.place, loops.channel(loops.out, ins, i, ic)],
    ]
    return multiply_accumulate([padded, _taken(w, taps)], maps, out, factors)


def depthwise_adjoint_products(
    lowering: Lowering, g: ir.Value, w: np.ndarray, taps: list[Taps], out: list[int]
) -> ir.Value:
    """The same for a depthwise convolution with weights `w`, C x KH x KW: a correlation with its taps in reverse."""
    rows, columns = taps
    across = Axis(1, columns.reach, columns.base - (columns.count - 1) * columns.reach)
    w = w[:, :, columns.first : columns.last + 1 : columns.step][:, :, ::-1]
    w = w[:, rows.first : rows.last + 1 : rows.step]
    if rows.is_single:
        return correlate(lowering, g, w, None, across, out)
    down = Axis(1, rows.reach, rows.base - (rows.count - 1) * rows.reach)
    return correlate(lowering, g, w[:, ::-1], down, across, out)


def _taken(w: ir.Value, taps: list[Taps]) -> ir.Value:
    """The weights, in tiles, of the given taps only."""
    whole, here = shape(w), slice(-4, -2)
    dims, offsets, strides = list(whole), [0] * len(whole), [1] * len(whole)
    dims[here], offsets[here], strides[here] = ([getattr(t, n) for t in taps] for n in ("count", "first", "step"))
    return w if dims == whole else extract_slice(w, offsets, dims, dims, strides)


def _adjoint(lowering: Lowering, op: Any, kernel: list[int], axes: list[WindowAxis], size: list[int]) -> Any:
    """A rescaled transposed convolution to a map of `size`: a tensor for stride 1, else parities."""
    channels = math.prod(type_shape(op.operands[1])[1:]) // math.prod(kernel) * groups_of(op)
    g = lowering.factor(op.operands[0])
    m, s = fixed(op, result_rescale, op)
    is_wide = not is_narrow(op.results[0])  # and cannot be brought in order later
    layout = None if is_wide else lowering.layouts.get(op.operands[1])
    if layout is not None:
        m, channels = _in_places(m, layout), layout.lanes
    vectors = list[ir.Value]()
    rescale = rescaling(lowering, op, (m, s), channels, vectors)
    lanes = lowering.pe.padded(channels)
    if is_depthwise(op):
        products = partial(depthwise_adjoint_products, lowering, w=stored_constant(op, op.operands[1])[:, 0])
    else:
        weights = lowering.packed(op, op.operands[1], (kernel[0], kernel[1]), in_order=is_wide)
        products = partial(adjoint_products, w=weights, factors=lowering.factors)

    def part(taps: list[Taps], out: list[int]) -> ir.Value:
        return _rescaled_products(op, g, partial(products, taps=taps, out=[*out, lanes]), rescale, vectors)

    if layout is None:
        return by_parity(axes, size, part)
    with part_location(op, "parts"):  # not the name of the gradient, whose channels are in other places
        return layout.of_gradient(joined(by_parity(axes, size, part)))


def _in_places(m: np.ndarray, layout: Layout) -> np.ndarray:
    """Multipliers of channels as those of the lanes in which the channels lie."""
    if not m.ndim:
        return m
    lanes = np.ones(layout.lanes, m.dtype)
    there = [(place, channel) for channel, place in enumerate(layout.places) if place >= 0]
    lanes[[place for place, _ in there]] = m[[channel for _, channel in there]]
    return lanes


def _rescaled_products(
    op: Any, g: Any, products: Callable[..., ir.Value], rescale: Rescaling, vectors: list[ir.Value]
) -> ir.Value:
    """The `products` of `g` at the scale of the result; those of both halves of a wide gradient are added first."""
    bits = storage_bits(op.results[0])

    def at_scale(acc: ir.Value, *scalars: ir.Value) -> ir.Value:
        return stored(rescale(acc, scalars), op.results[0])

    if not isinstance(g, Halves):
        with part_location(op, "sums"):
            sums = products(g)
        return elementwise(sums, vectors, bits, at_scale)
    with part_location(op, "high"):
        high = products(g.high)
    with part_location(op, "sums"):
        low = products(g.low)

    def combine(low: ir.Value, high: ir.Value, *scalars: ir.Value) -> ir.Value:
        return at_scale(Halves.whole(high, low), *scalars)

    return elementwise(low, [high, *vectors], bits, combine)


def _lower_conv2d_adjoint(lowering: Lowering, op: Any) -> list[Any]:
    kernel = type_shape(op.operands[1])[2:]
    return [_adjoint(lowering, op, kernel, axes_of(op, kernel), type_shape(op.results[0])[2:])]


def _lower_linear_adjoint(lowering: Lowering, op: Any) -> list[Any]:
    """A linear layer is a convolution with one output position, whose kernel is as large as the flattened map."""
    kernel = next((list(size) for w, *size in lowering.weights if w == op.operands[1]), [1, 1])
    return [_adjoint(lowering, op, kernel, [WindowAxis(k, 1, 0, 1, windows=1) for k in kernel], kernel)]


# --- sums over positions ---


def _lower_tap_sums(lowering: Lowering, op: Any) -> list[Any]:
    """Sums over rows, then over columns, and rescales the sums to 16 bits in two halves."""
    sums: ir.Value = lowering.tensor(op.operands[0])
    kernel, size = ints(op, "kernel"), ints(op, "size")
    channels = type_shape(op.operands[0])[1]
    for number, axis in enumerate(axes_of(op, kernel)):
        name = ("rows", "columns")[number]
        # Sums over rows have the bits that they need, so that sums over columns extend them as other sums extend bytes,
        # and share an engine with these.
        bits = 32 if number else min(32, signed_bits(-size[0] << (width(sums) - 1), 0))
        with part_location(op, name):
            sums = _landed(lowering, sums, number, axis, size[number], bits)
    low, high = storage_limits(op.results[0])
    vectors = list[ir.Value]()
    rescale = rescaling(lowering, op, fixed(op, result_rescale, op), channels, vectors)

    def halves(acc: ir.Value, *scalars: ir.Value) -> list[ir.Value]:
        return Halves.parts(clipped(rescale(acc, scalars), low, high))

    with part_location(op, "halves"):
        return [Halves(*elementwise(sums, vectors, [8, 8], halves))]


def _landed(lowering: Lowering, x: ir.Value, number: int, axis: WindowAxis, size: int, bits: int) -> ir.Value:
    """For each kernel tap along an axis, last tap first, the sum of `x` over positions that it moves into the map.

    The sums have `bits` bits.
    """
    kernel, dims, period = axis.kernel, shape(x), axis.period
    dims[number] = kernel
    counts = [(parity, -(-(size - parity) // period)) for parity in range(min(period, size))]
    found = [(taps, count) for parity, count in counts if (taps := axis.taps(parity, count)) is not None]
    found.sort(key=lambda part: -part[0].count)  # the longest one may run beside the nest before it
    is_complete = sum(taps.count for taps, _ in found) == kernel
    whole = empty(dims, bits) if is_complete else filled(dims, bits, 0)
    for taps, count in found:
        sums = _sums_of(lowering, x, number, taps, count)
        if bits < width(sums):
            sums = elementwise(sums, [], bits, lambda total: arith.trunci(integer(bits), total))
        if taps.count == kernel:
            return sums
        offsets, strides = [0, 0, 0], [1, 1, 1]
        offsets[number], strides[number] = kernel - 1 - taps.last, taps.step
        whole = insert_slice(sums, whole, offsets, strides)
    return whole


def _sums_of(lowering: Lowering, x: ir.Value, axis: int, taps: Taps, count: int) -> ir.Value:
    """Sums of `x` at q + base - t * reach over q < count, 0 outside of `x`: one for each tap t, the last one first.

    One window alone is the sum of each tap.
    """
    lanes, dims = lowering.pe.oc, shape(x)
    needed = [range(n) for n in dims[:2]]
    needed[axis] = taps.windows(count)
    tile, tap, other, q, lane = (ir.AffineDimExpr.get(n) for n in range(5))
    channel = tile * lanes + lane
    read, write = [other, other, channel], [other, other, channel]
    read[axis], write[axis] = q if taps.is_single else q + tap * taps.reach, tap
    others = dims[1 - axis]
    dims[axis] = taps.count
    extents = empty([dims[2] // lanes, taps.count, others, 1 if taps.is_single else count, lanes], 8)
    maps = [ir.AffineMap.get(5, 0, m) for m in (read, [tile, tap, other, q, lane], write)]
    start, ins = [filled(dims, 32, 0)], [reaching(x, needed), extents]
    return generic(ins, start, maps, "ppprp", lambda value, _, acc: add_up(acc, value))


def _lower_channel_weights(lowering: Lowering, op: Any) -> list[Any]:
    """An average pool over the whole map."""
    window = POINTWISE._replace(kernel=type_shape(op.operands[0])[2:])
    with part_location(op, "sums"):
        sums = reduce_window(lowering, op, window, 0, 32, add_up)
    return [rescaled_result(lowering, op, sums)]


# --- elementwise ---


def _lower_apply_mask(lowering: Lowering, op: Any) -> list[Any]:
    g, mask = whole_or_parts(lowering, op.operands[0]), lowering.tensor(op.operands[1])
    bits, slope, vectors = storage_bits(op.results[0]), ir.FloatAttr(op.attributes["slope"]).value, list[ir.Value]()
    if not slope:
        return [pointwise([g], [mask], bits, lambda g, mask: arith.select(mask, g, const(width(g), 0)))]
    leak = scale_term(lowering, op, op.operands[0], vectors, slope)

    def body(g: ir.Value, mask: ir.Value, *m: ir.Value) -> ir.Value:
        return arith.select(mask, g, stored(leak(g, m), op.results[0]))

    return [pointwise([g], [mask, *vectors], bits, body)]


def _lower_unflatten(lowering: Lowering, op: Any) -> list[Any]:
    value, size = lowering.values[op.operands[0]], type_shape(op.results[0])[2:]
    if isinstance(value, Row) or shape(lowering.tensor(op.operands[0]))[:2] == size:
        return [value]
    raise fail(op, "'gradcam.unflatten' of a vector that was not flattened has no lowering to linalg")


#: The lowering of each op: a function that returns the values for the op's results.
LOWERINGS: dict[str, Callable[[Lowering, Any], list[Any]]] = {
    "gradcam.apply_mask": _lower_apply_mask,
    "gradcam.channel_weights": _lower_channel_weights,
    "gradcam.conv2d_adjoint": _lower_conv2d_adjoint,
    "gradcam.linear_adjoint": _lower_linear_adjoint,
    "gradcam.tap_sums": _lower_tap_sums,
    "gradcam.unflatten": _lower_unflatten,
}
