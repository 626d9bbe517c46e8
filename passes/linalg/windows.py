"""Sliding windows in linalg: what they read, and reductions over them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.dialect.traits import Gradient, has
from gradcam.dialect.verify import shape as type_shape
from gradcam.dialect.verify import sides
from gradcam.passes.linalg.builders import (
    const_tensor,
    empty,
    extract_slice,
    filled,
    generic,
    pad,
    product,
    shape,
    widened,
    width,
)
from gradcam.passes.linalg.lowering import Lowering, ints
from gradcam.windows import average_of


class Window(NamedTuple):
    """A sliding window: entries for height and width; the padding is that before the map."""

    kernel: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]

    def extent(self, out: list[int]) -> list[int]:
        """Padded height and width that outputs of size `out` read."""
        each = zip(out, self.kernel, self.stride, self.dilation, strict=True)
        return [(n - 1) * s + d * (k - 1) + 1 for n, k, s, d in each]

    def pad(self, x: ir.Value, out: list[int], value: int) -> ir.Value:
        """`x` (HxWxC) with the border that the windows of `out` outputs reach."""
        high = [max(0, e - n - p) for e, n, p in zip(self.extent(out), shape(x)[:2], self.padding, strict=True)]
        return pad(x, [*self.padding, 0], [*high, 0], value)

    def reads(self, out: list[ir.AffineExpr], tap: list[ir.AffineExpr]) -> list[ir.AffineExpr]:
        """Row and column that output `out` reads at kernel position `tap`."""
        return [o * s + k * d for o, k, s, d in zip(out, tap, self.stride, self.dilation, strict=True)]


def reaching(x: ir.Value, needed: Sequence[range]) -> ir.Value:
    """The rows and columns of `x` (H x W x C) in the `needed` ranges, zeros where there are none."""
    there = [within(r, size) for r, size in zip(needed, shape(x), strict=False)]
    dims = [*map(len, there), shape(x)[2]]
    taken = x if dims == shape(x) else extract_slice(x, [*(r.start for r in there), 0], dims, dims)
    before = [t.start - n.start for n, t in zip(needed, there, strict=True)]
    after = [n.stop - t.stop for n, t in zip(needed, there, strict=True)]
    return pad(taken, [*before, 0], [*after, 0], 0)


def within(places: range, size: int) -> range:
    """The part of a range of places that an axis of `size` has."""
    return range(max(0, places.start), min(size, places.stop))


POINTWISE = Window([1, 1], [1, 1], [0, 0], [1, 1])


def window_of(op: Any, kernel: list[int] | None = None) -> Window:
    """The window of a convolution with this kernel, or of a pool."""
    return Window(kernel or ints(op, "kernel"), ints(op, "stride"), sides(op)[0], ints(op, "dilation"))


def window_weights(op: Any) -> ir.Value | None:
    """The weight of each window of an average pool or its adjoint, a constant OH x OW x 1 of i8 or i16.

    None where all are 1.
    """
    found = average_of(op)
    if found.weights is None:
        return None
    return const_tensor(found.weights.astype(np.int8 if found.largest < 1 << 7 else np.int16)[:, :, None])


def weighted(x: ir.Value, weight: ir.Value, unsigned: bool = False) -> ir.Value:
    """Scalar x * weight in i32; x may be unsigned."""
    if width(weight) == 8:
        return product(x, weight, (unsigned, False))
    return arith.muli(widened(x, 32, unsigned), widened(weight, 32))


def tap_numbers(kernel: list[int]) -> ir.Value:
    """The number i * KW + j of every tap of a window, a constant KH x KW x 1 of i8, from 128 on below 0."""
    return const_tensor(np.arange(math.prod(kernel)).astype(np.int8).reshape(*kernel, 1))


def reduce_windows(
    lowering: Lowering,
    channels: int,
    ins: Sequence[tuple[ir.Value, list[ir.AffineExpr]]],
    taps: Sequence[int],
    out: list[int],
    starts: Sequence[tuple[int, int]],
    combine: Callable[..., Any],
) -> Any:
    """The `linalg.generic` of a reduction over windows, channel by channel: loops ct, oh, ow, kh, kw, lane.

    Args:
        lowering: the lowering of the function, which has the lanes.
        channels: number of channels.
        ins: tensors (H x W x C, or of one lane that all share) and the row and column to read, see `window_loops`.
        taps: trip counts of kh and kw.
        out: height and width of the results.
        starts: width and initial value of each accumulator.
        combine: computes the new accumulators from a scalar of each of `ins` and the accumulators.

    Returns:
        The result (out x lanes), or the list of results where there are several accumulators.
    """
    lanes, padded = lowering.pe.oc, lowering.pe.padded(channels)
    ct, oh, ow, kh, kw, lane = (ir.AffineDimExpr.get(n) for n in range(6))
    channel, one = ct * lanes + lane, ir.AffineConstantExpr.get(0)
    # linalg takes loop extents from operands indexed by plain loops: this one only tells the extents.
    extents = empty([-(-channels // lanes), *taps, lanes], 8)
    maps = [[*place, one if shape(x)[2] == 1 else channel] for x, place in ins]
    maps += [[ct, kh, kw, lane], *[[oh, ow, channel]] * len(starts)]
    accumulators = [filled([*out, padded], bits, start) for bits, start in starts]

    def body(*scalars: ir.Value) -> Any:
        return combine(*scalars[: len(ins)], *scalars[len(ins) + 1 :])

    affine_maps = [ir.AffineMap.get(6, 0, m) for m in maps]
    return generic([*(x for x, _ in ins), extents], accumulators, affine_maps, "ppprrp", body)


def window_loops() -> tuple[list[ir.AffineExpr], list[ir.AffineExpr]]:
    """Row and column of the result, and of the tap, in `reduce_windows`."""
    _, oh, ow, kh, kw = (ir.AffineDimExpr.get(n) for n in range(5))
    return [oh, ow], [kh, kw]


def reduce_window(
    lowering: Lowering, op: Any, window: Window, border: int, bits: int, combine: Callable[..., Any]
) -> ir.Value:
    """Combines the elements of each window of operand 0 in a `bits`-wide accumulator that starts with `border`."""
    _, channels, *out = (*type_shape(op.results[0]), 1, 1)[:4]
    if has(op, Gradient):  # whole words are read again: the lanes behind the channels become the sums of their zeros
        channels = lowering.pe.padded(channels)
    x = window.pad(lowering.tensor(op.operands[0]), out, border)
    ins = [(x, window.reads(*window_loops()))]
    starts = [(bits, border)]
    return reduce_windows(lowering, channels, ins, window.kernel, out, starts, lambda value, acc: combine(acc, value))
