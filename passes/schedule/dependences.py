"""The dependences of a nest, checked step by step: an order of its loops that keeps them computes the same.

An order is a list of parts (`time_loops.Part`). It is legal when

- every loop over outputs is outside all reduction loops, or inside all of them, where every iteration has accumulators;
- accumulators whose value depends on the order of the steps see them in the old order;
- the loop along which accumulators slide stays whole, and the innermost one over outputs;
- two accesses of one element, of which at least one is a store, stay in their order;
- a stream passes its elements in the old order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from operator import mul
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.passes.ir.queries import is_argument, location_name
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.nest import Access, Dataflow, Loop, Nest
from gradcam.passes.program.streams import visits
from gradcam.passes.schedule.time_loops import Part

#: Updates of an accumulator whose steps may come in any order: integer sums wrap.
_COMMUTATIVE = ("arith.addi", "arith.maxsi", "arith.maxui", "arith.minsi", "arith.minui", "arith.ori", "arith.andi")


def violation(nest: Nest, parts: Sequence[Part]) -> str | None:
    """The first dependence of a nest that an order of its loops violates, None when it is legal.

    Args:
        nest: the nest in its own order.
        parts: the new order, outermost first; every loop whole or in both its parts.
    """
    for i, part in enumerate(parts):
        inside = next((p for p in parts[i:] if p.is_of(nest.outputs)), None)
        between = inside and any(p.is_of(nest.reduction) for p in parts[parts.index(inside) :])
        if between and part.is_of(nest.reduction):
            return (
                f"from the store of an accumulator in one iteration of {part} to its load in the next, which the loop "
                f"{inside} between them would set to another output"
            )
    outer = [p for p in parts if p.is_of(nest.outer)]
    slides = any(a.group for a in nest.accumulators)
    if slides and (outer[-1].tile or outer[-1].loop is not nest.outer[-1] or outer[-1] is parts[-1]):
        along = next(p.name for p in parts if p.loop is nest.outer[-1])
        return f"from the store of an accumulator in one iteration of {along} to its load in the next one"
    return next(chain(_accumulators(nest, parts), _buffers(nest, parts), _streams(nest, parts)), None)


def _accumulators(nest: Nest, parts: Sequence[Part]) -> Iterator[str]:
    """Dependences through accumulators that are not sums, maxima or minima: each step depends on the one before it."""
    if nest.body is None or all(_is_commutative(nest.body, i) for i in range(len(nest.accumulators))):
        return
    inner = [p for p in parts if p.is_of(nest.reduction)]
    (early,) = np.nonzero(np.diff(_ranks(nest.reduction, inner)) < 0)
    for step in early[:1]:
        names = {id(p.loop): p.name for p in parts}
        loops = [(names[id(loop)], loop.trip) for loop in nest.reduction]
        before, after = _place(step, loops), _place(step + 1, loops)
        accumulator = f"from the store of an accumulator at {before} to its load at {after}"
        yield f"{accumulator}, which is neither a sum nor a maximum"


def _is_commutative(body: Dataflow, number: int) -> bool:
    """Whether accumulator `number` is updated by a commutative op with a value that depends on no accumulator."""
    (sink,) = [s for s in body.sinks if s.target.number == number]
    if sink.value.kind not in _COMMUTATIVE:
        return False
    own = [a for a in sink.value.args if a.kind == "acc" and a.what == sink.target]
    others = [a for a in sink.value.args if a not in own]
    return len(own) == 1 and not any(a.reads_accumulator for a in others)


def _ranks(loops: Sequence[Loop], parts: Sequence[Part]) -> np.ndarray:
    """The position of each step of `loops` in the order of `parts`: int64, flat, in the order of `loops`."""
    rank = np.zeros([loop.trip for loop in loops], np.int64)
    later = 1
    for part in reversed(parts):
        axis = next(i for i, loop in enumerate(loops) if loop is part.loop)
        number = np.arange(part.loop.trip)
        number = number % part.tile if part.inside else number // part.tile if part.tile else number
        rank += later * number.reshape([-1 if i == axis else 1 for i in range(len(loops))])
        later *= part.trip
    return rank.ravel()


def _place(step: Any, loops: Sequence[tuple[str, int]]) -> str:
    """The iteration of every loop at a step as text, such as (y=3, x=0); loops of one iteration are left out."""
    numbers = np.unravel_index(step, [trip for _, trip in loops])
    return f"({', '.join(f'{name}={n}' for (name, trip), n in zip(loops, numbers, strict=True) if trip > 1)})"


@dataclass(frozen=True)
class _Events:
    """The executions of an access, as arrays with one entry for each element that it reads or writes."""

    access: Access
    element: np.ndarray
    step: np.ndarray


def _events(nest: Nest, access: Access) -> _Events:
    """The executions of an access; an epilogue executes in the last step of the reduction loops."""
    in_body = nest.in_body(access)
    loops = nest.loops if in_body else nest.outputs
    first, inside = visits(access, loops)
    number = np.arange(inside.size).reshape(inside.shape)
    step = number if in_body else nest.output_steps(number)
    strides = [s for s in access.strides if s]
    extents = [e for s, e in zip(access.strides, access.extents, strict=True) if s]
    lanes = np.array([sum(map(mul, strides, p)) for p in product(*map(range, extents))])
    element = first[inside][:, None] + lanes
    return _Events(access, element.ravel(), np.repeat(step[inside], lanes.size))


def _buffers(nest: Nest, parts: Sequence[Part]) -> Iterator[str]:
    """Dependences through buffers: two accesses of an element of which at least one is a store."""
    for memref in {s.memref: None for s in nest.stores}:
        accesses = [a for a in (*nest.loads, *nest.stores) if a.memref == memref]
        events = [_events(nest, a) for a in accesses]
        element, step = (np.concatenate([getattr(e, n) for e in events]) for n in ("element", "step"))
        number = np.repeat(np.arange(len(events)), [e.element.size for e in events])
        store = number >= sum(a.op.operation.name == "affine.load" for a in accesses)
        order = np.lexsort((number, step, element))
        element, step, number, store = (v[order] for v in (element, step, number, store))
        if not np.any(element[1:] == element[:-1]):
            continue
        # One sort key per access of an element: steps are scaled so that accesses of one step stay in their order.
        time = _ranks(nest.loops, parts)[step] * len(events) + number
        group = np.cumsum(np.r_[0, element[1:] != element[:-1]]) * (nest.steps * len(events))
        latest = np.maximum.accumulate(time + group)
        earliest = np.minimum.accumulate((time + group)[::-1])[::-1]
        is_late = store & (latest > time + group)  # something before it comes behind it
        is_early = store & (earliest < time + group)
        for wrong in np.nonzero(is_late | is_early)[0][:1]:
            mates = np.nonzero(element == element[wrong])[0]
            before = mates[(mates < wrong) & (time[mates] > time[wrong])]
            after = mates[(mates > wrong) & (time[mates] < time[wrong])]
            a, b = (before[0], wrong) if before.size else (wrong, after[0])
            places = [f"the {'store' if store[i] else 'load'} at {_at(nest, parts, step[i])}" for i in (a, b)]
            yield f"from {places[0]} to {places[1]} of element {element[wrong]} of {_buffer_text(accesses[0])}"


def _buffer_text(access: Access) -> str:
    name = "" if is_argument(access.memref) else location_name(access.memref.owner)
    return f"the buffer '{name}'" if name else f"its {ir.MemRefType(access.memref.type)}"


def _at(nest: Nest, parts: Sequence[Part], step: Any) -> str:
    names = {id(part.loop): part.name for part in parts}
    return _place(step, [(names[id(loop)], loop.trip) for loop in nest.loops])


def _streams(nest: Nest, parts: Sequence[Part]) -> Iterator[str]:
    """Dependences from each beat of a stream to the next one."""
    for access in (*nest.loads, *nest.stores):
        if access_kind(access) != "stream":
            continue
        events = _events(nest, access)
        beat = events.element // access.lanes
        order = np.argsort(_ranks(nest.loops, parts)[events.step], kind="stable")
        # A beat may be held for several steps in a row.
        old, new = (v[np.r_[True, v[1:] != v[:-1]]] for v in (beat, beat[order]))
        if not np.array_equal(old, new):
            both = min(old.size, new.size)
            first = next(iter(np.nonzero(old[:both] != new[:both])[0]), both)
            places = [
                _at(nest, parts, events.step[np.argmax(beat == n)]) for n in (old[min(first, both - 1)], new[first])
            ]
            verb = "reads" if access.op.operation.name == "affine.load" else "writes"
            yield (
                f"from the beat at {places[0]} to that at {places[1]} of argument {access.memref.arg_number}, which it "
                f"{verb}: elements pass once, row by row"
            )
