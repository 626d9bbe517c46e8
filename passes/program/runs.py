"""The cycles in which nests run: the steps of a nest, and of a follower that runs beside its producer.

A nest that **follows** the nest before it, its producer, is in one **issue group** with it. The follower's engine holds
the first step of an iteration of its outer loops until the producer has written the elements that the iteration reads.
A follower never holds its producer. Whatever delays the producer (an input beat, a word from DRAM) delays the follower
by as much or less. The producer may follow another nest.

The nests of an issue group are issued in one cycle. Only the last one may be issued later: one that runs on the engine
of the first one is issued when that has ended. Its producer still runs then, and has committed iterations already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

import numpy as np

from gradcam.errors import fail
from gradcam.passes.ir.attributes import COUNTED, ENGINE, FOLLOWS
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

    def slowed(self, every: int, more: int) -> Run:
        """The run in which one of `every` steps is at least `every` plus `more` cycles behind the last one of these."""
        if not more:
            return self
        first = np.arange(0, self.steps, every)
        least = np.arange(len(first)) * more
        late = np.maximum.accumulate(self.late(first) - least) + least
        return self.waiting(list(zip(first.tolist(), late.tolist(), strict=True)))

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
        after: the nest of the issue group that runs on the follower's engine before it; None where none does, so that
            the follower is issued together with its producer.
    """

    producer: Nest
    counted: int
    nest: Nest
    gated: int
    need: Linear
    after: Nest | None = None

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

    def starts(self, producer: Run, stage: int, start: int | None = None) -> np.ndarray:
        """The cycle of the first step of every iteration of the gated loops.

        An iteration starts after the iteration before it, and not before the cycle after its last operand is
        committed and the command latency has passed.

        Args:
            producer: the run of the producer.
            stage: the pipeline stage of its stores.
            start: the cycle before the first step can run; None where both nests are issued in the same cycle.
        """
        start = producer.start if start is None else start
        written = producer.cycles(np.arange(1, self.count + 1) * (producer.steps // self.count) - 1) + stage
        needs = np.minimum(self.needs, self.count)
        seen = written + Clock.of(self.producer.op).command
        released = np.maximum(np.where(needs > 0, seen[needs - 1], start), start) + 1
        before = np.arange(len(needs)) * self.steps
        return np.maximum.accumulate(released - before) + before

    def run(self, producer: Run, stage: int, start: int | None = None) -> Run:
        """The run of the follower if it waits for nothing but its producer; see `starts`."""
        start = producer.start if start is None else start
        first = np.arange(len(self.needs)) * self.steps
        late = self.starts(producer, stage, start) - start - 1 - first
        later = np.flatnonzero(np.diff(late, prepend=0))
        waits = zip(first[later].tolist(), late[later].tolist(), strict=True)
        return Run(start, self.nest.steps, list(waits))


def share_engine(nest: Nest, other: Nest) -> bool:
    """Whether two nests run on one engine, and so never at once; nests without an engine share none."""
    engine = ENGINE.find(nest.op)
    return engine is not None and engine == ENGINE.find(other.op)


def follows_of(program: Sequence[Nest]) -> dict[int, Follow]:
    """The followers by the number of their producer, as gradcam-overlap-nests marked them.

    Raises:
        GradcamError: a nest follows a nest whose iterations are not counted.
    """
    found, group = dict[int, Follow](), list[Nest]()
    for number, (producer, nest) in enumerate(pairwise(program)):
        map_ = FOLLOWS.find(nest.op)
        group = [*group, producer] if number - 1 in found else [producer]
        if map_ is not None:
            counted = COUNTED.find(producer.op)
            if counted is None:
                raise fail(nest.op, f"the nest before it has no '{COUNTED.key}'; run gradcam-overlap-nests")
            loops = nest.loops[: map_.n_dims]
            (need,) = map_forms(nest.op, map_, [{loop.iv: 1} for loop in loops])
            after = next((n for n in group if share_engine(n, nest)), None)
            found[number] = Follow(producer, counted, nest, len(loops), need, after)
    return found


def issue_groups_of(program: Sequence[Nest]) -> list[int]:
    """The **issue group** of each nest, as the number of the first nest of the group."""
    follows, issue_groups = follows_of(program), list[int]()
    for number in range(len(program)):
        issue_groups.append(issue_groups[-1] if number - 1 in follows else number)
    return issue_groups


def issues_of(program: Sequence[Nest]) -> list[int]:
    """For each nest the number of the first nest that is issued in the same cycle; see the top of this file."""
    follows, issues = follows_of(program), list[int]()
    for number in range(len(program)):
        follow = follows.get(number - 1)
        issues.append(issues[-1] if follow and follow.after is None else number)
    return issues
