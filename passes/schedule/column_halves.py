"""Buffers of which every reader reads the even columns alone, or the odd ones: they keep these alone.

A depthwise convolution of stride 2 reads an even and an odd column in one step, from two buffers. Each of them need not
hold what only the other one is read for. The loop over the columns of the nest that writes them is split by the parity:

    x = 2 * (x/2) + x%2        a store where x%2 is the parity, to column x/2
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from torch_mlir import ir
from torch_mlir.dialects import memref

from gradcam.passes.ir import affine_ir
from gradcam.passes.ir.linear_form import Linear, access_forms, guard_forms, plus
from gradcam.passes.program.nest import Access, Nest
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.schedule.pixel_loops import counts_with, rebuild
from gradcam.passes.schedule.time_loops import Part, present_names, present_parts

#: The number of the dimension of a map, height x width x channels, that is its columns.
COLUMNS = 1


class Columns(NamedTuple):
    """The columns that a buffer keeps: those of one parity.

    Attributes:
        parity: 0 or 1.
        writer: the number of the nest that alone stores to the buffer.
    """

    parity: int
    writer: int


def keep_columns(program: ScheduledProgram, buffers: Iterable[ir.Value]) -> None:
    """Halves those of some buffers that can do with the columns of one parity."""
    for buffer in buffers:
        found = _columns_of(program, buffer)
        if found:
            _split_columns(program, found.writer, buffer)
            _halve(program, buffer, found)


def _columns_of(program: ScheduledProgram, buffer: ir.Value) -> Columns | None:
    """The columns that are read of a buffer; None where they are of no one parity, or it cannot be halved."""
    shape = ir.MemRefType(buffer.type).shape
    loads = [a for nest in program.nests for a in nest.loads if a.memref == buffer]
    stores = [(n, a) for n, nest in enumerate(program.nests) for a in nest.stores if a.memref == buffer]
    known = len(loads) + len(stores) == len(list(buffer.uses))
    if len(shape) != 3 or shape[COLUMNS] % 2 or not loads or len(stores) != 1 or not known:
        return None
    ((writer, store),) = stores
    parities = {_parity(_forms(load)[COLUMNS]) for load in loads}
    parity = parities.pop()
    if parities or parity is None or _column_loop(program.nests[writer], store) is None:
        return None
    return Columns(parity, writer)


def _forms(access: Access) -> list[Linear]:
    """The index forms of an access, one for each dimension of its buffer."""
    skipped = 1 if access.op.operation.name == "affine.load" else 2
    return access_forms(access.op, list(access.op.operands)[skipped:])


def _parity(column: Linear) -> int | None:
    """The parity of a column in all iterations; None where it changes."""
    is_fixed = all(c % 2 == 0 for term, c in column.items() if term is not None)
    return column.get(None, 0) % 2 if is_fixed else None


def _column_loop(nest: Nest, store: Access) -> int | None:
    """The number of the outer loop whose parity is that of the column that is stored; None where none can be split."""
    column = _forms(store)[COLUMNS]
    loops = [n for n, loop in enumerate(nest.outer) if column.get(loop.iv, 0) == 1 and loop.trip % 2 == 0]
    odd = [term for term, c in column.items() if term is not None and c % 2]
    if len(loops) != 1 or len(odd) != 1 or any(a.group for a in nest.accumulators):
        return None
    loop = nest.outer[loops[0]]
    can_be_split = loop.trip == 2 or (not counts_with(nest, loop) and present_names(nest)[loops[0]].isalnum())
    return loops[0] if can_be_split else None


def _split_columns(program: ScheduledProgram, number: int, buffer: ir.Value) -> None:
    """Makes two loops of the one from column to column, from pair to pair and within a pair."""
    nest = program.nests[number]
    place = _column_loop(nest, next(a for a in nest.stores if a.memref == buffer))
    if place is None or nest.outer[place].trip == 2:
        return
    whole = present_parts(nest)
    column = whole[place]
    halves = [Part(column.loop, column.name, 2, inside) for inside in (False, True)]
    rebuild(program, number, [*whole[:place], *halves, *whole[place + 1 :]])


def _halve(program: ScheduledProgram, buffer: ir.Value, columns: Columns) -> None:
    """Replaces a buffer by one with the columns of one parity."""
    owner, old = cast("Any", buffer.owner), ir.MemRefType(buffer.type)
    shape = list(old.shape)
    shape[COLUMNS] //= 2
    with owner.location, ir.InsertionPoint(owner):
        half = memref.alloc(ir.MemRefType.get(shape, old.element_type), [], [])
    for number, nest in enumerate(program.nests):
        loads = [a for a in nest.loads if a.memref == buffer]
        stores = [a for a in nest.stores if a.memref == buffer]
        for load in loads:
            _load_half(load, half, columns.parity)
        for store in stores:
            loop = _column_loop(nest, store)
            assert loop is not None
            _store_half(store, half, columns.parity, nest.outer[loop].iv)
        if loads or stores:
            program.reread(number)
    owner.operation.erase()


def _half(forms: list[Linear], less: Linear) -> list[Linear]:
    """The index forms in a buffer of half the columns: of columns less a form, which are even."""
    halves = {term: c // 2 for term, c in plus(forms[COLUMNS], less, -1).items()}
    return [*forms[:COLUMNS], halves, *forms[COLUMNS + 1 :]]


def _load_half(load: Access, half: ir.Value, parity: int) -> None:
    with load.op.location, ir.InsertionPoint(load.op):
        value = affine_ir.load(half, _half(_forms(load), {None: parity}))
    load.op.results[0].replace_all_uses_with(value)
    load.op.operation.erase()


def _store_half(store: Access, half: ir.Value, parity: int, within: ir.Value) -> None:
    """Stores where the loop `within` pairs of columns is at a column of the parity."""
    forms, outside = _forms(store), store.op.operation.parent
    is_guarded = outside.name == "affine.if"
    wanted = (parity - forms[COLUMNS].get(None, 0)) % 2
    guard: Linear = {within: 1, None: -1} if wanted else {within: -1}
    whole = outside.opview if is_guarded else store.op
    guards = [*(guard_forms(whole) if is_guarded else []), guard]
    with store.op.location, ir.InsertionPoint(whole):
        less = {within: 1, None: parity - wanted}
        affine_ir.guarded_store(store.op.operands[0], half, _half(forms, less), guards)
    whole.operation.erase()
