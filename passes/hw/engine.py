"""An engine: odometer, address generators, datapath and epilogues of the nests that share it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch_mlir import ir as mlir

from gradcam.errors import fail
from gradcam.passes.engines import Engine, Slot, stage_of
from gradcam.passes.hw.builder import Builder, Value, bits_for, module
from gradcam.passes.hw.datapath import Datapath
from gradcam.passes.hw.layout import Bank, address_form, place_of, slices_of
from gradcam.passes.hw.odometer import Odometer, range_of
from gradcam.passes.ir_queries import is_argument, is_scalar, owner_name
from gradcam.passes.linear_form import Linear
from gradcam.passes.streams import moving_loops


@dataclass(eq=False)
class Port:
    """A slot of an engine as hardware.

    Attributes:
        banks: the banks that rows reach through it; `bank_of` is the number of a row's bank in it.
        slices: accesses per word; the lowest address bits pick one.
        address: bits of a word address.
    """

    slot: Slot
    banks: list[Bank] = field(default_factory=list)
    bank_of: list[int] = field(default_factory=list)
    slices: int = 1
    address: int = 1

    @property
    def name(self) -> str:
        """Port name."""
        return self.slot.name

    @property
    def width(self) -> int:
        """Bits that cross the port: a word of memory, or the lanes of a stream or register."""
        example = self.slot.example
        return self.banks[0].width if self.banks else example.lanes * example.element_bits

    def row_form(self, row: int) -> Linear | None:
        """The address of a row's access in slices."""
        access = self.slot.rows[row]
        if access is None:
            return None
        bank = self.banks[self.bank_of[row]]
        return address_form(access, bank, place_of(access.memref)[1], self.slices)


def make_port(slot: Slot, banks: dict[str, Bank]) -> Port:
    """Works out which banks a slot reaches and how its lanes lie in their words."""
    port = Port(slot)
    if slot.kind != "memory":
        return port
    used = [None if a is None else banks[place_of(a.memref)[0]] for a in slot.rows]
    port.banks = list(dict.fromkeys(b for b in used if b is not None))
    if len({(b.lanes, b.bits) for b in port.banks}) != 1:
        names = ", ".join(b.name for b in port.banks)
        raise fail(slot.example.op, f"{names} have different words; read each constant with one number of lanes")
    port.bank_of = [0 if b is None else port.banks.index(b) for b in used]
    port.slices = slices_of([a for a in slot.rows if a is not None], port.banks[0])
    port.address = max(bits_for(b.words) for b in port.banks)
    return port


def symbol_register(value: mlir.Value) -> mlir.Value:
    """The one-element buffer an index symbol is read from: `arith.index_cast` of a `memref.load`."""
    op = value.owner
    if owner_name(value) == "arith.index_cast" and owner_name(op.operands[0]) == "memref.load":
        memref = op.operands[0].owner.operands[0]
        if is_scalar(memref) and not is_argument(memref):
            return memref
    raise fail(op, "an index that is no loop must be read from a buffer of one element that a nest writes")


class EngineBuilder:
    """Builds the `hw.module` of one engine."""

    def __init__(self, engine: Engine, banks: dict[str, Bank], registers: dict[mlir.Value, str]) -> None:
        """Lays out the engine's ports.

        Args:
            engine: the engine.
            banks: banks by name.
            registers: names of one-element buffers, for symbols in addresses.
        """
        self.engine = engine
        self.ports = [make_port(s, banks) for s in engine.slots]
        self.registers = registers
        self.symbols = {self._symbol_name(t): self._symbol_bits(t) for t in self._symbol_terms_used()}
        self.row_bits = bits_for(len(engine.rows))

    def _symbol_terms_used(self) -> list[tuple[str, mlir.Value, int]]:
        """Symbolic terms in the addresses of this engine: (mod or floordiv, index value, divisor)."""
        accesses = [a for port in self.ports for a in port.slot.rows if a is not None]
        return list(dict.fromkeys(t for a in accesses for t in a.index if isinstance(t, tuple)))

    def _symbol_name(self, term: tuple[str, mlir.Value, int]) -> str:
        kind, value, divisor = term
        return f"{self.registers[symbol_register(value)]}_{kind}_{divisor}"

    def _symbol_bits(self, term: tuple[str, mlir.Value, int]) -> tuple[str, int, int]:
        """Register, lowest bit and number of bits that a symbolic term is: divisors are powers of two."""
        width = max(port.address + (port.slices - 1).bit_length() for port in self.ports)
        kind, value, divisor = term
        shift = (divisor - 1).bit_length()
        if divisor != 1 << shift:
            raise fail(
                value.owner, f"an index may be divided by a power of two only, not by {divisor}; choose such a pe"
            )
        register = self.registers[symbol_register(value)]
        return (register, 0, shift) if kind == "mod" else (register, shift, min(32 - shift, width))

    @property
    def name(self) -> str:
        """Module name."""
        return f"engine_{self.engine.name}"

    def port_list(self) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Inputs and outputs besides clk and rst."""
        inputs, outputs = [("go", 1)], [("done", 1)]
        if len(self.engine.rows) > 1:
            inputs.append(("row", self.row_bits))
        inputs += [(name, width) for name, (_, _, width) in self.symbols.items()]
        for port in self.ports:
            name, kind, store = port.name, port.slot.kind, port.slot.store
            if kind == "memory":
                enable = port.slices if store else 1
                outputs += [(f"{name}_en", enable), (f"{name}_addr", port.address)]
                if len(port.banks) > 1:
                    outputs.append((f"{name}_bank", bits_for(len(port.banks))))
                (outputs if store else inputs).append((f"{name}_data", port.width))
            elif kind == "stream":
                (outputs if store else inputs).extend([(f"{name}_valid", 1), (f"{name}_data", port.width)])
                (inputs if store else outputs).append((f"{name}_ready", 1))
            else:
                (outputs if store else inputs).append((f"{name}_data", port.width))
                if store:
                    outputs.append((f"{name}_en", 1))
        return inputs, outputs

    def build(self) -> Any:
        """The module."""
        return module(self.name, *self.port_list(), self._body)

    def _body(self, b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        engine, row = self.engine, p.get("row")
        sink = next((q for q in self.ports if q.slot.kind == "stream" and q.slot.store), None)
        source = next((q for q in self.ports if q.slot.kind == "stream" and not q.slot.store), None)
        running, connect_running = b.state(1, "running", reset=0)
        # Whether a step needs a beat is known from registers that follow the odometer, which the step moves.
        arrived = b.wire(1, "arrived") if source else None
        valid = b.all_of(running, arrived[0]) if arrived else running
        # A stalled output stream stops the whole pipeline; nothing else ever waits.
        stall = b.wire(1, "stalling") if sink else None
        enable = b.any_of(b.negate(stall[0]), p[f"{sink.name}_ready"]) if sink and stall else None
        step = b.all_of(valid, enable) if enable is not None else valid
        odometer = Odometer(b, engine, row, p["go"], step)
        finish = b.all_of(step, odometer.final)
        connect_running(b.any_of(p["go"], b.all_of(running, b.negate(finish))))
        path = Datapath(b, engine, row, odometer, valid, enable)
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
        path.build()
        for port in self.ports:
            if port.slot.store:
                self._write(b, p, port, path, outputs)
        if sink and stall:
            stall[1](outputs[f"{sink.name}_valid"])
        ends = []
        for number, epilogue in enumerate(engine.epilogues):
            stage = stage_of(epilogue.flow.sinks[0].op)
            ends.append(path.flag(b.all_of(valid, odometer.final, path.picked(number)), stage, "final"))
        done = b.any_of(*ends)
        outputs["done"] = b.all_of(done, enable) if enable is not None else done
        return outputs

    def _moves_on(self, source: Port, odometer: Odometer) -> Value:
        """i1: the next step reads another beat; a stream has one reader, the engine's only row."""
        (nest,), (access,) = self.engine.rows, source.slot.rows
        assert access is not None
        moving = moving_loops(access, nest.loops)
        return odometer.ended_inside(self.engine.loops(nest).index(moving[-1]) if moving else -1)

    def _address(self, b: Builder, p: dict[str, Value], port: Port, path: Datapath) -> Value:
        """Register with the address of the step in stage 0, in slices."""
        engine = self.engine
        width = port.address + (port.slices - 1).bit_length()
        forms = [port.row_form(i) for i in range(len(engine.rows))]
        base = b.table(path.row, [0 if f is None else f.get(None, 0) for f in forms], width)
        base = b.add(base, *self._symbol_terms(b, p, forms, width, path.row))
        deltas = [engine.deltas(n, {} if f is None else f) for n, f in zip(engine.rows, forms, strict=True)]
        return path.odometer.follow(f"agu_{port.name}", width, base, deltas)

    def _symbol_terms(
        self, b: Builder, p: dict[str, Value], forms: list[Linear | None], width: int, row: Value | None
    ) -> list[Value]:
        """What run-time symbols such as the class add to a base; zero in rows without the symbol."""
        terms = []
        for key in dict.fromkeys(t for f in forms if f for t in f if isinstance(t, tuple)):
            part = p[self._symbol_name(key)]
            coefficients = [0 if f is None else f.get(key, 0) for f in forms]
            for factor in dict.fromkeys(c for c in coefficients if c):
                product = b.op("comb.mul", b.const(0, width).type, [b.zero_extend(part, width), b.const(factor, width)])
                active = b.table(row, [int(c == factor) for c in coefficients], 1)
                terms.append(b.mux(active, product, b.const(0, width)))
        return terms

    def _guard(self, b: Builder, port: Port, path: Datapath) -> Value | None:
        """i1 at stage 0: the access happens. None when no row guards it."""
        count = max((len(a.guards) for a in port.slot.rows if a), default=0)
        signs = []
        for i in range(count):
            forms = [a.guards[i] if a and i < len(a.guards) else None for a in port.slot.rows]
            width = range_of(self.engine, forms)
            base = b.table(path.row, [0 if f is None else f.get(None, 0) for f in forms], width)
            deltas = [self.engine.deltas(n, f or {}) for n, f in zip(self.engine.rows, forms, strict=True)]
            value = path.odometer.follow(f"guard_{port.name}{i}", width, base, deltas)
            signs.append(b.bits(value, width - 1, 1))
        return b.negate(b.any_of(*signs)) if signs else None

    def _bank_number(self, b: Builder, port: Port, path: Datapath) -> Value:
        return b.table(path.row, port.bank_of, bits_for(len(port.banks)))

    def _read(self, b: Builder, p: dict[str, Value], port: Port, path: Datapath, outputs: dict[str, Value]) -> None:
        slot, name = port.slot, port.name
        data, guard = p[f"{name}_data"], path.guards[id(port.slot)]
        if guard is not None:  # it is known when the step starts
            guard = path.delay(guard, slot.stage + 1, f"inside_{name}")
        if slot.kind == "memory":
            address = path.delay(self._address(b, p, port, path), slot.stage, f"agu_{name}")
            low = (port.slices - 1).bit_length()
            outputs[f"{name}_addr"] = b.bits(address, low, port.address)
            active = path.active(slot)
            outputs[f"{name}_en"] = b.all_of(active, path.enable) if path.enable is not None else active
            if len(port.banks) > 1:
                outputs[f"{name}_bank"] = self._bank_number(b, port, path)
            if port.slices > 1:
                width = port.width // port.slices
                choice = path.delay(b.bits(address, 0, low), 1, f"{name}_slice")
                data = b.choose(choice, [b.bits(data, i * width, width) for i in range(port.slices)])
            path.inputs[id(slot)] = data, slot.stage + 1, guard
        elif slot.kind == "stream":
            path.inputs[id(slot)] = path.delay(data, 1, f"{name}_q"), 1, guard
        else:
            path.inputs[id(slot)] = data, None, None

    def _write(self, b: Builder, p: dict[str, Value], port: Port, path: Datapath, outputs: dict[str, Value]) -> None:
        slot, name = port.slot, port.name
        active, data = path.active(slot), path.output(slot)
        if slot.kind == "stream":
            outputs |= {f"{name}_valid": active, f"{name}_data": data}
            return
        if slot.kind == "register":
            outputs |= {f"{name}_en": active, f"{name}_data": data}
            return
        address = path.delay(self._address(b, p, port, path), slot.stage, f"agu_{name}")
        low = (port.slices - 1).bit_length()
        outputs[f"{name}_addr"] = b.bits(address, low, port.address)
        if port.slices > 1:
            choice = b.bits(address, 0, low)
            enables = [b.all_of(active, b.compare("eq", choice, b.const(i, low))) for i in range(port.slices)]
            outputs[f"{name}_en"] = b.concat(enables[::-1])
        else:
            outputs[f"{name}_en"] = active
        part = b.zero_extend(data, port.width // port.slices)
        outputs[f"{name}_data"] = b.concat([part] * port.slices)
        if len(port.banks) > 1:
            outputs[f"{name}_bank"] = self._bank_number(b, port, path)
