"""The cost of an order of a nest's loops, by a simple model, and the orders to choose from.

The steps of a nest, and the words of weights that it reads from DRAM, are the same in every order. The order decides
the size of a tile (`passes/program/weight_stream.py`), the words that are read repeatedly before the nest goes on. With
a tile of T words in the ring, and the T words of the next tile on their way:

    cycles          = max(steps, words * beats of a word)     a nest cannot be faster than its weights
    bytes on chip   = 2 T * bytes of a word                   T * bytes of a word for a nest of one tile
    bytes per cycle = words * bytes of a word / cycles

Fewer cycles are better, then fewer bytes on chip, then fewer bytes per cycle. With weights on chip all orders cost the
same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import prod

from gradcam.bits import whole_bits
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.ir.queries import is_global
from gradcam.passes.program.banks import is_weight, power_of_two
from gradcam.passes.program.nest import Access, Nest
from gradcam.passes.program.weight_stream import tile_depth
from gradcam.passes.schedule.time_loops import Part


@dataclass(frozen=True, order=True)
class Cost:
    """The cost of an order; costs compare in the order of the fields."""

    cycles: int
    onchip_bytes: int
    bytes_per_cycle: float


@dataclass(frozen=True)
class Reads:
    """The load of a nest from DRAM: `access`, in words of `bits`, which arrive in beats of `width` bits."""

    access: Access
    bits: int
    width: int


def weights_of(program: Sequence[Nest], width: int) -> dict[int, Reads]:
    """The loads that gradcam-stream-weights will move to a DRAM of `width` bits, by the numbers of their nests.

    That pass moves the largest bank of weights, and gradcam-plan-memory makes a bank per number of lanes and bits.
    """
    banks: dict[int, dict] = {}
    reads: dict[int, list[tuple[int, Access]]] = {}
    for number, nest in enumerate(program):
        for access in nest.loads:
            if is_global(access.memref) and is_weight(access.element_bits):
                word = power_of_two(access.lanes) * whole_bits(access.element_bits)
                name = str(access.memref.owner.attributes["name"])
                banks.setdefault(word, {})[name] = prod(access.memref.type.shape)
                reads.setdefault(word, []).append((number, access))
    if not banks or not width:
        return {}
    word = max(banks, key=lambda n: sum(banks[n].values()))
    return {number: Reads(access, word, width) for number, access in reads[word]}


def cost(nest: Nest, reads: Reads, parts: Sequence[Part]) -> Cost:
    """The cost of a legal order of a nest's loops."""
    in_body = nest.in_body(reads.access)
    outer = [p for p in parts if in_body or p.is_of(nest.outer)]
    tile, tiles = _tile(reads.access.index, outer)
    words, word_bytes = tile * tiles, reads.bits // 8
    cycles = max(nest.steps, words * -(-reads.bits // reads.width))
    return Cost(cycles, tile * min(2, tiles) * word_bytes, words * word_bytes / cycles)


def _tile(index: Linear, parts: Sequence[Part]) -> tuple[int, int]:
    """The number of words of a tile, and the number of tiles."""
    walked, trips = [index.get(p.loop.iv, 0) for p in parts], [p.trip for p in parts]
    depth = tile_depth(walked, trips)
    tile = prod(n for n, c in zip(trips[depth:], walked[depth:], strict=True) if c)
    return tile, prod(trips[:depth])


def orders(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """The orders of outer loops to choose from: all orders of whole loops, and of loops of which one is tiled.

    Every divisor of a trip count is a tile.
    """
    moving = [p for p in parts if p.trip > 1]
    still = [p for p in parts if p.trip == 1]
    for order in permutations(moving):
        yield [*still, *order]
    for tiled in moving:
        rest = [p for p in moving if p is not tiled]
        for tile in (n for n in range(2, tiled.trip) if tiled.trip % n == 0):
            halves = [Part(tiled.loop, tiled.name, tile, inside) for inside in (False, True)]
            for order in permutations([*rest, *halves]):
                # A loop from tile to tile directly around the loop within the tile is the whole loop again.
                if order.index(halves[1]) > order.index(halves[0]) + 1:
                    yield [*still, *order]
