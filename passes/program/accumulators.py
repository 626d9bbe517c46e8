"""Accumulators of a scheduled nest: a register per lane, and how it gets its value before each reduction.

Where a nest has pixel loops, a lane has a register per pixel. An accumulator starts from a constant, or **slides**: its
lanes are groups, of which each continues with the sum of the group before it, since a sum that several outputs of a row
need one after the other moves on with them:

    affine.parallel (i) { kept[i] <- acc[i] }
    affine.parallel (i) { acc[i] <- kept[i - group] where x >= 1 and i >= group, else the initial value }

where x is the innermost outer loop. The last group has the complete sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.ir.linear_form import Linear, Term, access_forms, guard_forms
from gradcam.passes.ir.queries import block_ops, int_constant, parallel_extents


@dataclass(eq=False)
class Accumulator:
    """A register per lane and pixel, carried through the reduction loops.

    Attributes:
        memref: the buffer that stands for it.
        initial: the constant that it starts from.
        lanes: number of lanes.
        group: lanes of a group that slides; 0 where every reduction starts from `initial`.
    """

    memref: ir.Value
    initial: int
    lanes: int
    group: int = 0

    @property
    def bits(self) -> int:
        """Width of the register."""
        return ir.IntegerType(ir.MemRefType(self.memref.type).element_type).width


class Register(NamedTuple):
    """The registers of an accumulator that all lanes of a dataflow access.

    Attributes:
        number: the number of the accumulator.
        first: the register of lane 0.
        strides: the lane dimensions that count, each with the registers from lane to lane.
        term: a run-time term, such as the class modulo the lanes, by which the register is another one; None without.
    """

    number: int
    first: int
    strides: tuple[tuple[int, int], ...]
    term: Term | None = None

    @property
    def dims(self) -> frozenset[int]:
        """The lane dimensions that count."""
        return frozenset(dim for dim, _ in self.strides)

    def at(self, point: Sequence[int]) -> int:
        """The register of a lane."""
        return self.first + sum(stride * point[dim] for dim, stride in self.strides)


def register_of(
    number: int, op: Any, indices: Sequence[ir.Value], lane_dims: dict[ir.Value, int], pixels: Sequence[ir.Value] = ()
) -> Register:
    """The registers of accumulator `number` that an access reaches.

    Args:
        number: the number of the accumulator.
        op: the access.
        indices: its index operands.
        lane_dims: the number of the dimension of each lane loop.
        pixels: the pixel loops around the access.
    """
    *own, form = access_forms(op, indices)
    if own != [{iv: 1} for iv in pixels]:
        raise fail(op, "the registers of an accumulator must have a dimension for every loop over pixels")
    terms = [t for t in form if isinstance(t, tuple)]
    strides = sorted((lane_dims[iv], stride) for iv, stride in form.items() if iv in lane_dims)
    is_picked = len(terms) == 1 and form[terms[0]] == 1 and op.operation.name == "affine.load"
    if set(form) - {None, *terms, *lane_dims} or (terms and (strides or not is_picked)):
        raise fail(op, "the index of an accumulator must be a lane, or in a load a symbol modulo the lanes")
    return Register(number, form.get(None, 0), tuple(strides), terms[0] if terms else None)


def read_accumulators(ops: Sequence[Any], innermost: ir.Value, pixels: Sequence[ir.Value] = ()) -> list[Accumulator]:
    """The accumulators that one `affine.parallel` sets, or two where they slide.

    Args:
        ops: the affine.parallel before the reduction.
        innermost: the innermost outer loop.
        pixels: the pixel loops around the affine.parallel.

    Raises:
        GradcamError: the accumulators are set in another way.
    """
    *copies, setting = ops
    extents = parallel_extents(setting)
    if len(extents) != 1:
        raise fail(setting, "accumulators must have one lane dimension")
    if copies:
        return [_sliding(copies[0], setting, extents[0], innermost)]
    out = []
    for store in block_ops(setting):
        value = int_constant(store.operands[0]) if store.operation.name == "affine.store" else None
        if value is None:
            raise fail(store, "accumulators must be set to a constant before the reduction, or slide")
        _, memref, *indices = store.operands
        register_of(len(out), store, indices, {setting.regions[0].blocks[0].arguments[0]: 0}, pixels)
        out.append(Accumulator(memref, value, extents[0]))
    return out


def _sliding(copy: Any, setting: Any, lanes: int, innermost: ir.Value) -> Accumulator:
    load, keep = _ops(copy, "affine.load", "affine.store")
    choice, start = _ops(setting, "affine.if", "affine.store")
    taken, initial = (list(region.blocks[0].operations) for region in choice.regions)
    value = int_constant(initial[-1].operands[0])
    here, there = (op.regions[0].blocks[0].arguments[0] for op in (copy, setting))
    forms = [_index(load), _index(keep), _index(taken[0]), _index(start)]
    group = -forms[2].get(None, 0)
    wanted = [{here: 1}, {here: 1}, {there: 1, None: -group}, {there: 1}]
    guards = [{innermost: 1, None: -1}, {there: 1, None: -group}]
    fits = load.operands[0] == start.operands[1] and keep.operands[1] == taken[0].operands[0]
    if not fits or value is None or group <= 0 or forms != wanted or guard_forms(choice) != guards:
        raise fail(setting, "accumulators must be set to a constant before the reduction, or slide")
    return Accumulator(start.operands[1], value, lanes, group)


def _ops(op: Any, *names: str) -> list[Any]:
    found = block_ops(op)
    if [o.operation.name for o in found] != list(names):
        raise fail(op, "accumulators must be set to a constant before the reduction, or slide")
    return found


def _index(op: Any) -> Linear:
    _, *indices = list(op.operands)[op.operation.name == "affine.store" :]
    (form,) = access_forms(op, indices)
    return form
