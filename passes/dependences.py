"""Which orders of a nest's steps compute the same: its dependences, checked step by step.

An order is a list of parts (`time_loops.Part`). It is legal when

- every reduction loop is inside every loop over outputs: there is one set of accumulators;
- accumulators whose value depends on the order of the steps see them in the old order;
- of two accesses of one element, one of which is a store, the first one stays the first;
- a stream passes its elements in the old order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from torch_mlir import ir

from gradcam.passes.engines import access_kind
from gradcam.passes.ir_queries import location_name
from gradcam.passes.linear_form import Linear
from gradcam.passes.nest import Access, Dataflow, Nest, Node
from gradcam.passes.time_loops import Part

#: Updates of an accumulator whose steps may come in any order: integer sums wrap.
_COMMUTATIVE = ("arith.addi", "arith.maxsi", "arith.maxui", "arith.minsi", "arith.minui", "arith.ori", "arith.andi")


def violation(nest: Nest, parts: Sequence[Part]) -> str | None:
    """The first dependence of a nest that an order of its loops violates, None when it is legal.

    Args:
        nest: the nest in its own order.
        parts: the new order, outermost first; every loop whole or in both its parts.
    """
    for i, part in enumerate(parts):
        inside = next((p for p in parts[i:] if any(p.loop is loop for loop in nest.outer)), None)
        if inside and any(part.loop is loop for loop in nest.reduction):
            return (
                f"from the store of an accumulator in one iteration of {part} to its load in the next, which the loop "
                f"{inside} between them would set to another output"
            )
    return _carried(nest, parts) or _first(_buffer(nest, parts)) or _first(_streams(nest, parts))


def _first(found: Iterator[str]) -> str | None:
    return next(found, None)


def _carried(nest: Nest, parts: Sequence[Part]) -> str | None:
    """A dependence through an accumulator that is no sum, maximum or minimum."""
    if nest.body is None or all(_is_commutative(nest.body, i) for i in range(len(nest.accumulators))):
        return None
    loops = [loop for loop in nest.reduction if loop.trip > 1]
    inner = [p for p in parts if p.trip > 1 and any(p.loop is loop for loop in loops)]
    broken = _out_of_order(_ranks(nest, nest.reduction, inner))
    if broken is None:
        return None
    names = {id(p.loop): p.name for p in parts}
    places = (_place(step, [(names[id(n)], n.trip) for n in nest.reduction]) for step in broken)
    before, after = places
    return f"from the store of an accumulator at {before} to its load at {after}, which is neither a sum nor a maximum"


def _is_commutative(body: Dataflow, number: int) -> bool:
    """Whether accumulator `number` becomes op(itself, what no accumulator is in), with a commutative op."""
    (sink,) = [s for s in body.sinks if s.target == number]
    if sink.value.kind not in _COMMUTATIVE:
        return False
    own = [a for a in sink.value.args if a.kind == "acc" and a.what == number]
    others = [a for a in sink.value.args if a not in own]
    return len(own) == 1 and not any(_reads_accumulator(a) for a in others)


def _reads_accumulator(node: Node) -> bool:
    return node.kind == "acc" or any(_reads_accumulator(a) for a in node.args)


def _ranks(nest: Nest, loops: Sequence, parts: Sequence[Part]) -> np.ndarray:
    """When each step of `loops`, in their own order, runs in the order of `parts`: int64, flat."""
    rank = np.zeros([loop.trip for loop in loops], np.int64)
    later = 1
    for part in reversed(parts):
        axis = next(i for i, loop in enumerate(loops) if loop is part.loop)
        number = np.arange(part.loop.trip)
        number = number % part.tile if part.inside else number // part.tile if part.tile else number
        rank += later * number.reshape([-1 if i == axis else 1 for i in range(len(loops))])
        later *= part.trip
    return rank.ravel()


def _out_of_order(ranks: np.ndarray) -> tuple[int, int] | None:
    """Two steps in a row of which the second one runs first."""
    (drops,) = np.nonzero(np.diff(ranks) < 0)
    return (int(drops[0]), int(drops[0]) + 1) if drops.size else None


def _place(step: int, loops: Sequence[tuple[str, int]]) -> str:
    """The iteration of every loop at a step: (y=3, x=0); loops of one iteration are left out."""
    numbers = np.unravel_index(step, [trip for _, trip in loops])
    return f"({', '.join(f'{name}={n}' for (name, trip), n in zip(loops, numbers, strict=True) if trip > 1)})"


@dataclass(frozen=True)
class _Events:
    """All times an access touches an element; arrays of one length."""

    access: Access
    element: np.ndarray
    step: np.ndarray


def _events(nest: Nest, access: Access) -> _Events:
    """Elements and steps of an access; one of the epilogue is in the last step of the reduction loops."""
    in_body = nest.body is not None and any(access is a for a in nest.body.loads)
    loops = nest.loops if in_body else nest.outer
    trips = [loop.trip for loop in loops]
    rest = 1 if in_body else nest.steps // int(np.prod(trips))
    inside = np.ones(trips, np.bool_)
    for guard in access.guards:
        inside &= _values(guard, loops) >= 0
    step = (np.arange(inside.size).reshape(trips) + 1) * rest - 1
    first = np.broadcast_to(_values(access.index, loops), trips)
    used = [(s, e) for s, e in zip(access.strides, access.extents, strict=True) if s]
    lanes = np.array(
        [sum(s * i for (s, _), i in zip(used, p, strict=True)) for p in product(*(range(e) for _, e in used))]
    )
    element = first[inside][:, None] + lanes
    return _Events(access, element.ravel(), np.repeat(step[inside], lanes.size))


def _values(form: Linear, loops: Sequence) -> np.ndarray:
    total = np.full([1] * len(loops), form.get(None, 0))
    for axis, loop in enumerate(loops):
        steps = np.arange(loop.trip).reshape([-1 if i == axis else 1 for i in range(len(loops))])
        total = total + form.get(loop.iv, 0) * steps
    return total


def _buffer(nest: Nest, parts: Sequence[Part]) -> Iterator[str]:
    """Dependences through buffers: of every two accesses of an element one of which is a store."""
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
        # What an element is touched by, times the accesses so that those of one step stay in their order.
        time = _ranks(nest, nest.loops, parts)[step] * len(events) + number
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
            yield f"from {places[0]} to {places[1]} of element {element[wrong]} of {_memref(nest, accesses[0])}"


def _memref(nest: Nest, access: Access) -> str:
    owner = access.memref.owner
    name = "" if isinstance(owner, ir.Block) else location_name(owner)
    return f"the buffer '{name}'" if name else f"its {ir.MemRefType(access.memref.type)}"


def _at(nest: Nest, parts: Sequence[Part], step: int) -> str:
    names = {id(part.loop): part.name for part in parts}
    return _place(int(step), [(names[id(loop)], loop.trip) for loop in nest.loops])


def _streams(nest: Nest, parts: Sequence[Part]) -> Iterator[str]:
    """Dependences from each beat of a stream to the next one."""
    for access in (*nest.loads, *nest.stores):
        if access_kind(access) != "stream":
            continue
        events = _events(nest, access)
        number = events.element // access.lanes
        order = np.argsort(_ranks(nest, nest.loops, parts)[events.step], kind="stable")
        old, new = (v[np.r_[True, v[1:] != v[:-1]]] for v in (number, number[order]))
        if not np.array_equal(old, new):
            first = int(np.nonzero(old[: new.size] != new[: old.size])[0][0]) if old.size and new.size else 0
            verb = "reads" if access.op.operation.name == "affine.load" else "writes"
            beats = [
                _at(nest, parts, events.step[np.nonzero(number == n)[0][0]]) for n in old[[max(first - 1, 0), first]]
            ]
            yield (
                f"from the beat at {beats[0]} to that at {beats[1]} of argument {access.memref.arg_number}, which it "
                f"{verb}: elements pass once, row by row"
            )
