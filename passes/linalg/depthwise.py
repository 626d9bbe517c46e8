"""Depthwise convolutions and their adjoints as `linalg.generic`: lane by lane, a channel never meets another one."""

from __future__ import annotations

from torch_mlir import ir

from gradcam.passes.linalg.builders import filled, generic, shape
from gradcam.passes.linalg.lowering import Lowering, multiply_add, window_loops


def depthwise_products(
    lowering: Lowering, x: ir.Value, place: list[ir.AffineExpr], w: ir.Value, out: list[int]
) -> ir.Value:
    """Sums over taps of x * w in i32, over loops ct, oh, ow, kh, kw, lane; see `window_loops`.

    Args:
        lowering: the lowering of the function, which has the lanes.
        x: H x W x C in lanes, padded.
        place: row and column of `x` to read.
        w: the weights in words, ct x KH x KW x lanes.
        out: shape of the result, OH x OW x C in lanes.
    """
    lanes = lowering.pe.oc
    assert shape(w)[-1] == lanes
    tile, lane = ir.AffineDimExpr.get(0), ir.AffineDimExpr.get(5)
    at, tap = window_loops()
    channel = tile * lanes + lane
    maps = [ir.AffineMap.get(6, 0, m) for m in ([*place, channel], [tile, *tap, lane], [*at, channel])]
    return generic([x, w], [filled(out, 32, 0)], maps, "ppprrp", multiply_add)
