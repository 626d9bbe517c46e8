"""gradcam-overlap-nests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import gcd, prod
from typing import ClassVar

import numpy as np
from torch_mlir import ir

from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.attributes import COUNTED, ENGINE, FOLLOWS, RING
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.ir.queries import is_global
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.nest import Access, Loop, Nest, read_nests
from gradcam.passes.program.runs import Follow, Run
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.program.streams import form_values, is_plain, visits
from gradcam.passes.program.weight_stream import may_stream
from gradcam.passes.schedule.stages import StagePlan


@dataclass(frozen=True)
class OverlapNests(Pass):
    """Lets a nest run beside the nest before it whose result it reads, and keeps only a part of that result in a ring.

    The nests of an issue group run on different engines: a producer, its follower, perhaps a follower of that one. The
    committed iterations of the producer's outer loops are counted. An iteration of the follower starts when their
    number reaches a linear form over the follower's loops. The form is found by evaluating the accesses of both nests.
    Where less than half of the shorter nest would be hidden, nothing changes. A nest that could run beside the nest
    before it or beside the one behind it, as a depthwise convolution between two others, does so where more cycles are
    hidden. Only one nest of an issue group may read constants from DRAM.

    A ring holds element i of the buffer at i modulo a power of two. It is large enough when every element is written
    after the last read of the element that it replaces; this is checked to the cycle. Stalls cannot break it, since
    they delay only the producer: from the step that releases an iteration to the step that overwrites its operands, the
    producer takes no less time than without stalls, and the released iteration takes no more. A follower that waits for
    constants from DRAM gets no ring.

    This pass turns:

        %y = memref.alloc() : memref<112x112x64xi8>
        affine.for %ct, %h, %w, %kh, %kw { ... affine.store %v, %y[%h, %w, %ct * 16 + %l] } {gradcam.engine = "mac"}
        affine.for %ct, %h, %w, %kh, %kw { affine.load %y[%h * 2 + %kh - 1, %w * 2 + %kw - 1, %ct * 16 + %l] ... }

    into:

        %y = memref.alloc() {gradcam.ring = 16384 : i64} : memref<112x112x64xi8>
        affine.for %ct, %h, %w, %kh, %kw { ... } {gradcam.counted = 3 : i64, gradcam.engine = "mac"}
        affine.for %ct, %h, %w, %kh, %kw { ... }
          {gradcam.follows = affine_map<(ct, h, w) -> (ct * 12544 + h * 224 + w * 2 + 114)>}
    """

    name: ClassVar[str] = "gradcam-overlap-nests"
    preserves = (read_nests,)

    def run(self, module: ir.Module) -> None:
        """Sets `gradcam.counted` and `gradcam.follows` of pairs of nests, and `gradcam.ring` of buffers."""
        with module.context, ir.Location.unknown():
            scheduled = ScheduledProgram.of(module)
            program = scheduled.nests
            late = _streamed if scheduled.platform.dram else lambda _: set()
            groups = _Groups(program, late)
            for number, follower in groups.chosen():
                follower.mark(groups.only(number))


class _Groups:
    """The issue groups that a program can have.

    Attributes:
        program: the nests.
        late: returns the constants of a nest that may come from DRAM.
    """

    def __init__(self, program: Sequence[Nest], late: Callable[[Nest], set[ir.Value]]) -> None:
        self.program, self.late = program, late
        #: For each buffer the numbers of the nests that write it, and of the nests that read it.
        self.writers: dict[ir.Value, set[int]] = {}
        self.readers: dict[ir.Value, set[int]] = {}
        for number, nest in enumerate(program):
            for users, accesses in ((self.writers, nest.stores), (self.readers, nest.loads)):
                for access in accesses:
                    users.setdefault(access.memref, set()).add(number)

    def chosen(self) -> Iterator[tuple[int, _Follower]]:
        """The followers by their numbers, such that the most cycles are hidden in total."""
        count = len(self.program)
        pairs = [self._follower(number) for number in range(count)]
        hidden, ends = [0] * (count + 1), [0] * count  # from each nest on, where it is the first one of its group
        for first in reversed(range(count)):
            total, hidden[first], ends[first] = 0, hidden[first + 1], first + 1
            for number in range(first + 1, count):
                follower = pairs[number]
                if follower is None or not self._fit(first, number):
                    break
                total += follower.hidden
                if total + hidden[number + 1] >= hidden[first]:
                    hidden[first], ends[first] = total + hidden[number + 1], number + 1
        first = 0
        while first < count:
            yield from ((n, f) for n in range(first + 1, ends[first]) if (f := pairs[n]))
            first = ends[first]

    def only(self, number: int) -> set[ir.Value]:
        """The buffers that a nest alone reads, and that may become rings: none where it waits for the DRAM itself."""
        nest = self.program[number]
        return set() if self.late(nest) else {m for m, numbers in self.readers.items() if numbers == {number}}

    def _follower(self, number: int) -> _Follower | None:
        """The nest as the follower of the one before it; None where that cannot be, or hides too little."""
        fits = number and self._fit(number - 1, number)
        return _overlap(self.program[number - 1], self.program[number]) if fits else None

    def _fit(self, first: int, number: int) -> bool:
        """Whether a nest may follow the nest before it, in an issue group that begins with nest `first`.

        The nest runs on an engine of its own. Apart from constants, it reads only buffers that its producer alone
        writes; no nest of the group reads these or its constants, since a memory has one read port. It writes only
        buffers that the group does not access. Only one nest of the group waits for the DRAM.
        """
        group, nest = self.program[first:number], self.program[number]
        producer = group[-1]
        written = {a.memref for a in nest.stores}
        read = {a.memref for a in nest.loads} - _constants(nest)
        made, taken = (
            {a.memref for n in group for a in accesses(n)} for accesses in (lambda n: n.stores, lambda n: n.loads)
        )
        return (
            ENGINE.get(nest.op) not in [ENGINE.get(n.op) for n in group]
            and all(access_kind(a) == "memory" and is_plain(a) for a in (*nest.loads, *nest.stores, *producer.stores))
            and not (self.late(nest) and any(map(self.late, group)))
            and not _constants(nest) & taken
            and bool(read)
            and read <= {a.memref for a in producer.stores} - taken
            and all(self.writers[m] == {number - 1} for m in read)
            and not written & (made | taken)
        )


def _constants(nest: Nest) -> set[ir.Value]:
    """The constants that a nest reads."""
    return {a.memref for a in nest.loads if is_global(a.memref)}


def _streamed(nest: Nest) -> set[ir.Value]:
    """The constants of a nest that gradcam-stream-weights may move to DRAM."""
    return {a.memref for a in nest.loads if is_global(a.memref) and may_stream(a)}


@dataclass(frozen=True)
class _Traffic:
    """The order in which a producer writes, and a nest reads, the parts of a buffer.

    Attributes:
        unit: elements of a part, a power of two; a load reads whole parts.
        parts: number of parts of the buffer.
        written, maker: the parts in the order of the writes, and for each the iteration of the producer's outer loops
            that writes it; a part that is written in pieces is there several times.
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


def _traffic(producer: Nest, nest: Nest, memref: ir.Value, plan: StagePlan) -> _Traffic | None:
    """Evaluates the producer's only store and the nest's only load of a buffer, the load in every step.

    Returns:
        None where an element is written more than once.
    """
    (store,) = (a for a in producer.stores if a.memref == memref)
    (load,) = (a for a in nest.loads if a.memref == memref)
    unit = _grain(load)
    piece = min(unit, _grain(store))
    pieces, maker = _touched(store, producer.outer, piece)
    if len(np.unique(pieces)) < len(pieces):
        return None
    parts = -(-prod(ir.MemRefType(memref.type).shape) // unit)
    stages = plan.stage(store), plan.stage(load)
    return _Traffic(unit, parts, pieces * piece // unit, maker, *_touched(load, nest.loops, unit), stages)


def _grain(access: Access) -> int:
    """The alignment of an access in elements: the largest power of two at multiples of which it begins and ends."""
    common = gcd(access.lanes, *access.index.values())
    return common & -common


def _touched(access: Access, loops: Sequence[Loop], unit: int) -> tuple[np.ndarray, np.ndarray]:
    """The parts that an access reads or writes, and for each the iteration of the loops that does so."""
    visited, inside = visits(access, loops)
    first, count = visited[inside] // unit, access.lanes // unit
    return (first[:, None] + np.arange(count)).ravel(), np.repeat(np.flatnonzero(inside), count)


@dataclass(frozen=True)
class _Follower:
    """A nest that follows the nest before it.

    Attributes:
        follow: the follower and its producer.
        hidden: the cycles that both take less side by side than one behind the other.
        traffic: the accesses of the buffers that the producer writes and the nest reads.
        stage: the pipeline stage of the producer's stores.
    """

    follow: Follow
    hidden: int
    traffic: dict[ir.Value, _Traffic]
    stage: int

    def mark(self, only: set[ir.Value]) -> None:
        """Marks both nests, and rings among the buffers that `only` the follower reads."""
        follow, run = self.follow, Run(0, self.follow.producer.steps)
        COUNTED.set(follow.producer.op, follow.counted)
        FOLLOWS.set(follow.nest.op, _map(follow))
        steps = (follow.starts(run, self.stage)[:, None] + np.arange(follow.steps)).ravel()
        for memref in only & set(self.traffic):
            if size := _ring(follow.producer, self.traffic[memref], run, steps):
                RING.set(memref.owner, size)


def _overlap(producer: Nest, nest: Nest) -> _Follower | None:
    """The nest as a follower, if that hides enough cycles."""
    plan = StagePlan([producer, nest])
    stage = plan.depths[0]
    read = {a.memref for a in nest.loads} - _constants(nest)
    traffic = {m: t for m in read if (t := _traffic(producer, nest, m, plan))}
    if len(traffic) < len(read):
        return None
    needed = [_needed(nest, t) for t in traffic.values()]
    most = np.maximum.reduce(needed)
    run = Run(0, producer.steps)
    follows = [
        _follow(producer, counted, nest, gated, most)
        for counted in range(1, len(producer.outer) + 1)
        for gated in range(1, len(nest.loops) + 1)
    ]
    # The earliest end; of equal ends, the fewest loops.
    best = min(follows, key=lambda follow: (follow.run(run, stage).last, follow.counted + follow.gated))
    hidden = run.last + nest.steps - best.run(run, stage).last
    return _Follower(best, hidden, traffic, stage) if 2 * hidden >= min(producer.steps, nest.steps) else None


def _needed(nest: Nest, traffic: _Traffic) -> np.ndarray:
    """The number of iterations of the producer's outer loops that must be committed before each step of the nest.

    Returns:
        int64, one dimension per loop of the nest. No step waits for elements that are never written, such as lanes
        beyond the last channel.
    """
    order = np.full(traffic.parts, -1)
    np.maximum.at(order, traffic.written, traffic.maker)
    needed = np.zeros(nest.steps, np.int64)
    np.maximum.at(needed, traffic.reader, order[traffic.read] + 1)
    return needed.reshape([loop.trip for loop in nest.loops])


def _follow(producer: Nest, counted: int, nest: Nest, gated: int, needed: np.ndarray) -> Follow:
    """The follower with these numbers of counted and gated loops: its `need` is the least linear form that suffices."""
    inner = prod(loop.trip for loop in producer.outer[counted:])
    exact = -(-needed.reshape(*needed.shape[:gated], -1).max(axis=-1) // inner)
    form: Linear = {}
    for axis, loop in enumerate(nest.loops[:gated]):
        if loop.trip > 1 and (step := int(np.diff(exact, axis=axis).max())):
            form[loop.iv] = step
    base = int((exact - form_values(form, nest.loops[:gated])).max())
    return Follow(producer, counted, nest, gated, form | ({None: base} if base else {}))


def _map(follow: Follow) -> ir.AffineMap:
    """The linear form as a map with a dimension per gated loop."""
    result = ir.AffineConstantExpr.get(follow.need.get(None, 0))
    for number, loop in reversed(list(enumerate(follow.nest.loops[: follow.gated]))):
        result = ir.AffineDimExpr.get(number) * follow.need.get(loop.iv, 0) + result
    return ir.AffineMap.get(follow.gated, 0, [result])


def _ring(producer: Nest, traffic: _Traffic, run: Run, steps: np.ndarray) -> int | None:
    """Elements of the smallest ring for a buffer, None without one; `steps` are the cycles of the nest's steps."""
    store, load = traffic.stages
    reduction = prod(loop.trip for loop in producer.reduction)
    cycles = run.cycles((traffic.maker + 1) * reduction - 1) + store
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
