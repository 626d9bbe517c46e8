"""Reads what recorder.h wrote: the timelines of runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradcam.bits import whole_bits
from gradcam.errors import GradcamError
from gradcam.schema.derived import dram_reads
from gradcam.schema.program import Level, Program
from gradcam.timeline import OPERANDS, Timeline, Wait, timeline_of


def read_timelines(data: bytes, program: Program, nest_cycles: Sequence[Sequence[int]]) -> list[Timeline]:
    """The timelines of runs.

    Args:
        data: the runs one behind the other, as recorder.h has them.
        program: the design.
        nest_cycles: for each run the cycles of its nests.

    Raises:
        GradcamError: the design did not read all its weights, so that the recording ends early.
    """
    values, timelines = _Values(np.frombuffer(data, "<u8")), []
    for cycles in nest_cycles:
        begins = values.take(1, len(program.nests)).ravel().tolist()
        beats = values.take(2, len(dram_reads(program))).tolist()
        levels, waits = values.take(2).tolist(), values.take(4).tolist()
        ends = [begin + count for begin, count in zip(begins, cycles, strict=True)]
        ring = [Level(cycle, _taken(program, room)) for cycle, room in levels]
        found = [Wait(nest, begin, end, _operands(missing)) for nest, missing, begin, end in waits]
        timelines.append(timeline_of(program, begins, ends, beats, ring, found))
    return timelines


class _Values:
    """Numbers to take from the front."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.at = values, 0

    def take(self, columns: int, rows: int | None = None) -> np.ndarray:
        """The next numbers as rows; without their number, it is the next number."""
        if rows is None:
            rows = int(self.take(1, 1)[0, 0])
        part = self.values[self.at : self.at + rows * columns]
        if len(part) < rows * columns:
            raise GradcamError("the recording of a run is incomplete: it did not read all its weights")
        self.at += rows * columns
        return part.reshape(rows, columns)


def _taken(program: Program, room: int) -> int:
    """The bytes of the ring that are not free, of which `room` beats are."""
    assert program.dram is not None and program.ring is not None
    ring = program.banks[program.ring]
    beat_bits = program.dram.width * ring.bits // whole_bits(ring.bits)
    return ring.size - room * beat_bits // 8


def _operands(missing: int) -> tuple[str, ...]:
    """The names of what was missing: the bits of `Missing`."""
    return tuple(name for i, name in enumerate(OPERANDS) if missing >> i & 1)
