"""Nests with the loop over the rows of their output outermost: what reads the rows can start after the first ones."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from torch_mlir import ir

from gradcam.passes.ir.attributes import LOOPS
from gradcam.passes.program.nest import Access, Nest
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.program.weight_stream import tile_depth
from gradcam.passes.schedule.dependences import violation
from gradcam.passes.schedule.time_loops import Part, present_names, reorder


def rows_outermost(nest: Nest) -> Nest | None:
    """The nest with the loop over rows outermost; None where it has no such loop, or a dependence forbids that."""
    parts = _parts(nest)
    if parts is None or violation(nest, [*parts, *(Part(loop, "") for loop in nest.loops[len(parts) :])]):
        return None
    return replace(nest, outer=[part.loop for part in parts])


def words_kept(nest: Nest, constants: set[ir.Value]) -> int:
    """The most words of one of some constants that are read repeatedly and so kept; see `weight_stream`."""
    return max((_tile(nest, load) for load in nest.loads if load.memref in constants), default=0)


def _tile(nest: Nest, load: Access) -> int:
    """The words of a load's constants that a nest reads repeatedly before it goes on."""
    loops = nest.loops if nest.in_body(load) else nest.outputs
    walked, trips = [load.index.get(loop.iv, 0) for loop in loops], [loop.trip for loop in loops]
    depth = tile_depth(walked, trips)
    return prod(n for n, c in zip(trips[depth:], walked[depth:], strict=True) if c)


def move_rows(program: ScheduledProgram, number: int) -> None:
    """Rebuilds a nest as `rows_outermost` says."""
    nest = program.nests[number]
    parts, names = _parts(nest), present_names(nest)
    if parts is not None:
        program.reread(number, reorder(nest, parts, [Part(loop, "") for loop in nest.reduction]))
        LOOPS.set(program.nests[number].op, [*(part.name for part in parts), *names[len(parts) :]])


def _parts(nest: Nest) -> list[Part] | None:
    """The outer loops in their new order; None where no loop walks along all rows."""
    whole = [Part(loop, name) for loop, name in zip(nest.outer, present_names(nest), strict=False)]
    rows = [part for part in whole if part.name == "y"]
    return [*rows, *(part for part in whole if part.name != "y")] if rows else None
