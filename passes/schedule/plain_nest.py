"""A loop nest before it is scheduled: affine.for around straight-line code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.ir.linear_form import Linear, access_forms, guard_forms, guarded_store
from gradcam.passes.ir.queries import block_ops, constant_trip


@dataclass(eq=False)
class Touch:
    """A load or store in a plain nest.

    Attributes:
        op: the affine.load or affine.store.
        memref: the buffer.
        forms: its indices over the nest's loops.
        trips: the trip counts of these loops.
        guards: forms that must all be at least 0 for the access to happen.
        otherwise: the value of a load whose guards do not hold.
    """

    op: Any
    memref: ir.Value
    forms: list[Linear]
    trips: Mapping[ir.Value, int]
    guards: list[Linear] = field(default_factory=list)
    otherwise: ir.Value | None = None

    @cached_property
    def reach(self) -> list[set[int] | None]:
        """The indices along each dimension, None for any; guards are left aside."""
        return [_values(form, self.trips) for form in self.forms]

    def meets(self, other: Touch) -> bool:
        """Whether both may access one element; parts of a concatenation are elements of one buffer that never meet."""
        if self.memref != other.memref:
            return False
        return all(a is None or b is None or a & b for a, b in zip(self.reach, other.reach, strict=True))

    def covers(self, other: Touch, word: int) -> bool:
        """Whether this reaches the elements of `other`, and apart from lanes that fill the last word nothing else."""
        *places, lanes = zip(self.reach, other.reach, strict=True)
        if lanes[0] is None or lanes[1] is None or any(a is None or a != b for a, b in places):
            return False
        return lanes[0] >= lanes[1] and len(lanes[0]) - len(lanes[1]) < word


def _values(form: Linear, trips: Mapping[ir.Value, int]) -> set[int] | None:
    """The values of a form, None where it depends on more than loops."""
    values = {form.get(None, 0)}
    for term, coefficient in form.items():
        if term is not None and term not in trips:
            return None
        if term is not None:
            values = {v + coefficient * n for v in values for n in range(trips[term])}
    return values


@dataclass(eq=False)
class PlainNest:
    """A perfect nest of affine.for around straight-line code.

    Attributes:
        op: the outermost loop.
        ivs: the loop variables, outermost first.
        trips: their trip counts.
        body: the ops of the innermost loop.
        loads: the loads by their results.
        stores: the stores, at least one.
    """

    op: Any
    ivs: list[ir.Value]
    trips: list[int]
    body: list[Any]
    loads: dict[ir.Value, Touch]
    stores: list[Touch]

    @property
    def reduces(self) -> list[ir.Value]:
        """The reduction loops: loops that the indices of the stores do not depend on."""
        used = {t for s in self.stores for f in s.forms for t in f}
        return [iv for iv in self.ivs if iv not in used]

    @property
    def touches(self) -> list[Touch]:
        """The loads and stores."""
        return [*self.loads.values(), *self.stores]

    @property
    def buffers(self) -> list[ir.Value]:
        """The buffers that the nest loads or stores."""
        return [t.memref for t in self.touches]

    def accumulated(self, load: Touch) -> Touch | None:
        """The store of the element that a load reads; other elements of the same buffer are operands like any other."""
        same = (s for s in self.stores if s.memref == load.memref and s.forms == load.forms)
        return next((s for s in same if not (s.guards or load.guards)), None)

    def store_in(self, op: Any) -> Touch | None:
        """The store of an op of the body: the op itself, or the store inside an affine.if."""
        return next((s for s in self.stores if op.operation in (s.op.operation, s.op.operation.parent)), None)

    def trip(self, iv: ir.Value) -> int:
        """Trip count of a loop of the nest."""
        return self.trips[self.ivs.index(iv)]


def read_plain_nest(op: Any) -> PlainNest:
    """Reads a top-level `affine.for`.

    Raises:
        GradcamError: the nest is not perfect, stores nothing, or holds an op with a region other than a padded load or
            a guarded store.
    """
    ivs, trips, loop = [], [], op
    while True:
        trips.append(constant_trip(loop))
        ivs.append(loop.regions[0].blocks[0].arguments[0])
        body = block_ops(loop)
        if [o.operation.name for o in body] != ["affine.for"]:
            break
        loop = body[0]
    nest = PlainNest(op, ivs, trips, body, {}, [])
    loops = dict(zip(ivs, trips, strict=True))
    for inner in body:
        name = inner.operation.name
        if name == "affine.load":
            nest.loads[inner.results[0]] = _touch(inner, list(inner.operands), loops)
        elif name == "affine.if":
            if inner.results:
                nest.loads[inner.results[0]] = _padded(inner, loops)
            else:
                nest.stores.append(_guarded(inner, loops))
        elif name == "affine.store":
            nest.stores.append(_touch(inner, list(inner.operands)[1:], loops))
        elif inner.regions:
            raise fail(inner, f"'{name}' stands beside other ops in a loop; only perfect nests are split")
    if not nest.stores:
        raise fail(op, "the nest stores nothing; remove it with canonicalize")
    return nest


def _touch(op: Any, operands: list[ir.Value], trips: Mapping[ir.Value, int]) -> Touch:
    buffer, *indices = operands
    return Touch(op, buffer, access_forms(op, indices), trips)


def _guarded(op: Any, trips: Mapping[ir.Value, int]) -> Touch:
    """A store inside an affine.if."""
    store = guarded_store(op)
    touch = _touch(store, list(store.operands)[1:], trips)
    touch.guards = guard_forms(op)
    return touch


def _padded(op: Any, trips: Mapping[ir.Value, int]) -> Touch:
    """A load inside an affine.if whose else branch yields a constant."""
    then, otherwise = (list(region.blocks[0].operations) if region.blocks else [] for region in op.regions)
    if [o.operation.name for o in then] != ["affine.load", "affine.yield"] or len(otherwise) != 1:
        raise fail(op, "affine.if must choose between one load and a constant")
    touch = _touch(then[0], list(then[0].operands), trips)
    touch.guards = guard_forms(op)
    touch.otherwise = otherwise[0].operands[0]
    return touch
