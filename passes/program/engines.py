"""Engines: nests whose reduction bodies are equal up to constants and lanes of memory words share one datapath.

What differs between the nests of an engine (trip counts, strides, bases, padding limits, rescale constants, which lane
of a word an operand's lane takes, which epilogue) is a row of the engine's program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gradcam.passes.ir import attributes
from gradcam.passes.ir.attributes import ENGINE, EPILOGUE, STAGE
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.ir.queries import is_argument, is_global, is_scalar
from gradcam.passes.program.clock import LATENCY
from gradcam.passes.program.nest import Access, Dataflow, Loop, Nest, Node


def access_kind(access: Access) -> str:
    """Where an access goes.

    Returns:
        "stream": a function argument, element by element; "port": a one-element argument that is read;
        "register": a buffer of one element; "memory": everything else.
    """
    load = access.op.operation.name == "affine.load"
    if is_argument(access.memref):
        return "port" if load and is_scalar(access.memref) else "stream"
    return "register" if is_scalar(access.memref) else "memory"


def pattern(access: Access) -> tuple[Any, ...]:
    """What must be equal for two accesses to share a port of an engine."""
    # A stream out is picked by the row, so that all results leave through one engine.
    is_input = is_argument(access.memref) and access.op.operation.name == "affine.load"
    argument = access.memref.arg_number if is_input else None
    return access_kind(access), argument, access.strides, access.extents, access.element_bits


def operand(access: Access) -> tuple[Any, ...]:
    """What must be equal for loads of reduction bodies to be one operand of the datapath.

    A word from a memory comes through one of several ports, each of which hands its lanes out in another way: a
    convolution and its transpose read the same weights with input and output lanes swapped.
    """
    return ("memory", access.extents, access.element_bits) if access_kind(access) == "memory" else pattern(access)


def signature(
    flow: Dataflow, loops: list[Loop], load: Callable[[Access], tuple[Any, ...]] = pattern
) -> tuple[Any, ...]:
    """The dataflow up to constants, and to what `load` leaves open of a load: equal signatures are equal hardware."""
    number = {id(n): i for i, n in enumerate(flow.nodes)}

    def node(n: Node) -> tuple[Any, ...]:
        what: Any = None
        if n.kind == "load":
            what = load(n.what)
        elif n.kind == "acc":
            what = n.what
        elif n.kind == "iv":
            what = len(loops) - loops.index(n.what)
        elif n.kind != "const":
            what = (tuple(sorted((n.what or {}).items())), n.reduced)
        return n.kind, str(n.type_), what, tuple(number[id(a)] for a in n.args)

    sinks = [(s.target if isinstance(s.target, int) else pattern(s.target), number[id(s.value)]) for s in flow.sinks]
    return tuple(flow.extents), tuple(node(n) for n in flow.nodes), tuple(sinks)


def engine_key(nest: Nest) -> tuple[Any, ...]:
    """Nests with equal keys run on one engine."""
    streams = [pattern(a) for a in nest.loads + nest.stores if access_kind(a) == "stream"]
    if nest.body is None:
        return (
            ("stream", signature(nest.epilogue, nest.outer))
            if streams
            else ("elementwise", tuple(nest.epilogue.extents))
        )
    accumulators = tuple((a.bits, a.lanes, a.initial) for a in nest.accumulators)
    return "reduce", accumulators, signature(nest.body, nest.loops, operand), tuple(streams)


def engine_name(nest: Nest) -> str:
    """What an engine does, from its reduction body: mac, sum, max, ...; load and store are the streams."""
    kinds = {access_kind(a) for a in nest.loads}
    if nest.body is None:
        if "stream" in kinds:
            return "load"
        return "store" if any(access_kind(a) == "stream" for a in nest.stores) else "elementwise"
    ops = {n.kind for n in nest.body.nodes}
    if "arith.muli" in ops:
        return "mac"
    for op, name in (("arith.addi", "sum"), ("arith.select", "scan"), ("arith.maxsi", "max")):
        if op in ops:
            return name
    return "reduce"


def stage_of(op: Any) -> int:
    """Pipeline stage of an op, as gradcam-assign-cycles set it."""
    return STAGE.get(op)


def latency_of(op: Any, kind: str) -> int:
    """Cycles from the inputs of an op, or the address of a read ("load"), to the result."""
    latency = attributes.LATENCY.find(op)
    return LATENCY.get(kind, 0) if latency is None else latency


@dataclass(eq=False)
class Slot:
    """A port of an engine: the accesses of all its rows that share it (None where a row does not use it).

    `operand` is the same for the ports between which the rows choose for one operand of the reduction body.
    """

    name: str
    operand: str
    kind: str
    store: bool
    stage: int
    rows: list[Access | None]

    @property
    def example(self) -> Access:
        """Any access of the slot; all have the same pattern."""
        return next(a for a in self.rows if a is not None)


@dataclass(eq=False)
class Epilogue:
    """One of the epilogues of an engine and the rows that pick it."""

    flow: Dataflow
    rows: list[int]


@dataclass(eq=False)
class Engine:
    """A datapath and its program.

    Attributes:
        rows: the nests, in program order.
        epilogues: what follows a reduction, in the order of their first rows.
        slots: ports, found by access through `slot_of`.
    """

    name: str
    rows: list[Nest]
    epilogues: list[Epilogue]
    slots: list[Slot] = field(default_factory=list)
    slot_of: dict[int, Slot] = field(default_factory=dict)

    @property
    def outer_depth(self) -> int:
        """Outer time loops of the odometer."""
        return max(len(n.outer) for n in self.rows)

    @property
    def depth(self) -> int:
        """Time loops of the odometer."""
        return self.outer_depth + max(len(n.reduction) for n in self.rows)

    def loops(self, nest: Nest) -> list[Loop | None]:
        """The row's loops, aligned with the odometer: missing outer ones are None."""
        outer, reduction = self.outer_depth, self.depth - self.outer_depth
        return (
            [None] * (outer - len(nest.outer))
            + nest.outer
            + [None] * (reduction - len(nest.reduction))
            + nest.reduction
        )

    def trips(self, nest: Nest) -> list[int]:
        """Trip counts of the aligned loops."""
        return [1 if loop is None else loop.trip for loop in self.loops(nest)]

    def deltas(self, nest: Nest, form: Linear) -> list[int]:
        """What to add to an address register when loop l ticks: c_l - sum over inner m of c_m * (n_m - 1)."""
        loops, trips = self.loops(nest), self.trips(nest)
        coefficients = [0 if loop is None else form.get(loop.iv, 0) for loop in loops]
        span = [c * (n - 1) for c, n in zip(coefficients, trips, strict=True)]
        return [c - sum(span[i + 1 :]) for i, c in enumerate(coefficients)]


def collect(all_nests: Iterable[Nest]) -> list[Engine]:
    """Engines of a program, from the `gradcam.engine` and `gradcam.epilogue` tags."""
    groups: dict[str, list[Nest]] = {}
    for nest in all_nests:
        groups.setdefault(ENGINE.get(nest.op), []).append(nest)
    return [_engine(name, rows) for name, rows in groups.items()]


def _engine(name: str, rows: list[Nest]) -> Engine:
    variants: dict[str, Epilogue] = {}
    for i, nest in enumerate(rows):
        variants.setdefault(EPILOGUE.get(nest.op), Epilogue(nest.epilogue, [])).rows.append(i)
    engine = Engine(name, rows, list(variants.values()))
    names = _Names()
    for accesses in zip(*(n.body.loads for n in rows if n.body), strict=True):
        _operand_slots(engine, names, accesses)
    _epilogue_slots(engine, names)
    return engine


class _Names:
    """Short port names: x and w feed a product, y is the result, r a residual, then by what they hold."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def _unique(self, name: str) -> str:
        self._used[name] = self._used.get(name, 0) + 1
        return name if self._used[name] == 1 else f"{name}{self._used[name]}"

    def read(self, access: Access) -> str:
        if is_global(access.memref):
            return self._unique({8: "w", 16: "m", 32: "b"}.get(access.element_bits, "c"))
        return self._unique("x")

    def write(self) -> str:
        return self._unique("y")


def _operand_slots(engine: Engine, names: _Names, accesses: tuple[Access, ...]) -> None:
    """A port per way in which the rows read one operand; words of constants and of data may differ in width."""
    ports: dict[Any, list[Access | None]] = {}
    for row, access in enumerate(accesses):
        key = is_global(access.memref), pattern(access)
        ports.setdefault(key, [None] * len(engine.rows))[row] = access
    first = None
    for rows in ports.values():
        name = names.read(next(a for a in rows if a is not None))
        first = first or name
        _add_slot(engine, name, rows, first)


def _add_slot(engine: Engine, name: str, rows: list[Access | None], operand: str) -> None:
    example = next(a for a in rows if a is not None)
    store = example.op.operation.name == "affine.store"
    slot = Slot(name, operand, access_kind(example), store, stage_of(example.op), rows)
    engine.slots.append(slot)
    for access in rows:
        if access is not None:
            engine.slot_of[id(access)] = slot


def _epilogue_slots(engine: Engine, names: _Names) -> None:
    """Accesses of different epilogues share a port when they have the same pattern and stage."""
    ports: dict[Any, list[Access | None]] = {}
    for epilogue in engine.epilogues:
        for row in epilogue.rows:
            seen: dict[Any, int] = {}
            flow = engine.rows[row].epilogue
            for access in [*flow.loads, *flow.stores]:
                store = access.op.operation.name == "affine.store"
                constant = is_global(access.memref)
                key = (store, constant, pattern(access), stage_of(access.op))
                seen[key] = seen.get(key, 0) + 1
                ports.setdefault((*key, seen[key]), [None] * len(engine.rows))[row] = access
    for key, rows in ports.items():
        example = next(a for a in rows if a is not None)
        name = names.write() if key[0] else names.read(example)
        _add_slot(engine, name, rows, name)
