"""An engine: odometer, address generators, datapath and epilogues of the nests that share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch_mlir import ir as mlir

from gradcam.passes.hw.builder import Builder, Value, bits_for, module, signed_bits
from gradcam.passes.hw.datapath import Datapath
from gradcam.passes.hw.odometer import Odometer, range_of
from gradcam.passes.hw.ports import Port, Symbol, Term, make_port, symbol_field
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.ir.queries import symbol_register
from gradcam.passes.program.banks import Bank
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.engines import Engine, drain_of, latency_of, stage_of
from gradcam.passes.program.nest import Nest
from gradcam.passes.program.runs import Follow
from gradcam.passes.program.streams import moving_loops
from gradcam.passes.program.tape import Tape


class EngineBuilder:
    """Builds the `hw.module` of one engine."""

    def __init__(
        self,
        engine: Engine,
        banks: dict[str, Bank],
        registers: dict[mlir.Value, str],
        dsp_packing: bool,
        tape: Tape | None,
        follows: Mapping[int, Follow],
    ) -> None:
        """Lays out the engine's ports.

        Args:
            engine: the engine.
            banks: banks by name.
            registers: names of one-element buffers, for symbols in addresses.
            dsp_packing: two products of one multiplication where lanes share a factor.
            tape: the weight tape; None when all constants are on chip.
            follows: the nests that follow, by the number of their producer.
        """
        self.engine = engine
        #: Per row, what other nests count of it, and what it waits for.
        self.counted = [next((f for f in follows.values() if f.producer is nest), None) for nest in engine.rows]
        self.gates = [next((f for f in follows.values() if f.nest is nest), None) for nest in engine.rows]
        self.hop = Clock.of(engine.rows[0].op).hop
        self.dsp_packing = dsp_packing
        self.ports = [make_port(s, banks, tape) for s in engine.slots]
        #: The ports that read the tape; each says what it takes and frees, and waits for late words.
        self.tape_ports = [port for port in self.ports if any(port.uses)]
        self.registers = registers
        self.row_bits = bits_for(len(engine.rows))
        self.symbols: dict[str, Symbol] = {}
        for row in range(len(engine.rows)):
            for term in self._terms(row):
                name = self._symbol_name(row, term)
                symbol = self.symbols.setdefault(name, self._symbol(term))
                symbol.registers[row] = registers[symbol_register(term[1])]

    def _terms(self, row: int) -> list[Term]:
        """Symbolic terms in the addresses of a row."""
        forms = [port.row_form(row) or {} for port in self.ports if port.slot.kind == "memory"]
        return list(dict.fromkeys(t for form in forms for t in form if isinstance(t, tuple)))

    def _symbol_name(self, row: int, term: Term) -> str:
        """The rows share a symbol where they divide alike; a row that reads several registers has one for each."""
        kind, value, divisor = term
        alike = (self.registers[symbol_register(v)] for k, v, d in self._terms(row) if (k, d) == (kind, divisor))
        number = list(dict.fromkeys(alike)).index(self.registers[symbol_register(value)])
        return f"index{number or ''}_{kind}_{divisor}"

    def _symbol(self, term: Term) -> Symbol:
        """The bits of a register that a symbolic term is."""
        limit = max(port.address + port.low for port in self.ports)
        _, low, bits = symbol_field(term, self.registers, limit)
        return Symbol(low, bits, [None] * len(self.engine.rows))

    @property
    def name(self) -> str:
        """Module name."""
        return f"engine_{self.engine.name}"

    @property
    def freezes(self) -> bool:
        """Whether its pipeline can stop while a read is on its way, with registers that are not in the engine."""
        kinds = {(port.slot.kind, port.slot.store) for port in self.ports}
        return bool(self.hop) and {("stream", True), ("memory", False)} <= kinds

    def port_list(self) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Inputs and outputs besides clk and rst."""
        inputs, outputs = [("go", 1)], [("done", 1)]
        if len(self.engine.rows) > 1:
            inputs.append(("row", self.row_bits))
        if any(self.gates):
            inputs += [("written", 1), ("over", 1)]
        if any(self.counted):
            outputs.append(("landed", 1))
        inputs += [(name, symbol.bits) for name, symbol in self.symbols.items()]
        for port in self.ports:
            name, kind, store = port.name, port.slot.kind, port.slot.store
            if kind == "memory":
                enable = port.slices if store else 1
                outputs += [(f"{name}_en", enable), (f"{name}_addr", port.address + (0 if store else port.low))]
                if len(port.banks) > 1:
                    ends = ("bank",) if store else ("bank", "from")
                    outputs += [(f"{name}_{end}", bits_for(len(port.banks))) for end in ends]
                (outputs if store else inputs).append((f"{name}_data", port.width))
            elif kind == "stream":
                (outputs if store else inputs).extend([(f"{name}_valid", 1), (f"{name}_data", port.width)])
                (inputs if store else outputs).append((f"{name}_ready", 1))
            else:
                (outputs if store else inputs).append((f"{name}_data", port.width))
                if store:
                    outputs.append((f"{name}_en", 1))
        if self.freezes:
            outputs.append(("moving", 1))
        for port in self.tape_ports:
            inputs.append((f"{port.name}_ready", 1))
            outputs += [(f"{port.name}_fresh", 1), (f"{port.name}_free", 1)]
        return inputs, outputs

    def build(self) -> Any:
        """The module."""
        rows = ", ".join(f"{i} {nest.name}" for i, nest in enumerate(self.engine.rows))
        comment = f"Engine {self.engine.name}; rows of its program, by the nests that they run: {rows}"
        return module(self.name, *self.port_list(), self._body, comment=comment)

    def _body(self, b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        engine, row = self.engine, p.get("row")
        sink = next((q for q in self.ports if q.slot.kind == "stream" and q.slot.store), None)
        source = next((q for q in self.ports if q.slot.kind == "stream" and not q.slot.store), None)
        running, connect_running = b.state(1, "running", reset=0)
        step, connect_step = b.wire(1, "stepping")
        moving, connect_moving = b.wire(1, "odometer_moving")
        odometer = Odometer(b, engine, row, p["go"], step, moving)
        fresh = {port.name: self._fresh(b, port, row, odometer) for port in self.tape_ports}
        words = [b.any_of(b.negate(wanted), p[f"{name}_ready"]) for name, wanted in fresh.items()]
        # Whether a step needs a beat is known from registers that follow the odometer, which the step moves.
        arrived = b.wire(1, "arrived") if source else None
        released = [self._released(b, p, odometer)] if any(self.gates) else []
        allowed = [*([arrived[0]] if arrived else []), *words, *released]
        valid = b.all_of(running, *allowed)
        # A stalled output stream stops the whole pipeline; an input or a word that is late only the next step.
        stall = b.wire(1, "stalling") if sink else None
        enable = b.any_of(b.negate(stall[0]), p[f"{sink.name}_ready"]) if sink and stall else None
        connect_step(b.all_of(valid, enable) if enable is not None else valid)
        # Whatever an idle engine does. `go` never comes to another one, but says so to who reads this logic: what it
        # resets needs no other condition then.
        moves = b.all_of(*allowed, *([] if enable is None else [enable]))
        connect_moving(b.any_of(b.negate(running), *([p["go"]] if self.hop else []), moves))
        finish = b.all_of(step, odometer.final)
        connect_running(b.any_of(p["go"], b.all_of(running, b.negate(finish))))
        path = Datapath(b, engine, row, odometer, valid, enable, self.dsp_packing)
        path.guards = {id(q.slot): self._guard(b, q, path) for q in self.ports}
        outputs: dict[str, Value] = {}
        for port in self.ports:
            if not port.slot.store:
                self._read(b, p, port, path, outputs)
        if source and arrived:
            guard, offered = path.guards[id(source.slot)], p[f"{source.name}_valid"]
            arrived[1](offered if guard is None else b.any_of(offered, b.negate(guard)))
            taken = [running, self._moves_on(source, odometer), *(v for v in (guard, enable) if v is not None)]
            outputs[f"{source.name}_ready"] = b.all_of(*taken)
        for port in self.tape_ports:
            outputs[f"{port.name}_fresh"] = b.all_of(step, fresh[port.name])
            outputs[f"{port.name}_free"] = self._free(b, port, path, step)
        path.build()
        for port in self.ports:
            if port.slot.store:
                self._write(b, p, port, path, outputs)
        if sink and stall:
            stall[1](outputs[f"{sink.name}_valid"])
        if self.freezes and enable is not None:
            outputs["moving"] = enable
        outputs["done"] = self._done(b, path)
        if any(self.counted):
            depths = [f.counted if f else 0 for f in self.counted]
            firsts = [self._inner(nest, depth) for nest, depth in zip(engine.rows, depths, strict=True)]
            over = odometer.inside(firsts, odometer.at_end)
            outputs["landed"] = self._after(
                b, path, over, [d if f else None for d, f in zip(self._depths, self.counted, strict=True)], "landed"
            )
        return outputs

    @property
    def _depths(self) -> list[int]:
        """Per row the stage of its stores."""
        return [stage_of(nest.epilogue.sinks[0].op) for nest in self.engine.rows]

    def _done(self, b: Builder, path: Datapath) -> Value:
        """i1: the next turn may be issued, as far as the row that ran is concerned."""
        drains = [drain_of(nest) for nest in self.engine.rows]
        stages = [d - max(0, drain) for d, drain in zip(self._depths, drains, strict=True)]
        done = self._after(b, path, path.odometer.final, stages, "final")
        return b.register(done, "done_q", reset=0) if min(drains) < 0 else done

    def _after(self, b: Builder, path: Datapath, step: Value, stages: Sequence[int | None], name: str) -> Value:
        """i1: a step of the row for which `step` is 1 is in the stage `stages[row]`; None for never."""
        ends = []
        for stage in sorted({s for s in stages if s is not None}):
            here = path.table([int(s == stage) for s in stages], 1)
            ends.append(path.flag(b.all_of(path.valid, step, here), stage, name))
        return b.all_of(b.any_of(*ends), *([] if path.enable is None else [path.enable]))

    def _inner(self, nest: Nest, count: int) -> int:
        """The number of the odometer's first loop inside the nest's `count` outermost ones."""
        loops = self.engine.loops(nest)
        return loops.index(nest.loops[count - 1]) + 1 if count else 0

    def _released(self, b: Builder, p: dict[str, Value], odometer: Odometer) -> Value:
        """i1: the step is not the first of an iteration whose operands the producer has not written yet."""
        gates, rows = self.gates, self.engine.rows
        firsts = [self._inner(nest, f.gated if f else 0) for nest, f in zip(rows, gates, strict=True)]
        # What is written but not needed yet; a row without a gate needs nothing.
        forms: list[Linear] = [{t: -n for t, n in f.need.items()} if f else {} for f in gates]
        bits = max(signed_bits(-int(f.needs.max()), f.count - int(f.needs.min())) for f in gates if f)
        base = self._base(b, odometer.row, [form.get(None, 0) for form in forms], bits)
        deltas = [self.engine.deltas(nest, form) for nest, form in zip(rows, forms, strict=True)]
        ahead = odometer.follow("ahead", bits, base, deltas, more=b.zero_extend(p["written"], bits))
        short = b.all_of(b.bits(ahead, bits - 1, 1), b.negate(p["over"]))
        return b.negate(b.all_of(odometer.begins(firsts), short))

    def _fresh(self, b: Builder, port: Port, row: Value | None, odometer: Odometer) -> Value:
        """i1: the step reads a word of the tape for the first time."""
        return self._turn(b, port, row, odometer, odometer.at_start)

    def _turn(
        self, b: Builder, port: Port, row: Value | None, odometer: Odometer, extreme: Mapping[int, Value]
    ) -> Value:
        """i1: the step reads a word of the tape in that iteration of all loops that come back to it."""
        flags = [b.column(row, [int(use is not None) for use in port.uses], 1)]
        for i in odometer.live:
            loops = [self.engine.loops(nest)[i] for nest in self.engine.rows]
            back = [use is not None and use.repeats(loop) for use, loop in zip(port.uses, loops, strict=True)]
            if any(back):
                flags.append(b.any_of(b.column(row, [int(not n) for n in back], 1), extreme[i]))
        late = [use is not None and not use.in_body for use in port.uses]
        if any(late):
            flags.append(b.any_of(b.column(row, [int(not n) for n in late], 1), odometer.last))
        return b.all_of(*flags)

    def _free(self, b: Builder, port: Port, path: Datapath, step: Value) -> Value:
        """i1: a word of the tape is read for the last time, in the cycle of that read."""
        last = self._turn(b, port, path.row, path.odometer, path.odometer.at_end)
        return path.flag(b.all_of(step, last), port.slot.stage, f"over_{port.name}")

    def _moves_on(self, source: Port, odometer: Odometer) -> Value:
        """i1: the next step reads another beat; a stream has one reader, the engine's only row."""
        (nest,), (access,) = self.engine.rows, source.slot.rows
        assert access is not None
        moving = moving_loops(access, nest.loops)
        return odometer.ended_inside(self.engine.loops(nest).index(moving[-1]) if moving else -1)

    def _address(self, b: Builder, p: dict[str, Value], port: Port, path: Datapath) -> Value:
        """Register with the address of the step in stage 0, in slices."""
        engine = self.engine
        width = port.address + port.low
        forms = [port.row_form(i) for i in range(len(engine.rows))]
        modulus = port.banks[0].words * port.slices if any(port.uses) else None
        bases = [0 if f is None else f.get(None, 0) for f in forms]
        terms = self._symbol_terms(b, p, forms, width, path.row)
        base = self._base(b, path.row, [n % modulus if modulus else n for n in bases], width, terms)
        deltas = [engine.deltas(n, {} if f is None else f) for n, f in zip(engine.rows, forms, strict=True)]
        address = path.odometer.follow(f"agu_{port.name}", width, base, deltas, modulus)
        rings = [port.row_ring(i) for i in range(len(engine.rows))]
        if not any(rings):
            return address
        low = b.column(path.row, [ring[0] - 1 if ring else -1 for ring in rings], width)
        high = b.column(path.row, [ring[1] if ring else 0 for ring in rings], width)
        return b.variadic("or", [b.variadic("and", [address, low]), high])

    def _base(
        self, b: Builder, row: Value | None, entries: Sequence[int], width: int, terms: Sequence[Value] = ()
    ) -> Value:
        """What something that follows the odometer starts from, in the cycle of `go`, to which the terms are added.

        With a clock the row is there a cycle before, and a register beside it.
        """
        if not self.hop:
            return b.add(b.table(row, entries, width), *terms)
        return b.add(b.column(row, entries, width), *(b.register(term, "term") for term in terms))

    def _symbol_terms(
        self, b: Builder, p: dict[str, Value], forms: list[Linear | None], width: int, row: Value | None
    ) -> list[Value]:
        """What run-time symbols such as the class add to a base; zero in rows without the symbol."""
        terms = []
        for name in self.symbols:
            part, coefficients = p[name], [self._coefficient(i, f or {}, name) for i, f in enumerate(forms)]
            for factor in dict.fromkeys(c for c in coefficients if c):
                product = b.op("comb.mul", b.const(0, width).type, [b.zero_extend(part, width), b.const(factor, width)])
                active = b.table(row, [int(c == factor) for c in coefficients], 1)
                terms.append(b.mux(active, product, b.const(0, width)))
        return terms

    def _coefficient(self, row: int, form: Linear, symbol: str) -> int:
        """What a row multiplies a symbol with."""
        terms = [t for t in form if isinstance(t, tuple)]
        return sum(form[t] for t in terms if self._symbol_name(row, t) == symbol)

    def _guard(self, b: Builder, port: Port, path: Datapath) -> Value | None:
        """i1 at stage 0: the access happens. None when no row guards it."""
        count = max((len(a.guards) for a in port.slot.rows if a), default=0)
        signs = []
        for i in range(count):
            forms = [a.guards[i] if a and i < len(a.guards) else None for a in port.slot.rows]
            width = range_of(self.engine, forms)
            base = self._base(b, path.row, [0 if f is None else f.get(None, 0) for f in forms], width)
            deltas = [self.engine.deltas(n, f or {}) for n, f in zip(self.engine.rows, forms, strict=True)]
            value = path.odometer.follow(f"guard_{port.name}{i}", width, base, deltas)
            signs.append(b.bits(value, width - 1, 1))
        return b.negate(b.any_of(*signs)) if signs else None

    def _bank_number(self, port: Port, path: Datapath, stage: int) -> Value:
        """The bank of the row whose step is in a stage."""
        return path.table(port.bank_of, bits_for(len(port.banks)), stage)

    def _read(self, b: Builder, p: dict[str, Value], port: Port, path: Datapath, outputs: dict[str, Value]) -> None:
        slot, name = port.slot, port.name
        data, guard = p[f"{name}_data"], path.guards[id(port.slot)]
        latency = latency_of(slot.example.op, "load")
        if guard is not None:  # it is known when the step starts
            guard = path.delay(guard, slot.stage + latency, f"inside_{name}")
        if slot.kind == "memory":
            stage = path.departure(slot)
            outputs[f"{name}_addr"] = path.delay(self._address(b, p, port, path), stage, f"agu_{name}")
            active = path.active(slot)
            stops = path.enable is not None and not self.freezes
            outputs[f"{name}_en"] = b.all_of(active, path.enable) if stops else active
            if len(port.banks) > 1:
                outputs[f"{name}_bank"] = self._bank_number(port, path, stage)
                outputs[f"{name}_from"] = self._bank_number(port, path, slot.stage + latency - self.hop)
            data = path.delay(data, self.hop, f"{name}_q")  # bank and top have the first registers
            path.inputs[id(slot)] = data, slot.stage + latency, guard
        elif slot.kind == "stream":
            path.inputs[id(slot)] = path.delay(data, 1, f"{name}_q"), 1, guard
        else:
            path.inputs[id(slot)] = data, None, None

    def _write(self, b: Builder, p: dict[str, Value], port: Port, path: Datapath, outputs: dict[str, Value]) -> None:
        slot, name = port.slot, port.name
        active, data, stage = path.active(slot), path.output(slot), path.departure(slot)
        if slot.kind == "stream":
            outputs |= {f"{name}_valid": active, f"{name}_data": data}
            return
        if slot.kind == "register":
            outputs |= {f"{name}_en": active, f"{name}_data": data}
            return
        address = path.delay(self._address(b, p, port, path), stage, f"agu_{name}")
        outputs[f"{name}_addr"] = b.bits(address, port.low, port.address)
        if port.slices > 1:
            choice = b.bits(address, 0, port.low)
            enables = [b.all_of(active, b.compare("eq", choice, b.const(i, port.low))) for i in range(port.slices)]
            outputs[f"{name}_en"] = b.concat(enables[::-1])
        else:
            outputs[f"{name}_en"] = active
        part = b.zero_extend(data, port.width // port.slices)
        outputs[f"{name}_data"] = b.concat([part] * port.slices)
        if len(port.banks) > 1:
            outputs[f"{name}_bank"] = self._bank_number(port, path, stage)
