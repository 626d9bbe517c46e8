"""A nest as the follower of the nest before it: what its iterations wait for, and the ring that it reads.

The conditions and the sizes come from an evaluation of the accesses of both nests in every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, prod

import numpy as np
from torch_mlir import ir

from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.program.banks import is_dense
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.nest import Access, Loop, Nest
from gradcam.passes.program.runs import Follow, Run
from gradcam.passes.program.streams import form_values, visits
from gradcam.passes.schedule.pixel_loops import MOST
from gradcam.passes.schedule.stages import StagePlan


@dataclass(frozen=True)
class Traffic:
    """The order in which a producer writes, and a nest reads, the parts of a buffer.

    Attributes:
        unit: elements of a part, a power of two or, where stores leave no gap, a word; a load reads whole parts of one.
        parts: number of parts of the buffer.
        written, maker: the parts in the order of the writes, and for each the iteration of the producer's loops over
            outputs that writes it; a part that is written in pieces is there several times.
        read, reader: the parts in the order of the reads, and for each the step of the nest that reads it.
        stages: pipeline stages of the store and of the load.
    """

    unit: int
    parts: int
    written: np.ndarray
    maker: np.ndarray
    read: np.ndarray
    reader: np.ndarray
    stages: tuple[int, int]


def traffic_of(producer: Nest, nest: Nest, memref: ir.Value, plan: StagePlan) -> Traffic | None:
    """Evaluates the producer's only store and the nest's only load of a buffer, the load in every step.

    Returns:
        None where an element is written more than once.
    """
    (store,) = (a for a in producer.stores if a.memref == memref)
    (load,) = (a for a in nest.loads if a.memref == memref)
    row = ir.MemRefType(memref.type).shape[-1]
    unit = row if is_dense(store, row) else _grain(load)
    piece = min(unit, _grain(store))
    pieces, maker = _touched(store, producer.outputs, piece)
    if len(np.unique(pieces)) < len(pieces):
        return None
    parts = -(-prod(ir.MemRefType(memref.type).shape) // unit)
    stages = plan.stage(store), plan.stage(load)
    return Traffic(unit, parts, pieces * piece // unit, maker, *_touched(load, nest.loops, unit), stages)


def _grain(access: Access) -> int:
    """The alignment of an access in elements: the largest power of two at multiples of which it begins and ends."""
    common = gcd(access.lanes, *access.index.values())
    return common & -common


def _touched(access: Access, loops: Sequence[Loop], unit: int) -> tuple[np.ndarray, np.ndarray]:
    """The parts that an access reads or writes, and for each the iteration of the loops that does so."""
    visited, inside = visits(access, loops)
    first, count = visited[inside] // unit, max(1, access.lanes // unit)
    return (first[:, None] + np.arange(count)).ravel(), np.repeat(np.flatnonzero(inside), count)


@dataclass(frozen=True)
class Follower:
    """A nest that follows the nest before it.

    Attributes:
        follow: the follower and its producer.
        run: its run, in cycles from the issue of the group on.
        hidden: the cycles that it takes less beside its producer than behind it.
        traffic: the accesses of the buffers that the producer writes and the nest reads.
        stage: the pipeline stage of the producer's stores.
    """

    follow: Follow
    run: Run
    hidden: int
    traffic: dict[ir.Value, Traffic]
    stage: int

    def rings(self, producer: Run, only: set[ir.Value]) -> dict[ir.Value, int]:
        """The elements of the buffers that can be rings, of those that `only` the follower reads.

        Args:
            producer: the run of the producer, in the same cycles.
            only: the buffers.
        """
        steps = (self.follow.starts(producer, self.stage)[:, None] + np.arange(self.follow.steps)).ravel()
        # gradcam-narrow-memories may put off the reads of a nest with weights.
        steps += MOST if self.follow.nest.products else 0
        sizes = {m: _ring(self.follow.producer, self.traffic[m], producer, steps) for m in only & set(self.traffic)}
        return {memref: size for memref, size in sizes.items() if size}

    @property
    def map(self) -> ir.AffineMap:
        """The `need` of the follower as a map with a dimension per gated loop."""
        follow = self.follow
        result = ir.AffineConstantExpr.get(follow.need.get(None, 0))
        for number, loop in reversed(list(enumerate(follow.nest.loops[: follow.gated]))):
            result = ir.AffineDimExpr.get(number) * follow.need.get(loop.iv, 0) + result
        return ir.AffineMap.get(follow.gated, 0, [result])


def alone(nest: Nest) -> Run:
    """The run of a nest that waits for nothing, in cycles from its issue on."""
    return Run(0, nest.steps)


def follower_of(producer: Nest, made: Run, nest: Nest, after: Nest | None = None) -> Follower | None:
    """The nest as a follower.

    Args:
        producer: its producer.
        made: the run of the producer.
        nest: the nest.
        after: the first nest of the group where the nest runs on its engine; None where it is issued with the producer.

    Returns:
        None where too few cycles are hidden, or elements are written more than once.
    """
    plan = StagePlan([producer, nest])
    stage = plan.depths[0]
    written = {a.memref for a in producer.stores}
    read = {a.memref for a in nest.loads} & written
    traffic = {m: t for m in read if (t := traffic_of(producer, nest, m, plan))}
    if len(traffic) < len(read):
        return None
    most = np.maximum.reduce([_needed(nest, t) for t in traffic.values()])
    start = made.start if after is None else _free(after)
    choices = [
        (follow.run(made, stage, start), follow)
        for counted in range(1, len(producer.outer) + 1)
        for gated in range(1, len(nest.loops) + 1)
        for follow in [_follow(producer, counted, nest, gated, most, after)]
    ]
    # The earliest end; of equal ends, the fewest loops.
    run, best = min(choices, key=lambda choice: (choice[0].last, choice[1].counted + choice[1].gated))
    before = made.last if after is None else max(made.last, alone(after).last)
    hidden = before + nest.steps - (run.last if after is None else max(before, run.last))
    return Follower(best, run, hidden, traffic, stage) if is_worth(hidden, producer, nest) else None


def is_worth(hidden: int, producer: Nest, nest: Nest) -> bool:
    """Whether so many hidden cycles are at least half of the shorter nest."""
    return 2 * hidden >= min(producer.steps, nest.steps)


def _free(nest: Nest) -> int:
    """The start of a nest that is issued when the first nest of its group has ended and all of it is stored."""
    return alone(nest).last + StagePlan([nest]).depths[0] + Clock.of(nest.op).issue


def _needed(nest: Nest, traffic: Traffic) -> np.ndarray:
    """The number of outputs of the producer that must be committed before each step of the nest.

    Returns:
        int64, one dimension per loop of the nest. No step waits for elements that are never written, such as lanes
        beyond the last channel.
    """
    order = np.full(traffic.parts, -1)
    np.maximum.at(order, traffic.written, traffic.maker)
    needed = np.zeros(nest.steps, np.int64)
    np.maximum.at(needed, traffic.reader, order[traffic.read] + 1)
    return needed.reshape([loop.trip for loop in nest.loops])


def _follow(producer: Nest, counted: int, nest: Nest, gated: int, needed: np.ndarray, after: Nest | None) -> Follow:
    """The follower with these numbers of counted and gated loops: its `need` is the least linear form that suffices."""
    inner = prod(loop.trip for loop in producer.outputs[counted:])
    exact = -(-needed.reshape(*needed.shape[:gated], -1).max(axis=-1) // inner)
    form: Linear = {}
    for axis, loop in enumerate(nest.loops[:gated]):
        if loop.trip > 1 and (step := int(np.diff(exact, axis=axis).max())):
            form[loop.iv] = step
    base = int((exact - form_values(form, nest.loops[:gated])).max())
    return Follow(producer, counted, nest, gated, form | ({None: base} if base else {}), after)


def _ring(producer: Nest, traffic: Traffic, run: Run, steps: np.ndarray) -> int | None:
    """Elements of the smallest ring for a buffer, None without one; `steps` are the cycles of the nest's steps."""
    store, load = traffic.stages
    cycles = run.cycles(producer.output_steps(traffic.maker)) + store
    first, last = np.full(traffic.parts, cycles.max(initial=0)), np.full(traffic.parts, -1)
    np.minimum.at(first, traffic.written, cycles)
    np.maximum.at(last, traffic.written, cycles)
    np.maximum.at(last, traffic.read, steps[traffic.reader] + load)
    used = np.unique(traffic.written)
    size = ring_size(used, first[used], last[used], traffic.parts)
    return size * traffic.unit if size else None


def ring_size(places: np.ndarray, written: np.ndarray, read: np.ndarray, limit: int) -> int | None:
    """The smallest ring in which no element is overwritten before its last read.

    Args:
        places: int64, positions of the elements in the buffer without a ring.
        written: for each element the cycle in which it is first written.
        read: for each element the cycle in which it is last read or written.
        limit: the size of the buffer without a ring.

    Returns:
        A power of two below `limit`; None when no ring is smaller than the buffer.
    """
    size = 1
    while size < limit:
        order = np.lexsort((written, places % size))
        same = np.diff(places[order] % size) == 0
        # A place must be written again in a later cycle than its last read.
        if (written[order][1:] > read[order][:-1])[same].all():
            return size
        size *= 2
    return None
