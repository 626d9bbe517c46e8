"""The cycles in which nests run: the steps of a nest, and of a follower that runs beside its producer.

A nest that **follows** the nest before it, its producer, is issued together with it, in one **issue group**. The
follower's engine holds the first step of an iteration of its outer loops until the producer has written the elements
that the iteration reads. A follower never holds its producer. Whatever delays the producer (an input beat, a word from
DRAM) delays the follower by as much or less. The producer may follow another nest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

import numpy as np

from gradcam.errors import fail
from gradcam.passes.ir.attributes import COUNTED, FOLLOWS
from gradcam.passes.ir.linear_form import Linear, map_forms
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.nest import Nest
from gradcam.passes.program.streams import form_values


@dataclass(frozen=True)
class Run:
    """The cycles in which the steps of a nest run: one step per cycle, except for waits.

    Attributes:
        start: the cycle before the first step can run; without a clock, the cycle in which the nest is issued.
        steps: the number of steps.
        waits: pairs (step, cycles) in the order of the steps: from that step on, steps are late by so many cycles in
            total.
    """

    start: int
    steps: int
    waits: Sequence[tuple[int, int]] = ()

    @property
    def stalls(self) -> int:
        """Cycles that the nest waits in total."""
        return self.waits[-1][1] if self.waits else 0

    def late(self, steps: np.ndarray) -> np.ndarray:
        """The number of cycles by which each of the given steps, numbered from 0, is late."""
        late = np.array([0, *(cycles for _, cycles in self.waits)])
        return late[np.searchsorted([step for step, _ in self.waits], steps, side="right")]

    def waiting(self, waits: Sequence[tuple[int, int]]) -> Run:
        """The run with further waits: a step is as late as the longer of both waits makes it."""
        if not self.waits or not waits:
            return replace(self, waits=waits or self.waits)
        steps = np.union1d([step for step, _ in self.waits], [step for step, _ in waits])
        late = np.maximum(self.late(steps), replace(self, waits=waits).late(steps))
        return replace(self, waits=list(zip(steps.tolist(), late.tolist(), strict=True)))

    @property
    def last(self) -> int:
        """The cycle of the last step."""
        return self.start + self.steps + self.stalls

    def cycles(self, steps: np.ndarray) -> np.ndarray:
        """The cycle of each of the steps, numbered from 0."""
        return self.start + 1 + steps + self.late(steps)


@dataclass(frozen=True)
class Follow:
    """A follower and its producer.

    Attributes:
        producer: the nest that writes the buffer which the follower reads.
        counted: number of outer loops of the producer whose iterations are counted as they are committed.
        nest: the follower.
        gated: number of outer loops of the follower whose iterations wait.
        need: over the gated loops, how many counted iterations must be committed before an iteration starts. Once the
            producer is done, nothing waits any more.
    """

    producer: Nest
    counted: int
    nest: Nest
    gated: int
    need: Linear

    @property
    def steps(self) -> int:
        """Steps of an iteration of the gated loops."""
        return prod(loop.trip for loop in self.nest.loops[self.gated :])

    @property
    def count(self) -> int:
        """The number of iterations that are counted in a run of the producer."""
        return prod(loop.trip for loop in self.producer.outer[: self.counted])

    @property
    def needs(self) -> np.ndarray:
        """`need` in every iteration of the gated loops, in the order in which they run."""
        loops = self.nest.loops[: self.gated]
        return np.broadcast_to(form_values(self.need, loops), [loop.trip for loop in loops]).ravel()

    def starts(self, producer: Run, stage: int) -> np.ndarray:
        """The cycle of the first step of every iteration of the gated loops.

        An iteration starts after the iteration before it, and not before the cycle after its last operand is
        committed and the crossing latency has passed.

        Args:
            producer: the run of the producer; both nests are issued in the same cycle.
            stage: the pipeline stage of its stores.
        """
        written = producer.cycles(np.arange(1, self.count + 1) * (producer.steps // self.count) - 1) + stage
        needs = np.minimum(self.needs, self.count)
        seen = written + Clock.of(self.producer.op).crossing
        released = np.where(needs > 0, seen[needs - 1], producer.start) + 1
        before = np.arange(len(needs)) * self.steps
        return np.maximum.accumulate(released - before) + before

    def run(self, producer: Run, stage: int) -> Run:
        """The run of the follower if it waits for nothing but its producer; see `starts`."""
        first = np.arange(len(self.needs)) * self.steps
        late = self.starts(producer, stage) - producer.start - 1 - first
        later = np.flatnonzero(np.diff(late, prepend=0))
        waits = zip(first[later].tolist(), late[later].tolist(), strict=True)
        return Run(producer.start, self.nest.steps, list(waits))


def follows_of(program: Sequence[Nest]) -> dict[int, Follow]:
    """The followers by the number of their producer, as gradcam-overlap-nests marked them.

    Raises:
        GradcamError: a nest follows a nest whose iterations are not counted.
    """
    found = {}
    for number, (producer, nest) in enumerate(pairwise(program)):
        map_ = FOLLOWS.find(nest.op)
        if map_ is not None:
            counted = COUNTED.find(producer.op)
            if counted is None:
                raise fail(nest.op, f"the nest before it has no '{COUNTED.key}'; run gradcam-overlap-nests")
            loops = nest.loops[: map_.n_dims]
            (need,) = map_forms(nest.op, map_, [{loop.iv: 1} for loop in loops])
            found[number] = Follow(producer, counted, nest, len(loops), need)
    return found


def issue_groups_of(program: Sequence[Nest]) -> list[int]:
    """The **issue group** of each nest, as the number of the first nest of the group."""
    follows, issue_groups = follows_of(program), list[int]()
    for number in range(len(program)):
        issue_groups.append(issue_groups[-1] if number - 1 in follows else number)
    return issue_groups
