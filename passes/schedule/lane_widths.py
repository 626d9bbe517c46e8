"""The lanes of nests: loops that become space, and how many lanes nests beside the array have.

A nest of a pool, or of an elementwise op that no reduction takes in, has a small part of the steps of a program. With
half the lanes its engine is half as large, and it takes twice as many steps. So it has as few lanes as keep up with the
array. Steps that may be hidden beside it do not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from math import gcd, prod
from typing import NamedTuple

from torch_mlir import ir

from gradcam.passes.ir.queries import is_argument
from gradcam.passes.program.clock import EXTENSION
from gradcam.passes.schedule.plain_nest import PlainNest
from gradcam.passes.schedule.sliding import find_sliding
from gradcam.pe import PE

#: Steps that narrow nests may add to the inference, and to the rest, in percent of those of all nests there.
GROWTH = 2


class Lanes(NamedTuple):
    """A nest that may have fewer lanes.

    Attributes:
        engine: equal for nests that share an engine, which have equal lanes.
        lanes: its lanes.
        steps: its steps with these lanes.
        infers: whether it is a part of the inference.
    """

    engine: Hashable
    lanes: int
    steps: int
    infers: bool = True


def fewer_lanes(nests: Sequence[Lanes], steps: Mapping[bool, int]) -> dict[Hashable, int]:
    """The lanes of each engine: they are halved where a lane less adds the fewest steps, as long as few are added.

    Args:
        nests: the nests whose lanes are chosen.
        steps: the steps of all nests of the inference, under True, and of all others.
    """
    lanes = {nest.engine: nest.lanes for nest in nests}
    left = Counter({infers: n * GROWTH // 100 for infers, n in steps.items()})
    while True:
        added = {engine: Counter[bool]() for engine, n in lanes.items() if n % 2 == 0}
        for nest in nests:
            if nest.engine in added:
                added[nest.engine][nest.infers] += nest.steps * nest.lanes // lanes[nest.engine]
        fitting = [engine for engine, more in added.items() if more <= left]
        if not fitting:
            return lanes
        engine = min(fitting, key=lambda e: added[e].total() / lanes[e])
        left -= added[engine]
        lanes[engine] //= 2


def choose_lanes(nests: Sequence[PlainNest], pe: PE, inferring: set[int]) -> dict[int, int]:
    """The lanes of each nest, by its id.

    Args:
        nests: all nests that become one, in order; an epilogue counts with its reduction.
        pe: the array.
        inferring: the ids of nests of the inference.
    """
    lanes = {id(nest): _whole_lanes(nest, pe) for nest in nests}
    steps = {id(nest): steps_of(nest, pe) for nest in nests}
    engines = {id(nest): _engine(nest, lanes[id(nest)]) for nest in nests}
    total = Counter[bool]()
    for number, n in steps.items():
        total[number in inferring] += n
    neighbours = [pair for a, b in pairwise(nests) for pair in ((a, b), (b, a))]
    hidden = {id(nest) for product, nest in neighbours if _hides(product, nest, pe)}
    beside = [
        Lanes(e, lanes[n], 0 if n in hidden else steps[n], n in inferring) for n, e in engines.items() if e is not None
    ]
    chosen = fewer_lanes(beside, total)
    return {n: lanes[n] if engine is None else chosen[engine] for n, engine in engines.items()}


def _hides(product: PlainNest, nest: PlainNest, pe: PE) -> bool:
    """Whether an elementwise nest takes no more steps than its neighbour on the array, even with one lane.

    One of them reads what the other one writes, so that they may run side by side (`gradcam-overlap-nests`).
    """
    if nest.reduces or not product.reduces or summed_lane(product) is None or lane_of(product) is None:
        return False
    both = ((a.stores, b.loads.values()) for a, b in ((product, nest), (nest, product)))
    meets = any(store.memref == load.memref for stores, loads in both for store in stores for load in loads)
    return meets and prod(nest.trips) <= steps_of(product, pe)


def _engine(nest: PlainNest, lanes: int) -> Hashable | None:
    """What nests that will share an engine have in common; None for nests that keep their lanes."""
    lane = lane_of(nest)
    if lane is None or is_data(lane, nest) or any(is_argument(t.memref) for t in nest.touches):
        return None
    if not nest.reduces:
        return lanes, "elementwise"
    if summed_lane(nest) is not None or find_sliding(nest, lane) is not None or len(nest.stores) > 1:
        return None
    return lanes, *_body(nest)


def engine_of(nest: PlainNest, pe: PE) -> Hashable:
    """What reductions that will share an engine have in common."""
    return _whole_lanes(nest, pe), summed_lane(nest) is not None, *_body(nest)


def _body(nest: PlainNest) -> list[str]:
    """The names of the arithmetic of a nest; all extensions count as one."""
    names = [op.operation.name for op in nest.body]
    return ["extension" if n in EXTENSION else n for n in names if n.startswith("arith.")]


def steps_of(nest: PlainNest, pe: PE) -> int:
    """The steps of a nest with all of its lanes."""
    summed = summed_lane(nest) if nest.reduces else None
    return prod(nest.trips) // (1 if summed is None else nest.trip(summed)) // _whole_lanes(nest, pe)


def _whole_lanes(nest: PlainNest, pe: PE) -> int:
    """All lanes of a reduction; else all of a short lane loop, and of a long one a divisor."""
    lane = lane_of(nest)
    trip = 1 if lane is None else nest.trip(lane)
    if nest.reduces:
        return trip
    wide = pe.lanes if any(is_argument(t.memref) for t in nest.loads.values()) else pe.oc
    return trip if trip <= wide else gcd(trip, wide)


def lane_of(nest: PlainNest) -> ir.Value | None:
    """The loop over output lanes: the innermost loop along the last dimension of the buffer that the nest stores."""
    return next((iv for iv in reversed(nest.ivs) if nest.stores[0].forms[-1].get(iv) == 1), None)


def is_same(a: ir.Value, b: ir.Value | None) -> bool:
    """Equality of two values, either of which may be None; the bindings' own equality does not accept None."""
    return b is not None and a == b


def is_data(iv: ir.Value | None, nest: PlainNest) -> bool:
    """Whether the nest computes with the loop's induction variable."""
    return any(is_same(v, iv) for op in nest.body if op.operation.name.startswith("arith.") for v in op.operands)


def summed_lane(nest: PlainNest) -> ir.Value | None:
    """The reduction loop over lanes that an adder tree can sum: acc + term, where no term depends on acc."""
    candidates = [iv for iv in nest.reduces if any(t.forms[-1].get(iv) == 1 for t in nest.loads.values())]
    if not candidates or len(nest.stores) != 1 or term_of(nest) is None:
        return None
    return candidates[-1]


def term_of(nest: PlainNest) -> ir.Value | None:
    """The term of a nest that computes acc = acc + term; None for any other nest."""
    total = nest.stores[0].op.operands[0].owner
    if isinstance(total, ir.Block) or total.operation.name != "arith.addi":
        return None
    accumulators = {v for v, t in nest.loads.items() if nest.accumulated(t)}
    terms = [v for v in total.operands if v not in accumulators]
    return terms[0] if len(terms) == 1 else None
