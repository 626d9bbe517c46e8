"""The datapath of an engine: arith ops in pipeline stages, with one lane per point of the `affine.parallel` grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from gradcam.errors import fail
from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.carries import edges, late_sum, with_carry
from gradcam.passes.hw.copies import copied
from gradcam.passes.hw.dsp import Bits
from gradcam.passes.hw.loop_counters import LoopCounters
from gradcam.passes.hw.products import Products
from gradcam.passes.hw.shapes import Shapes
from gradcam.passes.hw.sharing import Multiplier, share_multipliers
from gradcam.passes.hw.tables import Tables
from gradcam.passes.hw.value import PREDICATES, State, Value, bits_for
from gradcam.passes.hw.weight_words import begins_word
from gradcam.passes.ir.attributes import CASCADE
from gradcam.passes.ir.linear_form import Term
from gradcam.passes.program.clock import EXTENSION, EXTREME, SHIFT, SUM, Clock, unextended
from gradcam.passes.program.engines import Engine, Epilogue, Slot, latency_of, stage_of
from gradcam.passes.program.nest import Access, Dataflow, Node, Sink

#: The comb op of each arith op whose operands and result have the same width.
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

#: By kind of a maximum or minimum, the comparison that holds where its first argument is the result.
_EXTREMES = {"arith.maxsi": "sgt", "arith.minsi": "slt", "arith.maxui": "ugt", "arith.minui": "ult"}

#: By kind of a maximum or minimum, the bounds beyond which the upper bits of a value alone tell that it is.
_BOUNDS: dict[str, Callable[[int], bool]] = {
    "arith.maxsi": lambda bound: bound <= 0 and -bound & ~bound == 0,
    "arith.minsi": lambda bound: bound >= 0 and bound & (bound + 1) == 0,
}

#: The number of an accumulator, and a lane.
Lane = tuple[int, int]


class Datapath:
    """Builds the value of each node and lane once, on demand, and the registers that carry it from stage to stage.

    Attributes:
        valid: i1: a step is issued in this cycle, into stage 0.
        enable: i1: the clock enable of the pipeline registers; None where nothing stalls them.
        configuration: the number of the configuration in stage 0; None for an engine with a single configuration.
        dsp_packing: whether one multiplication computes two products of neighbouring lanes that share a factor.
        guards: by id of a slot, i1 in the stage that `AddressGenerators.late` says: the access lies inside its buffer;
            None where it always does.
        inputs: by id of a read slot: the data of all lanes, the stage in which it arrives (None: it is available in
            every stage), the guard in that stage.
    """

    def __init__(
        self,
        b: Builder,
        engine: Engine,
        counters: LoopCounters,
        valid: Value,
        enable: Value | None,
        dsp_packing: bool,
        symbol: Callable[[int, Term], Value],
    ) -> None:
        self.b, self.engine, self.counters, self.valid, self.enable = b, engine, counters, valid, enable
        self._symbol = symbol
        self.configuration, self.dsp_packing = counters.configuration, dsp_packing
        self.guards: dict[int, Value | None] = {}
        self.inputs: dict[int, tuple[Value, int | None, Value | None]] = {}
        #: By id of a node of the first configuration's body, or of a product in an epilogue: the nodes, from all
        #: configurations, that the same hardware computes.
        bodies = [n.body.nodes for n in engine.configurations if n.body]
        self._alike: dict[int, Sequence[Node]] = {id(nodes[0]): nodes for nodes in zip(*bodies, strict=True)}
        #: The multiplier of each product of an epilogue, by the product's id.
        self.multipliers: dict[int, Multiplier] = {}
        self.shapes, self.products = Shapes(engine, self.multipliers), Products(self)
        self.tables = Tables(self)
        self._values: dict[Any, tuple[Value, int | None]] = {}
        self._accumulators: dict[tuple[int, int], Value] = {}
        self._accumulator_stage = 0
        #: Whether the accumulators of each lane have flags of their own: with a target clock, if nothing stalls them.
        self._clocked = Clock.of(engine.configurations[0].op).crossing if enable is None else 0
        #: By flag and lane, the register of the lane.
        self._copies: dict[tuple[Value, int], Value] = {}
        #: By the operand that an accumulator is updated from (the initial value in the first step of a reduction, else
        #: the sum before): i1, it is the first step; the initial value; the sum before.
        self._starts: dict[Value, tuple[Value, Value, Value]] = {}
        #: Ids of slots with a term that only some configurations add to a result: 0 in all others.
        self._optional: set[int] = set()
        #: By id of a store slot and of the value stored: the numbers of its configurations, its lanes, and the stage in
        #: which they are ready.
        self._outputs: dict[int, dict[int, tuple[list[int], list[Value], int]]] = {}

    # Flags and delays.

    def delay(self, value: Value, stages: int, name: str) -> Value:
        """`value` behind `stages` pipeline registers."""
        for i in range(stages):
            value = self.b.register(value, f"{name}_s{i + 1}", self.enable)
        return value

    def flag(self, value: Value, stages: int, name: str) -> Value:
        """An i1, such as a write enable, behind `stages` pipeline registers that reset clears."""
        for i in range(stages):
            value = self.b.register(value, f"{name}_s{i + 1}", self.enable, reset=0)
        return value

    def table(self, entries: Sequence[int], width: int, stage: int = 0) -> Value:
        """The entry of the configuration whose step is in `stage`.

        Stages may belong to different configurations, for the next one may start while the pipeline drains.
        """
        if self.configuration is None or len(set(entries)) == 1:
            return self.b.table(None, entries, width)
        # The entry is registered, even for stage 0: the configuration's number arrives a cycle before its first step.
        return self.b.column(self.delay(self.configuration, max(stage - 1, 0), "row"), entries, width)

    def departure(self, slot: Slot) -> int:
        """The stage in which an access leaves the engine: for a bank earlier than its own by the crossing latency."""
        return slot.stage - (Clock.of(slot.example.op).crossing if slot.kind == "memory" else 0)

    def active(self, slot: Slot) -> Value:
        """i1: an access leaves the engine in this cycle. The guard disables stores only; reads in padding are made.

        A word that the body needs in several steps in a row is read in the first one: the bank holds it. So is one of
        an epilogue that takes several reads.
        """
        nest, access = next(
            (n, a) for n, a in zip(self.engine.configurations, slot.accesses, strict=True) if a is not None
        )
        in_body = nest.in_body(access)
        start = [self.valid, *([] if in_body else [self.counters.last]), self._used(slot)]
        if in_body or latency_of(access.op, "load") > Clock.of(access.op).read:
            start.append(begins_word(self.engine, self.counters, slot))
        guard = self.guards[id(slot)]
        start += [guard] if slot.store and guard is not None else []
        return self.flag(self.b.all_of(*start), self.departure(slot), "step" if in_body else "output")

    def _used(self, slot: Slot, stage: int = 0) -> Value:
        """i1: the configuration whose step is in `stage` uses the slot."""
        return self.table([int(a is not None) for a in slot.accesses], 1, stage)

    # Construction.

    def build(self) -> None:
        """Builds accumulators and epilogues; afterwards `output` returns what is stored."""
        share_multipliers(self.engine, self.multipliers, self.shapes.number)
        for multiplier in self.multipliers.values():
            self._alike |= {id(n): list(multiplier.products.values()) for n in multiplier.products.values()}
        self.shapes.share_sums()
        self.shapes.make_columns()
        body = self.engine.configurations[0].body
        if body is not None:
            self._reduce(body)
        stores = [slot for slot in self.engine.slots if slot.store]
        totals = {id(slot): self._totals([unextended(sink.value) for _, sink in self._sinks(slot)]) for slot in stores}
        for multiplier in self.multipliers.values():
            multiplier.totals = self._totals([unextended(a) for n in multiplier.products.values() for a in n.args])
        for slot in stores:
            choices = self._outputs.setdefault(id(slot), {})
            for epilogue, sink in self._sinks(slot):
                inner, node = unextended(sink.value), sink.value
                if inner.kind == "acc":
                    node = totals[id(slot)].get(inner.what, node)
                ready = self._ready(node, sink.target)
                # With a target clock no choice is made in a stage that computes.
                stage = self.departure(slot) if ready is None or Clock.of(sink.op).crossing else ready
                lanes = self._gather(sink.target, node, stage)
                lanes = [lane.sign_extend(sink.value.bits) for lane in lanes]
                choices.setdefault(id(sink.value), ([], lanes, stage))[0].extend(epilogue.configurations)

    def output(self, slot: Slot) -> Value:
        """The data of a store slot, all lanes: the value that the configuration stores.

        Values that are ready in the same stage are selected there, so that one register carries them on.
        """
        outputs, last = list(reversed(self._outputs[id(slot)].values())), self.departure(slot)
        stages = sorted({stage for *_, stage in outputs})
        numbers, lanes = list[list[int]](), list[list[Value]]()
        for stage, following in zip(stages, [*stages[1:], last], strict=True):
            for configurations, ready, _ in (output for output in outputs if output[2] == stage):
                numbers.append(configurations)
                lanes.append(ready)
            chosen = [self.select(values, numbers, stage) for values in zip(*lanes, strict=True)]
            numbers = [[number for own in numbers for number in own]]
            lanes = [[self.delay(value, following - stage, "stored") for value in chosen]]
        return self.b.concat(lanes[0])

    def select(self, values: Sequence[Value], configurations: Sequence[Sequence[int]], stage: int) -> Value:
        """The value that belongs to the configuration whose step is in `stage`, see `_select`."""
        return self._select(values, configurations, self._entry_in(stage))

    def _select(
        self,
        values: Sequence[Value],
        configurations: Sequence[Sequence[int]],
        flag: Callable[[Sequence[int]], Value],
    ) -> Value:
        """The value that belongs to a configuration.

        Args:
            values: the values to select from.
            configurations: per value, the numbers of its configurations; one in no list gets the first value.
            flag: returns the i1 entry of that configuration in a column.
        """
        numbers = [
            next((i for i, own in enumerate(configurations) if configuration in own), 0)
            for configuration in range(len(self.engine.configurations))
        ]

        def choose(values: Sequence[Value], bit: int) -> Value:
            if len(values) == 1:
                return values[0]
            odd = flag([n >> bit & 1 for n in numbers])
            return self.b.mux(odd, choose(values[1::2], bit + 1), choose(values[::2], bit + 1))

        return choose(values, 0)

    def _entry_in(self, stage: int) -> Callable[[Sequence[int]], Value]:
        """What returns the i1 entry in a column of the configuration whose step is in `stage`."""
        return lambda entries: self.table(entries, 1, stage)

    def _by_entry(
        self, column: Sequence[int], make: Callable[[int], Value], flag: Callable[[Sequence[int]], Value]
    ) -> Value:
        """What `make` makes of the number in `column` of the configuration that `flag` knows, see `_select`.

        It is made once for each number that occurs.
        """
        entries = sorted(set(column))
        users = [[i for i, own in enumerate(column) if own == entry] for entry in entries]
        return self._select([make(entry) for entry in entries], users, flag)

    def _sinks(self, slot: Slot) -> list[tuple[Epilogue, Sink]]:
        """The sinks whose values are stored through a slot, each with its epilogue."""
        sinks = [(e, s) for e in self.engine.epilogues for s in e.flow.sinks]
        return [(e, s) for e, s in sinks if self.engine.slot_of[id(s.target)] is slot]

    def _totals(self, values: Sequence[Node]) -> dict[int, Node]:
        """Sums that can replace plain accumulators among values from which the configurations select.

        Where the values contain an accumulator and also its sum with a loaded term, all configurations use the sum, and
        the term is 0 in configurations without it. One adder then serves all, and nothing selects between the two.
        That needs a slot which no configuration with the plain accumulator reads for something else.

        Returns:
            By number of the accumulator, the sum.
        """
        totals = {}
        for total in (v for v in values if v.kind == "arith.addi"):
            for value, term in (total.args, total.args[::-1]):
                plain = [v for v in values if v.kind == value.kind == "acc" and v.what == value.what]
                loaded = unextended(term.args[0] if term.kind == "arith.trunci" else term)
                if plain and loaded.kind == "load":
                    source = self.engine.slot_of[id(loaded.what)]
                    # It arrives with a step, so that the configuration is known.
                    if self.inputs[id(source)][1] is not None and not self._read_beside(source, plain):
                        totals[value.what] = total
                        self._optional.add(id(source))
        return totals

    def _read_beside(self, slot: Slot, nodes: Sequence[Node]) -> bool:
        """Whether an epilogue with one of the nodes reads the slot."""
        readers = zip(self.engine.configurations, slot.accesses, strict=True)
        return any(access and node in nest.epilogue.nodes for nest, access in readers for node in nodes)

    def _reduce(self, body: Dataflow) -> None:
        """Builds the accumulators and the reduction body that updates them."""
        self._accumulator_stage = stage_of(body.sinks[0].op)
        total = body.sinks[0].value
        if total.kind in SUM and latency_of(total.op, total.kind):
            self._reduce_in_pieces(body, 1 + latency_of(total.op, total.kind))
        else:
            registers, self._accumulators = self._registers(0, 1)
            for sink, point in self._updates(body):
                lane = sink.target.at(point)
                value = self.at(sink.value, point, self._accumulator_stage)
                registers[sink.target.number, lane].assign(value, self._update(lane))
            self._accumulators = dict(registers)
        # In the epilogue, one stage later, the value of the accumulator is the register itself.
        self._accumulator_stage += 1

    def _reduce_in_pieces(self, body: Dataflow, pieces: int) -> None:
        """Builds accumulators that are sums, each piece of which is updated in the stage behind that of the one below.

        Each piece has a loop through one register. The carry, the rest of the other term and, in the end, the pieces
        below wait for the next one.
        """
        b, terms, carries, done = self.b, dict[Lane, Value](), dict[Lane, Value](), dict[Lane, Value]()
        for number in range(pieces):
            registers, starts = self._registers(number, pieces)
            for sink, point in self._updates(body):
                lane = sink.target.number, sink.target.at(point)
                (before,), (other,) = (
                    [a for a in sink.value.args if (a.kind == "acc") == is_acc] for is_acc in (True, False)
                )
                start, bits = starts[before.what.number, before.what.at(point)], registers[lane].width
                term = terms[lane] if number else self.at(other, point, self._accumulator_stage)
                wide = bits + int(number + 1 < pieces)
                now = start.zero_extend(wide), term[:bits].zero_extend(wide)
                total = with_carry(b, *now, carries[lane]) if number else now[0] + now[1]
                registers[lane].assign(total[:bits], self._update(lane[1]))
                if wide > bits:
                    carries[lane] = self.delay(total[bits], 1, "carry")
                    terms[lane] = self.delay(term[bits:], 1, "upper")
            below = {lane: [self.delay(value, 1, "lower")] for lane, value in done.items()}
            done = {lane: b.concat([value, *below.get(lane, [])]) for lane, value in registers.items()}
            self._accumulator_stage += int(number + 1 < pieces)
        self._accumulators = done

    def _updates(self, body: Dataflow) -> list[tuple[Sink, tuple[int, ...]]]:
        """The sinks of a reduction body, each with every point of the lanes of its accumulator."""
        extents = ((sink, body.extents[: 1 + max(sink.target.dims, default=0)]) for sink in body.sinks)
        return [(sink, point) for sink, lanes in extents for point in product(*map(range, lanes))]

    def _registers(self, piece: int, pieces: int) -> tuple[dict[Lane, State], dict[Lane, Value]]:
        """Builds registers of accumulators, which are updated in the current stage of accumulators.

        Args:
            piece, pieces: which piece of the accumulators they hold, and into how many these are divided.

        Returns:
            The registers by number of the accumulator and lane, and the values that they are updated from.
        """
        b, registers, starts = self.b, dict[Lane, State](), dict[Lane, Value]()
        for number, accumulator in enumerate(self.engine.configurations[0].accumulators):
            low, high = edges(accumulator.bits, pieces)[piece]
            for lane in range(accumulator.lanes):
                first = self._of_lane(lambda stage: self.delay(self.counters.first, stage, "first"), lane)
                update, name = self._update(lane), f"acc{number}_{lane}{'_upper' if low else ''}"
                register = registers[number, lane] = b.state(high - low, name)
                initial: Value = b.const(accumulator.initial, accumulator.bits)[low:high]
                if accumulator.group and lane >= accumulator.group:
                    initial = b.mux(self._begins(), initial, registers[number, lane - accumulator.group])
                before = self._turned(register, name, lane, update)
                start = starts[number, lane] = b.mux(first, initial, before)
                self._starts[start] = first, initial, before
        return registers, starts

    def _of_lane(self, flag: Callable[[int], Value], lane: int) -> Value:
        """An i1 for the accumulators of a lane, in the stage of their update.

        With a target clock it comes from a register of the lane, which is a module so that synthesis tools do not merge
        the registers of all lanes, which are far from each other.

        Args:
            flag: returns it in a stage.
            lane: the lane.
        """
        if not self._clocked:
            return flag(self._accumulator_stage)
        value = flag(self._accumulator_stage - 1)
        if (value, lane) not in self._copies:
            self._copies[value, lane] = copied(self.b, value, f"lane{lane}_flag{len(self._copies)}")
        return self._copies[value, lane]

    def _update(self, lane: int) -> Value:
        """i1: the accumulators of a lane are updated."""
        return self._of_lane(lambda stage: self.flag(self.valid, stage, "step"), lane)

    def _turned(self, register: Value, name: str, lane: int, update: Value) -> Value:
        """The sum of the pixel whose turn it is: as many updates of `register` ago as there are pixels.

        The sums of a lane move through a shift register, so that none of them has an address. With a target clock the
        choice among those that are older than `register` is made one update early, in front of another register.
        """
        turns = [nest.turns for nest in self.engine.configurations]
        taps = [register]
        for i in range(1, max(turns) - self._clocked):
            tap = self.b.state(register.width, f"{name}_{i}")
            tap.assign(taps[-1], update)
            taps.append(tap)
        if self._clocked and max(turns) > 1:
            older = self._tap([max(0, own - 2) for own in turns], taps, lane)
            older = self.b.register(older, f"{name}_older", update)
            return self._tap([int(own > 1) for own in turns], [register, older], lane)
        return self._tap([own - 1 for own in turns], taps, lane)

    def _tap(self, column: Sequence[int], taps: Sequence[Value], lane: int) -> Value:
        """The value of `taps` that is the configuration's in `column`, in the stage of the update of a lane."""

        def flag(entries: Sequence[int]) -> Value:
            return self._of_lane(lambda stage: self.table(entries, 1, stage), lane)

        return self._by_entry(column, lambda own: taps[own], flag)

    def _begins(self) -> Value:
        """i1: in the step that updates the accumulators, sums that slide start anew."""
        along = self.counters.at_start.get(self.engine.outer_depth - 1)
        return self.b.const(1, 1) if along is None else self.delay(along, self._accumulator_stage, "begin")

    def _ready(self, node: Node, access: Access) -> int | None:
        """The stage in which the lanes of a stored value are ready; None where they are in every stage."""
        if node.kind == "const":
            return None
        return self._value(node, next(product(*map(range, access.extents))))[1]

    def _gather(self, access: Access, node: Node, stage: int) -> list[Value]:
        """The lanes of a stored value in descending order, as `Builder.concat` takes them."""
        lanes: dict[int, Value] = {}
        for point in product(*map(range, access.extents)):
            lanes[sum(s * i for s, i in zip(access.strides, point, strict=True))] = self.at(node, point, stage)
        return [lanes[i] for i in reversed(range(access.lanes))]

    # Values.

    def at(self, node: Node, point: tuple[int, ...], stage: int) -> Value:
        """The value of a node's lane `point` in `stage`, which must not be before the stage in which it is ready."""
        node = self.shapes.read(node)
        if node.kind == "const":
            return self.table(self.shapes.columns[id(node)], node.bits, stage)
        value, ready = self._value(node, point)
        return value if ready is None else self.delay(value, stage - ready, node.kind.split(".")[-1])

    def _value(self, node: Node, point: tuple[int, ...]) -> tuple[Value, int | None]:
        """The value of a node's lane and the stage in which it is ready (None: it is available in every stage)."""
        key = (id(node), tuple(point[d] for d in sorted(self.dims(node)) if d < len(point)))
        if key not in self._values:
            self._values[key] = self._make(node, point)
        return self._values[key]

    def dims(self, node: Node) -> frozenset[int]:
        """The lane dimensions on which a node depends in any configuration.

        Lanes may be equal in one configuration and differ in another.
        """
        return frozenset[int]().union(*(n.dims for n in self._alike.get(id(node), (node,))))

    def unpaired_dims(self, node: Node) -> frozenset[int]:
        """The lane dimensions along which a node's lanes 2n and 2n + 1 may differ."""
        loads = self._alike.get(id(unextended(node)), (unextended(node),))
        if any(load.kind != "load" for load in loads):
            return self.dims(node)
        chosen = {load.what.second.dim for load in loads if load.what.second and load.what.second.first % 2}
        return frozenset(chosen).union(*({d for d, s in enumerate(load.what.strides) if s} for load in loads))

    def _make(self, node: Node, point: tuple[int, ...]) -> tuple[Value, int | None]:
        """Builds the value of a node's lane; returns it and the stage in which it is ready, as `_value` does."""
        b = self.b
        if node.kind == "iv":
            counter = self.counters.counters.get(self.engine.loops(self.shapes.nest_of(node)).index(node.what))
            return counter.zero_extend(32) if counter is not None else b.const(0, 32), 0
        if node.kind == "acc":
            return self._register(node, point), self._accumulator_stage
        if node.kind == "load":
            return self._load(node, point)
        stage = stage_of(node.op)
        latency = latency_of(node.op, node.kind)
        packed = self.products.packed(node, point, stage)
        if packed is not None:
            return packed, stage + latency
        if node.kind == "reduce":
            lanes = product(*(range(self.extent(node, d)) for d in node.reduced))
            points = [(*point, *inner) for inner in lanes]
            cascade = CASCADE.find(node.op)
            if cascade is None:
                terms = [self.at(node.args[0], inner, stage) for inner in points]
            else:
                terms = self.products.sums(node, points, cascade)
            return self._sum(terms, latency, Clock.of(node.op).pieces(node.bits)), stage + latency
        if node.kind == "table":
            return self.tables.entry(node, point, stage), stage + latency
        if node.kind == "arith.muli" and latency > 1:
            product_of = self.products.wide if Clock.of(node.op).is_wide(node) else self.products.local
            return product_of(node, point, stage), stage + latency
        if node.kind in ("arith.cmpi", *EXTREME):
            holds = self._compare(node, point, stage)
            return (holds, stage) if node.kind == "arith.cmpi" else self._extreme(node, point, stage, latency, holds)
        if node.kind in EXTENSION:
            return self.signed(node, point, stage).sign_extend(node.bits), stage
        if node.kind == "arith.muli":
            args = [factor.sign_extend(node.bits) for factor in self.products.factors(node, point, stage)]
        else:
            args = [self._argument(node, a, point, stage) for a in self.shapes.arguments(node)]
        if latency and node.kind in SUM:
            left, right = (arg[: min(node.bits, self._bits_read(node))] for arg in args)
            name, minus = node.kind.split(".")[-1], node.kind == "arith.subi"
            return late_sum(b, left, right, name, latency + 1, minus, self.enable), stage + latency
        result = self._shift(node, args, stage) if node.kind in SHIFT else self._compute(node, args)
        if latency:
            result = result[: min(node.bits, self._bits_read(node))]
        return self.delay(result, latency, node.kind.split(".")[-1]), stage + latency

    def _argument(self, node: Node, argument: Node, point: tuple[int, ...], stage: int) -> Value:
        """An argument of a node in `stage`; of a sum, the term is 0 where it does not count (`Shapes.terms`)."""
        value, (term, column) = self.at(argument, point, stage), self.shapes.terms.get(id(node), (None, []))
        return self.b.mux(self.table(column, 1, stage), value, 0) if argument is term else value

    def _register(self, node: Node, point: tuple[int, ...]) -> Value:
        """The value of an accumulator: of the lane's register, or of that which a run-time term picks."""
        number, first, term = node.what.number, node.what.at(point), node.what.term
        if term is None:
            return self._accumulators[number, first]
        epilogue = next(e for e in self.engine.epilogues if node in e.flow.nodes)
        place = epilogue.flow.nodes.index(node)
        terms = [(i, self.engine.configurations[i].epilogue.nodes[place].what.term) for i in epilogue.configurations]
        lane, *others = {self._symbol(i, own): None for i, own in terms}
        if others:
            raise fail(node.op, "the nest reads more run-time terms than others that share its epilogue")
        lanes = [value for (n, _), value in sorted(self._accumulators.items(), key=lambda item: item[0]) if n == number]
        return self.b.select(self.delay(lane, self._accumulator_stage, "lane"), lanes[first:])

    def signed(self, node: Node, point: tuple[int, ...], stage: int) -> Value:
        """What an extension extends, as a number with a sign; any other value as it is.

        An integer that has no sign in some configurations gets another bit: 0 in these, in the others its own sign.
        """
        value, column = self.at(unextended(node), point, stage), self.shapes.signs.get(id(node), [1])
        if self.bits_of(node).signed == value.width:
            return value
        sign = value[-1] & self.table(column, 1, stage) if any(column) else self.b.const(0, 1)
        return self.b.concat([sign, value])

    def bits_of(self, factor: Node) -> Bits:
        """The bits of what an extension extends, or of any other value, in all configurations."""
        inner, signs = unextended(factor), self.shapes.signs.get(id(factor), [1])
        alike = self._alike.get(id(inner), ()) if inner.kind == "load" else ()  # others are of one type
        each = [node.bits for node in alike] or [inner.bits] * len(signs)
        return Bits(max(each), max(bits + (not sign) for bits, sign in zip(each, signs, strict=True)))

    def _sum(self, terms: list[Value], stages: int, pieces: int) -> Value:
        """The sum of the terms by an adder tree, whose levels are spread evenly over `stages` pipeline stages.

        Where a sum has several `pieces`, each of its levels takes as many stages.
        """
        while pieces > 1 and len(terms) > 1:
            pairs = [terms[i : i + 2] for i in range(0, len(terms), 2)]
            sums = [late_sum(self.b, *p, "reduce", pieces, enable=self.enable) for p in pairs if p[1:]]
            sums += [self.delay(p[0], pieces - 1, "reduce") for p in pairs if not p[1:]]
            terms = [self.delay(value, 1, "reduce") for value in sums]
            stages -= pieces
        levels = -(-(len(terms) - 1).bit_length() // max(stages, 1)) or 1
        for _ in range(stages):
            groups = [terms[i : i + (1 << levels)] for i in range(0, len(terms), 1 << levels)]
            terms = [self.delay(self.b.sum_of(*group), 1, "reduce") for group in groups]
        return terms[0]

    def _bits_read(self, node: Node) -> int:
        """The number of low bits of a node that are read: fewer than it has when all its readers truncate it."""
        readers = [n for f in self._flows() for n in f.nodes if any(a is node for a in n.args)]
        stored = any(s.value is node for f in self._flows() for s in f.sinks)
        cut = bool(readers) and not stored and all(n.kind == "arith.trunci" for n in readers)
        return max(n.bits for n in readers) if cut else node.bits

    def extent(self, node: Node, dim: int) -> int:
        """Number of lanes of a node along a lane dimension."""
        return next(f for f in self._flows() if node in f.nodes).extents[dim]

    def _flows(self) -> list[Dataflow]:
        """Reduction bodies and epilogues of all configurations."""
        return [f for n in self.engine.configurations for f in n.flows]

    def _load(self, node: Node, point: tuple[int, ...]) -> tuple[Value, int | None]:
        """The lane of an operand, from the port through which the configuration reads it, and its stage."""
        slot, value, others = self._ports(node, point)
        stage = self.inputs[id(slot)][1]
        for configurations, lane in others:
            # A configuration that reads two words uses both ports, each for other lanes.
            value = self.b.mux(self.table(configurations, 1, stage or 0), lane, value)
        if id(slot) in self._optional:
            value = self.b.mux(self._used(slot, stage or 0), value, 0)
        return value, stage

    def _ports(self, node: Node, point: tuple[int, ...]) -> tuple[Slot, Value, list[tuple[list[int], Value]]]:
        """The lane of an operand from each port through which configurations read it.

        Returns:
            The first port, the lane from it, and of each other port the configurations that read the lane through it, a
            column of 0 and 1, and the lane.
        """
        accesses = [n.what.at(point) for n in self._alike.get(id(node), (node,))]
        slots = [self.engine.slot_of[id(a)] for a in accesses]
        (slot, access), *others = dict(zip(slots, accesses, strict=True)).items()
        bits, stage = max(a.element_bits for a in accesses), self.inputs[id(slot)][1] or 0
        first, *rest = (self._as_wide(node, self._lane(s, a, point), bits, stage) for s, a in ((slot, access), *others))
        columns = ([int(s is other) for s in slots] for other, _ in others)
        return slot, first, list(zip(columns, rest, strict=True))

    def either(self, factor: Node, point: tuple[int, ...], stage: int) -> tuple[Value, list[Value]] | None:
        """A factor that comes from one of two ports, in `stage`: i1, whether it is the second one's, and the values.

        None where it comes from another number of ports, or has another bit for its sign.
        """
        load = unextended(factor)
        if load.kind != "load":
            return None
        slot, value, others = self._ports(load, point)
        ready = self.inputs[id(slot)][1]
        if len(others) != 1 or ready is None or id(slot) in self._optional:
            return None
        if self.bits_of(factor).signed != value.width:
            return None
        ((configurations, other),) = others
        return self.table(configurations, 1, stage), [self.delay(v, stage - ready, "load") for v in (value, other)]

    def _as_wide(self, node: Node, value: Value, bits: int, stage: int) -> Value:
        """A loaded value in the bits that other configurations load: extended as the reader of `node` extends it."""
        if value.width == bits:
            return value
        extension = next(n for f in self._flows() for n in f.nodes if n.kind in EXTENSION and n.args[0] is node)
        sign = value[-1] & self.table(self.shapes.signs[id(extension)], 1, stage)
        return self.b.concat([sign.replicate(bits - value.width), value])

    def _lane(self, slot: Slot, access: Access, point: tuple[int, ...]) -> Value:
        """The value of a lane from a read port, or the padding constant where the guard is 0."""
        data, stage, guard = self.inputs[id(slot)]
        bits = access.element_bits
        lane = sum(s * i for s, i in zip(access.strides, point[: len(access.strides)], strict=True))
        value = data[lane * bits : (lane + 1) * bits]
        if guard is None:
            return value
        entries = [a.otherwise if a is not None else 0 for a in slot.accesses]
        return self.b.mux(guard, value, self.table(entries, bits, stage or 0))

    def _compare(self, node: Node, point: tuple[int, ...], stage: int) -> Value:
        """i1: the comparison of an arith.cmpi holds; for a maximum or minimum, its first argument is the result."""
        b, crossing = self.b, Clock.of(node.op).crossing
        predicate = _EXTREMES.get(node.kind)
        predicate = predicate or PREDICATES[int(node.what["predicate"].split(" ")[0])]
        args = [self.at(a, point, stage) for a in node.args]
        bounds = self.shapes.columns.get(id(node.args[1])) if node.kind in _BOUNDS else None
        if bounds is not None and all(_BOUNDS[node.kind](bound) for bound in bounds):
            return self._by_entry(bounds, lambda bound: _is_within(args[0], node.kind, bound), self._entry_in(stage))
        for place, arg in enumerate(args):
            if arg in self._starts:
                # Both the initial value and the register are compared, so that no multiplexer precedes the comparison
                # with the register. With a target clock the initial value is compared one cycle early.
                first, initial, register = self._starts[arg]
                early = self.at(node.args[1 - place], point, stage - crossing)
                begun = initial.compare(predicate, early) if place == 0 else early.compare(predicate, initial)
                args[place] = register
                if not crossing:
                    return b.mux(first, begun, args[0].compare(predicate, args[1]))
                begins = self.delay(self.counters.first, self._accumulator_stage - 1, "first") & begun
                if predicate[0] == "s":
                    predicate, args = f"u{predicate[1:]}", [value.ordered() for value in args]
                return self.delay(begins, 1, "begun") | (~first & args[0].compare(predicate, args[1]))
        return args[0].compare(predicate, args[1])

    def _extreme(
        self, node: Node, point: tuple[int, ...], stage: int, latency: int, holds: Value
    ) -> tuple[Value, int | None]:
        """The maximum or minimum of a node's arguments by their comparison `holds`.

        The multiplexer stands in the stage of the comparison or, with a latency, behind a register.

        Returns:
            The value and the stage in which it is ready.
        """
        bits = min(node.bits, self._bits_read(node)) if latency else node.bits
        args = []
        for arg in node.args:
            late = latency if arg.kind == "const" else 0
            value = self.at(arg, point, stage + late)[:bits]
            args.append(self.delay(value, latency - late, "saturated"))
        return self.b.mux(self.delay(holds, latency, "holds"), *args), stage + latency

    def _shift(self, node: Node, args: list[Value], stage: int) -> Value:
        """A shift; by a constant, it is a choice among the amounts that occur in the configurations.

        It is smaller than a shifter for every amount: of 5 amounts a multiplexer with 5 inputs.
        """
        column = self.shapes.columns.get(id(node.args[1]))
        if column is None:  # it is less than the bits of the op
            amount = args[1][: bits_for(node.bits)].zero_extend(node.bits)
            return self._compute(node, [args[0], amount])

        def shifted(amount: int) -> Value:
            return self._compute(node, [args[0], self.b.const(amount, node.bits)])

        return self._by_entry(column, shifted, self._entry_in(stage))

    def _compute(self, node: Node, args: list[Value]) -> Value:
        """The result of an arith op as combinational logic.

        Raises:
            GradcamError: the op has no hardware form.
        """
        kind = node.kind
        if kind in COMB:
            return self.b.comb(COMB[kind], *args)
        if kind in ("arith.trunci", "arith.index_cast", "arith.index_castui"):
            return args[0].zero_extend(node.bits)
        if kind == "arith.select":
            return self.b.mux(args[0], args[1], args[2])
        raise fail(
            node.op,
            f"'{kind}' has no hardware form; lanes compute with integer add, multiply, shift, compare and select",
        )


def _is_within(value: Value, kind: str, bound: int) -> Value:
    """i1: a value with a sign is at least a bound of 0 or -2**k, or at most one of 2**k - 1."""
    is_lower = kind == "arith.maxsi"
    kept, is_negative = (~bound if is_lower else bound).bit_length(), value[-1]
    if is_lower and bound == 0:
        return ~is_negative
    if kept >= value.width - 1:
        return value.builder.const(1, 1)
    upper = value[kept:-1]
    return ~is_negative | upper.eq((1 << upper.width) - 1) if is_lower else is_negative | upper.eq(0)
