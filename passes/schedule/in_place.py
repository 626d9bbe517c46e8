"""Buffers that a nest may overwrite: it reads each element for the last time in the step that writes the new one.

The result of a residual sum, `y[h, w, c] = f(x[h, w, c], ...)`, can take the place of x when nothing reads x later. The
load of an element is in an earlier stage than the store that depends on it, so it reads the old value; and no two steps
access one element.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch_mlir import ir

from gradcam.passes.ir.queries import is_argument, is_global, is_scalar
from gradcam.passes.program.banks import ring_of
from gradcam.passes.program.nest import Access, Nest, Node
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.program.streams import is_plain, visits


def replaced_buffers(program: ScheduledProgram) -> dict[ir.Value, set[ir.Value]]:
    """The buffers in whose places the buffers of a program may be written."""
    used: dict[ir.Value, list[tuple[int, Access]]] = {}
    for group, nest in zip(program.issue_groups, program.nests, strict=True):
        for access in (*nest.loads, *nest.stores):
            used.setdefault(access.memref, []).append((group, access))
    found: dict[ir.Value, set[ir.Value]] = {}
    for group, nest in zip(program.issue_groups, program.nests, strict=True):
        for load, store in _element_by_element(nest):
            is_last = all(other < group or access is load for other, access in used[load.memref])
            is_first = all(other > group or _is_load(access) or access is store for other, access in used[store.memref])
            if is_last and is_first:
                found.setdefault(store.memref, set()).add(load.memref)
    return found


def _element_by_element(nest: Nest) -> Iterator[tuple[Access, Access]]:
    """The loads of a nest, each with a store that depends on it and that accesses the same element in every step."""
    for sink in nest.epilogue.sinks:
        store = sink.target
        if not isinstance(store, Access) or not _is_buffer(store) or not is_plain(store):
            continue
        for load in filter(_is_buffer, nest.epilogue.loads):
            same = (load.index, load.strides, load.extents) == (store.index, store.strides, store.extents)
            plain = not load.guards and load.second is None
            if same and plain and _depends(sink.value, load) and _is_once(nest, store):
                yield load, store


def _is_buffer(access: Access) -> bool:
    """Whether an access is to a whole buffer that nests write: no argument, constant, register or ring."""
    memref = access.memref
    return not (is_argument(memref) or is_global(memref) or is_scalar(memref) or ring_of(memref))


def _is_load(access: Access) -> bool:
    return access.op.operation.name == "affine.load"


def _depends(node: Node, load: Access) -> bool:
    return node.what is load or any(_depends(a, load) for a in node.args)


def _is_once(nest: Nest, store: Access) -> bool:
    """Whether no two steps store the same element."""
    first, inside = visits(store, nest.outputs)
    return np.unique(first[inside]).size == np.count_nonzero(inside)
