"""gradcam-overlap-nests."""

from __future__ import annotations

from collections.abc import Sequence
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
from gradcam.passes.schedule.stages import StagePlan


@dataclass(frozen=True)
class OverlapNests(Pass):
    """Lets a nest run beside the one before it, whose results alone it reads, and keeps what only it reads in a ring.

    The nests of a turn are on different engines: one that runs as ever, one that follows it, perhaps one that follows
    that. A producer counts iterations of its outer loops; an iteration of the nest that follows starts when as many are
    written as a linear form over its own loops says. That form is found by evaluating the accesses of both nests; where
    half of the shorter nest would not be hidden, nothing changes. One nest of a turn may read constants.

    A ring holds element i of the buffer at i modulo a power of two. It is large enough when no element is written
    before the last read of the one in its place, to the cycle. Stalls cannot break that, since they only delay the
    producer: from the step that releases an iteration to the one that overwrites what the iteration reads, the producer
    takes no less time, while the nest that follows, once released, takes as long as ever. What is read by a nest that
    waits for constants, too, since they come from DRAM, gets no ring.

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
            writers, readers = _users(program)
            group: list[Nest] = []
            for number, nest in enumerate(program):
                alone = {m for m, numbers in writers.items() if numbers == {number - 1}}
                only = {m for m, numbers in readers.items() if numbers == {number}}
                if scheduled.platform.dram and _constants(nest):
                    only = set()
                joins = group and _fit(group, nest, alone) and _overlap(group[-1], nest, only)
                group = [*group, nest] if joins else [nest]


def _users(program: Sequence[Nest]) -> tuple[dict[ir.Value, set[int]], dict[ir.Value, set[int]]]:
    """The numbers of the nests that write, and of those that read each buffer."""
    writers: dict[ir.Value, set[int]] = {}
    readers: dict[ir.Value, set[int]] = {}
    for number, nest in enumerate(program):
        for users, accesses in ((writers, nest.stores), (readers, nest.loads)):
            for access in accesses:
                users.setdefault(access.memref, set()).add(number)
    return writers, readers


def _fit(group: Sequence[Nest], nest: Nest, alone: set[ir.Value]) -> bool:
    """Whether nothing but the order of the producer's results, and late constants, can hold back the nest.

    Besides constants, which no other nest of the turn reads then, it reads only memories that the last one, its
    producer, alone writes (`alone`) and that none of the turn reads; it writes only what the turn leaves alone.
    """
    producer = group[-1]
    written = {a.memref for a in nest.stores}
    read = {a.memref for a in nest.loads} - _constants(nest)
    made, taken = (
        {a.memref for n in group for a in accesses(n)} for accesses in (lambda n: n.stores, lambda n: n.loads)
    )
    return (
        ENGINE.get(nest.op) not in [ENGINE.get(n.op) for n in group]
        and all(access_kind(a) == "memory" and is_plain(a) for a in (*nest.loads, *nest.stores, *producer.stores))
        and not (_constants(nest) and any(map(_constants, group)))
        and bool(read)
        and read <= ({a.memref for a in producer.stores} & alone) - taken
        and not written & (made | taken)
    )


def _constants(nest: Nest) -> set[ir.Value]:
    """The constants that a nest reads."""
    return {a.memref for a in nest.loads if is_global(a.memref)}


@dataclass(frozen=True)
class _Traffic:
    """Which parts of a buffer are written when by the producer, and read when by the nest.

    Attributes:
        unit: elements of a part, a power of two; a load touches whole parts.
        parts: parts of the buffer.
        written, maker: the parts that are written, perhaps piece by piece, and the iteration of the producer's outer
            loops that does it.
        read, reader: the parts that are read, and the step of the nest that does it.
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
    """Evaluates the one store of the producer and the one load of the nest, as if that came in every step.

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
    """The largest power of two elements, at a multiple of which an access begins and ends."""
    common = gcd(access.lanes, *access.index.values())
    return common & -common


def _touched(access: Access, loops: Sequence[Loop], unit: int) -> tuple[np.ndarray, np.ndarray]:
    """The parts that an access touches, and the iteration of the loops that touches each of them."""
    visited, inside = visits(access, loops)
    first, count = visited[inside] // unit, access.lanes // unit
    return (first[:, None] + np.arange(count)).ravel(), np.repeat(np.flatnonzero(inside), count)


def _overlap(producer: Nest, nest: Nest, only: set[ir.Value]) -> bool:
    """Marks the nest, and rings among the buffers that `only` it reads, where that hides enough; returns whether."""
    plan = StagePlan([producer, nest])
    stage = plan.depths[0]
    read = {a.memref for a in nest.loads} - _constants(nest)
    traffic = {m: t for m in read if (t := _traffic(producer, nest, m, plan))}
    if len(traffic) < len(read):
        return False
    needed = [_needed(nest, t) for t in traffic.values()]
    most = np.maximum.reduce(needed)
    run = Run(0, producer.steps)
    follows = [
        _follow(producer, counted, nest, gated, most)
        for counted in range(1, len(producer.outer) + 1)
        for gated in range(1, len(nest.loops) + 1)
    ]
    # The earliest end; among equals the one with the fewest loops.
    best = min(follows, key=lambda follow: (follow.run(run, stage).last, follow.counted + follow.gated))
    if 2 * (run.last + nest.steps - best.run(run, stage).last) < min(producer.steps, nest.steps):
        return False
    COUNTED.set(producer.op, best.counted)
    FOLLOWS.set(nest.op, _map(best))
    steps = (best.starts(run, stage)[:, None] + np.arange(best.steps)).ravel()
    for memref in only & set(traffic):
        if size := _ring(producer, traffic[memref], run, steps):
            RING.set(memref.owner, size)
    return True


def _needed(nest: Nest, traffic: _Traffic) -> np.ndarray:
    """How many iterations of the producer's outer loops must be written before each step of the nest.

    Returns:
        int64, one dimension per loop of the nest. What is never written, such as lanes beyond the last channel, need
        not be waited for.
    """
    order = np.full(traffic.parts, -1)
    np.maximum.at(order, traffic.written, traffic.maker)
    needed = np.zeros(nest.steps, np.int64)
    np.maximum.at(needed, traffic.reader, order[traffic.read] + 1)
    return needed.reshape([loop.trip for loop in nest.loops])


def _follow(producer: Nest, counted: int, nest: Nest, gated: int, needed: np.ndarray) -> Follow:
    """Waits for what is needed with these loops counted and gated, or for a little more where that is not linear."""
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
    """Elements of the ring that is enough for a buffer; `steps`: the cycles in which the steps of the nest run."""
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
    """The smallest ring in which nothing is overwritten before it has been read.

    Args:
        places: int64, where elements lie when there is no ring.
        written: the cycle in which each is first written.
        read: the cycle in which each is last read, or written.
        limit: what there is room for without a ring.

    Returns:
        A power of two below `limit`; None when there is none.
    """
    size = 1
    while size < limit:
        order = np.lexsort((written, places % size))
        same = np.diff(places[order] % size) == 0
        # A place is written again in a later cycle than it is read in.
        if (written[order][1:] > read[order][:-1])[same].all():
            return size
        size *= 2
    return None
