"""The cycles of a run as data: the slices of engines, the buffers in banks, the weights that come from DRAM.

Cycle 0 is the first cycle of a run. A slice, a stay or a transfer covers the cycles from `begin` to before `end`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gradcam.schema.derived import dram_reads
from gradcam.schema.program import Buffer, Level, Phase, Program


@dataclass(frozen=True)
class Slice:
    """A nest on its engine.

    Attributes:
        number: the number of the nest in program.json.
        name: the name of the tensor that it computes, which is a module path where a module of the model computes it.
        engine: the name of the engine.
        phase: the phase of the run.
        group: the number of the first nest of its issue group.
        follows: the number of the nest beside which it runs, on the data of that; None for a nest that follows none.
        begin: the cycle in which it is issued.
        end: the cycle after its last one: with all nests of its group, the next group is issued then.
    """

    number: int
    name: str
    engine: str
    phase: Phase
    group: int
    follows: int | None
    begin: int
    end: int


#: What a nest may wait for: a beat of an input stream, a beat of an output stream to be taken, weights from DRAM, the
#: nest before it.
OPERANDS = ("input", "output", "weights", "producer")


@dataclass(frozen=True)
class Wait:
    """Cycles in which a nest that runs takes no step.

    Attributes:
        number: the number of the nest.
        begin, end: the cycles.
        operands: what the nest depends on and was not there, of `OPERANDS`; with several of them, it waited for one or
            more.
    """

    number: int
    begin: int
    end: int
    operands: tuple[str, ...]


@dataclass(frozen=True)
class Stay:
    """A buffer in its bank, from the issue of its first writer to the end of its last reader.

    Attributes:
        buffer: the name of the buffer.
        bank: the name of the bank.
        offset, words: the words of the bank that it takes; of a ring, those of the ring.
        bytes: their bytes.
        begin, end: the cycles.
    """

    buffer: str
    bank: str
    offset: int
    words: int
    bytes: int
    begin: int
    end: int


@dataclass(frozen=True)
class Transfer:
    """The weights of a nest on their way from DRAM, from their first beat to their last one.

    Attributes:
        number: the number of the nest that reads them.
        bytes: their bytes.
        begin, end: the cycles.
    """

    number: int
    bytes: int
    begin: int
    end: int


@dataclass(frozen=True)
class Timeline:
    """The cycles of a run, predicted or measured.

    Attributes:
        cycles: the cycles of the run.
        slices: a slice of every nest, in the order of program.json. Those of one engine do not overlap.
        stays: a stay of every buffer in a bank, in the order of program.json.
        transfers: a transfer of every nest that reads weights from DRAM, in order; they do not overlap.
        ring: the bytes of the ring of weights that hold weights or wait for them, in the cycles of `Dram.levels`; empty
            where all weights are on chip.
        waits: of a run, the cycles in which nests waited, by their begin; empty in a prediction, which knows the number
            of these cycles alone.
    """

    cycles: int
    slices: tuple[Slice, ...]
    stays: tuple[Stay, ...]
    transfers: tuple[Transfer, ...] = ()
    ring: tuple[Level, ...] = ()
    waits: tuple[Wait, ...] = ()

    @staticmethod
    def of(program: Program) -> Timeline:
        """The predicted timeline of a design."""
        nests, read = program.nests, dram_reads(program)
        return timeline_of(
            program,
            begins=[nest.start for nest in nests],
            ends=[nest.end for nest in nests],
            beats=[(r.weights.first_beat, r.weights.last_beat) for r in read],
            ring=program.dram.levels if program.dram else (),
        )

    @property
    def engines(self) -> list[str]:
        """The engines, in the order of their first nests."""
        return list(dict.fromkeys(s.engine for s in self.slices))

    def occupancy(self, bank: str) -> list[Level]:
        """The bytes of a bank that hold buffers, from each of the cycles on in which they change."""
        return _sum((stay.begin, stay.end, stay.bytes) for stay in self.stays if stay.bank == bank)


def timeline_of(
    program: Program,
    begins: Sequence[int],
    ends: Sequence[int],
    beats: Sequence[tuple[int, int]],
    ring: Sequence[Level],
    waits: Sequence[Wait] = (),
) -> Timeline:
    """A timeline of a design.

    Args:
        program: the design.
        begins: the cycle in which each nest is issued.
        ends: the cycle after the last one of each nest.
        beats: the cycles of the first and of the last beat of the weights of each nest that reads them from DRAM.
        ring, waits: see `Timeline`.
    """
    nests, groups = program.nests, program.issue_groups
    slices = tuple(
        Slice(i, nest.name, nest.engine, nest.phase, groups[i], nest.follows, begins[i], ends[i])
        for i, nest in enumerate(nests)
    )
    stays = tuple(_stay(program, buffer, slices) for buffer in program.buffers if buffer.bank is not None)
    transfers = tuple(
        Transfer(read.number, read.weights.bytes, first, last + 1)
        for read, (first, last) in zip(dram_reads(program), beats, strict=True)
    )
    return Timeline(max(ends), slices, stays, transfers, tuple(ring), tuple(waits))


def _stay(program: Program, buffer: Buffer, slices: Sequence[Slice]) -> Stay:
    """The stay of a buffer that is in a bank."""
    bank = program.banks[str(buffer.bank)]
    words = -(-(buffer.ring or math.prod(buffer.shape)) // bank.lanes)
    nests = list(zip(program.nests, slices, strict=True))
    writers = [s for nest, s in nests if buffer.name in nest.writes]
    users = writers + [s for nest, s in nests if buffer.name in nest.reads]
    size = -(-words * bank.lanes * bank.bits // 8)
    begin, end = min(s.begin for s in writers), max(s.end for s in users)
    return Stay(buffer.name, str(buffer.bank), buffer.offset, words, size, begin, end)


def _sum(terms: Iterable[tuple[int, int, int]]) -> list[Level]:
    """The sum of (begin, end, value) over those that hold at a time, whenever it changes; 0 in the beginning."""
    changes = {0: 0}
    for begin, end, value in terms:
        changes[begin] = changes.get(begin, 0) + value
        changes[end] = changes.get(end, 0) - value
    times = [t for t, change in sorted(changes.items()) if change or t == 0]
    return [Level(*at) for at in zip(times, itertools.accumulate(changes[t] for t in times), strict=True)]
