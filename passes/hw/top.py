"""The top: sequencer, engines, banks and registers, and the wires between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch_mlir import ir as mlir

from gradcam.names import TOP
from gradcam.passes.hw.bank_access import BankAccess
from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.engine import EngineBuilder
from gradcam.passes.hw.interface import ATTRIBUTE, Interface
from gradcam.passes.hw.memory import build_bank
from gradcam.passes.hw.ports import MemoryPort, Port, ScalarPort, StreamPort
from gradcam.passes.hw.sequencer import build_sequencer
from gradcam.passes.hw.signals import Signal, Stream
from gradcam.passes.hw.symbols import symbol_field
from gradcam.passes.hw.value import Deferred, Value, bits_for
from gradcam.passes.hw.weight_loader import CRC, LOADED, LOADER, LOADING, build_weight_loader
from gradcam.passes.hw.weight_reader import ERROR, axi_ports, build_weight_reader, symbol_port
from gradcam.passes.program.banks import Bank, Slices
from gradcam.passes.program.scheduled_program import ScheduledProgram

#: Owner of the ports to the DRAM, and bits of a register of the program.
DRAM, REGISTER = "dram", 32

#: i1 input: load resident weights.
LOAD = Signal("load")


def build_design(module_: mlir.Module, dsp_packing: bool = False) -> None:
    """Builds all modules of a scheduled program in the current insertion point.

    Ports of the top:

    - `clk`, `rst`
    - `start`, `busy`, `done`, `nest` and `running`, see `build_sequencer`
    - per input or output stream `NAME_valid`, `NAME_data` and `NAME_ready`
    - per one-element input `NAME`, sampled at `start`
    - per register of the program, such as the explained class, its value
    - with weights in DRAM, the AXI4 read channels as `dram_NAME`, with addresses relative to the start of the weight
      stream
    - with weights in DRAM, `dram_error`, which is 1 from the first beat with an error until the next start
    - with resident weights `load`, `loading`, `loaded` and `checksum`, see `build_weight_loader`, and the read channels
      and `dram_error` for the load. A start has no effect before the weights are loaded, a load none during a run.

    Args:
        module_: the scheduled program.
        dsp_packing: whether one multiplication computes two products of neighbouring lanes that share a factor.
    """
    _Top(module_, dsp_packing).build()


@dataclass(frozen=True)
class _Modules:
    """The modules that the top instantiates; `reader` and `loader` are None where weights do not come so."""

    sequencer: Any
    engines: Sequence[Any]
    banks: Mapping[str, Any]
    reader: Any
    loader: Any


class _Top:
    """The modules of a design, and the ports of the top."""

    def __init__(self, module_: mlir.Module, dsp_packing: bool) -> None:
        self.scheduled = scheduled = ScheduledProgram.of(module_)
        self.program, self.engines, self.banks = scheduled.nests, scheduled.engines, scheduled.banks
        self.arguments, self.registers = scheduled.arguments, scheduled.registers
        self.weights, self.follows = scheduled.weight_stream, scheduled.follows
        self.dram = scheduled.platform.dram if self.weights or scheduled.weight_load else None
        self.load, self.crossing = scheduled.weight_load, scheduled.clock.crossing
        self.builders = [
            EngineBuilder(e, self.banks, self.registers, dsp_packing, self.weights, self.follows) for e in self.engines
        ]

    def build(self) -> None:
        """Builds the modules and the top that connects them."""
        modules = _Modules(
            build_sequencer(self.program, self.engines, self.follows),
            [e.build() for e in self.builders],
            {
                n: build_bank(bank, self.groups(bank), "", self.crossing, bool(self.stopping(bank)), self.load)
                for n, bank in self.banks.items()
            },
            self._build_reader(),
            build_weight_loader(self.load, self.crossing) if self.load else None,
        )

        def wire(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
            return _Wiring(self, b, p, modules).build()

        top = module(TOP, *self._header(), wire, comment="Top: sequencer, engines and banks")
        interface = Interface.of(self.scheduled)
        top.attributes[ATTRIBUTE] = interface.attribute()

    def _header(self) -> tuple[list[Signal], list[Signal]]:
        """Inputs and outputs of the top."""
        inputs, outputs = [Signal("start")], [Signal("busy"), Signal("done")]
        outputs += [Signal("nest", bits_for(len(self.program))), Signal("running", len(self.engines))]
        outputs += [register_port(n) for n in self.registers.values()]
        for _, port in self.ports:
            for name in dict.fromkeys(self.arguments_of(port)):
                if isinstance(port, StreamPort):
                    stream = Stream.of(name, port.width)
                    data, ready = (outputs, inputs) if port.slot.store else (inputs, outputs)
                    data += [stream.valid, stream.data]
                    ready.append(stream.ready)
                elif name not in inputs:
                    inputs.append(Signal(name, port.width))
        if self.load:
            inputs.append(LOAD)
            outputs += [LOADING, LOADED, CRC]
        if self.dram:
            requests, channel = axi_ports(self.dram.width)
            inputs += [signal.of(DRAM) for signal in requests]
            outputs += [signal.of(DRAM) for signal in [*channel, ERROR]]
        return inputs, outputs

    @property
    def ports(self) -> list[tuple[EngineBuilder, Port]]:
        """The ports of all engines."""
        return [(e, port) for e in self.builders for port in e.ports]

    def arguments_of(self, port: Port) -> list[str]:
        """The argument that each configuration accesses through a stream or plain input; empty for other ports."""
        if port.slot.kind not in ("stream", "port"):
            return []
        used = [None if a is None else self.arguments[a.memref.arg_number] for a in port.slot.accesses]
        first = next(name for name in used if name is not None)
        return [name or first for name in used]

    def registers_of(self, port: Port) -> list[str | None]:
        """The register that each configuration accesses through a port; None where it does not use the port."""
        return [None if a is None else self.registers[a.memref] for a in port.slot.accesses]

    def _build_reader(self) -> Any:
        """Builds the weight reader; None when all constants are on chip."""
        if self.weights is None:
            return None
        widths = {t: width for t, (_, _, width) in self.weight_symbols().items()}
        return build_weight_reader(self.weights, bits_for(len(self.program)), widths, self.scheduled.clock)

    def weight_symbols(self) -> dict[Any, tuple[str, int, int]]:
        """Register, lowest bit and width of each run-time term that selects among the alternatives of a segment."""
        assert self.weights is not None
        alternatives = {s.symbol: s.alternatives for s in self.weights.segments if s.symbol is not None}
        return {t: symbol_field(t, self.registers, bits_for(n)) for t, n in alternatives.items()}

    def groups(self, bank: Bank) -> int:
        """Lane groups of a word of a bank's memories, each of which has a write enable."""
        if self.weights and bank == self.weights.bank:
            return self.weights.memory_beats
        memories = [port for e in self.builders for port in e.memories if port.slot.store]
        slices = [port.slices[bank] for port in memories if bank in port.banks]
        if any(s.lanes * s.places != bank.lanes for s in slices):
            return bank.lanes
        return max((s.places for s in slices), default=1)

    def stopping(self, bank: Bank) -> list[EngineBuilder]:
        """The engines that read a bank and that, when they stall, must also stop their reads in flight."""
        return [e for e in self.builders if e.freezes and any(bank in port.banks for port in e.memories)]


def register_port(name: str) -> Signal:
    """The output of the top that carries the value of a register of the program."""
    return Signal(name.removesuffix("_q"), REGISTER)


class _Wiring:
    """The body of the top: instances, registers of the program, and the connections between them."""

    def __init__(self, top: _Top, b: Builder, p: Mapping[str, Value], modules: _Modules) -> None:
        self.top, self.b, self.p, self.modules = top, b, p, modules
        reports = [signal.of(e.engine.name) for e in top.builders for signal in e.control.outputs]
        self.reports = {signal: b.wire(signal) for signal in reports}
        self.loaded = b.wire(LOADED) if top.load else b.const(1, 1)
        start = p["start"] & self.loaded if top.load else p["start"]
        self.program = b.instance(modules.sequencer, "sequencer", {"start": start, **self.reports})
        self.begin = start & ~self.program["busy"]
        self.registers = {name: b.state(REGISTER, name) for name in top.registers.values()}
        self.word_ready = b.wire(Signal("tape_ready")) if top.weights else None
        self.outputs: dict[str, Value] = {n: self.program[n] for n in ("busy", "done", "nest", "running")}
        self.outputs |= {register_port(n): value for n, value in self.registers.items()}
        #: The wires that carry read data to engine ports, and the outputs of the engines' instances.
        self.reads: dict[MemoryPort, Deferred] = {}
        self.engines: dict[EngineBuilder, dict[str, Value]] = {}

    def build(self) -> dict[str, Value]:
        """Connects everything and returns the outputs of the top by name."""
        for builder, op in zip(self.top.builders, self.modules.engines, strict=True):
            self._engine(builder, op)
        weights, loaded = self._read_weights(), self._load_weights()
        words = {n: self._bank(bank, weights, loaded) for n, bank in self.top.banks.items()}
        for builder, port in self.top.ports:
            values, configuration = self.engines[builder], self._configuration(builder)
            match port:
                case MemoryPort() if port in self.reads:
                    read = [words[bank.name][port.slices[bank]] for bank in port.banks]
                    self.reads[port].assign(self.b.select(values[port.source], read) if len(read) > 1 else read[0])
                case StreamPort():
                    self._stream(port, configuration, values)
                case ScalarPort() if port.slot.store:
                    self._write_registers(port, configuration, values)
        return self.outputs

    def _configuration(self, builder: EngineBuilder) -> Value | None:
        """The number of the configuration that an engine runs; None for an engine with a single configuration.

        With a target clock it is registered, as in the engine.
        """
        number = self.program.get(builder.control.configuration.of(builder.engine.name))
        if number is None or not self.top.crossing:
            return number
        return self.b.register(number, f"{builder.engine.name}_row", reset=0)

    def _engine(self, builder: EngineBuilder, op: Any) -> None:
        """Instantiates an engine and connects its control outputs to the sequencer."""
        name, configuration = builder.engine.name, self._configuration(builder)
        inputs: dict[str, Value] = {signal: self.program[signal.of(name)] for signal in builder.control.inputs}
        for symbol in builder.symbols.found.values():
            register = self._of_configuration(configuration, symbol.registers)
            inputs[symbol.port] = register[symbol.low : symbol.low + symbol.port.bits]
        for port in builder.ports:
            inputs |= self._inputs(name, port, configuration)
        if self.word_ready is not None:
            inputs |= {port.word_ready: self.word_ready for port in builder.weight_ports}
        values = self.engines[builder] = self.b.instance(op, builder.name, inputs)
        for signal in builder.control.outputs:
            self.reports[signal.of(name)].assign(values[signal])

    def _inputs(self, engine: str, port: Port, configuration: Value | None) -> dict[str, Value]:
        """The inputs of an engine's port: from a bank, from inputs of the top, or from a register."""
        b, p, arguments = self.b, self.p, self.top.arguments_of(port)
        match port:
            case StreamPort() if port.slot.store:
                used = list(dict.fromkeys(arguments))
                number = b.table(configuration, [used.index(n) for n in arguments], bits_for(len(used)))
                sinks = [Stream.of(n, port.width) for n in used]
                return {port.stream.ready: b.select(number, [p[sink.ready] for sink in sinks])}
            case StreamPort():
                source = Stream.of(arguments[0], port.width)
                return {port.stream.valid: p[source.valid], port.stream.data: p[source.data]}
            case MemoryPort() if not port.slot.store:
                self.reads[port] = b.wire(port.data.of(engine))
                return {port.data: self.reads[port]}
            case ScalarPort() if port.slot.kind == "port":
                return {port.data: b.register(p[arguments[0]], f"{arguments[0]}_q", self.begin)}
            case ScalarPort() if not port.slot.store:
                return {port.data: self._of_configuration(configuration, self.top.registers_of(port))}
        return {}

    def _of_configuration(self, configuration: Value | None, registers: Sequence[str | None]) -> Value:
        """The value of the configuration's register; any of the registers in a configuration that reads none."""
        used = list(dict.fromkeys(r for r in registers if r))
        if len(used) == 1:
            return self.registers[used[0]]
        number = self.b.table(configuration, [used.index(r) if r else 0 for r in registers], bits_for(len(used)))
        return self.b.select(number, [self.registers[r] for r in used])

    def _read_weights(self) -> dict[str, Value]:
        """Instantiates the weight reader and returns its outputs; empty when all constants are on chip.

        At most one engine at a time reads weights, so the flags of all engines are combined by OR.
        """
        b, weights = self.b, self.top.weights
        if weights is None or self.word_ready is None:
            return {}
        ports = [(self.engines[e], port) for e in self.top.builders for port in e.weight_ports]
        requests, channel = axi_ports(weights.width)
        inputs = {"go": self.begin, "nest": self.program["nest"]}
        inputs["fresh"] = b.any_of(*(values[port.fresh] for values, port in ports))
        inputs["free"] = b.any_of(*(values[port.free] for values, port in ports))
        inputs |= {signal: self.p[signal.of(DRAM)] for signal in requests}
        for i, (register, low, width) in enumerate(self.top.weight_symbols().values()):
            inputs[symbol_port(i, width)] = self.registers[register][low : low + width]
        op = self.modules.reader
        values = b.instance(op, "tape_reader", {n: inputs[n] for n in op.type.input_names if n in inputs})
        self.word_ready.assign(values["ready"])
        self.outputs |= {signal.of(DRAM): values[signal] for signal in [*channel, ERROR]}
        return values

    def _load_weights(self) -> dict[str, dict[str, Value]]:
        """Instantiates the weight loader and returns the inputs of the write ports of banks, by the bank's name."""
        b, load = self.b, self.top.load
        if load is None or not isinstance(self.loaded, Deferred):
            return {}
        requests, channel = axi_ports(load.dram.width)
        inputs: dict[str, Value] = {signal: self.p[signal.of(DRAM)] for signal in requests}
        values = b.instance(self.modules.loader, LOADER, inputs | {"go": self.p[LOAD] & ~self.program["busy"]})
        self.loaded.assign(values[LOADED])
        self.outputs |= {signal: values[signal] for signal in (LOADING, LOADED, CRC)}
        self.outputs |= {signal.of(DRAM): values[signal] for signal in [*channel, ERROR]}
        ports = dict[str, dict[str, Value]]()
        for number, bank in enumerate(load.banks):
            beats = load.piece_beats(bank) * load.dram.width
            words = {"waddr": values["waddr"][: bits_for(bank.words)], "wdata": values["wdata"][-beats:]}
            place = values["place"][: bits_for(load.word_beats(bank))]
            ports[bank.name] = {"wen": values["wen"][number], "place": place, **words}
        return ports

    def _bank(
        self, bank: Bank, weights: Mapping[str, Value], loaded: Mapping[str, Mapping[str, Value]]
    ) -> dict[Slices, Value]:
        """Instantiates a bank and returns its read data by slices per word."""
        top = self.top
        ports = [(self.engines[e], port) for e in top.builders for port in e.memories if bank in port.banks]
        writes = loaded.get(bank.name)
        if top.weights and bank == top.weights.bank:
            writes = {n: weights[n] for n in ("wen", "waddr", "wdata")}
        moving = [self.engines[e][e.control.moving] for e in top.stopping(bank)]
        access = BankAccess(self.b, bank, ports, top.groups(bank), top.crossing)
        return access.connect(self.modules.banks[bank.name], writes, moving)

    def _stream(self, port: StreamPort, configuration: Value | None, values: Mapping[str, Value]) -> None:
        """Connects a stream to ports of the top; each configuration of an engine may write another output stream."""
        names = self.top.arguments_of(port)
        if not port.slot.store:
            self.outputs[Stream.of(names[0], port.width).ready] = values[port.stream.ready]
            return
        for name in dict.fromkeys(names):
            here, stream = self.b.table(configuration, [int(n == name) for n in names], 1), Stream.of(name, port.width)
            self.outputs[stream.valid] = values[port.stream.valid] & here
            self.outputs[stream.data] = values[port.stream.data]

    def _write_registers(self, port: ScalarPort, configuration: Value | None, values: Mapping[str, Value]) -> None:
        """Connects a port to the registers that it writes; the configuration selects one."""
        registers = self.top.registers_of(port)
        for register in dict.fromkeys(r for r in registers if r):
            here = self.b.table(configuration, [int(r in (register, None)) for r in registers], 1)
            self.registers[register].assign(values[port.data], values[port.enable] & here)
