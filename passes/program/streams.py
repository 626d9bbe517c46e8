"""Streams of a schedule: an argument crosses the boundary once, row by row; and the reads of memories.

One beat is transferred, and one word read, per iteration of the loops that move on to other elements; see
`moving_loops`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.nest import Access, Loop, Nest


def moving_loops(access: Access, loops: Sequence[Loop]) -> list[Loop]:
    """The loops down to the innermost one that the access depends on; what is read is held while the others run."""
    forms = [access.index, *access.guards]
    used = [i for i, loop in enumerate(loops) if any(loop.iv in form for form in forms)]
    return list(loops[: used[-1] + 1]) if used else []


def word_reads(nest: Nest, access: Access) -> int:
    """The reads of memory that a nest makes through a load.

    A load of the body is made in the first step of those in a row that need the same word, which the memory then holds;
    a load of the epilogue for every output.
    """
    return prod(loop.trip for loop in (moving_loops(access, nest.loops) if nest.in_body(access) else nest.outputs))


def word_steps(nest: Nest, access: Access) -> np.ndarray:
    """The steps, from 0, in which a load needs another word than before: of the body, or for an output."""
    if nest.in_body(access):
        words = prod(loop.trip for loop in moving_loops(access, nest.loops))
        return np.arange(words) * (nest.steps // words)
    words = prod(loop.trip for loop in moving_loops(access, nest.outputs))
    return nest.output_steps(np.arange(words) * (prod(loop.trip for loop in nest.outputs) // words))


def held_steps(nest: Nest, access: Access) -> int:
    """The fewest steps from one in which a load needs another word to the next such step; all where there is none."""
    return int(np.diff(word_steps(nest, access)).min(initial=nest.steps))


def check_streams(program: Sequence[Nest]) -> None:
    """Checks that every stream is read or written once, in the order of its elements.

    Raises:
        GradcamError: a stream is accessed by two nests or out of order.
    """
    first: dict[int, Nest] = {}
    for nest in program:
        for access in nest.loads + nest.stores:
            if access_kind(access) == "stream":
                number = access.memref.arg_number
                if first.setdefault(number, nest) is not nest:
                    raise fail(nest.op, f"another nest accesses argument {number} too, whose elements pass only once")
                _check_order(nest, access)


def _check_order(nest: Nest, access: Access) -> None:
    is_load = access.op.operation.name == "affine.load"
    loops = moving_loops(access, nest.loops) if is_load else nest.outputs
    visited, inside = visits(access, loops)
    elements = prod(ir.MemRefType(access.memref.type).shape)
    if not is_plain(access) or not np.array_equal(visited[inside], np.arange(0, elements, access.lanes)):
        verb, number = "reads" if is_load else "writes", access.memref.arg_number
        raise fail(nest.op, f"the nest {verb} argument {number} out of order: elements pass once, row by row")


def is_plain(access: Access) -> bool:
    """Whether the index and the guards of an access are free of run-time values."""
    return all(t is None or isinstance(t, ir.Value) for form in (access.index, *access.guards) for t in form)


def visit(access: Access, loops: Sequence[Loop], iterations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evaluates an access in the given iterations of the flattened loops; returns the same as `visits`, flat."""
    indices = np.unravel_index(iterations, [loop.trip for loop in loops]) if loops else ()
    points = {loop.iv: index for loop, index in zip(loops, indices, strict=True)}

    def value(form: Linear) -> np.ndarray:
        return sum(
            (form.get(iv, 0) * index for iv, index in points.items()), np.full(len(iterations), form.get(None, 0))
        )

    inside = [value(guard) >= 0 for guard in access.guards]
    return value(access.index), np.logical_and.reduce([np.ones(len(iterations), np.bool_), *inside])


def visits(access: Access, loops: Sequence[Loop]) -> tuple[np.ndarray, np.ndarray]:
    """Evaluates an access in every iteration, one dimension per loop.

    Returns:
        int64, the element that lane 0 touches; bool, whether the access happens.
    """
    trips = [loop.trip for loop in loops]
    inside = np.ones(trips, np.bool_)
    for guard in access.guards:
        inside &= form_values(guard, loops) >= 0
    return np.broadcast_to(form_values(access.index, loops), trips), inside


def form_values(form: Linear, loops: Sequence[Loop]) -> np.ndarray:
    """The form in every iteration: int64, one dimension per loop, of size 1 where the form does not depend on it."""
    total = np.full([1] * len(loops), form.get(None, 0))
    for axis, loop in enumerate(loops):
        steps = np.arange(loop.trip).reshape([-1 if i == axis else 1 for i in range(len(loops))])
        total = total + form.get(loop.iv, 0) * steps
    return total
