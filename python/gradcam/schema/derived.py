"""What follows from a program: what it explains, the nests that run side by side, the reads from DRAM."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradcam.schema.program import Nest, Program, WeightReads


@dataclass(frozen=True)
class Ring:
    """A buffer that is a ring.

    Attributes:
        elements: the elements of the ring.
        of: the elements of the whole tensor.
    """

    elements: int
    of: int


@dataclass(frozen=True)
class Overlap:
    """A follower and its producer.

    Attributes:
        number: the number of the follower.
        nest: the follower.
        producer: the producer.
        added_cycles: cycles from the end of the producer to the end of the follower.
        rings: the buffers between the two that are rings, by name.
    """

    number: int
    nest: Nest
    producer: Nest
    added_cycles: int
    rings: dict[str, Ring]


def overlaps(program: Program) -> list[Overlap]:
    """The followers of a program with their producers."""
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
        number: the number of the nest.
        nest: the nest.
        weights: the weights that it reads.
    """

    number: int
    nest: Nest
    weights: WeightReads

    @property
    def cycles(self) -> int:
        """Cycles from the nest's start to its end without waiting."""
        return self.nest.end - self.nest.start - self.weights.stall_cycles

    @property
    def bytes_per_cycle(self) -> float:
        """The DRAM bandwidth with which the nest would not wait, in bytes per cycle."""
        return round(self.weights.bytes / self.cycles, 4)


def dram_reads(program: Program) -> list[DramRead]:
    """The nests that read weights from DRAM."""
    return [DramRead(i, nest, nest.weights) for i, nest in enumerate(program.nests) if nest.weights is not None]


def explained(program: Program) -> str:
    """What a program explains, in words: its target layers, the method and the number of classes."""
    maps = list(program.maps.values())
    if not maps:
        return "nothing"
    count = max(explanation.rank for explanation in maps) + 1
    classes = f", {count} classes" if count > 1 else ""
    return f"{', '.join(dict.fromkeys(e.target for e in maps))} by {maps[0].method}{classes}"
