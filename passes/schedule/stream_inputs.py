"""gradcam-stream-inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir import affine_ir
from gradcam.passes.ir.linear_form import Linear, plus, substitute
from gradcam.passes.ir.queries import is_argument, main_function
from gradcam.passes.schedule.plain_nest import PlainNest, read_plain_nest


@dataclass(frozen=True)
class StreamInputs(Pass):
    """Lets the only nest that reads the copy of an input read the input itself, in the order in which it arrives.

    A stream delivers every element once, row by row. Where windows overlap, as in an unfolded image, an element goes
    to several places, so the loops must follow the elements and not the windows. Along each dimension the nest reads
    s*x + d*k, with s or d equal to 1. With k split into s*j + r, and x skewed by j to u = x + d*j, that is s*u + d*r.
    This index does not depend on j, which becomes an inner loop: an element is held while j runs, and stored once for
    each j. Where u and r go beyond the input there is padding; where x and k leave their ranges nothing is stored.

    This pass turns:

        affine.for %y, %i, %c { affine.store %image[%y, %i, %c], %copy[%y, %i, %c] }
        affine.for %y, %x, %k, %c {
          %v = affine.if (0 <= %x * 2 + %k - 3 < 64) { affine.load %copy[%y, %x * 2 + %k - 3, %c] } else { %c0 }
          affine.store %v, %to[%y, %x, %k * 4 + %c] }

    into:

        affine.for %y, %u, %r, %j, %c {
          %v = affine.if (0 <= %u * 2 + %r - 3 < 64) { affine.load %image[%y, %u * 2 + %r - 3, %c] } else { %c0 }
          affine.if (0 <= %u - %j < 34) { affine.store %v, %to[%y, %u - %j, %j * 8 + %r * 4 + %c] } }
    """

    name: ClassVar[str] = "gradcam-stream-inputs"

    def run(self, module: ir.Module) -> None:
        """Rewrites the readers of inputs for which this is possible; the others keep their copy."""
        with module.context, ir.Location.unknown():
            entry = main_function(module).regions[0].blocks[0]
            program = [read_plain_nest(op) for op in entry.operations if op.operation.name == "affine.for"]
            for copy in filter(_is_copy_of_argument, program):
                buffer = copy.stores[0].memref
                readers = [n for n in program if n is not copy and buffer in n.buffers]
                if len(readers) == 1 and _fills_buffer(readers[0]):
                    _stream(copy, readers[0])


def _moves_elements(nest: PlainNest) -> bool:
    """Whether the nest only loads and stores."""
    return len(nest.loads) == len(nest.stores) == 1 and len(nest.body) == 2 and not nest.reduces


def _fills_buffer(nest: PlainNest) -> bool:
    """Whether the nest only moves elements into a buffer."""
    return _moves_elements(nest) and not is_argument(nest.stores[0].memref)


def _is_copy_of_argument(nest: PlainNest) -> bool:
    if not _moves_elements(nest):
        return False
    (load,), (store,) = nest.loads.values(), nest.stores
    identity = [{iv: 1} for iv in nest.ivs]
    return is_argument(load.memref) and not load.guards and load.forms == store.forms == identity


@dataclass(eq=False)
class _Loop:
    """A loop that is not built yet, as a term of linear forms."""

    trip: int


@dataclass
class _Dimension:
    """The access of a nest along one dimension of an input, with the index s*x + d*k + constant.

    Attributes:
        moving: the new loops u and r, which follow the elements.
        held: the new loop j.
        by: x and k over the new loops.
        index: the index over the new loops.
        inside: forms that are at least 0 where the index lies in the input.
        kept: forms that are at least 0 where x and k lie in their ranges.
    """

    moving: list[_Loop]
    held: _Loop
    by: dict[ir.Value, Linear]
    index: Linear
    inside: list[Linear]
    kept: list[Linear]


def _dimension(nest: PlainNest, form: Linear, size: int) -> _Dimension | None:
    """The dimension of `size` elements that `nest` reads at `form`; None where it does not fit the pattern."""
    start = form.get(None, 0)
    walked = [iv for iv in nest.ivs if iv in form]
    if not 1 <= len(walked) <= 2 or len(walked) != len(set(form) - {None}) or start > 0:
        return None
    (s, windows), (d, taps) = [*((form[iv], nest.trip(iv)) for iv in walked), (1, 1)][:2]
    if min(s, d) != 1:
        return None
    j, r = _Loop(-(-taps // s)), _Loop(s)
    u = _Loop(max(windows + d * (j.trip - 1), -(-(size - start) // s)))
    index = plus({u: s, r: d}, {None: start})
    inside = [index] if start < 0 else []
    if s * (u.trip - 1) + d * (s - 1) + start >= size:
        inside.append(plus({None: size - 1}, index, -1))
    position, tap = {u: 1, j: -d}, {j: s, r: 1}
    kept = [position] if j.trip > 1 else []
    if u.trip > windows:
        kept.append(plus({None: windows - 1}, position, -1))
    if s * j.trip > taps:
        kept.append(plus({None: taps - 1}, tap, -1))
    by = dict(zip(walked, (position, tap), strict=False))
    return _Dimension([u, r], j, by, index, inside, kept)


def _stream(copy: PlainNest, nest: PlainNest) -> None:
    """Replaces a copy of an input and the nest that reads it by one nest, where that is possible."""
    (source,), (load,), (store,) = copy.loads.values(), nest.loads.values(), nest.stores
    *sizes, lanes = ir.MemRefType(source.memref.type).shape
    *forms, last = load.forms
    found = [_dimension(nest, form, size) for form, size in zip(forms, sizes, strict=True)]
    dimensions = [d for d in found if d is not None]
    lane = next((iv for iv in nest.ivs if last == {iv: 1}), None)
    walked = [iv for d in dimensions for iv in d.by] + [lane]
    borders = [g for form, n in zip(forms, sizes, strict=True) for g in (form, plus({None: n - 1}, form, -1))]
    if (
        len(dimensions) != len(forms)
        or lane is None
        or nest.trip(lane) < lanes
        or store.forms[-1].get(lane) != 1
        or sorted(map(nest.ivs.index, walked)) != list(range(len(nest.ivs)))
        or any(g not in borders for g in load.guards)
    ):
        return
    # The copy has more lanes than the input; they are undefined, and need not be stored.
    channel = _Loop(lanes)
    loops = [*(u for d in dimensions for u in d.moving), *(d.held for d in dimensions)]
    loops = [*(u for u in loops if u.trip > 1), channel]
    by = {iv: form for d in dimensions for iv, form in d.by.items()} | {lane: {channel: 1}}
    with nest.op.location, ir.InsertionPoint(nest.op):
        otherwise = load.otherwise
        if otherwise is None and any(d.inside for d in dimensions):
            otherwise = arith.constant(ir.MemRefType(source.memref.type).element_type, 0)
        ivs, block = affine_ir.for_loops([u.trip for u in loops])
        places = dict(zip(loops, ivs, strict=True))

        def placed(forms: Sequence[Linear]) -> list[Linear]:
            known = [{t: c for t, c in f.items() if not isinstance(t, _Loop) or t in places} for f in forms]
            return [substitute(f, {u: {iv: 1} for u, iv in places.items()}) for f in known]

        with ir.InsertionPoint.at_block_begin(block):
            index = placed([*(d.index for d in dimensions), {channel: 1}])
            inside, kept = (placed([g for d in dimensions for g in getattr(d, n)]) for n in ("inside", "kept"))
            value = affine_ir.guarded_load(source.memref, index, inside, otherwise)
            affine_ir.guarded_store(value, store.memref, placed([substitute(f, by) for f in store.forms]), kept)
    nest.op.operation.erase()
    copy.op.operation.erase()
    load.memref.owner.erase()
