"""The datapath of an engine: the arith ops in pipeline stages, one lane per point of the `affine.parallel` grid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from gradcam.errors import fail
from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.loop_counters import LoopCounters
from gradcam.passes.hw.products import Products
from gradcam.passes.hw.shapes import Shapes
from gradcam.passes.hw.sharing import Multiplier, share_multipliers
from gradcam.passes.hw.value import PREDICATES, State, Value
from gradcam.passes.program.clock import EXTREME, Clock, is_wide, unextended
from gradcam.passes.program.engines import Engine, Epilogue, Slot, latency_of, stage_of
from gradcam.passes.program.nest import Access, Dataflow, Node, Sink

#: arith op -> comb op, for those whose operands keep their width.
COMB = {
    "arith.addi": "add",
    "arith.subi": "sub",
    "arith.muli": "mul",
    "arith.andi": "and",
    "arith.ori": "or",
    "arith.xori": "xor",
    "arith.shrsi": "shrs",
    "arith.shrui": "shru",
    "arith.shli": "shl",
}


class Datapath:
    """Makes lane values on demand, each once, and the registers that carry them from stage to stage.

    Attributes:
        dsp_packing: products of neighbouring lanes that share a factor come out of one multiplication.
        guards: per slot (by id): i1 at stage 0, whether the access happens; None where it always does.
        inputs: per read slot (by id): the data of all lanes, the stage it arrives in (None: always there), the guard.
    """

    def __init__(
        self, b: Builder, engine: Engine, counters: LoopCounters, valid: Value, enable: Value | None, dsp_packing: bool
    ) -> None:
        self.b, self.engine, self.counters, self.valid, self.enable = b, engine, counters, valid, enable
        self.row, self.dsp_packing = counters.row, dsp_packing
        self.guards: dict[int, Value | None] = {}
        self.inputs: dict[int, tuple[Value, int | None, Value | None]] = {}
        #: The nodes of all rows that a node of the first row's body, or a product of an epilogue, stands for.
        bodies = [n.body.nodes for n in engine.rows if n.body]
        self._alike: dict[int, Sequence[Node]] = {id(nodes[0]): nodes for nodes in zip(*bodies, strict=True)}
        #: By product of an epilogue.
        self.multipliers: dict[int, Multiplier] = {}
        self.shapes, self.products = Shapes(engine, self.multipliers), Products(self)
        self._values: dict[Any, tuple[Value, int | None]] = {}
        self._accumulators: dict[tuple[int, int], Value] = {}
        self._accumulator_stage = 0
        #: By value of an accumulator when it is updated: i1, it begins; its initial value; its register.
        self._starts: dict[Value, tuple[Value, Value, Value]] = {}
        #: Slots of what only some rows add to a result: 0 in the other ones.
        self._optional: set[int] = set()
        #: By store slot and value the rows that store it, and its lanes.
        self._outputs: dict[int, dict[int, tuple[list[int], list[Value]]]] = {}

    # Flags and delays.

    def delay(self, value: Value, stages: int, name: str) -> Value:
        """`value`, `stages` cycles later."""
        for i in range(stages):
            value = self.b.register(value, f"{name}_s{i + 1}", self.enable)
        return value

    def flag(self, value: Value, stages: int, name: str) -> Value:
        """An i1 that means something only when it is 1: reset clears it on its way."""
        for i in range(stages):
            value = self.b.register(value, f"{name}_s{i + 1}", self.enable, reset=0)
        return value

    def table(self, entries: Sequence[int], width: int, stage: int = 0) -> Value:
        """The entry of the row whose step is in a stage: the next row may start while a pipeline drains."""
        if self.row is None or len(set(entries)) == 1:
            return self.b.table(None, entries, width)
        # The entry is in a register itself, also in stage 0: a row is there a cycle before its first step.
        return self.b.column(self.delay(self.row, max(stage - 1, 0), "row"), entries, width)

    def departure(self, slot: Slot) -> int:
        """The stage in which an access leaves the engine: with a clock it crosses to its bank in the last cycle."""
        return slot.stage - (Clock.of(slot.example.op).crossing if slot.kind == "memory" else 0)

    def active(self, slot: Slot) -> Value:
        """i1: an access leaves the engine in this cycle; a read outside its buffer is made all the same."""
        nest, access = next((n, a) for n, a in zip(self.engine.rows, slot.rows, strict=True) if a is not None)
        in_body = nest.body is not None and any(access is a for a in nest.body.loads)
        start = [self.valid, self._used(slot)] if in_body else [self.valid, self.counters.last, self._used(slot)]
        guard = self.guards[id(slot)]
        start += [guard] if slot.store and guard is not None else []
        return self.flag(self.b.all_of(*start), self.departure(slot), "step" if in_body else "output")

    def _used(self, slot: Slot, stage: int = 0) -> Value:
        """i1: the row whose step is in a stage uses the slot."""
        return self.table([int(a is not None) for a in slot.rows], 1, stage)

    # Construction.

    def build(self) -> None:
        """Makes accumulators and epilogues; afterwards `output` answers."""
        share_multipliers(self.engine, self.multipliers, self.shapes.number)
        for multiplier in self.multipliers.values():
            self._alike |= {id(n): list(multiplier.products.values()) for n in multiplier.products.values()}
        self.shapes.make_columns()
        body = self.engine.rows[0].body
        if body is not None:
            self._reduce(body)
        stores = [slot for slot in self.engine.slots if slot.store]
        totals = {id(slot): self._totals([sink.value for _, sink in self._sinks(slot)]) for slot in stores}
        for multiplier in self.multipliers.values():
            multiplier.totals = self._totals([unextended(a) for n in multiplier.products.values() for a in n.args])
        for slot in stores:
            choices = self._outputs.setdefault(id(slot), {})
            for epilogue, sink in self._sinks(slot):
                value = totals[id(slot)].get(sink.value.what, sink.value) if sink.value.kind == "acc" else sink.value
                lanes = self._gather(sink.target, value, self.departure(slot))
                choices.setdefault(id(value), ([], lanes))[0].extend(epilogue.rows)

    def output(self, slot: Slot) -> Value:
        """The data of a store slot: the value that the row stores."""
        rows, lanes = zip(*reversed(self._outputs[id(slot)].values()), strict=True)
        stage = self.departure(slot)
        return self.b.concat([self.pick(values, rows, stage) for values in zip(*lanes, strict=True)])

    def pick(self, values: Sequence[Value], rows: Sequence[Sequence[int]], stage: int) -> Value:
        """The value of the row whose step is in a stage; `rows` are those of each value."""
        numbers = [next((i for i, own in enumerate(rows) if row in own), 0) for row in range(len(self.engine.rows))]

        def choose(values: Sequence[Value], bit: int) -> Value:
            if len(values) == 1:
                return values[0]
            odd = self.table([n >> bit & 1 for n in numbers], 1, stage)
            return self.b.mux(odd, choose(values[1::2], bit + 1), choose(values[::2], bit + 1))

        return choose(values, 0)

    def _sinks(self, slot: Slot) -> list[tuple[Epilogue, Sink]]:
        """The values that are stored through a slot, each with its epilogue."""
        sinks = [(e, s) for e in self.engine.epilogues for s in e.flow.sinks]
        return [(e, s) for e, s in sinks if self.engine.slot_of[id(s.target)] is slot]

    def _totals(self, values: Sequence[Node]) -> dict[int, Node]:
        """Of values that the rows choose from: by accumulator its sum with a loaded term, where both are among them.

        The term is 0 in rows without it: one adder serves all, where a second one would be as large again.
        """
        totals = {}
        plain = {v.what for v in values if v.kind == "acc"}
        for total in (v for v in values if v.kind == "arith.addi"):
            for value, term in (total.args, total.args[::-1]):
                if value.kind == "acc" and value.what in plain and term.kind == "load":
                    source = self.engine.slot_of[id(term.what)]
                    if self.inputs[id(source)][1] is not None:  # it arrives with a step, whose row is known
                        totals[value.what] = total
                        self._optional.add(id(source))
        return totals

    def _reduce(self, body: Dataflow) -> None:
        b = self.b
        self._accumulator_stage = stage_of(body.sinks[0].op)
        nest = self.engine.rows[0]
        first = self.delay(self.counters.first, self._accumulator_stage, "first")
        update = self.flag(self.valid, self._accumulator_stage, "step")
        registers: dict[tuple[int, int], State] = {}
        for number, accumulator in enumerate(nest.accumulators):
            for lane in range(accumulator.lanes):
                register = b.state(accumulator.bits, f"acc{number}_{lane}")
                registers[number, lane] = register
                initial = b.const(accumulator.initial, accumulator.bits)
                start = b.mux(first, initial, register)
                self._starts[start] = first, initial, register
                self._accumulators[number, lane] = start
        for sink in body.sinks:
            assert isinstance(sink.target, int)
            for lane in range(nest.accumulators[sink.target].lanes):
                registers[sink.target, lane].assign(self.at(sink.value, (lane,), self._accumulator_stage), update)
        # In the epilogue, one stage on, the accumulator is the register itself.
        self._accumulators, self._accumulator_stage = dict(registers), self._accumulator_stage + 1

    def _gather(self, access: Access, node: Node, stage: int) -> list[Value]:
        """All lanes of a stored value, the first one last."""
        lanes: dict[int, Value] = {}
        for point in product(*map(range, access.extents)):
            lanes[sum(s * i for s, i in zip(access.strides, point, strict=True))] = self.at(node, point, stage)
        return [lanes[i] for i in reversed(range(access.lanes))]

    # Values.

    def at(self, node: Node, point: tuple[int, ...], stage: int) -> Value:
        """The node's value at a lane, in a stage at or after the one it is ready in."""
        if node.kind == "const":
            return self.table(self.shapes.columns[id(node)], node.bits, stage)
        value, ready = self._value(node, point)
        return value if ready is None else self.delay(value, stage - ready, node.kind.split(".")[-1])

    def _value(self, node: Node, point: tuple[int, ...]) -> tuple[Value, int | None]:
        """The node's value at a lane and the stage it is ready in (None: always)."""
        key = (id(node), tuple(point[d] for d in sorted(self.dims(node)) if d < len(point)))
        if key not in self._values:
            self._values[key] = self._make(node, point)
        return self._values[key]

    def dims(self, node: Node) -> frozenset[int]:
        """Lane dimensions that a node depends on in any row: lanes may be equal in one row and not in another."""
        return frozenset[int]().union(*(n.dims for n in self._alike.get(id(node), (node,))))

    def _make(self, node: Node, point: tuple[int, ...]) -> tuple[Value, int | None]:
        b = self.b
        if node.kind == "iv":
            counter = self.counters.counters.get(self.engine.loops(self.shapes.nest_of(node)).index(node.what))
            return counter.zero_extend(32) if counter is not None else b.const(0, 32), 0
        if node.kind == "acc":
            return self._accumulators[node.what, point[0]], self._accumulator_stage
        if node.kind == "load":
            return self._load(node, point)
        stage = stage_of(node.op)
        latency = latency_of(node.op, node.kind)
        packed = self.products.packed(node, point, stage) if self.dsp_packing else None
        if packed is not None:
            return packed, stage + latency
        if node.kind == "reduce":
            terms = [
                self.at(node.args[0], (*point, *inner), stage)
                for inner in product(*(range(self.extent(node, d)) for d in node.reduced))
            ]
            return self._sum(terms, latency), stage + latency
        if latency > 1:
            product_of = self.products.wide if is_wide(node) else self.products.local
            return product_of(node, point, stage), stage + latency
        if node.kind in ("arith.cmpi", *EXTREME):
            holds = self._compare(node, point, stage)
            return (holds, stage) if node.kind == "arith.cmpi" else self._extreme(node, point, stage, latency, holds)
        if node.kind == "arith.muli":
            args = [factor.sign_extend(node.bits) for factor in self.products.factors(node, point, stage)]
        else:
            args = [self.at(a, point, stage) for a in self.shapes.arguments(node)]
        result = self._compute(node, args)
        if latency:
            result = result[: min(node.bits, self._bits_read(node))]
        return self.delay(result, latency, node.kind.split(".")[-1]), stage + latency

    def _sum(self, terms: list[Value], stages: int) -> Value:
        """The sum of all lanes in `stages` stages, each with as many levels of a tree of adders."""
        levels = -(-(len(terms) - 1).bit_length() // stages) or 1
        for _ in range(stages):
            groups = [terms[i : i + (1 << levels)] for i in range(0, len(terms), 1 << levels)]
            terms = [self.delay(self.b.sum_of(*group), 1, "reduce") for group in groups]
        return terms[0]

    def _bits_read(self, node: Node) -> int:
        """Low bits of a node that anything reads: a register need not hold what its only readers cut off."""
        readers = [n for f in self._flows() for n in f.nodes if any(a is node for a in n.args)]
        stored = any(s.value is node for f in self._flows() for s in f.sinks)
        cut = bool(readers) and not stored and all(n.kind == "arith.trunci" for n in readers)
        return max(n.bits for n in readers) if cut else node.bits

    def extent(self, node: Node, dim: int) -> int:
        """Size of a lane dimension."""
        return next(f for f in self._flows() if node in f.nodes).extents[dim]

    def _flows(self) -> list[Dataflow]:
        return [f for n in self.engine.rows for f in n.flows]

    def _load(self, node: Node, point: tuple[int, ...]) -> tuple[Value, int | None]:
        """The lane of the port that the row reads the operand through."""
        accesses = [n.what for n in self._alike.get(id(node), (node,))]
        (slot, access), *others = {self.engine.slot_of[id(a)]: a for a in accesses}.items()
        value, stage = self._lane(slot, access, point), self.inputs[id(slot)][1]
        for other, access in others:
            value = self.b.mux(self._used(other, stage or 0), self._lane(other, access, point), value)
        if id(slot) in self._optional:
            value = self.b.mux(self._used(slot, stage or 0), value, 0)
        return value, stage

    def _lane(self, slot: Slot, access: Access, point: tuple[int, ...]) -> Value:
        """The value that a lane gets from a read port: the constant of the padding where the guard is 0."""
        data, stage, guard = self.inputs[id(slot)]
        bits = access.element_bits
        lane = sum(s * i for s, i in zip(access.strides, point[: len(access.strides)], strict=True))
        value = data[lane * bits : (lane + 1) * bits]
        if guard is None:
            return value
        entries = [a.otherwise if a is not None else 0 for a in slot.rows]
        return self.b.mux(guard, value, self.table(entries, bits, stage or 0))

    def _compare(self, node: Node, point: tuple[int, ...], stage: int) -> Value:
        """i1: a comparison holds, or the first argument is the extreme one."""
        b, crossing = self.b, Clock.of(node.op).crossing
        predicate = {"arith.maxsi": "sgt", "arith.minsi": "slt"}.get(node.kind)
        predicate = predicate or PREDICATES[int(node.what["predicate"].split(" ")[0])]
        args = [self.at(a, point, stage) for a in node.args]
        for place, arg in enumerate(args):
            if arg in self._starts:
                # Made both ways, so that its register need not pass a mux before; with a clock, the one for what it
                # begins with a cycle early.
                first, initial, register = self._starts[arg]
                early = self.at(node.args[1 - place], point, stage - crossing)
                begun = initial.compare(predicate, early) if place == 0 else early.compare(predicate, initial)
                args[place] = register
                return b.mux(first, self.delay(begun, crossing, "begun"), args[0].compare(predicate, args[1]))
        return args[0].compare(predicate, args[1])

    def _extreme(
        self, node: Node, point: tuple[int, ...], stage: int, latency: int, holds: Value
    ) -> tuple[Value, int | None]:
        """One of two values, in the stage in which they are compared or, with a latency, the one behind."""
        bits = min(node.bits, self._bits_read(node)) if latency else node.bits
        args = []
        for arg in node.args:
            late = latency if arg.kind == "const" else 0
            value = self.at(arg, point, stage + late)[:bits]
            args.append(self.delay(value, latency - late, "saturated"))
        return self.b.mux(self.delay(holds, latency, "holds"), *args), stage + latency

    def _compute(self, node: Node, args: list[Value]) -> Value:
        kind = node.kind
        if kind in COMB:
            return self.b.comb(COMB[kind], *args)
        if kind in ("arith.extsi", "arith.trunci"):
            return args[0].sign_extend(node.bits)
        if kind in ("arith.index_cast", "arith.extui"):
            return args[0].zero_extend(node.bits)
        if kind == "arith.select":
            return self.b.mux(args[0], args[1], args[2])
        raise fail(
            node.op,
            f"'{kind}' has no hardware form; lanes compute with integer add, multiply, shift, compare and select",
        )
