"""Gathers of channels on the array: products with zeros and ones, of the tiles alone that hold a one.

An output tile of a shuffle of two maps needs a word or two of each map, not all words. Which words the tiles of a
gather need can be any table, but what an engine walks is a loop nest. So the output tiles are divided into runs, and
each run is walked by a nest of its own, whose words are an affine function of its loops:

    word(block, tile, segment, place) = first + block * per_block + tile * per_tile + segment * apart + place

A shuffle of two maps of 8 words to 16 tiles is one run: 8 blocks of 2 tiles, a word further from block to block, with
2 segments of one word that are 8 words apart. A walk may read words that a tile does not need, by zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.passes.linalg.builders import const_tensor, elementwise, empty, insert_slice, integer, shape, width
from gradcam.passes.linalg.packing import pack_weights
from gradcam.passes.linalg.products import Factors, TileLoops, multiply_accumulate
from gradcam.passes.linalg.values import Placed
from gradcam.passes.linalg.words import Words, covers
from gradcam.pe import PE

#: Steps that a further nest must save: it has a configuration, and waits for its pipeline to fill.
STEPS_OF_A_NEST = 16


class Walk(NamedTuple):
    """A run of output tiles, in blocks of equally many, and the words of each; see the top of this file.

    Attributes:
        start: the first output tile.
        blocks: the number of blocks.
        tiles: the output tiles of a block.
        per_block: words from a block to the next one.
        per_tile: words from an output tile to the next one in its block.
        words: those of the first output tile.
    """

    start: int
    blocks: int
    tiles: int
    per_block: int
    per_tile: int
    words: Words

    @property
    def end(self) -> int:
        """The output tile behind the last one."""
        return self.start + self.blocks * self.tiles

    @property
    def steps(self) -> int:
        """Products of tiles for one position of the map."""
        return self.blocks * self.tiles * self.words.number

    def is_within(self, words: int) -> bool:
        """Whether all words that are read are some of the first `words` ones."""
        ends = product(
            (0, self.blocks - 1), (0, self.tiles - 1), (0, self.words.segments - 1), (0, self.words.width - 1)
        )
        return all(0 <= self.word(*end) < words for end in ends)

    def word(self, block: Any, tile: Any, segment: Any, place: Any) -> Any:
        """The word that is read, for numbers, arrays or affine expressions."""
        first, _, apart, _ = self.words
        return block * self.per_block + tile * self.per_tile + segment * apart + place + first


def walks(needed: Sequence[int], words: int, positions: int, unit: int = 1) -> list[Walk]:
    """The walks over all output tiles that take the fewest steps.

    Args:
        needed: the words that each output tile needs, a bit each.
        words: the number of words there are.
        positions: of the map.
        unit: output tiles of a word of the result; a walk begins with a whole one.
    """
    best: dict[int, tuple[int, list[Walk]]] = {0: (0, [])}  # cost and walks of the output tiles before each
    for start in range(0, len(needed), unit):
        cost, before = best[start]
        for walk in _walks_from(start, needed, words):
            whole = cost + walk.steps * positions + STEPS_OF_A_NEST + (walk.blocks > 1)
            if walk.end not in best or whole < best[walk.end][0]:
                best[walk.end] = whole, [*before, walk]
    return best[len(needed)][1]


def _walks_from(start: int, needed: Sequence[int], words: int) -> Iterator[Walk]:
    """The walks that begin with output tile `start`."""
    for per_tile in _slopes(needed[start : start + 3]):
        union = 0
        for tiles in range(1, len(needed) - start + 1):
            moved = _moved(needed[start + tiles - 1], (tiles - 1) * per_tile, words)
            if moved is None:
                break
            union |= moved
            for per_block in _slopes([needed[start], *needed[start + tiles : start + tiles + 1]]):
                yield from _of_blocks(
                    Walk(start, 1, tiles, per_block, per_tile, Words(0, 1, 0, 1)), union, needed, words
                )


def _of_blocks(one: Walk, union: int, needed: Sequence[int], words: int) -> Iterator[Walk]:
    """Walks of 1, 2, ... blocks like the one of `one`, which needs the words of the mask `union`."""
    for blocks in range(1, (len(needed) - one.start) // one.tiles + 1):
        for tile in range(one.tiles) if blocks > 1 else ():
            by = (blocks - 1) * one.per_block + tile * one.per_tile
            moved = _moved(needed[one.start + (blocks - 1) * one.tiles + tile], by, words)
            if moved is None:
                return
            union |= moved
        walks_ = (one._replace(blocks=blocks, words=found) for found in covers(union, words))
        yield from (walk for walk in walks_ if walk.is_within(words))


def _slopes(needed: Sequence[int]) -> list[int]:
    """How many words further an output tile may need words than the one before it: candidates, 0 among them."""
    pairs = [(a, b) for a, b in pairwise(needed) if a and b]
    return list(dict.fromkeys([0, *(end(b) - end(a) for end in (_lowest, int.bit_length) for a, b in pairs)]))


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length()


def _moved(mask: int, by: int, words: int) -> int | None:
    """The words of an output tile less `by`, in a mask whose bit `words` is word 0; None where no walk goes so far."""
    return mask << (words - by) if abs(by) < words else None


def plan(placed: Placed, channels: int, pe: PE) -> list[Walk]:
    """The walks that bring the channels of a map in order, and zeros behind them up to `channels`."""
    height, width_, lanes = shape(placed.packed)
    needed = [0] * -(-channels // pe.oc)
    for channel, place in enumerate(placed.places):
        if place >= 0:
            needed[channel // pe.oc] |= 1 << place // pe.ic
    return walks(needed, lanes // pe.ic, height * width_, pe.lanes // pe.oc)


def gathered(placed: Placed, channels: int, pe: PE, factors: Factors) -> ir.Value:
    """A map (H x W x lanes, which the array can multiply) with its channels in order, and zeros up to `channels`."""
    size = [*shape(placed.packed)[:2], pe.padded(len(placed.places))]
    matrix = np.eye(channels, len(placed.places), dtype=np.int8)[:, :, None, None]
    tiles, found = pack_weights(placed.layout.spread(matrix), pe)[:, :, 0, 0], plan(placed, channels, pe)
    if len(found) == 1:
        return _walked(placed.packed, tiles, found[0], size, factors)
    whole = empty(size, width(placed.packed))
    for walk in found:
        first, end = walk.start * pe.oc, size[2] if walk is found[-1] else walk.end * pe.oc
        part = _walked(placed.packed, tiles, walk, [*size[:2], end - first], factors)
        whole = insert_slice(part, whole, [0, 0, first], [1, 1, 1])
    return whole


def _walked(x: ir.Value, tiles: np.ndarray, walk: Walk, out: list[int], factors: Factors) -> ir.Value:
    """The output tiles of a walk, stored to `out` (H x W x lanes). tiles: output tiles x words x OC x IC."""
    *_, oc, ic = tiles.shape
    block, tile, place, segment = np.indices((walk.blocks, walk.tiles, walk.words.width, walk.words.segments))
    packed = tiles[walk.start + block * walk.tiles + tile, walk.word(block, tile, segment, place)][:, :, :, :, None]
    w, bits = const_tensor(packed if walk.blocks > 1 else packed[0], factors.weight), width(x)
    loops = TileLoops.of(w)
    (segment, column), (o, i) = loops.tap, loops.lanes
    block = loops.block[0] if loops.block else 0
    maps = [
        [*loops.place, walk.word(block, loops.out, segment, loops.summed) * ic + i],
        [*loops.block, loops.out, loops.summed, segment, column, o, i],
        [*loops.place, loops.channel(loops.out, walk.tiles, o, oc)],
    ]
    sums = multiply_accumulate([x, w], maps, out, factors)
    return elementwise(sums, [], bits, lambda a: arith.trunci(integer(bits), a))
