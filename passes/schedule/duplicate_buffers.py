"""gradcam-duplicate-buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from torch_mlir import ir

from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.linear_form import guarded_store
from gradcam.passes.ir.queries import is_argument, is_global, is_scalar
from gradcam.passes.program.banks import layout_of, power_of_two
from gradcam.passes.program.nest import Access, Nest, read_nests
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.schedule.column_halves import keep_columns


@dataclass(frozen=True)
class DuplicateBuffers(Pass):
    """Gives a nest that reads one buffer through two ports, such as conv(x) + x, a second copy of the buffer.

    A memory has one read port. The nest that writes the buffer stores each value twice in the same cycle, so a copy
    costs memory but no time. Two reads of the same element are merged first. Where all reads of a copy, or of the
    buffer, are of columns of one parity, these alone are kept (`passes/schedule/column_halves.py`).

    Epilogues that read a few lanes of constants, of which a reduction reads words of many lanes, get a copy in words of
    their own where its memory is worth fewer LUTs than the choice of their lanes (`passes/program/block_ram.py`).

    This pass turns:

        affine.for ... { affine.store %v, %x[%h, %w, %c] }
        affine.for ... { ... affine.load %x[%h + %kh, ...] ... affine.load %x[%h, %w, ...] ... }

    into:

        affine.for ... { affine.store %v, %x[%h, %w, %c]  affine.store %v, %x2[%h, %w, %c] }
        affine.for ... { ... affine.load %x[%h + %kh, ...] ... affine.load %x2[%h, %w, ...] ... }
    """

    name: ClassVar[str] = "gradcam-duplicate-buffers"
    preserves = (read_nests,)

    def run(self, module: ir.Module) -> None:
        """Adds the copies."""
        with module.context, ir.Location.unknown():
            program = ScheduledProgram.of(module)
            loads = [_distinct_loads(nest) for nest in program.nests]
            copies = _add_copies(program.nests, loads) | _add_narrow_copies(program, loads)
            copied = dict.fromkeys(memref for memref, _ in copies)
            for number, (nest, left) in enumerate(zip(program.nests, loads, strict=True)):
                if len(left) < len(nest.loads) or any(a.memref in copied for a in (*left, *nest.stores)):
                    program.reread(number)
            keep_columns(program, [*copied, *copies.values()])


def _add_copies(program: Sequence[Nest], loads: Sequence[Sequence[Access]]) -> dict[tuple[ir.Value, int], ir.Value]:
    """Lets the second and later `loads` of one buffer in a nest read copies.

    Returns:
        The copies by their buffer and number.
    """
    copies: dict[tuple[ir.Value, int], ir.Value] = {}
    for accesses in loads:
        seen: dict[ir.Value, int] = {}
        for access in accesses:
            if is_argument(access.memref) or is_scalar(access.memref):
                continue
            number = seen[access.memref] = seen.get(access.memref, -1) + 1
            if number:
                key = (access.memref, number)
                if key not in copies:
                    copies[key] = _copy(access.memref, program)
                access.op.operands[0] = copies[key]
    return copies


def _add_narrow_copies(program: ScheduledProgram, loads: Sequence[Sequence[Access]]) -> dict[Any, ir.Value]:
    """Lets epilogues with narrow `loads` of constants, which bodies read in wide words, read copies.

    Returns:
        The copies by their constant and the lanes of a word.
    """
    uses = [(nest, a) for nest, left in zip(program.nests, loads, strict=True) for a in left if is_global(a.memref)]
    widest: dict[ir.Value, int] = {}
    for nest, access in uses:
        if nest.in_body(access):
            widest[access.memref] = max(widest.get(access.memref, 0), power_of_two(access.lanes))
    copies: dict[Any, ir.Value] = {}
    for nest, access in uses:
        lanes, wide = power_of_two(access.lanes), widest.get(access.memref, 0)
        if lanes < wide and not nest.in_body(access) and _is_worth_a_copy(access, lanes, wide, program):
            key = (access.memref, lanes)
            if key not in copies:
                copies[key] = _copy(access.memref, ())
            access.op.operands[0] = copies[key]
    return copies


def _is_worth_a_copy(access: Access, lanes: int, wide: int, program: ScheduledProgram) -> bool:
    """Whether a copy of the constant takes less than the choice of `lanes` out of `wide` ones."""
    bits, block = access.element_bits, program.clock.block
    words = -(-prod(ir.MemRefType(access.memref.type).shape) // lanes)
    layout = layout_of(program.clock, program.platform, lanes, bits, words, constant=True, reads=1)
    return block.weight(layout, lanes * bits) < block.choice(wide // lanes, lanes * bits)


def _distinct_loads(nest: Nest) -> list[Access]:
    """Merges equal loads of a nest; returns the loads that are left."""
    first: list[Access] = []
    for access in nest.loads:
        equal = next((a for a in first if _are_equal(a, access)), None)
        if equal is None:
            first.append(access)
        else:
            access.op.results[0].replace_all_uses_with(equal.op.results[0])
            access.op.operation.erase()
    return first


def _are_equal(a: Access, b: Access) -> bool:
    """Whether two unconditional loads in one block read the same elements."""
    here = (a.memref, a.index, a.strides, a.guards) == (b.memref, b.index, b.strides, [])
    return here and a.op.operation.block == b.op.operation.block


def _copy(buffer: ir.Value, program: Sequence[Nest]) -> ir.Value:
    """A second buffer, written wherever the first one is written, or a second reference to a constant."""
    owner: Any = buffer.owner
    with ir.InsertionPoint.after(owner):
        copy = owner.operation.clone().results[0]
    for nest in program:
        for store in nest.stores:
            if store.memref == buffer:
                guard = store.op.operation.parent
                is_guarded = guard.name == "affine.if"
                with ir.InsertionPoint.after(guard if is_guarded else store.op):
                    second = (guard if is_guarded else store.op.operation).clone()
                (guarded_store(second) if is_guarded else second).operands[1] = copy
    return copy
