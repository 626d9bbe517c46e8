"""Figures that follow from a program: the nests that run side by side, and what is read from DRAM."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradcam.schema.program import Nest, Program, WeightReads


@dataclass(frozen=True)
class Ring:
    """A buffer of which a part is kept.

    Attributes:
        elements: that are kept.
        of: all elements.
    """

    elements: int
    of: int


@dataclass(frozen=True)
class Overlap:
    """A nest that runs beside the one before it.

    Attributes:
        number: of the nest.
        nest: the one that follows.
        producer: the one that it follows.
        added_cycles: from the end of the producer to its own.
        rings: buffers between the two that are not kept whole, by name.
    """

    number: int
    nest: Nest
    producer: Nest
    added_cycles: int
    rings: dict[str, Ring]


def overlaps(program: Program) -> list[Overlap]:
    """The nests that run beside the one before them."""
    rings = {b.name: Ring(b.ring, math.prod(b.shape)) for b in program.buffers if b.ring is not None}
    found = []
    for number, nest in enumerate(program.nests):
        if nest.follows is not None:
            producer = program.nests[nest.follows]
            between = {name: rings[name] for name in producer.writes if name in rings}
            found.append(Overlap(number, nest, producer, max(0, nest.end - producer.end), between))
    return found


@dataclass(frozen=True)
class DramRead:
    """A nest that reads weights from DRAM.

    Attributes:
        number: of the nest.
        nest: the one that reads.
        weights: that it reads.
    """

    number: int
    nest: Nest
    weights: WeightReads

    @property
    def cycles(self) -> int:
        """From the nest's start to its end, without waiting."""
        return self.nest.end - self.nest.start - self.weights.stall_cycles

    @property
    def bytes_per_cycle(self) -> float:
        """The bandwidth with which it would not have to wait."""
        return round(self.weights.bytes / self.cycles, 4)


def dram_reads(program: Program) -> list[DramRead]:
    """The nests that read weights from DRAM."""
    return [DramRead(i, nest, nest.weights) for i, nest in enumerate(program.nests) if nest.weights is not None]
