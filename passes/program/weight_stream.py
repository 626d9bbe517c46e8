"""The weight stream: the constants that `gradcam-stream-weights` laid out in DRAM, read back into Python.

The weight stream holds the words of one bank in the order in which the nests read them. On chip that bank is a ring:
the word at position p lies at address p modulo the ring's size. A **tile** is the words that a nest reads repeatedly
before it goes on: the words of one iteration of the loops outside of which nothing is read twice. Words arrive one by
one; the place of a word is free when it has been read for the last time.

A segment that a run-time symbol such as the class selects is stored once per value of the symbol, and read once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.bits import whole_bits
from gradcam.dram import Dram
from gradcam.errors import fail
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.ir.queries import is_global, symbol_register
from gradcam.passes.program.banks import Bank, is_weight, place_of, power_of_two
from gradcam.passes.program.nest import Access, Loop, Nest

#: The longest burst of AXI4 in beats, the block that no burst may leave, and the shortest burst worth asking for.
MAX_BEATS, BLOCK_BYTES, BURST_BYTES = 256, 4096, 256


@dataclass(frozen=True, eq=False)
class Use:
    """The words of the weight stream that one load of a nest reads.

    Attributes:
        nest: the number of the nest in the program.
        access: the load.
        loops: the time loops around the load, outermost first.
        in_body: the load reads in every step; otherwise in the last step of the reduction loops only.
        rest: steps of the loops that the load is outside of.
        form: index of the word within the use, over `loops`.
        depth: number of the outermost `loops` that go from tile to tile.
        position: words that the uses before this one read.
        symbol: the run-time term that selects one of `alternatives` contents; None for a use with one content.
    """

    nest: int
    access: Access
    loops: list[Loop]
    in_body: bool
    rest: int
    form: Linear
    depth: int
    position: int
    symbol: Any
    alternatives: int

    @property
    def tile(self) -> int:
        """Words of a tile."""
        return prod(n.trip for n in self.loops[self.depth :] if self.form.get(n.iv))

    @property
    def tiles(self) -> int:
        """Tiles, in order."""
        return prod(n.trip for n in self.loops[: self.depth])

    @property
    def words(self) -> int:
        """Words that the nest reads from the weight stream."""
        return self.tile * self.tiles

    def repeats(self, loop: Loop | None) -> bool:
        """Whether every iteration of the loop reads the same words as its first one."""
        return any(loop is n for n in self.loops) and loop is not None and not self.form.get(loop.iv)

    def tile_steps(self) -> tuple[int, list[int], int]:
        """Steps in which a tile is read.

        Returns:
            The steps of a tile; for each word of the tile the step that reads it first, from 0; and the number of steps
            from the first read of a word to its last one.
        """
        inner = self.loops[self.depth :]
        wanted, again = np.zeros(1, dtype=np.int64), 0
        for i, loop in enumerate(inner):
            step = prod(n.trip for n in inner[i + 1 :]) * self.rest
            if self.form.get(loop.iv):
                wanted = (wanted[:, None] + step * np.arange(loop.trip)).ravel()
            else:
                again += step * (loop.trip - 1)
        return prod(n.trip for n in inner) * self.rest, (wanted + self.rest - 1).tolist(), again


def tile_depth(coefficients: Sequence[int], trips: Sequence[int]) -> int:
    """The number of loops from tile to tile: the loops over words outside the first loop that repeats words."""
    over = [i for i, (c, n) in enumerate(zip(coefficients, trips, strict=True)) if c and n > 1]
    back = (i for i, (c, n) in enumerate(zip(coefficients, trips, strict=True)) if not c and n > 1)
    first = next((i for i in back if any(w > i for w in over)), len(trips))
    return max((w + 1 for w in over if w < first), default=0)


@dataclass(frozen=True)
class Segment:
    """A contiguous part of the weight stream that is requested without a pause.

    Attributes:
        base: address of its first byte in the DRAM, from the start of the weight stream.
        words: words read.
        uses: the uses that the words belong to.
        after: the number of the nest that must have been issued before the segment is requested, so that its symbol is
            known; 0 without a symbol.
    """

    base: int
    words: int
    uses: list[Use]
    after: int = 0

    @property
    def symbol(self) -> Any:
        """The run-time term that selects one of `alternatives` contents; None for a segment with one content."""
        return self.uses[0].symbol

    @property
    def alternatives(self) -> int:
        """Number of contents, which lie one behind the other in the DRAM."""
        return self.uses[0].alternatives


@dataclass(frozen=True)
class WeightStream:
    """The weight stream of a program, and the DRAM that it is read from.

    Attributes:
        bank: the ring on chip.
        width: bits of a beat of the DRAM; a power of two that divides a word there.
        outstanding: the most bursts that may be under way.
        latency: cycles from a request to its first beat that the predicted cycles assume.
        uses: the uses in program order.
        writers: for each symbol the number of the last nest that writes its register.
    """

    bank: Bank
    width: int
    outstanding: int
    latency: int
    uses: list[Use]
    writers: dict[Any, int]

    @property
    def element_bits(self) -> int:
        """Bits of a weight in the DRAM: whole bytes, a power of two of them."""
        return whole_bits(self.bank.bits)

    @property
    def word_bits(self) -> int:
        """Bits of a word in the DRAM."""
        return self.bank.lanes * self.element_bits

    @property
    def word_beats(self) -> int:
        """Beats of a word."""
        return self.word_bits // self.width

    @property
    def memory_beats(self) -> int:
        """Beats of a word of the ring's memories; see `Bank`."""
        return self.word_beats // self.bank.reads

    @property
    def burst(self) -> int:
        """Beats of a burst, a power of two: a word or BURST_BYTES, as far as AXI4 allows.

        The last burst of a segment may be shorter. Segments start at multiples of a burst, so that no burst crosses a
        multiple of BLOCK_BYTES.
        """
        bytes_ = self.width // 8
        return min(MAX_BEATS, BLOCK_BYTES // bytes_, max(self.word_beats, BURST_BYTES // bytes_))

    @property
    def unit(self) -> int:
        """The alignment of segments in bytes, a power of two: whole words and whole bursts."""
        return max(self.word_beats, self.burst) * self.width // 8

    @property
    def burst_words(self) -> int:
        """The most words of which one burst holds at least a part."""
        return max(1, self.burst // self.word_beats)

    @property
    def ring_words(self) -> int:
        """The initial words of the ring, a power of two: room for two successive tiles and all bursts under way."""
        tiles = [t for use in self.uses for t in [use.tile] * min(2, use.tiles)]
        pairs = max((a + b for a, b in pairwise(tiles)), default=0)
        needed = max(pairs, max(tiles) + self.burst_words, self.outstanding * self.burst_words)
        return max(2, power_of_two(min(needed, sum(use.words for use in self.uses))))

    @property
    def least_ring_words(self) -> int:
        """The fewest words of the ring without a deadlock: a tile, and the burst with the last word of the tile."""
        words = sum(use.words for use in self.uses)
        return max(2, min(max(use.tile for use in self.uses) + self.burst_words, words))

    @property
    def segments(self) -> list[Segment]:
        """The segments in order: adjacent uses without a symbol share one, a use with a symbol has its own."""
        groups: list[list[Use]] = []
        for use in self.uses:
            if groups and use.symbol is None and groups[-1][0].symbol is None:
                groups[-1].append(use)
            else:
                groups.append([use])
        segments, base = [], 0
        for uses in groups:
            after = 0 if uses[0].symbol is None else self.writers[uses[0].symbol] + 1
            segment = Segment(base, sum(u.words for u in uses), uses, after)
            segments.append(segment)
            base += self.stride(segment) * segment.alternatives
        return segments

    def stride(self, segment: Segment) -> int:
        """Bytes from one content of a segment to its next content."""
        return -(-segment.words * self.word_bits // 8 // self.unit) * self.unit

    def use_of(self, access: Access | None) -> Use | None:
        """The use that an access belongs to; None for an access to anything else."""
        return next((u for u in self.uses if u.access is access), None)

    def contents(self, constants: Mapping[ir.Value, np.ndarray]) -> bytes:
        """The contents of the DRAM: lane 0 of a word first, little-endian.

        Args:
            constants: the elements of the program's constants, flat.
        """
        dtype = np.dtype(f"<i{self.element_bits // 8}")
        last = self.segments[-1]
        image = np.zeros(last.base + self.stride(last) * last.alternatives, dtype=np.uint8)
        for segment in self.segments:
            parts = [constants[u.access.memref].reshape(u.alternatives, -1) for u in segment.uses]
            rows = np.concatenate(parts, axis=1).astype(dtype).view(np.uint8)
            for i, row in enumerate(rows):
                start = segment.base + i * self.stride(segment)
                image[start : start + row.size] = row
        return image.tobytes()


def may_stream(access: Access) -> bool:
    """Whether an access to a constant reads weights whose words can be whole beats of a DRAM."""
    return is_weight(access.element_bits) and power_of_two(access.lanes) == access.lanes


def uses_of(program: Sequence[Nest], bank: Bank) -> list[Use]:
    """The uses of a bank whose constants lie in the order in which the nests read them.

    Raises:
        GradcamError: a constant lies in another order.
    """
    uses: list[Use] = []
    position = 0
    for number, nest in enumerate(program):
        for access in nest.loads:
            if is_global(access.memref) and place_of(access.memref)[0] == bank.name:
                use = _use(number, nest, access, bank, position)
                uses.append(use)
                position += use.words
    return uses


def _use(number: int, nest: Nest, access: Access, bank: Bank, position: int) -> Use:
    in_body = nest.in_body(access)
    loops = nest.loops if in_body else nest.outer
    form, symbol = word_form(access, loops, bank)
    trips, coefficients = [n.trip for n in loops], [form.get(n.iv, 0) for n in loops]
    expected, words = [0] * len(loops), 1
    for i in reversed(range(len(loops))):
        if coefficients[i] and trips[i] > 1:
            expected[i] = words
            words *= trips[i]
    if any(n > 1 and c != e for n, c, e in zip(trips, coefficients, expected, strict=True)) or form.get(None):
        raise fail(access.op, f"{bank.name} is not in the order of its reads; run gradcam-stream-weights")
    shape = ir.MemRefType(access.memref.type).shape
    return Use(
        number,
        access,
        loops,
        in_body,
        1 if in_body else prod(n.trip for n in nest.reduction),
        form,
        tile_depth(coefficients, trips),
        position,
        symbol,
        shape[0],
    )


def word_form(access: Access, loops: Sequence[Loop], bank: Bank) -> tuple[Linear, Any]:
    """The index of the word that an access reads, over loops, and the run-time term that selects an alternative.

    Raises:
        GradcamError: two terms select, a loop within a word leaves that word, or the load is padded.
    """
    if access.guards:
        raise fail(access.op, "a padded constant cannot come from DRAM")
    trips = {loop.iv: loop.trip for loop in loops}
    form: Linear = {}
    symbols = []
    end = access.index.get(None, 0) % bank.lanes + access.lanes  # of the lanes that are read within a word
    for term, coefficient in access.index.items():
        if term is None or (isinstance(term, ir.Value) and not coefficient % bank.lanes):
            form[term] = coefficient // bank.lanes
        elif isinstance(term, ir.Value):
            end += coefficient * (trips[term] - 1) if coefficient > 0 else bank.lanes
        elif coefficient % bank.lanes:
            end += coefficient * (term[2] - 1)
        else:
            symbols.append(term)
    if end > bank.lanes:
        raise fail(access.op, f"a loop leaves the word of {bank.name} that it walks along; it cannot come from DRAM")
    if len(symbols) > 1:
        raise fail(access.op, f"two run-time values pick a word of {bank.name}; it cannot come from DRAM")
    return {t: c for t, c in form.items() if c}, symbols[0] if symbols else None


def read_weight_stream(program: Sequence[Nest], bank: Bank, dram: Dram) -> WeightStream:
    """Reads the weight stream that gradcam-stream-weights laid out.

    Args:
        program: the nests, to which the uses refer.
        bank: the ring on chip.
        dram: the DRAM that holds the weights.

    Raises:
        GradcamError: a constant lies in another order.
    """
    uses = uses_of(program, bank)
    writers = {use.symbol: _writer(program, use) for use in uses if use.symbol}
    return WeightStream(bank, dram.width, dram.outstanding, dram.latency, uses, writers)


def _writer(program: Sequence[Nest], use: Use) -> int:
    register = symbol_register(use.symbol[1])
    before = program[: use.nest]
    return max((i for i, nest in enumerate(before) if any(s.memref == register for s in nest.stores)), default=-1)
