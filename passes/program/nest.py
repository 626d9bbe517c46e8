r"""A loop nest of the scheduled IR, read into Python: loops, accesses, dataflow.

A scheduled nest is

    affine.for ...                      outer time loops, over outputs
      affine.parallel (lanes)           accumulators <- initial value   \  (two where they slide)
      affine.for ...                    reduction time loops             | absent in a nest that reduces nothing
        affine.parallel (lanes)         the body                        /
      affine.parallel (lanes)           the epilogue

`affine.for` is time: one iteration of the flattened loops starts per cycle. `affine.parallel` is space: one lane per
point. Loops over outputs may also stand inside the reduction, so that a word of weights is read once for all of their
pixels, each of which has accumulators of its own. Such pixel loops then surround each of the three `affine.parallel`:

    affine.for ...                      outer time loops
      affine.for ... affine.parallel    accumulators <- initial value, for every pixel
      affine.for ...                    reduction time loops
        affine.for ... affine.parallel  pixel loops, the body
      affine.for ... affine.parallel    the epilogue of every pixel, in the last iteration of the reduction loops

Memory planning, engine formation, cycle assignment and the lowering to hardware all read nests through this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from operator import mul
from typing import Any, NamedTuple

import numpy as np
from torch_mlir import ir

from gradcam.errors import GradcamError, fail
from gradcam.passes.ir.linear_form import Linear, access_forms, guard_forms, guarded_store, plus, substitute
from gradcam.passes.ir.queries import (
    block_ops,
    constant_entries,
    constant_trip,
    int_constant,
    is_argument,
    is_scalar,
    location_name,
    main_function,
    parallel_extents,
    strides_of,
)
from gradcam.passes.program.accumulators import Accumulator, Register, read_accumulators, register_of

#: The number of the predicate `ult` of arith.cmpi.
_LESS = 6


@dataclass(eq=False)
class Loop:
    """One `affine.for`: `trip` iterations from 0, step 1."""

    op: ir.OpView
    trip: int

    @property
    def iv(self) -> ir.Value:
        """The induction variable."""
        return self.op.regions[0].blocks[0].arguments[0]


@dataclass(eq=False)
class Access:
    """A load or store of memory, for all lanes at once.

    Attributes:
        op: the affine.load or affine.store.
        memref: the buffer.
        index: row-major element index of lane 0, over time loops and symbols.
        strides: element stride per lane dimension.
        extents: size of each lane dimension.
        guards: forms that must all be at least 0 for the access to happen.
        otherwise: the value of a load whose guards do not hold.
        second: a load that some of the lanes read instead, if any.
    """

    op: ir.OpView
    memref: ir.Value
    index: Linear
    strides: tuple[int, ...]
    extents: tuple[int, ...]
    guards: list[Linear] = field(default_factory=list)
    otherwise: int = 0
    second: Second | None = None

    @property
    def words(self) -> list[Access]:
        """The access, and the load that some of the lanes read instead."""
        return [self, self.second.access] if self.second else [self]

    def at(self, point: Sequence[int]) -> Access:
        """The load that a lane reads."""
        second = self.second
        return second.access if second and point[second.dim] >= second.first else self

    @property
    def lanes(self) -> int:
        """The number of adjacent elements that all lanes together access."""
        n = 1
        for stride, extent in zip(self.strides, self.extents, strict=True):
            n *= extent if stride else 1
        return n

    @property
    def element_bits(self) -> int:
        """Width of an element."""
        return ir.IntegerType(ir.MemRefType(self.memref.type).element_type).width


class Second(NamedTuple):
    """The load that the lanes from `first` on along the lane dimension `dim` read."""

    access: Access
    dim: int
    first: int


@dataclass(eq=False)
class Node:
    """A value of the dataflow, one per lane it depends on.

    Attributes:
        kind: "load", "acc", "const", "iv", "reduce", "table" or an op name such as "arith.addi".
        type_: the element type.
        args: operands.
        what: the access (load), registers (acc), value (const), loop (iv), entries (table), attributes (ops).
        dims: lane dimensions it depends on.
        op: the IR op it comes from; carries the pipeline stage.
        reduced: lane dimensions that a "reduce" sums over.
    """

    kind: str
    type_: ir.Type
    args: tuple[Node, ...] = ()
    what: Any = None
    dims: frozenset[int] = frozenset()
    op: Any = None
    reduced: tuple[int, ...] = ()

    @property
    def bits(self) -> int:
        """Width of the value; an index used as data is as wide as the i32 it is cast to."""
        return ir.IntegerType(self.type_).width if isinstance(self.type_, ir.IntegerType) else 32

    @property
    def reads_accumulator(self) -> bool:
        """Whether it is, or is computed from, an accumulator."""
        return self.kind == "acc" or any(arg.reads_accumulator for arg in self.args)


@dataclass(eq=False)
class Sink:
    """The destination of a value: `target` is the registers of an accumulator, or an `Access` of memory."""

    target: Any
    value: Node
    op: ir.OpView


@dataclass(eq=False)
class Dataflow:
    """The dataflow graph of one `affine.parallel`: its sinks, and the nodes that they need, in program order."""

    extents: list[int] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    sinks: list[Sink] = field(default_factory=list)

    @property
    def loads(self) -> list[Access]:
        """Memory reads in program order."""
        return [word for access in self.operands for word in access.words]

    @property
    def operands(self) -> list[Access]:
        """The accesses of the loaded nodes, in program order."""
        return [n.what for n in self.nodes if n.kind == "load"]

    @property
    def stores(self) -> list[Access]:
        """Memory writes in program order."""
        return [s.target for s in self.sinks if isinstance(s.target, Access)]


@dataclass(eq=False)
class Nest:
    """A scheduled loop nest.

    Attributes:
        op: the outermost loop.
        outer, reduction, pixels: the time loops, each outermost first; see the top of this file.
        accumulators: the accumulators.
        body: the dataflow of a step; None when the nest reduces nothing.
        epilogue: the dataflow of an output.
    """

    op: ir.OpView
    outer: list[Loop]
    reduction: list[Loop]
    accumulators: list[Accumulator]
    body: Dataflow | None
    epilogue: Dataflow
    pixels: list[Loop] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the tensor that the nest computes: the nest's location."""
        return location_name(self.op)

    @property
    def loops(self) -> list[Loop]:
        """Time loops, outermost first."""
        return self.outer + self.reduction + self.pixels

    @property
    def outputs(self) -> list[Loop]:
        """The loops over outputs, in the order in which the epilogue runs through them."""
        return self.outer + self.pixels

    def in_body(self, access: Access) -> bool:
        """Whether an access is a load of the body, which is made in the steps, and not of the epilogue."""
        return self.body is not None and any(access is a for a in self.body.loads)

    @property
    def turns(self) -> int:
        """The pixels that take turns on a word of weights: iterations of the pixel loops."""
        return prod(loop.trip for loop in self.pixels)

    def output_steps(self, outputs: np.ndarray) -> np.ndarray:
        """The step, from 0, whose epilogue makes each of the given outputs, numbered over the `outputs` loops."""
        turns, reduction = self.turns, prod(loop.trip for loop in self.reduction)
        return (outputs // turns + 1) * (reduction * turns) - turns + outputs % turns

    @property
    def picked(self) -> list[Register]:
        """What the nest reads of accumulators by a run-time term."""
        found = [n.what for flow in self.flows for n in flow.nodes if n.kind == "acc"]
        return [register for register in found if register.term is not None]

    @property
    def products(self) -> int:
        """Multiplications of its reduction body in a step: those of all lanes."""
        if self.body is None:
            return 0
        extents = self.body.extents
        return sum(prod(extents[d] for d in node.dims) for node in self.body.nodes if node.kind == "arith.muli")

    @property
    def steps(self) -> int:
        """Iterations of the flattened time loops."""
        n = 1
        for loop in self.loops:
            n *= loop.trip
        return n

    @property
    def loads(self) -> list[Access]:
        """Memory reads, body first."""
        return (self.body.loads if self.body else []) + self.epilogue.loads

    @property
    def stores(self) -> list[Access]:
        """Memory writes."""
        return self.epilogue.stores

    @property
    def flows(self) -> list[Dataflow]:
        """Body (if any) and epilogue."""
        return ([self.body] if self.body else []) + [self.epilogue]


class _FlowReader:
    """Reads one `affine.parallel` (with nested reductions) into a `Dataflow`."""

    def __init__(
        self, accumulators: list[Accumulator], loops: list[Loop], pixels: Sequence[tuple[ir.Value, Loop]] = ()
    ) -> None:
        """Takes the accumulators, the loops, and the pixel loops around the dataflow with those that stand for them."""
        self.accumulators = accumulators
        self.loops = {loop.iv: loop for loop in loops} | dict(pixels)
        self.pixels = [iv for iv, _ in pixels]
        self.pixel_forms: dict[ir.Value, Linear] = {iv: {loop.iv: 1} for iv, loop in pixels}
        self.flow = Dataflow()
        self.op: ir.OpView | None = None  # the op that is read, for messages
        self.values: dict[ir.Value, Node] = {}
        self.lane_dims: dict[ir.Value, int] = {}
        #: Of a comparison of the number of a lane: the lane dimension, and how many lanes are less.
        self.first_lanes: dict[ir.Value, tuple[int, int]] = {}

    def read(self, op: ir.OpView) -> Dataflow:
        self._enter(op)
        return self.flow

    def _enter(self, op: ir.OpView) -> tuple[int, ...]:
        dims = []
        for iv, extent in zip(op.regions[0].blocks[0].arguments, parallel_extents(op), strict=True):
            self.lane_dims[iv] = len(self.flow.extents)
            dims.append(len(self.flow.extents))
            self.flow.extents.append(extent)
        for inner in block_ops(op):
            self.op = inner
            self._op(inner)
        return tuple(dims)

    def _op(self, op: ir.OpView) -> None:
        name = op.operation.name
        if name == "affine.parallel":
            self._reduce(op)
        elif name == "affine.load":
            self._load(op, [], 0, op.results[0])
        elif name == "memref.load":
            self._table(op)
        elif name == "affine.if":
            self._guarded_load(op) if op.results else self._guarded_store(op)
        elif name == "affine.store":
            self._store(op)
        elif name.startswith("arith."):
            if name != "arith.constant":
                self._compute(op)
        else:
            raise fail(op, f"'{name}' has no hardware form inside a scheduled nest")

    def _add(self, value: ir.Value, node: Node) -> None:
        self.values[value] = node
        self.flow.nodes.append(node)

    def _value(self, value: ir.Value) -> Node:
        constant = int_constant(value)
        if constant is not None:
            # One node per use: whether two constants happen to be equal must not change the shape of the dataflow.
            self._add(value, Node("const", value.type, what=constant, op=value.owner))
        elif value not in self.values:
            if value in self.loops:
                self._add(value, Node("iv", value.type, what=self.loops[value]))
            else:
                raise fail(self.op, "a value comes from outside the nest; store it in a buffer of one element")
        return self.values[value]

    def _compute(self, op: ir.OpView) -> None:
        name = op.operation.name
        if name == "arith.cmpi" and op.operands[0] in self.lane_dims:
            self._compare_lanes(op)
            return
        if name == "arith.select" and op.operands[0] in self.first_lanes:
            self._select_lanes(op)
            return
        args = tuple(self._value(v) for v in op.operands)
        attributes = {n: str(op.attributes[n]) for n in op.attributes if not n.startswith("gradcam.")}
        dims = frozenset[int]().union(*(a.dims for a in args))
        self._add(op.results[0], Node(op.operation.name, op.results[0].type, args, attributes, dims, op))

    def _compare_lanes(self, op: ir.OpView) -> None:
        """Which of the lanes are the first ones, of which a load reads another word than the others do."""
        lane, bound = op.operands
        first = int_constant(bound)
        if first is None or ir.IntegerAttr(op.attributes["predicate"]).value != _LESS:
            raise fail(op, "the number of a lane can only be compared by 'ult' with a constant")
        self.first_lanes[op.results[0]] = self.lane_dims[lane], first

    def _select_lanes(self, op: ir.OpView) -> None:
        """Two loads of which the lanes read one or the other become one operand."""
        is_first, *chosen = op.operands
        nodes = [self._value(value) for value in chosen]
        alone = all(
            n.kind == "load" and not n.what.second and len(list(v.uses)) == 1
            for n, v in zip(nodes, chosen, strict=True)
        )
        if not alone or nodes[0].what.strides != nodes[1].what.strides:
            raise fail(
                op, "by its number a lane can only choose between two loads that nothing else reads, of the same lanes"
            )
        dim, first = self.first_lanes[is_first]
        node, other = nodes
        node.what.second = Second(other.what, dim, first)
        node.dims |= {dim}
        self.flow.nodes.remove(other)
        self.values[op.results[0]] = node

    def _table(self, op: ir.OpView) -> None:
        memref, index = op.operands
        node = self._value(index)
        bits = node.args[0].bits if node.kind == "arith.index_castui" else 0
        entries = constant_entries(memref)
        if entries is None or len(entries) != 1 << bits:
            raise fail(op, "a value can only be looked up in a constant with an entry for each of its bit patterns")
        self._add(op.results[0], Node("table", op.results[0].type, (node,), entries, node.dims, op))

    def _reduce(self, op: ir.OpView) -> None:
        kinds = [ir.IntegerAttr(a).value for a in ir.ArrayAttr(op.attributes["reductions"])]
        if kinds != [1]:
            raise fail(op, 'lanes can only be reduced by one integer sum: reduce ("addi")')
        dims = self._enter(op)
        inner = self._value(list(op.regions[0].blocks[0].operations)[-1].operands[0])
        self._add(
            op.results[0],
            Node("reduce", op.results[0].type, (inner,), dims=inner.dims - set(dims), op=op, reduced=dims),
        )

    def _access(self, op: ir.OpView, memref: ir.Value, indices: list[ir.Value]) -> Access:
        forms = self._over_pixels(access_forms(op, indices))
        index: Linear = {}
        for form, stride in zip(forms, strides_of(ir.MemRefType(memref.type)), strict=True):
            index = plus(index, form, stride)
        strides = [0] * len(self.flow.extents)
        for value in [t for t in index if t in self.lane_dims]:
            strides[self.lane_dims[value]] = index.pop(value)
        if any(isinstance(t, ir.Value) and t not in self.loops for t in index):
            raise fail(op, "an index must be a loop of the nest or a symbol read from a buffer of one element")
        access = Access(op, memref, index, tuple(strides), tuple(self.flow.extents))
        offsets = {sum(map(mul, strides, point)) for point in product(*map(range, access.extents))}
        if offsets != set(range(access.lanes)):
            raise fail(op, "the lanes of an access must be adjacent elements; only its last indices may be lanes")
        return access

    def _over_pixels(self, forms: Sequence[Linear]) -> list[Linear]:
        """The forms over the pixel loops of the nest, in place of those around this dataflow."""
        return [substitute(form, self.pixel_forms) for form in forms]

    def _accumulator(self, memref: ir.Value) -> int | None:
        return next((i for i, a in enumerate(self.accumulators) if a.memref == memref), None)

    def _load(self, op: ir.OpView, guards: list[Linear], otherwise: int, result: ir.Value) -> None:
        memref, *indices = op.operands
        number = self._accumulator(memref)
        if number is None:
            access = self._access(op, memref, indices)
            access.guards, access.otherwise = guards, otherwise
            dims = frozenset(d for d, s in enumerate(access.strides) if s)
            self._add(result, Node("load", result.type, what=access, dims=dims, op=op))
        else:
            register = register_of(number, op, indices, self.lane_dims, self.pixels)
            self._add(result, Node("acc", result.type, what=register, dims=register.dims, op=op))

    def _guarded_load(self, op: ir.OpView) -> None:
        then, otherwise = (list(r.blocks[0].operations) if r.blocks else [] for r in op.regions)
        constant = int_constant(otherwise[-1].operands[0]) if len(otherwise) == 1 else None
        if len(then) != 2 or then[0].operation.name != "affine.load" or constant is None:
            raise fail(op, "affine.if must choose between one load and a constant")
        if is_scalar(then[0].operands[0]):
            raise fail(op, "only a stream or a buffer in memory can be padded, not what has one element")
        self._load(then[0], self._over_pixels(guard_forms(op)), constant, op.results[0])

    def _guarded_store(self, op: ir.OpView) -> None:
        store = guarded_store(op)
        memref = store.operands[1]
        if is_argument(memref) or is_scalar(memref) or self._accumulator(memref) is not None:
            raise fail(op, "only a store to a buffer in memory can be guarded")
        self._store(store, self._over_pixels(guard_forms(op)))

    def _store(self, op: ir.OpView, guards: list[Linear] | None = None) -> None:
        value, memref, *indices = op.operands
        number = self._accumulator(memref)
        if number is not None:
            register = register_of(number, op, indices, self.lane_dims, self.pixels)
            self.flow.sinks.append(Sink(register, self._value(value), op))
            return
        access = self._access(op, memref, indices)
        access.guards = guards or []
        self.flow.sinks.append(Sink(access, self._value(value), op))


def read_nest(op: ir.OpView) -> Nest:
    """Reads a top-level scheduled `affine.for`.

    Raises:
        GradcamError: the nest is not of the form at the top of this file.
    """
    outer, inner = _loops(op)
    names = [o.operation.name for o in inner]
    if names == ["affine.parallel"]:
        return Nest(op, outer, [], [], None, _FlowReader([], outer).read(inner[0]))
    setting = ["affine.parallel"], ["affine.parallel"] * 2
    if names == ["affine.for"] * 3:
        return _read_pixels(op, outer, inner)
    if names not in [[*before, "affine.for", "affine.parallel"] for before in setting]:
        raise _unscheduled(op, names)
    *setting, loop, epilogue = inner
    accumulators = read_accumulators(setting, outer[-1].iv)
    reduction, step = _band(loop)
    body = _FlowReader(accumulators, outer + reduction).read(step)
    return Nest(op, outer, reduction, accumulators, body, _FlowReader(accumulators, outer).read(epilogue))


def _read_pixels(op: ir.OpView, outer: list[Loop], bands: Sequence[ir.OpView]) -> Nest:
    """Reads a nest with pixel loops: `bands` set the accumulators, reduce, and make the outputs."""
    (first, setting), (loops, step), (last, output) = map(_band, bands)
    reduction, pixels = loops[: -len(first)], loops[-len(first) :]
    trips = [loop.trip for loop in pixels]
    if not reduction or any([loop.trip for loop in band] != trips for band in (first, last)):
        raise fail(op, "the loops over pixels must be the same around the accumulators, the body and the epilogue")
    accumulators = read_accumulators([setting], outer[-1].iv, [loop.iv for loop in first])
    own = [(loop.iv, loop) for loop in pixels]
    body = _FlowReader(accumulators, outer + reduction, own).read(step)
    alike = [(loop.iv, pixel) for loop, pixel in zip(last, pixels, strict=True)]
    # The forms of the epilogue are over the pixel loops around the body.
    epilogue = _FlowReader(accumulators, outer + pixels, alike).read(output)
    return Nest(op, outer, reduction, accumulators, body, epilogue, pixels)


def _band(loop: ir.OpView) -> tuple[list[Loop], ir.OpView]:
    """The perfectly nested loops from `loop` on, and the affine.parallel in the innermost one."""
    loops, inner = _loops(loop)
    if [o.operation.name for o in inner] != ["affine.parallel"]:
        raise _unscheduled(loop, [o.operation.name for o in inner])
    return loops, inner[0]


def _loops(op: ir.OpView) -> tuple[list[Loop], list[ir.OpView]]:
    """The perfectly nested loops from `op` on, and the ops in the innermost one."""
    loops = [Loop(op, constant_trip(op))]
    inner = block_ops(op)
    while [o.operation.name for o in inner] == ["affine.for"]:
        loops.append(Loop(inner[0], constant_trip(inner[0])))
        inner = block_ops(inner[0])
    return loops, inner


def _unscheduled(op: ir.OpView, names: list[str]) -> GradcamError:
    holds = ", ".join(names) or "nothing"
    return fail(op, f"this is no scheduled nest: the loop holds {holds}; run gradcam-split-time-space first")


def read_nests(module: ir.Module) -> list[Nest]:
    """All scheduled nests of the module's function, in program order.

    This is an analysis (`gradcam.passes.infra.analyses`); passes that only set attributes preserve it.
    """
    operations = main_function(module).regions[0].blocks[0].operations
    return [read_nest(op) for op in operations if op.operation.name == "affine.for"]
