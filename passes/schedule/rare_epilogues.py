"""Epilogues that are set apart: they stay nests of their own behind the reductions whose sums they read.

An epilogue is there in every output lane of an engine. Where few results need what it adds to the other epilogues, as
the sum of a residual gradient or of the halves of a wide one, an engine of few lanes computes it in few more steps, or
in none where it runs beside the reduction, which stores its sums as they are.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from torch_mlir import ir

from gradcam.passes.program.clock import EXTREME, SHIFT
from gradcam.passes.schedule.lane_widths import GROWTH, engine_of, lane_of, steps_of, summed_lane
from gradcam.passes.schedule.plain_nest import PlainNest
from gradcam.pe import PE

#: The ops that take hardware; choices and comparisons are small beside them.
_ARITHMETIC = ("arith.addi", "arith.subi", "arith.muli", *SHIFT, *EXTREME)


@dataclass
class _Kind:
    """Reductions of one engine whose epilogues have equal arithmetic.

    Attributes:
        readers: the ids of the epilogues that could be set apart.
        elements: the elements of the results.
    """

    readers: list[int] = field(default_factory=list)
    elements: int = 0


def set_apart(nests: Sequence[PlainNest], fused: Mapping[int, PlainNest], pe: PE) -> list[int]:
    """The ids of elementwise nests that are not to become epilogues.

    They compute what no epilogue of the engine with more elements does, and have all together at most `GROWTH` percent
    as many elements as the nests have steps. Of pools only those to a single pixel are: a pool of a map may run row by
    row beside the nests around it, which a nest in between would keep apart.

    Args:
        nests: the nests.
        fused: by id of an elementwise nest, the reduction whose epilogue it would be.
        pe: the array.
    """
    epilogues = {id(reduction): reader for reader, reduction in fused.items()}
    kinds: dict[Hashable, dict[frozenset[Any], _Kind]] = {}
    for nest in (nest for nest in nests if nest.reduces):
        reader = next((n for n in nests if id(n) == epilogues.get(id(nest))), None)
        ops = frozenset[Any]() if reader is None else _arithmetic(reader, nest)
        kind = kinds.setdefault(engine_of(nest, pe), {}).setdefault(ops, _Kind())
        kind.readers += [id(reader)] if reader is not None and _can_wait(reader, nest) else []
        kind.elements += prod(t for iv, t in zip(nest.ivs, nest.trips, strict=True) if iv not in nest.reduces)
    left = sum(steps_of(nest, pe) for nest in nests if id(nest) not in fused) * GROWTH // 100
    found = list[int]()
    rated = [(kind, ops, others) for others in kinds.values() for ops, kind in others.items() if kind.readers]
    for kind, ops, others in sorted(rated, key=lambda rating: rating[0].elements):
        larger = [other for other, k in others.items() if k.elements > kind.elements]
        if larger and kind.elements <= left and not ops <= frozenset[Any]().union(*larger):
            found += kind.readers
            left -= kind.elements
    return found


def _can_wait(reader: PlainNest, reduction: PlainNest) -> bool:
    """Whether an epilogue is one of the array, or has a single pixel."""
    lane = lane_of(reader)
    return summed_lane(reduction) is not None or (lane is not None and prod(reader.trips) == reader.trip(lane))


def _arithmetic(nest: PlainNest, reduction: PlainNest) -> frozenset[Any]:
    """What the ops of an epilogue compute, up to constants: an op's name and what its operands are.

    A sum and one with a bias are equal, since a sum without a bias is one with a bias of 0.
    """
    sums = {s.memref for s in reduction.stores}
    keys: dict[ir.Value, Any] = {v: "sum" if t.memref in sums else "load" for v, t in nest.loads.items()}
    for op in nest.body:
        name = op.operation.name
        if op.results and op.results[0] not in keys:
            args = [keys.get(value, "constant") for value in op.operands]
            if name == "arith.addi":
                args.sort(key=str)
            is_same = name.startswith("arith.") and len(args) == 1  # a cast
            keys[op.results[0]] = args[0] if is_same else "sum" if args == ["load", "sum"] else (name, *args)
    return frozenset(key for key in keys.values() if key[0] in _ARITHMETIC)
