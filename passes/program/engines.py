"""Engines: nests whose reduction bodies are equal up to constants and lanes of memory words share one datapath.

An engine has one configuration per nest that it runs. A configuration holds all that differs between these nests: trip
counts, strides, base addresses, padding limits, rescale constants, which bytes have a sign, the assignment of a word's
lanes to the lanes of an operand, and the epilogue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gradcam.passes.ir import attributes
from gradcam.passes.ir.attributes import ENGINE, EPILOGUE, STAGE
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.ir.queries import is_argument, is_global, is_scalar
from gradcam.passes.program.banks import kind_of_constants
from gradcam.passes.program.clock import EXTENSION, LATENCY
from gradcam.passes.program.nest import Access, Dataflow, Loop, Nest, Node


def access_kind(access: Access) -> str:
    """The kind of engine port that an access needs.

    Returns:
        "stream": a function argument, element by element; "port": a one-element argument that is read;
        "register": a buffer of one element; "memory": everything else.
    """
    load = access.op.operation.name == "affine.load"
    if is_argument(access.memref):
        return "port" if load and is_scalar(access.memref) else "stream"
    return "register" if is_scalar(access.memref) else "memory"


def pattern(access: Access) -> tuple[Any, ...]:
    """A key of an access: accesses with equal keys can share a port of an engine."""
    # Output streams are selected by the configuration, so that all results leave through one engine.
    is_input = is_argument(access.memref) and access.op.operation.name == "affine.load"
    argument = access.memref.arg_number if is_input else None
    return access_kind(access), argument, access.strides, access.extents, access.element_bits


def source(access: Access) -> tuple[Any, ...]:
    """A key of a load in an epilogue: constants and data come from ports of their own."""
    return is_global(access.memref), pattern(access)


def operand(access: Access) -> tuple[Any, ...]:
    """A key of a load in a reduction body: loads with equal keys can be one operand of the datapath.

    An operand from memory may have several read ports, each with its own order of lanes. For example, a convolution
    and its transpose read the same weights with input and output lanes swapped. Nor need integers that are extended be
    of equal width.
    """
    return ("memory", access.extents) if access_kind(access) == "memory" else pattern(access)


def signature(flow: Dataflow, loops: list[Loop], load: Callable[[Access], tuple[Any, ...]] = source) -> tuple[Any, ...]:
    """A key of a dataflow: dataflows with equal keys are the same hardware.

    Constants and the entries of tables are not part of the key, nor is whether an integer is extended by its sign or by
    zeros: a configuration holds them. Loads are compared by the key that `load` returns, and by their width unless they
    are only extended.
    """
    number = {id(n): i for i, n in enumerate(flow.nodes)}
    read = {id(a) for n in flow.nodes if n.kind not in EXTENSION for a in n.args} | {id(s.value) for s in flow.sinks}

    def node(n: Node) -> tuple[Any, ...]:
        what: Any = None
        if n.kind == "load":
            what = load(n.what)
        elif n.kind == "acc":  # which register a term reads is no hardware
            what = n.what if n.what.term is None else n.what._replace(term=(n.what.term[0], n.what.term[2]))
        elif n.kind == "iv":
            what = len(loops) - loops.index(n.what)
        elif n.kind not in ("const", "table"):
            what = (tuple(sorted((n.what or {}).items())), n.reduced)
        kind = EXTENSION if n.kind in EXTENSION else n.kind
        type_ = None if load is operand and n.kind == "load" and id(n) not in read else str(n.type_)
        return kind, type_, what, tuple(number[id(a)] for a in n.args)

    sinks = [(pattern(s.target) if isinstance(s.target, Access) else s.target, number[id(s.value)]) for s in flow.sinks]
    return tuple(flow.extents), tuple(node(n) for n in flow.nodes), tuple(sinks)


def engine_key(nest: Nest) -> tuple[Any, ...]:
    """A key of a nest: nests with equal keys share an engine."""
    streams = [pattern(a) for a in nest.loads + nest.stores if access_kind(a) == "stream"]
    if nest.body is None:
        return (
            ("stream", signature(nest.epilogue, nest.outputs))
            if streams
            else ("elementwise", tuple(nest.epilogue.extents))
        )
    accumulators = tuple((a.bits, a.lanes, a.initial, a.group) for a in nest.accumulators)
    return "reduce", accumulators, signature(nest.body, nest.loops, operand), tuple(streams)


def engine_name(nest: Nest) -> str:
    """Name of the engine that runs a nest.

    Returns:
        "mac", "dot" (without constants), "depthwise", "sum", "scan", "max" or "reduce" by the ops of the reduction
        body; for a nest without one, "load" or "store" where it reads or writes a stream, else "elementwise".
    """
    kinds = {access_kind(a) for a in nest.loads}
    if nest.body is None:
        if "stream" in kinds:
            return "load"
        return "store" if any(access_kind(a) == "stream" for a in nest.stores) else "elementwise"
    ops = {n.kind for n in nest.body.nodes}
    if "arith.muli" in ops:
        sums = "mac" if any(is_global(a.memref) for a in nest.body.operands) else "dot"
        return sums if "reduce" in ops else "depthwise"
    names = (("arith.addi", "sum"), ("arith.select", "scan"), ("arith.maxsi", "max"), ("arith.maxui", "max"))
    for op, name in names:
        if op in ops:
            return name
    return "reduce"


def stage_of(op: Any) -> int:
    """Pipeline stage of an op, as assigned by gradcam-assign-cycles."""
    return STAGE.get(op)


def latency_of(op: Any, kind: str) -> int:
    """Latency of an op in cycles: from its inputs, or for a "load" from its address, to its result."""
    latency = attributes.LATENCY.find(op)
    return LATENCY.get(kind, 0) if latency is None else latency


@dataclass(eq=False)
class Slot:
    """A port of an engine, shared by accesses of its configurations.

    Attributes:
        name: name of the port.
        operand: name of the operand of the reduction body that the port feeds. Ports with equal names are alternatives
            for one operand, from which each configuration selects one.
        kind: see `access_kind`.
        store: whether the accesses are stores.
        stage: pipeline stage of the accesses.
        accesses: the access of each configuration; None where a configuration does not use the port.
    """

    name: str
    operand: str
    kind: str
    store: bool
    stage: int
    accesses: list[Access | None]

    @property
    def example(self) -> Access:
        """The first access of the slot; all of them have the same pattern."""
        return next(a for a in self.accesses if a is not None)


@dataclass(eq=False)
class Epilogue:
    """One of the epilogues of an engine, and the numbers of the configurations that use it."""

    flow: Dataflow
    configurations: list[int]


@dataclass(eq=False)
class Engine:
    """A datapath with its configurations.

    Attributes:
        name: name of the engine.
        configurations: the nest of each configuration, in program order.
        epilogues: the epilogues, in the order of their first configurations.
        slots: the ports.
        slot_of: the port of each access, by the access's id.
    """

    name: str
    configurations: list[Nest]
    epilogues: list[Epilogue]
    slots: list[Slot] = field(default_factory=list)
    slot_of: dict[int, Slot] = field(default_factory=dict)

    @property
    def outer_depth(self) -> int:
        """Number of outer time loops that the loop counters have room for."""
        return max(len(n.outer) for n in self.configurations)

    @property
    def reduced_depth(self) -> int:
        """Number of outer and reduction loops that the loop counters have room for."""
        return self.outer_depth + max(len(n.reduction) for n in self.configurations)

    def loops(self, nest: Nest) -> list[Loop | None]:
        """The time loops of a configuration's nest, aligned with the loop counters.

        Each group, outer, reduction and pixel loops, is padded in front with None.
        """
        out = list[Loop | None]()
        for groups, own in zip(self._groups, (nest.outer, nest.reduction, nest.pixels), strict=True):
            out += [None] * (max(map(len, groups)) - len(own)) + own
        return out

    @property
    def _groups(self) -> list[tuple[list[Loop], ...]]:
        """Of outer, reduction and pixel loops, those of every configuration."""
        return list(zip(*((n.outer, n.reduction, n.pixels) for n in self.configurations), strict=True))

    def trips(self, nest: Nest) -> list[int]:
        """Trip counts of the aligned loops; 1 where the nest has no loop."""
        return [1 if loop is None else loop.trip for loop in self.loops(nest)]

    def deltas(self, nest: Nest, form: Linear) -> list[int]:
        """Increments of an address register by the loop that advances.

        For loop l with coefficient c_l in `form`: c_l - sum over the loops m inside l of c_m * (n_m - 1), with n_m
        their trip counts.
        """
        loops, trips = self.loops(nest), self.trips(nest)
        coefficients = [0 if loop is None else form.get(loop.iv, 0) for loop in loops]
        span = [c * (n - 1) for c, n in zip(coefficients, trips, strict=True)]
        return [c - sum(span[i + 1 :]) for i, c in enumerate(coefficients)]


def collect(all_nests: Iterable[Nest]) -> list[Engine]:
    """The engines of a program, from the attributes `gradcam.engine` and `gradcam.epilogue` of its nests."""
    groups: dict[str, list[Nest]] = {}
    for nest in all_nests:
        groups.setdefault(ENGINE.get(nest.op), []).append(nest)
    return [_engine(name, configurations) for name, configurations in groups.items()]


def _engine(name: str, configurations: list[Nest]) -> Engine:
    """The engine that runs the given nests, with its epilogues and ports."""
    variants: dict[str, Epilogue] = {}
    for i, nest in enumerate(configurations):
        variants.setdefault(EPILOGUE.get(nest.op), Epilogue(nest.epilogue, [])).configurations.append(i)
    engine = Engine(name, configurations, list(variants.values()))
    names = _Names()
    for accesses in zip(*(n.body.operands for n in configurations if n.body), strict=True):
        _operand_slots(engine, names, accesses)
    _epilogue_slots(engine, names)
    return engine


class _Names:
    """Assigns port names: x for data, the first letter of their kind for constants, y for results."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def _unique(self, name: str) -> str:
        self._used[name] = self._used.get(name, 0) + 1
        return name if self._used[name] == 1 else f"{name}{self._used[name]}"

    def read(self, access: Access) -> str:
        if is_global(access.memref):
            return self._unique(kind_of_constants(access.element_bits)[0])
        return self._unique("x")

    def write(self) -> str:
        return self._unique("y")


def _operand_slots(engine: Engine, names: _Names, accesses: tuple[Access, ...]) -> None:
    """Adds the read ports of one operand: one for each pattern in which the configurations read it.

    Constants and data have ports of their own, for the width of their words may differ. So has the second word of a
    configuration that reads two.
    """
    ports: dict[Any, list[Access | None]] = {}
    for configuration, access in enumerate(accesses):
        for number, word in enumerate(access.words):
            key = number, is_global(word.memref), pattern(word)
            ports.setdefault(key, [None] * len(engine.configurations))[configuration] = word
    first = None
    for shared in ports.values():
        name = names.read(next(a for a in shared if a is not None))
        first = first or name
        _add_slot(engine, name, shared, first)


def _add_slot(engine: Engine, name: str, accesses: list[Access | None], operand: str) -> None:
    """Adds the port `name` of an operand to an engine; `accesses` has the access of each configuration."""
    example = next(a for a in accesses if a is not None)
    store = example.op.operation.name == "affine.store"
    slot = Slot(name, operand, access_kind(example), store, stage_of(example.op), accesses)
    engine.slots.append(slot)
    for access in accesses:
        if access is not None:
            engine.slot_of[id(access)] = slot


def _epilogue_slots(engine: Engine, names: _Names) -> None:
    """Adds the ports of the epilogues; accesses of several epilogues share one if pattern and stages are equal."""
    ports: dict[Any, list[Access | None]] = {}
    for epilogue in engine.epilogues:
        for configuration in epilogue.configurations:
            seen: dict[Any, int] = {}
            flow = engine.configurations[configuration].epilogue
            for access in [*flow.loads, *flow.stores]:
                store = access.op.operation.name == "affine.store"
                constant = is_global(access.memref)
                key = (store, constant, pattern(access), stage_of(access.op), latency_of(access.op, "load"))
                seen[key] = seen.get(key, 0) + 1
                ports.setdefault((*key, seen[key]), [None] * len(engine.configurations))[configuration] = access
    for key, shared in ports.items():
        example = next(a for a in shared if a is not None)
        name = names.write() if key[0] else names.read(example)
        _add_slot(engine, name, shared, name)
