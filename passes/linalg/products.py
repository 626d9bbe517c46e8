"""Sums of products as `linalg.generic` on the tiles of the array: convolutions, their adjoints, products of lanes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.bits import LEAST
from gradcam.dialect.traits import ExactProduct, Product, has, trait
from gradcam.passes.linalg.builders import empty, filled, generic, integer, product, shape, width
from gradcam.passes.linalg.values import Halves
from gradcam.pe import PE
from gradcam.quant_types import is_unsigned, largest_magnitude, storage_bits

if TYPE_CHECKING:
    from gradcam.passes.linalg.windows import Window
    from gradcam.passes.linalg.words import Words


class Factors(NamedTuple):
    """The bits of the integers that the array multiplies; with all products of one width, one array computes them.

    Attributes:
        data: of feature maps.
        signed: of these with a sign.
        weight: of weights.
    """

    data: int
    signed: int
    weight: int

    @staticmethod
    def of(function: Any) -> Factors:
        """Those of a quantized function."""
        body = function.entry_block.operations
        layers = [op for op in body if (p := trait(op, Product)) is not None and not p.transposed]
        maps = [op.operands[0] for op in layers] + [op.operands[1] for op in body if has(op, ExactProduct)]
        data = max((storage_bits(x) for x in maps), default=LEAST)
        signed = max((storage_bits(x) + is_unsigned(x) for x in maps), default=LEAST)
        return Factors(data, signed, max((storage_bits(op.operands[1]) for op in layers), default=LEAST))

    @property
    def product(self) -> int:
        """Bits of a product, of which one factor at most has its least integer."""
        return self.data + self.weight

    def takes(self, g: ir.Value) -> bool:
        """Whether a quantized gradient can be multiplied with weights as it is.

        It may have the bit that maps have for a sign beside theirs, as long as its magnitude is that of a map.
        """
        return storage_bits(g) <= self.signed and largest_magnitude(g) < 1 << self.data


class TileLoops(NamedTuple):
    """The loops of `multiply_accumulate` over tiles: of the outputs, and of what is summed.

    Attributes:
        block: the loop over the blocks of a grouped convolution; none for other products.
        out: the loop over tiles of the outputs.
        place: row and column of the output.
        summed: the loop over tiles of what is summed.
        tap: row and column of the kernel.
        lanes: an output's lane, and a lane of what is summed.
    """

    block: list[ir.AffineExpr]
    out: ir.AffineExpr
    place: list[ir.AffineExpr]
    summed: ir.AffineExpr
    tap: list[ir.AffineExpr]
    lanes: list[ir.AffineExpr]

    @staticmethod
    def of(w: ir.Value) -> TileLoops:
        """The loops for tiles `w`, (blocks x) oct x ict x KH x KW x OC x IC."""
        *block, out, oh, ow, summed, kh, kw, lane, i = (ir.AffineDimExpr.get(n) for n in range(len(shape(w)) + 2))
        return TileLoops(block, out, [oh, ow], summed, [kh, kw], [lane, i])

    def channel(self, tile: ir.AffineExpr, tiles: int, lane: ir.AffineExpr, lanes: int) -> ir.AffineExpr:
        """The channel of a lane of a tile, with `tiles` tiles of `lanes` lanes in a block."""
        for block in self.block:
            tile = block * tiles + tile
        return tile * lanes + lane


def accumulate(
    x: ir.Value,
    w: ir.Value,
    window: Window,
    out: list[int],
    factors: Factors,
    unsigned: bool = False,
    read: Words | None = None,
) -> ir.Value:
    """Sums of products in i32: x (H x W x Cp, padded) with tiles w to `out` (OH x OW x channels); x may be unsigned.

    `read` are the tiles of x that are summed over, from the first one on where it is left out. Tiles of one tap are
    those of every tap of the window.
    """
    if read is not None and read.segments > 1:
        return _accumulate_segments(x, w, window, out, factors, unsigned, read)
    *_, outs, ins, kh, kw, oc, ic = shape(w)
    loops, first = TileLoops.of(w), read.first * ic if read else 0
    o, i = loops.lanes
    pixel = [*window.reads(loops.place, loops.tap), loops.channel(loops.summed, ins, i, ic) + first]
    result = [*loops.place, loops.channel(loops.out, outs, o, oc)]
    tile = [*loops.block, loops.out, loops.summed]
    if [kh, kw] == window.kernel:
        return multiply_accumulate([x, w], [pixel, [*tile, *loops.tap, o, i], result], out, factors, unsigned)
    zero = ir.AffineConstantExpr.get(0)
    extents = empty(window.kernel, 8)  # linalg takes loop extents from operands
    maps = [pixel, [*tile, zero, zero, o, i], loops.tap, result]
    return multiply_accumulate([x, w, extents], maps, out, factors, unsigned)


def _accumulate_segments(
    x: ir.Value, w: ir.Value, window: Window, out: list[int], factors: Factors, unsigned: bool, read: Words
) -> ir.Value:
    """Sums over loops oct, oh, ow, segment, place, kh, kw, o, i. w: oct x tiles of all segments x KH x KW x OC x IC."""
    *_, oc, ic = shape(w)
    oct_, oh, ow, segment, place, kh, kw, o, i = (ir.AffineDimExpr.get(n) for n in range(9))
    maps = [
        [*window.reads([oh, ow], [kh, kw]), (segment * read.apart + place + read.first) * ic + i],
        [oct_, segment * read.width + place, kh, kw, o, i],
        [segment, place],
        [oh, ow, oct_ * oc + o],
    ]
    extents = empty([read.segments, read.width], 8)  # linalg takes loop extents from operands
    return multiply_accumulate([x, w, extents], maps, out, factors, unsigned, "ppprrrrpr")


def multiply_accumulate(
    ins: list[ir.Value],
    maps: list[list[ir.AffineExpr]],
    out: list[int],
    factors: Factors,
    unsigned: bool = False,
    iterators: str = "",
) -> ir.Value:
    """The `linalg.generic` of the multipliers: sums of x * w in i32 over loops oct, oh, ow, ict, kh, kw, o, i.

    Outside of them may be a loop over blocks; see `TileLoops`.

    Args:
        ins: x, w and optionally a tensor that only gives loop extents.
        maps: index expressions of each of `ins` and of the result.
        out: shape of the result.
        factors: the bits of all products.
        unsigned: whether x is.
        iterators: the kinds of the loops, where these are others.
    """
    iterators = iterators or "p" * (max(map(len, maps)) - 6) + "ppprrrpr"  # the tiles have the most dimensions
    affine_maps = [ir.AffineMap.get(len(iterators), 0, m) for m in maps]
    body = partial(multiply_add, factors=factors, unsigned=unsigned)
    return generic(ins, [filled(out, 32, 0)], affine_maps, iterators, body)


def multiply_add(x: ir.Value, w: ir.Value, *rest: ir.Value, factors: Factors, unsigned: bool = False) -> ir.Value:
    """The last of `rest` plus the product of two scalars, of which x may be unsigned: i32."""
    return arith.addi(rest[-1], product(x, w, (unsigned, False), factors.product))


def multiply_channels(
    pe: PE, channels: int, x: ir.Value, w: ir.Value | Halves, window: Window, out: list[int], unsigned: bool = False
) -> ir.Value:
    """The sum over each window and over channels of x * w in i32: OH x OW x 1, with `out` = OH x OW.

    Both are H x W x C in lanes, or 1 x 1 x C for w, which is 0 in the lanes behind its channels as far as these are
    read: in whole tiles of `IC` lanes. x may be unsigned.

    The array would compute this one lane in each of its output lanes, and each half of w by itself. An engine with half
    of the array's input lanes takes as many steps for products that are as wide as w.
    """
    lanes, ws = max(1, pe.ic // 2), list(w) if isinstance(w, Halves) else [w]
    oh, ow, tile, kh, kw, i = (ir.AffineDimExpr.get(n) for n in range(6))
    zero, channel = ir.AffineConstantExpr.get(0), tile * lanes + i
    place = window.reads([oh, ow], [kh, kw])
    weight = [*([zero, zero] if shape(ws[0])[:2] == [1, 1] else place), channel]
    maps = [[*place, channel], *([weight] * len(ws)), [tile, kh, kw, i], [oh, ow, zero]]
    tiles = -(-channels // pe.ic) * (pe.ic // lanes)
    extents = empty([tiles, *window.kernel, lanes], 8)  # linalg takes loop extents from operands
    bits = width(x) + unsigned + sum(map(width, ws))

    def body(x: ir.Value, *scalars: ir.Value) -> ir.Value:
        *parts, _, acc = scalars
        w = arith.trunci(integer(16), Halves.whole(*parts)) if len(parts) > 1 else parts[0]
        return arith.addi(acc, product(x, w, (unsigned, False), bits))

    affine_maps = [ir.AffineMap.get(6, 0, m) for m in maps]
    return generic([x, *ws, extents], [filled([*out, 1], 32, 0)], affine_maps, "pprrrr", body)
