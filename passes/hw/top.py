"""The top: sequencer, engines, banks and registers, and the wires between them."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch_mlir import ir as mlir

from gradcam.passes.hw.builder import Builder, Value, bits_for, module, width_of
from gradcam.passes.hw.engine import EngineBuilder
from gradcam.passes.hw.interface import ATTRIBUTE, Interface
from gradcam.passes.hw.memory import address_bits, build_bank
from gradcam.passes.hw.ports import Port, symbol_field
from gradcam.passes.hw.sequencer import build_sequencer
from gradcam.passes.hw.tape_reader import axi_ports, build_tape_reader
from gradcam.passes.program.banks import Bank
from gradcam.passes.program.scheduled_program import ScheduledProgram

TOP = "gradcam_top"


def build_design(module_: mlir.Module, dsp_packing: bool = False) -> None:
    """Builds all modules of a scheduled program in the current insertion point, as `dsp_packing` says for the engines.

    Ports of the top: `clk`, `rst`; `start`, `busy`, `done`, `nest` and `running` (see `build_sequencer`); per input or
    output stream `NAME_valid`, `NAME_data`, `NAME_ready`; per one-element input `NAME`, sampled at `start`; per
    register of the program, such as the class that is explained, its value. With weights in DRAM the read channels of
    AXI4 as `dram_NAME`, addresses counted from the start of the tape, and `dram_error`, 1 from the first beat with an
    error to the next start.
    """
    _Top(module_, dsp_packing).build()


class _Top:
    def __init__(self, module_: mlir.Module, dsp_packing: bool) -> None:
        self.scheduled = scheduled = ScheduledProgram.of(module_)
        self.program, self.engines, self.banks = scheduled.nests, scheduled.engines, scheduled.banks
        self.arguments, self.registers = scheduled.arguments, scheduled.registers
        self.tape, self.follows, self.hop = scheduled.tape, scheduled.follows, scheduled.clock.hop
        self.builders = [
            EngineBuilder(e, self.banks, self.registers, dsp_packing, self.tape, self.follows) for e in self.engines
        ]

    def build(self) -> None:
        sequencer = build_sequencer(self.program, self.engines, self.follows)
        engines = [e.build() for e in self.builders]
        banks = {
            n: build_bank(bank, self._groups(bank), hop=self.hop, stops=bool(self._stopping(bank)))
            for n, bank in self.banks.items()
        }
        reader = self._build_reader()
        inputs, outputs = [("start", 1)], [("busy", 1), ("done", 1), ("nest", bits_for(len(self.program)))]
        outputs += [("running", len(self.engines))]
        outputs += [(n.removesuffix("_q"), 32) for n in self.registers.values()]
        for _, port in self._ports():
            for name in dict.fromkeys(self._arguments(port)):
                if port.slot.kind == "port":
                    if (name, port.width) not in inputs:
                        inputs.append((name, port.width))
                elif port.slot.kind == "stream":
                    data, ready = (outputs, inputs) if port.slot.store else (inputs, outputs)
                    data += [(f"{name}_valid", 1), (f"{name}_data", port.width)]
                    ready.append((f"{name}_ready", 1))
        if self.tape:
            requests, channel = axi_ports(self.tape.width)
            inputs += [(f"dram_{name}", width) for name, width in requests]
            outputs += [(f"dram_{name}", width) for name, width in [*channel, ("error", 1)]]
        comment = "Top: sequencer, engines and banks"
        wire = partial(self._wire, sequencer=sequencer, engines=engines, banks=banks, reader=reader)
        top = module(TOP, inputs, outputs, wire, comment=comment)
        interface = Interface.of(self.scheduled)
        top.attributes[ATTRIBUTE] = interface.attribute()

    def _ports(self) -> list[tuple[EngineBuilder, Port]]:
        return [(e, port) for e in self.builders for port in e.ports]

    def _arguments(self, port: Port) -> list[str]:
        """The argument that each row accesses through a stream or port, none for other ports."""
        if port.slot.kind not in ("stream", "port"):
            return []
        used = [None if a is None else self.arguments[a.memref.arg_number] for a in port.slot.rows]
        first = next(name for name in used if name is not None)
        return [name or first for name in used]

    def _build_reader(self) -> Any:
        """The tape reader, None without a tape."""
        if self.tape is None:
            return None
        widths = {t: width for t, (_, _, width) in self._tape_symbols().items()}
        return build_tape_reader(self.tape, bits_for(len(self.program)), widths)

    def _tape_symbols(self) -> dict[Any, tuple[str, int, int]]:
        """Where the run-time terms that pick the contents of segments come from: register, lowest bit, width."""
        assert self.tape is not None
        picked = {s.symbol: s.alternatives for s in self.tape.segments if s.symbol is not None}
        return {t: symbol_field(t, self.registers, bits_for(n)) for t, n in picked.items()}

    def _groups(self, bank: Bank) -> int:
        if self.tape and bank == self.tape.bank:
            return self.tape.word_beats
        return max((p.slices for _, p in self._ports() if p.slot.store and bank in p.banks), default=1)

    def _wire(
        self, b: Builder, p: dict[str, Value], sequencer: Any, engines: list[Any], banks: dict[str, Any], reader: Any
    ) -> dict[str, Value]:
        reports = [(e, n) for e in self.builders for n in ("done", "landed") if n == "done" or any(e.counted)]
        wires = {(e.engine.name, n): b.wire(1, f"{e.engine.name}_{n}") for e, n in reports}
        reported = {f"{name}_{n}": wire for (name, n), (wire, _) in wires.items()}
        program = b.instance(sequencer, "sequencer", {"start": p["start"], **reported})
        begin = b.all_of(p["start"], b.negate(program["busy"]))
        scalars = {name: b.state(32, name) for name in self.registers.values()}
        arrived = b.wire(1, "tape_ready") if reader else None
        reads: dict[int, tuple[Value, Any]] = {}
        instances: dict[int, dict[str, Value]] = {}
        for builder, op in zip(self.builders, engines, strict=True):
            name = builder.engine.name
            inputs = {"go": program[f"{name}_go"]}
            if len(builder.engine.rows) > 1:
                inputs["row"] = program[f"{name}_row"]
            if any(builder.gates):
                inputs |= {end: program[f"{name}_{end}"] for end in ("written", "over")}
            row = inputs.get("row")
            for symbol, part in builder.symbols.items():
                inputs[symbol] = b.bits(_of_row(b, row, part.registers, scalars), part.low, part.bits)
            for port in builder.ports:
                if port.slot.kind == "memory" and not port.slot.store:
                    reads[id(port)] = b.wire(port.width, f"{name}_{port.name}_data")
                    inputs[f"{port.name}_data"] = reads[id(port)][0]
                else:
                    inputs |= self._outside(b, p, port, row, scalars, begin)
            if arrived:
                inputs |= {f"{port.name}_ready": arrived[0] for port in builder.tape_ports}
            instances[id(builder)] = b.instance(op, f"engine_{name}", inputs)
            for report in ("done", "landed"):
                if (name, report) in wires:
                    wires[name, report][1](instances[id(builder)][report])
        outputs = {n: program[n] for n in ("busy", "done", "nest", "running")}
        outputs |= {n.removesuffix("_q"): scalars[n][0] for n in scalars}
        tape: dict[str, Value] = {}
        if self.tape and arrived:
            tape = self._read_tape(b, p, reader, {"go": begin, "nest": program["nest"]}, scalars, instances)
            arrived[1](tape["ready"])
            outputs |= {f"dram_{n}": tape[n] for n, _ in [*axi_ports(self.tape.width)[1], ("error", 1)]}
        words = {n: self._bank(b, bank, banks[n], instances, tape) for n, bank in self.banks.items()}
        for builder, port in self._ports():
            instance = instances[id(builder)]
            if id(port) in reads:
                values = [words[bank.name][port.slices] for bank in port.banks]
                if len(values) > 1:
                    values = [b.choose(instance[f"{port.name}_from"], values)]
                reads[id(port)][1](values[0])
            elif port.slot.kind == "stream" and port.slot.store:
                row, names = program.get(f"{builder.engine.name}_row"), self._arguments(port)
                for name in dict.fromkeys(names):
                    here = b.table(row, [int(n == name) for n in names], 1)
                    outputs[f"{name}_valid"] = b.all_of(instance[f"{port.name}_valid"], here)
                    outputs[f"{name}_data"] = instance[f"{port.name}_data"]
            elif port.slot.kind == "stream":
                outputs[f"{self._arguments(port)[0]}_ready"] = instance[f"{port.name}_ready"]
            elif port.slot.kind == "register" and port.slot.store:
                row, registers = program.get(f"{builder.engine.name}_row"), self._registers_of(port)
                for register in dict.fromkeys(r for r in registers if r):
                    here = b.table(row, [int(r in (register, None)) for r in registers], 1)
                    enable = b.all_of(instance[f"{port.name}_en"], here)
                    scalars[register][1](instance[f"{port.name}_data"], enable)
        return outputs

    def _registers_of(self, port: Port) -> list[str | None]:
        """The register that each row accesses through a port."""
        return [None if a is None else self.registers[a.memref] for a in port.slot.rows]

    def _outside(
        self, b: Builder, p: dict[str, Value], port: Port, row: Value | None, scalars: dict[str, Any], begin: Value
    ) -> dict[str, Value]:
        """Inputs of a port that do not come from a bank."""
        slot, name, arguments = port.slot, port.name, self._arguments(port)
        if slot.kind == "stream" and slot.store:
            used = list(dict.fromkeys(arguments))
            number = b.table(row, [used.index(n) for n in arguments], bits_for(len(used)))
            return {f"{name}_ready": b.choose(number, [p[f"{n}_ready"] for n in used])}
        if slot.kind == "stream":
            return {f"{name}_{end}": p[f"{arguments[0]}_{end}"] for end in ("valid", "data")}
        if slot.kind == "port":
            return {f"{name}_data": b.register(p[arguments[0]], f"{arguments[0]}_q", begin)}
        if slot.kind == "register" and not slot.store:
            return {f"{name}_data": _of_row(b, row, self._registers_of(port), scalars)}
        return {}

    def _read_tape(
        self,
        b: Builder,
        p: dict[str, Value],
        reader: Any,
        inputs: dict[str, Value],
        scalars: dict[str, Any],
        instances: dict[int, dict[str, Value]],
    ) -> dict[str, Value]:
        """The outputs of the tape reader's instance; of the engines that it serves, one is active."""
        ports = [(instances[id(e)], port.name) for e in self.builders for port in e.tape_ports]
        inputs |= {n: b.any_of(*(i[f"{name}_{n}"] for i, name in ports)) for n in ("fresh", "free")}
        inputs |= {n.removeprefix("dram_"): v for n, v in p.items() if n.startswith("dram_")}
        for i, (register, low, width) in enumerate(self._tape_symbols().values()):
            inputs[f"symbol{i}"] = b.bits(scalars[register][0], low, width)
        return b.instance(reader, "tape_reader", {n: inputs[n] for n in reader.type.input_names if n in inputs})

    def _bank(
        self, b: Builder, bank: Bank, op: Any, instances: dict[int, dict[str, Value]], tape: dict[str, Value]
    ) -> dict[int, Value]:
        """Read data of a bank by slices per word: each of its two ports belongs to the one engine port that is active.

        A slice is picked here, once for all engines: wide words then end at their bank, and so does the mux.
        """
        address = address_bits(bank)
        inputs: dict[str, Value] = {}
        picks: dict[int, list[tuple[Value, Value]]] = {}
        for store in (False, True):
            if store and bank.constant:
                break
            if store and self.tape and bank == self.tape.bank:
                inputs |= {n: tape[n] for n in ("wen", "waddr", "wdata")}
                break
            enables, addresses, data = [], [], []
            for builder, port in self._ports():
                if bank not in port.banks or port.slot.store != store:
                    continue
                instance = instances[id(builder)]
                enable = instance[f"{port.name}_en"]
                if len(port.banks) > 1:
                    number = b.const(port.banks.index(bank), bits_for(len(port.banks)))
                    here = b.compare("eq", instance[f"{port.name}_bank"], number)
                    enable = b.mux(here, enable, b.const(0, port.slices if store else 1))
                enables.append(enable)
                whole = instance[f"{port.name}_addr"]
                low = width_of(whole) - port.address
                addresses.append(b.zero_extend(b.bits(whole, low, port.address), address))
                if low:
                    picks.setdefault(port.slices, []).append((enable, b.bits(whole, 0, low)))
                data.append(instance[f"{port.name}_data"] if store else None)
            active = [b.compare("ne", e, b.const(0, width_of(e))) for e in enables]
            if store:
                groups = self._groups(bank)
                inputs["wen"] = b.any_of(*(b.spread(e, groups) for e in enables))
                inputs["waddr"], inputs["wdata"] = b.first_of(active, addresses), b.first_of(active, data)
            else:
                inputs["ren"], inputs["raddr"] = b.any_of(*active), b.first_of(active, addresses)
        moving = None
        if stopping := self._stopping(bank):
            moving = inputs["moving"] = b.all_of(*(instances[id(e)]["moving"] for e in stopping))
        picked = {n: b.first_of(*zip(*choices, strict=True)) for n, choices in picks.items()}
        for _ in range(1 + 2 * self.hop):
            enable = moving if self.hop else inputs["ren"]
            picked = {n: b.register(v, f"{bank.name}_pick{n}", enable) for n, v in picked.items()}
        return _slices(b, b.instance(op, bank.name, inputs)["rdata"], picked)

    def _stopping(self, bank: Bank) -> list[EngineBuilder]:
        """The engines that stop with the reads that are on their way from a bank."""
        return [e for e in self.builders if e.freezes and any(bank in port.banks for port in e.ports)]


def _slices(b: Builder, word: Value, picked: dict[int, Value]) -> dict[int, Value]:
    """The slice of a word that is picked by the number of slices in it; the word itself by 1."""
    found = {1: word}
    for count, pick in picked.items():
        width = width_of(word) // count
        found[count] = b.choose(pick, [b.bits(word, i * width, width) for i in range(count)])
    return found


def _of_row(b: Builder, row: Value | None, registers: list[str | None], scalars: dict[str, Any]) -> Value:
    """The value of the register that belongs to the row; any of them in a row that has none."""
    used = list(dict.fromkeys(r for r in registers if r))
    if len(used) == 1:
        return scalars[used[0]][0]
    number = b.table(row, [used.index(r) if r else 0 for r in registers], bits_for(len(used)))
    return b.choose(number, [scalars[r][0] for r in used])
