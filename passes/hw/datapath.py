"""The datapath of an engine: the arith ops in pipeline stages, one lane per point of the `affine.parallel` grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Any

from gradcam.errors import fail
from gradcam.passes.hw.builder import PREDICATES, Builder, Value, signed_bits, width_of
from gradcam.passes.hw.dsp import find_pairing, high_product, low_product, multiplier_of, multiply_both
from gradcam.passes.hw.odometer import Odometer
from gradcam.passes.hw.sharing import Multiplier, share_multipliers
from gradcam.passes.program.clock import EXTREME, FACTOR, Clock, is_wide, unextended
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
        self,
        b: Builder,
        engine: Engine,
        row: Value | None,
        odometer: Odometer,
        valid: Value,
        enable: Value | None,
        dsp_packing: bool,
    ) -> None:
        self.b, self.engine, self.row, self.odometer, self.valid, self.enable = b, engine, row, odometer, valid, enable
        self.dsp_packing = dsp_packing
        self.guards: dict[int, Value | None] = {}
        self.inputs: dict[int, tuple[Value, int | None, Value | None]] = {}
        #: The nodes of all rows that a node of the first row's body, or a product of an epilogue, stands for.
        bodies = [n.body.nodes for n in engine.rows if n.body]
        self._alike: dict[int, Sequence[Node]] = {id(nodes[0]): nodes for nodes in zip(*bodies, strict=True)}
        #: By product of an epilogue.
        self._multipliers: dict[int, Multiplier] = {}
        self._values: dict[Any, Value] = {}
        self._columns: dict[int, list[int]] = {}
        self._shapes: dict[int, int] = {}
        self._shape_numbers: dict[Any, int] = {}
        self._accumulators: dict[tuple[int, int], Value] = {}
        self._accumulator_stage = 0
        #: Of the multipliers that are modules, by factors.
        self._products: dict[tuple[Value, Value], Value] = {}
        #: What an accumulator is when it is updated: whether it begins, what it begins with, and its register.
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
        return slot.stage - (Clock.of(slot.example.op).hop if slot.kind == "memory" else 0)

    def active(self, slot: Slot) -> Value:
        """i1: an access leaves the engine in this cycle; a read outside its buffer is made all the same."""
        nest, access = next((n, a) for n, a in zip(self.engine.rows, slot.rows, strict=True) if a is not None)
        in_body = nest.body is not None and any(access is a for a in nest.body.loads)
        start = [self.valid, self._used(slot)] if in_body else [self.valid, self.odometer.last, self._used(slot)]
        guard = self.guards[id(slot)]
        start += [guard] if slot.store and guard is not None else []
        return self.flag(self.b.all_of(*start), self.departure(slot), "step" if in_body else "output")

    def _used(self, slot: Slot, stage: int = 0) -> Value:
        """i1: the row whose step is in a stage uses the slot."""
        return self.table([int(a is not None) for a in slot.rows], 1, stage)

    # Construction.

    def build(self) -> None:
        """Makes accumulators and epilogues; afterwards `output` answers."""
        share_multipliers(self.engine, self._multipliers, self._shape)
        for multiplier in self._multipliers.values():
            self._alike |= {id(n): list(multiplier.products.values()) for n in multiplier.products.values()}
        self._make_columns()
        body = self.engine.rows[0].body
        if body is not None:
            self._reduce(body)
        stores = [slot for slot in self.engine.slots if slot.store]
        totals = {id(slot): self._totals([sink.value for _, sink in self._sinks(slot)]) for slot in stores}
        for multiplier in self._multipliers.values():
            multiplier.totals = self._totals([unextended(a) for n in multiplier.products.values() for a in n.args])
        for slot in stores:
            choices = self._outputs.setdefault(id(slot), {})
            for epilogue, sink in self._sinks(slot):
                value = totals[id(slot)].get(sink.value.what, sink.value) if sink.value.kind == "acc" else sink.value
                lanes = self._gather(sink.target, value, self.departure(slot))
                choices.setdefault(id(value), ([], lanes))[0].extend(epilogue.rows)

    def output(self, slot: Slot) -> Value:
        """What a store slot writes: the value that the row stores."""
        rows, lanes = zip(*reversed(self._outputs[id(slot)].values()), strict=True)
        stage = self.departure(slot)
        return self.b.concat([self._pick(values, rows, stage) for values in zip(*lanes, strict=True)])

    def _pick(self, values: Sequence[Value], rows: Sequence[Sequence[int]], stage: int) -> Value:
        """The value of the row whose step is in a stage; `rows` are those of each value."""
        numbers = [next((i for i, own in enumerate(rows) if row in own), 0) for row in range(len(self.engine.rows))]

        def choose(values: Sequence[Value], bit: int) -> Value:
            if len(values) == 1:
                return values[0]
            odd = self.table([n >> bit & 1 for n in numbers], 1, stage)
            return self.b.mux(odd, choose(values[1::2], bit + 1), choose(values[::2], bit + 1))

        return choose(values, 0)

    def _sinks(self, slot: Slot) -> list[tuple[Epilogue, Sink]]:
        """What is stored through a slot, by epilogue."""
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

    def _make_columns(self) -> None:
        """A table column per constant operand; a column whose entries are all equal is a constant.

        Operands of ops alike share a column, also across epilogues, and so share the ops.
        """
        entries: dict[Any, list[int | None]] = {}
        places: dict[Any, list[Node]] = {}
        for row, nest in enumerate(self.engine.rows):
            seen = Counter[Any]()
            for shape, node in (c for flow in nest.flows for c in self._constants(flow)):
                # Two ops of a row may be alike up to their constants, as two clamps of one value are.
                seen[shape] += 1
                key = shape, seen[shape]
                entries.setdefault(key, [None] * len(self.engine.rows))[row] = node.what
                places.setdefault(key, []).append(node)
        for key, column in entries.items():
            default = next(e for e in column if e is not None)
            values = [default if e is None else e for e in column]
            self._columns |= {id(n): values for n in places[key]}

    def _constants(self, flow: Dataflow) -> list[tuple[Any, Node]]:
        """The constants of a flow, each with a key that says where it is used."""
        found = [((self._shape(n), i), a) for n in flow.nodes for i, a in enumerate(n.args) if a.kind == "const"]
        sinks = ((i, s.value) for i, s in enumerate(flow.sinks))
        return found + [(("sink", i, value.bits), value) for i, value in sinks if value.kind == "const"]

    def _shape(self, node: Node) -> int:
        """A number for the expression below a node, up to constants: equal expressions have equal numbers."""
        if id(node) not in self._shapes:
            what: Any = node.what
            args = self._arguments(node)
            if id(node) in self._multipliers:
                what, args = id(self._multipliers[id(node)]), ()
            elif node.kind == "load":
                what = self.engine.slot_of[id(node.what)].operand
            elif node.kind == "const":
                what = None
            elif node.kind == "iv":
                what = self.engine.loops(self._row_of(node)).index(node.what)
            elif isinstance(what, dict):
                what = tuple(sorted(what.items()))
            shape = (node.kind, str(node.type_), what, tuple(self._shape(a) for a in args))
            self._shapes[id(node)] = self._shape_numbers.setdefault(shape, len(self._shape_numbers))
        return self._shapes[id(node)]

    def _arguments(self, node: Node) -> Sequence[Node]:
        """The arguments; those of a sum of two values in an order of their own, so that it is one sum either way."""
        if node.kind == "arith.addi" and all(a.kind != "const" for a in node.args):
            return sorted(node.args, key=self._shape)
        return node.args

    def _reduce(self, body: Dataflow) -> None:
        b = self.b
        self._accumulator_stage = stage_of(body.sinks[0].op)
        nest = self.engine.rows[0]
        first = self.delay(self.odometer.first, self._accumulator_stage, "first")
        update = self.flag(self.valid, self._accumulator_stage, "step")
        connects, registers = {}, {}
        for number, accumulator in enumerate(nest.accumulators):
            for lane in range(accumulator.lanes):
                registers[number, lane], connects[number, lane] = b.state(accumulator.bits, f"acc{number}_{lane}")
                initial = b.const(accumulator.initial, accumulator.bits)
                start = b.mux(first, initial, registers[number, lane])
                self._starts[start] = first, initial, registers[number, lane]
                self._accumulators[number, lane] = start
        for sink in body.sinks:
            assert isinstance(sink.target, int)
            for lane in range(nest.accumulators[sink.target].lanes):
                connects[sink.target, lane](self._at(sink.value, (lane,), self._accumulator_stage), update)
        # In the epilogue, one stage on, the accumulator is the register itself.
        self._accumulators, self._accumulator_stage = registers, self._accumulator_stage + 1

    def _gather(self, access: Access, node: Node, stage: int) -> list[Value]:
        """All lanes of a stored value, the first one last."""
        lanes: dict[int, Value] = {}
        for point in product(*map(range, access.extents)):
            lanes[sum(s * i for s, i in zip(access.strides, point, strict=True))] = self._at(node, point, stage)
        return [lanes[i] for i in reversed(range(access.lanes))]

    # Values.

    def _at(self, node: Node, point: tuple[int, ...], stage: int) -> Value:
        """The node's value at a lane, in a stage at or after the one it is ready in."""
        if node.kind == "const":
            return self.table(self._columns[id(node)], node.bits, stage)
        value, ready = self._value(node, point)
        return value if ready is None else self.delay(value, stage - ready, node.kind.split(".")[-1])

    def _value(self, node: Node, point: tuple[int, ...]) -> tuple[Value, int | None]:
        """The node's value at a lane and the stage it is ready in (None: always)."""
        key = (id(node), tuple(point[d] for d in sorted(self._dims(node)) if d < len(point)))
        if key not in self._values:
            self._values[key] = self._make(node, point)
        return self._values[key]

    def _dims(self, node: Node) -> frozenset[int]:
        """Lane dimensions that a node depends on in any row: lanes may be equal in one row and not in another."""
        return frozenset[int]().union(*(n.dims for n in self._alike.get(id(node), (node,))))

    def _make(self, node: Node, point: tuple[int, ...]) -> tuple[Value, int | None]:
        b = self.b
        if node.kind == "iv":
            counter = self.odometer.counters.get(self.engine.loops(self._row_of(node)).index(node.what))
            return b.zero_extend(counter, 32) if counter is not None else b.const(0, 32), 0
        if node.kind == "acc":
            return self._accumulators[node.what, point[0]], self._accumulator_stage
        if node.kind == "load":
            return self._load(node, point)
        stage = stage_of(node.op)
        latency = latency_of(node.op, node.kind)
        packed = self._packed_product(node, point, stage) if self.dsp_packing else None
        if packed is not None:
            return packed, stage + latency
        if node.kind == "reduce":
            terms = [
                self._at(node.args[0], (*point, *inner), stage)
                for inner in product(*(range(self._extent(node, d)) for d in node.reduced))
            ]
            return self._sum(terms, latency), stage + latency
        if latency > 1:
            product_of = self._wide_product if is_wide(node) else self._local_product
            return product_of(node, point, stage), stage + latency
        if node.kind in ("arith.cmpi", *EXTREME):
            holds = self._compare(node, point, stage)
            return (holds, stage) if node.kind == "arith.cmpi" else self._extreme(node, point, stage, latency, holds)
        if node.kind == "arith.muli":
            args = [b.sign_extend(factor, node.bits) for factor in self._factors(node, point, stage)]
        else:
            args = [self._at(a, point, stage) for a in self._arguments(node)]
        result = self._compute(node, args)
        if latency:
            result = self.b.bits(result, 0, min(node.bits, self._bits_read(node)))
        return self.delay(result, latency, node.kind.split(".")[-1]), stage + latency

    def _sum(self, terms: list[Value], stages: int) -> Value:
        """The sum of all lanes in `stages` stages, each with as many levels of a tree of adders."""
        levels = -(-(len(terms) - 1).bit_length() // stages) or 1
        for _ in range(stages):
            groups = [terms[i : i + (1 << levels)] for i in range(0, len(terms), 1 << levels)]
            terms = [self.delay(self.b.add(*group), 1, "reduce") for group in groups]
        return terms[0]

    def _factors(self, node: Node, point: tuple[int, ...], stage: int) -> list[Value]:
        """The factors of a product before their extension, the narrower one first: those of the row whose step it is.

        Each is as wide as those of all rows that share the multiplier, of which constants have the bits they need.
        """
        multiplier = self._multipliers.get(id(node), Multiplier({0: node}))
        ordered = {r: sorted(map(unextended, n.args), key=self._bits_needed) for r, n in multiplier.products.items()}
        factors = []
        for place in range(2):
            options: dict[Value, list[int]] = {}
            for row, pair in ordered.items():
                factor = pair[place]
                if factor.kind == "acc":
                    factor = multiplier.totals.get(factor.what, factor)
                value = self.b.bits(self._at(factor, point, stage), 0, self._bits_needed(factor))
                options.setdefault(value, []).append(row)
            width = max(map(width_of, options))
            values = [self.b.sign_extend(value, width) for value in options]
            factors.append(self._pick(values, list(options.values()), stage))
        return factors

    def _wide_product(self, node: Node, point: tuple[int, ...], stage: int) -> Value:
        """A product as the sum of two, one of each half of the wider factor."""
        b, (factor, value) = self.b, self._factors(node, point, stage)
        half, needed = FACTOR - 1, width_of(value)
        if needed <= FACTOR:  # the rows' constants are narrower than their type
            return self.delay(b.sign_extend(self._product(value, factor), node.bits), 1, "muli")
        parts = b.zero_extend(b.bits(value, 0, half), FACTOR), b.bits(value, half, needed - half)
        low, high = (b.sign_extend(self._product(part, factor), node.bits) for part in parts)
        shifted = b.concat([b.bits(high, 0, node.bits - half), b.const(0, half)])
        return self.delay(b.add(low, shifted), 1, "muli")

    def _local_product(self, node: Node, point: tuple[int, ...], stage: int) -> Value:
        """A product of factors that fit a multiplier."""
        return self.b.sign_extend(self._product(*self._factors(node, point, stage)), node.bits)

    def _product(self, left: Value, right: Value) -> Value:
        """The product of two signed values, two stages later.

        The factors are registered at the multiplier: they may come from far, for several multipliers.
        """
        b, bits = self.b, (width_of(left), width_of(right))
        if self.enable is not None:
            both = [self.delay(b.sign_extend(v, sum(bits)), 1, "factor") for v in (left, right)]
            return self.delay(b.op("comb.mul", both[0].type, both), 1, "muli")
        if (left, right) not in self._products:
            name = f"multiplier{len(self._products)}"
            made = b.instance(multiplier_of(b, *bits), name, {"a": left, "b": right})
            self._products[left, right] = made["product"]
        return self._products[left, right]

    def _bits_needed(self, node: Node) -> int:
        """Bits of a value; of a constant those that its rows need."""
        column = self._columns.get(id(node))
        return signed_bits(min(column), max(column)) if column else node.bits

    def _packed_product(self, node: Node, point: tuple[int, ...], stage: int) -> Value | None:
        """A product that comes out of one multiplication with the neighbouring lane's; None where nothing is shared."""
        multiplier = self._multipliers.get(id(node))
        pairing = find_pairing(node, self._dims)
        if pairing is None or (multiplier and multiplier.picks(self._shape)):
            return None
        dim = pairing.dim
        low, high = ((*point[:dim], lane, *point[dim + 1 :]) for lane in (point[dim] & ~1, point[dim] | 1))
        if high[dim] >= self._extent(node, dim):
            return None
        own = [self._at(pairing.own, lane, stage) for lane in (low, high)]
        both = multiply_both(self.b, self._at(pairing.shared, point, stage), *own)
        # The register is between the multiplication and its two readers, which find the same one.
        both = self.delay(both, latency_of(node.op, node.kind), "products")
        return self.b.sign_extend(low_product(self.b, both) if point == low else high_product(self.b, both), node.bits)

    def _bits_read(self, node: Node) -> int:
        """Low bits of a node that anything reads: a register need not hold what its only readers cut off."""
        readers = [n for f in self._flows() for n in f.nodes if any(a is node for a in n.args)]
        stored = any(s.value is node for f in self._flows() for s in f.sinks)
        cut = bool(readers) and not stored and all(n.kind == "arith.trunci" for n in readers)
        return max(n.bits for n in readers) if cut else node.bits

    def _row_of(self, node: Node) -> Any:
        return next(n for n in self.engine.rows if any(node.what is loop for loop in n.loops))

    def _extent(self, node: Node, dim: int) -> int:
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
            value = self.b.mux(self._used(slot, stage or 0), value, self.b.const(0, width_of(value)))
        return value, stage

    def _lane(self, slot: Slot, access: Access, point: tuple[int, ...]) -> Value:
        """What a read port delivers to a lane: the constant of the padding where its guard is 0."""
        data, stage, guard = self.inputs[id(slot)]
        bits = access.element_bits
        lane = sum(s * i for s, i in zip(access.strides, point[: len(access.strides)], strict=True))
        value = self.b.bits(data, lane * bits, bits)
        if guard is None:
            return value
        entries = [a.otherwise if a is not None else 0 for a in slot.rows]
        return self.b.mux(guard, value, self.table(entries, bits, stage or 0))

    def _compare(self, node: Node, point: tuple[int, ...], stage: int) -> Value:
        """i1: a comparison holds, or the first argument is the extreme one."""
        b, hop = self.b, Clock.of(node.op).hop
        predicate = {"arith.maxsi": "sgt", "arith.minsi": "slt"}.get(node.kind)
        predicate = predicate or PREDICATES[int(node.what["predicate"].split(" ")[0])]
        args = [self._at(a, point, stage) for a in node.args]
        for place, arg in enumerate(args):
            if arg in self._starts:
                # Made both ways, so that its register need not pass a mux before; with a clock, the one for what it
                # begins with a cycle early.
                first, initial, register = self._starts[arg]
                early = self._at(node.args[1 - place], point, stage - hop)
                begun = b.compare(predicate, *((initial, early) if place == 0 else (early, initial)))
                args[place] = register
                return b.mux(first, self.delay(begun, hop, "begun"), b.compare(predicate, *args))
        return b.compare(predicate, *args)

    def _extreme(
        self, node: Node, point: tuple[int, ...], stage: int, latency: int, holds: Value
    ) -> tuple[Value, int | None]:
        """One of two values, in the stage in which they are compared or, with a latency, the one behind."""
        bits = min(node.bits, self._bits_read(node)) if latency else node.bits
        args = []
        for arg in node.args:
            late = latency if arg.kind == "const" else 0
            value = self.b.bits(self._at(arg, point, stage + late), 0, bits)
            args.append(self.delay(value, latency - late, "saturated"))
        return self.b.mux(self.delay(holds, latency, "holds"), *args), stage + latency

    def _compute(self, node: Node, args: list[Value]) -> Value:
        b, kind = self.b, node.kind
        if kind in COMB:
            return b.op(f"comb.{COMB[kind]}", args[0].type, args)
        if kind in ("arith.extsi", "arith.trunci"):
            return b.sign_extend(args[0], node.bits)
        if kind == "arith.index_cast":
            return b.zero_extend(args[0], node.bits)
        if kind == "arith.extui":
            return b.zero_extend(args[0], node.bits)
        if kind == "arith.select":
            return b.mux(args[0], args[1], args[2])
        raise fail(
            node.op,
            f"'{kind}' has no hardware form; lanes compute with integer add, multiply, shift, compare and select",
        )
