"""Names of the time loops of a scheduled nest, and the rebuilding of a nest with its loops in another order."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import memref

from gradcam.passes.ir import affine_ir
from gradcam.passes.ir.attributes import LOOPS
from gradcam.passes.ir.linear_form import Linear, access_forms, guard_forms, plus, substitute
from gradcam.passes.ir.queries import block_ops, is_global
from gradcam.passes.program.nest import Access, Loop, Nest

#: Names of the loops along the dimensions of a map (y, x, channels), a matrix or a vector.
_OUTPUT = {1: ["oc"], 2: ["y", "x"], 3: ["y", "x", "oc"]}
_INPUT = {1: ["ic"], 2: ["ky", "kx"], 3: ["ky", "kx", "ic"]}


@dataclass(frozen=True)
class Part:
    """A loop of the new order: a whole loop of a nest, or one of the two loops that tiling makes of it.

    Attributes:
        loop: the loop of the present nest.
        name: the loop's name.
        tile: iterations of a tile; 0 for a whole loop.
        inside: whether the loop runs within a tile; otherwise it runs from tile to tile.
    """

    loop: Loop
    name: str
    tile: int = 0
    inside: bool = False

    @property
    def trip(self) -> int:
        """The iterations of the part."""
        if not self.tile:
            return self.loop.trip
        return self.tile if self.inside else self.loop.trip // self.tile

    @property
    def step(self) -> int:
        """Iterations of the whole loop from one of its iterations to the next."""
        return self.tile if self.tile and not self.inside else 1

    def is_of(self, loops: Sequence[Loop]) -> bool:
        """Whether it is a part, or the whole, of one of the loops."""
        return any(self.loop is loop for loop in loops)

    def __str__(self) -> str:
        """`y`, `y/4` from tile to tile, `y%4` within a tile of 4."""
        return f"{self.name}{'%' if self.inside else '/'}{self.tile}" if self.tile else self.name


def parse_part(text: str) -> tuple[str, int, bool]:
    """Parses the text of a part: its name, its tile, and whether it runs within a tile.

    Raises:
        ValueError: the text is no part.
    """
    match = re.fullmatch(r"([a-z]\w*)(?:([/%])([1-9]\d*))?", text)
    if not match:
        raise ValueError
    return match[1], int(match[3] or 0), match[2] == "%"


def loop_names(nest: Nest) -> list[str]:
    """A name for each time loop by its dimension: y, x, oc of the output; ky, kx, ic of the reduction.

    A loop along no dimension, or along the same one as a loop before it, is d and its number in the nest.
    """
    loads = sorted(nest.body.loads if nest.body else [], key=lambda a: is_global(a.memref))
    walked = [(a, _OUTPUT, nest.outputs) for a in nest.stores] + [(a, _INPUT, nest.reduction) for a in loads]
    found: dict[int, str] = {}
    for access, names, loops in walked:
        for form, name in _dimensions(access, names):
            for loop in loops:
                if loop.iv in form and id(loop) not in found and name not in found.values():
                    found[id(loop)] = name
    return [found.get(id(loop), f"d{i}") for i, loop in enumerate(nest.loops)]


def present_names(nest: Nest) -> list[str]:
    """The names of the loops of a nest: those of its schedule, where it has one."""
    return LOOPS.find(nest.op) or loop_names(nest)


def _dimensions(access: Access, names: dict[int, list[str]]) -> Iterator[tuple[Linear, str]]:
    skipped = 1 if access.op.operation.name == "affine.load" else 2
    forms = access_forms(access.op, list(access.op.operands)[skipped:])
    if len(forms) in names:
        yield from zip(forms, names[len(forms)], strict=True)


def present_parts(nest: Nest) -> list[Part]:
    """The time loops of a nest, each whole, by the names that it has."""
    return [Part(loop, name) for loop, name in zip(nest.loops, present_names(nest), strict=True)]


def nest_names(program: Sequence[Nest]) -> list[str]:
    """A name for each nest: its location; `relu.2` for the second one of a name, if no nest has that name itself."""
    names, own = list[str](), {nest.name for nest in program}
    for nest in program:
        numbered = (f"{nest.name}.{number}" for number in itertools.count(2))
        taken = own.union(names)
        names.append(next(n for n in numbered if n not in taken) if nest.name in names else nest.name)
    return names


def reorder(nest: Nest, outer: Sequence[Part], reduction: Sequence[Part], pixels: Sequence[Part] = ()) -> Any:
    """Rebuilds a nest with its loops in another order; returns its outermost loop, which has the attributes of the old.

    Args:
        nest: the nest; its loops are gone afterwards.
        outer: parts of the outer loops, outermost first, each whole or in both its parts.
        reduction: parts of the reduction loops, likewise.
        pixels: parts of the outer loops that become pixel loops (`passes/program/nest.py`), or those that the nest has,
            which stay.
    """
    with nest.op.location:
        if pixels and not nest.pixels:
            _add_pixel_loops(nest, pixels)
        inner = block_ops(nest.outer[-1].op)
        top = _band(nest.op, outer, inner)
        if nest.reduction:
            first = nest.reduction[0].op
            _band(first, reduction, block_ops(nest.reduction[-1].op))
            first.operation.erase()
    for name in nest.op.attributes:
        if name.startswith("gradcam."):
            top.operation.attributes[name] = nest.op.attributes[name]
    nest.op.operation.erase()
    return top


def _add_pixel_loops(nest: Nest, pixels: Sequence[Part]) -> None:
    """Puts loops around each affine.parallel of a nest, and gives every accumulator a register for each iteration.

    The loops of the nest stay. One of which `pixels` has a part is to become the other part; one that it has whole, or
    in both parts, is to vanish.
    """
    *setting, _, epilogue = block_ops(nest.outer[-1].op)
    trips = [part.trip for part in pixels]
    more: dict[ir.Value, ir.Value] = {}
    for accumulator in nest.accumulators:
        old = ir.MemRefType(accumulator.memref.type)
        with ir.InsertionPoint(accumulator.memref.owner):
            type_ = ir.MemRefType.get([*trips, *old.shape], old.element_type)
            more[accumulator.memref] = memref.alloca(type_, [], [])
    for grid in (*setting, *block_ops(nest.reduction[-1].op), epilogue):
        with ir.InsertionPoint(grid):
            ivs, block = affine_ir.for_loops(trips)
        grid.operation.move_before(next(iter(block.operations)))
        by: dict[ir.Value, Linear] = {}
        for part, iv in zip(pixels, ivs, strict=True):
            is_split = part.tile and sum(p.loop is part.loop for p in pixels) == 1
            by[part.loop.iv] = plus(by.get(part.loop.iv, {part.loop.iv: 1} if is_split else {}), {iv: part.step})
        _rewrite(block, by, {old: (new, [{iv: 1} for iv in ivs]) for old, new in more.items()})
    for old in more:
        old.owner.erase()


def _band(old: Any, parts: Sequence[Part], inner: Sequence[Any]) -> Any:
    """Builds the loops of the parts before the loop `old`, around the ops `inner` of its band."""
    with ir.InsertionPoint(old):
        ivs, block = affine_ir.for_loops([part.trip for part in parts])
    end = list(block.operations)[-1]
    for op in inner:
        op.operation.move_before(end)
    tiled: dict[ir.Value, Linear] = {}
    for part, iv in zip(parts, ivs, strict=True):
        if part.tile:
            tiled[part.loop.iv] = tiled.get(part.loop.iv, {}) | {iv: part.step}
        else:
            part.loop.iv.replace_all_uses_with(iv)
    if tiled:
        _rewrite(block, tiled)
    return ivs[0].owner.owner


#: By a buffer, the buffer that takes its place, and the indices in front of its own ones.
_Moved = Mapping[ir.Value, tuple[ir.Value, list[Linear]]]


def _rewrite(block: ir.Block, by: dict[ir.Value, Linear], moved: _Moved = MappingProxyType({})) -> None:
    """Replaces loops by linear forms, and buffers, in all accesses of a block."""
    for op in list(block.operations):
        name = op.operation.name
        with op.location, ir.InsertionPoint(op):
            if name == "affine.if":
                access = next(iter(op.regions[0].blocks[0].operations))
                _replace(op, access, [substitute(g, by) for g in guard_forms(op)], by, moved)
            elif name in ("affine.load", "affine.store"):
                _replace(op, op, [], by, moved)
            else:
                for region in op.regions:
                    _rewrite(region.blocks[0], by, moved)


def _replace(op: Any, access: Any, guards: list[Linear], by: dict[ir.Value, Linear], moved: _Moved) -> None:
    """Replaces `op`, an access or an affine.if around one."""
    is_store = access.operation.name == "affine.store"
    buffer, *indices = list(access.operands)[1 if is_store else 0 :]
    buffer, first = moved.get(buffer, (buffer, []))
    forms = [*first, *(substitute(f, by) for f in access_forms(access, indices))]
    if is_store:
        affine_ir.guarded_store(access.operands[0], buffer, forms, guards)
    else:
        otherwise = list(op.regions[1].blocks[0].operations)[-1].operands[0] if guards else None
        op.results[0].replace_all_uses_with(affine_ir.guarded_load(buffer, forms, guards, otherwise))
    op.operation.erase()
