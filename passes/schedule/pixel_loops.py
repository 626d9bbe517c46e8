"""Pixel loops: loops over outputs inside the reduction, whose iterations take turns on every word of weights.

A step reads a word of weights for all lanes. Where the innermost loop over pixels, or a tile of it, stands inside the
reduction, the same word serves T steps in a row, one for each of T pixels, which have accumulators of their own:

    affine.for %oc, %y, %x, %ic, %ky, %kx           a word for every step
    affine.for %oc, %y, %x/T, %ic, %ky, %kx, %x%T   a word for every T-th step

The steps of the nest, and its products, stay the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradcam.passes.ir.attributes import LOOPS
from gradcam.passes.ir.queries import is_global
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.nest import Loop, Nest
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.program.weight_stream import may_stream
from gradcam.passes.schedule.time_loops import Part, reorder

#: The most pixels that take turns, unless a schedule asks for more: accumulators of a lane.
MOST = 8


def bands(nest: Nest, parts: Sequence[Part]) -> tuple[list[Part], list[Part], list[Part]]:
    """The parts of an order of a nest's loops that are outside of the reduction loops, these, and those inside."""
    reduced = [i for i, part in enumerate(parts) if part.is_of(nest.reduction)]
    first, end = (reduced[0], reduced[-1] + 1) if reduced else (len(parts), len(parts))
    return list(parts[:first]), list(parts[first:end]), list(parts[end:])


def rebuild(program: ScheduledProgram, number: int, parts: Sequence[Part]) -> None:
    """Rebuilds a nest of a program with its loops in another order, and sets its `gradcam.loops`."""
    nest = program.nests[number]
    program.reread(number, reorder(nest, *bands(nest, parts)))
    LOOPS.set(program.nests[number].op, [str(part) for part in parts])


def fault(nest: Nest, parts: Sequence[Part]) -> str | None:
    """The reason why the loops inside the reduction cannot be pixel loops; None where they can, or there are none."""
    outer, _, pixels = bands(nest, parts)
    if nest.pixels and ([part.loop for part in pixels] != nest.pixels or any(part.tile for part in pixels)):
        return "moves the loops that stand inside the reduction already"
    if pixels and not outer:
        return "leaves no loop over outputs outside of the reduction loops"
    if pixels and any(is_global(a.memref) and may_stream(a) for a in nest.epilogue.loads):
        return f"has {pixels[0]} inside the reduction, but the nest reads weights behind it"
    return None


def counts_with(nest: Nest, loop: Loop) -> bool:
    """Whether a nest computes with the number of an iteration of a loop."""
    return any(node.kind == "iv" and node.what is loop for flow in nest.flows for node in flow.nodes)


def with_pixels(nest: Nest, whole: Sequence[Part], turns: int) -> list[Part] | None:
    """The order in which `turns` pixels take turns on every word of weights; None where the nest has no such order.

    Args:
        nest: the nest.
        whole: its loops, each whole.
        turns: pixels, the iterations of the loop inside the reduction.
    """
    place = _place(nest)
    if place is None or whole[place].trip % turns:
        return None
    part, outer, rest = whole[place], whole[:place], whole[place + 1 :]
    if not part.name.isalnum():  # it is a part of a loop already
        return None
    if part.trip == turns:
        return [*outer, *rest, part]
    halves = [Part(part.loop, part.name, turns, inside) for inside in (False, True)]
    return [*outer, halves[0], *rest, halves[1]]


def _place(nest: Nest) -> int | None:
    """The number of the innermost loop over outputs whose iterations read the same weights; None without one."""
    weights = [a for a in nest.body.loads if is_global(a.memref)] if nest.body else []
    streams = any(access_kind(a) == "stream" for a in (*nest.loads, *nest.stores))
    if not weights or streams or nest.pixels or any(a.group for a in nest.accumulators):
        return None
    moving = [n for n, loop in enumerate(nest.outer) if loop.trip > 1]
    still = [n for n in moving if not any(nest.outer[n].iv in f for a in weights for f in (a.index, *a.guards))]
    return still[-1] if still and not counts_with(nest, nest.outer[still[-1]]) else None
