"""The lowering of the adjoints of pools to linalg: each position gathers from the windows over it, by parity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.dialect.adjoints import part_location
from gradcam.dialect.verify import shape as type_shape
from gradcam.passes.linalg.builders import const, empty, extract_slice, generic, shape, width
from gradcam.passes.linalg.lowering import Lowering, add_up, fixed, ints, rescaled_result, rescaling, stored
from gradcam.passes.linalg.taps import Taps, axes_of, by_parity, windows_over
from gradcam.passes.linalg.windows import reduce_windows, tap_numbers, weighted, window_loops, window_weights
from gradcam.quant_types import result_rescale, storage_bits


def _gathered(lowering: Lowering, op: Any, ins: list[ir.Value], share: Callable[..., ir.Value]) -> Any:
    """Sums at each position the shares of the windows that cover it.

    Args:
        lowering: the lowering of the function.
        op: the adjoint of a pool.
        ins: tensors with an element for each window, OH x OW x C.
        share: computes the share of a window, from the number of the tap under which it covers the position, and the
            window's scalar of each of `ins`.
    """
    kernel = ints(op, "kernel")
    numbers = tap_numbers(kernel)
    _, channels, *size = type_shape(op.results[0])
    lanes = lowering.pe.padded(channels)  # whole words are read again: those behind the channels get zeros

    def part(taps: list[Taps], out: list[int]) -> ir.Value:
        trips, (at, tap) = [t.trips for t in taps], window_loops()
        number = [t.tap(n, k) for n, k, t in zip(at, tap, taps, strict=True)]
        read = [(_taken(numbers, taps), number), *(windows_over(x, taps, out, at, tap) for x in ins)]
        with part_location(op, "sums"):
            sums = reduce_windows(lowering, lanes, read, trips, out, [(32, 0)], add_share)
        return rescaled_result(lowering, op, sums)

    def add_share(*scalars: ir.Value) -> ir.Value:
        return add_up(scalars[-1], share(*scalars[:-1]))

    return by_parity(axes_of(op, kernel), size, part)


def _taken(numbers: ir.Value, taps: list[Taps]) -> ir.Value:
    """The numbers of the given taps, from the numbers of all taps."""
    dims = [*(t.count for t in taps), 1]
    return extract_slice(numbers, [*(t.first for t in taps), 0], dims, dims, [*(t.step for t in taps), 1])


def _lower_max_unpool2d(lowering: Lowering, op: Any) -> list[Any]:
    def share(tap: ir.Value, g: ir.Value, index: ir.Value) -> ir.Value:
        return arith.select(arith.cmpi(arith.CmpIPredicate.eq, index, tap), g, const(width(g), 0))

    return [_gathered(lowering, op, [lowering.tensor(v) for v in op.operands], share)]


def _lower_avg_pool2d_adjoint(lowering: Lowering, op: Any) -> list[Any]:
    if op.opview.is_global:
        return [_spread(lowering, op)]
    g, weights = lowering.tensor(op.operands[0]), window_weights(op)
    if weights is None:
        return [_gathered(lowering, op, [g], lambda _, g: g)]
    return [_gathered(lowering, op, [g, weights], lambda _, g, weight: weighted(g, weight))]


def _spread(lowering: Lowering, op: Any) -> ir.Value:
    """The adjoint of a pool whose only window is the whole map: its gradient at every position."""
    g = lowering.tensor(op.operands[0])
    channels, bits, lanes = type_shape(op.operands[0])[1], storage_bits(op.results[0]), shape(g)[2]
    vectors = list[ir.Value]()
    rescale = rescaling(lowering, op, fixed(op, result_rescale, op), channels, vectors)
    ins = [extract_slice(g, [0, 0, 0], [1, 1, lanes], [lanes]), *vectors]
    everywhere, identity = ir.AffineMap.get(3, 0, [ir.AffineDimExpr.get(2)]), ir.AffineMap.get_identity(3)
    out = empty([*type_shape(op.results[0])[2:], lanes], bits)

    def share(g: ir.Value, *scalars: ir.Value) -> ir.Value:
        return stored(rescale(g, scalars), op.results[0])

    return generic(ins, [out], [*[everywhere] * len(ins), identity], "ppp", share)


#: The lowering of each op: a function that returns the values for the op's results.
LOWERINGS: dict[str, Callable[[Lowering, Any], list[Any]]] = {
    "gradcam.avg_pool2d_adjoint": _lower_avg_pool2d_adjoint,
    "gradcam.max_unpool2d": _lower_max_unpool2d,
}
