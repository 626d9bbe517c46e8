"""An engine: loop counters, address generators, datapath and epilogues, shared by several nests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch_mlir import ir as mlir

from gradcam.passes.hw.addresses import AddressGenerators
from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.datapath import Datapath
from gradcam.passes.hw.loop_counters import LoopCounters
from gradcam.passes.hw.ports import Control, MemoryPort, Port, ScalarPort, StreamPort, make_port
from gradcam.passes.hw.progress import Progress
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.symbols import Symbols
from gradcam.passes.hw.value import Deferred, Value
from gradcam.passes.hw.weight_words import first_reads, last_reads, may_begin_word
from gradcam.passes.ir.linear_form import Term
from gradcam.passes.program.banks import Bank
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.engines import Engine, latency_of
from gradcam.passes.program.runs import Follow
from gradcam.passes.program.streams import moving_loops
from gradcam.passes.program.weight_stream import WeightStream


class EngineBuilder:
    """Builds the `hw.module` of one engine.

    Attributes:
        engine: the engine.
        dsp_packing: whether one multiplication computes two products where lanes share a factor.
        follows: the nests that run behind a producer, by its number.
        crossing: crossing latency in cycles between the engine and its banks: 1 with a target clock, else 0.
        control: the ports to the sequencer.
        ports: the ports of the engine's slots.
        memories: the ports to banks.
        weight_ports: the ports that read the weight stream.
        symbols: run-time terms of indices, each an input.
    """

    def __init__(
        self,
        engine: Engine,
        banks: Mapping[str, Bank],
        registers: Mapping[mlir.Value, str],
        dsp_packing: bool,
        weights: WeightStream | None,
        follows: Mapping[int, Follow],
    ) -> None:
        """Declares the engine's ports.

        Args:
            engine: the engine.
            banks: banks by name.
            registers: names of one-element buffers, for symbols in addresses.
            dsp_packing: see the attribute.
            weights: the weight stream; None when all constants are on chip.
            follows: see the attribute.
        """
        self.engine, self.dsp_packing, self.follows = engine, dsp_packing, follows
        self.crossing = Clock.of(engine.configurations[0].op).crossing
        self.control = Control(engine, follows)
        self.ports = [make_port(s, banks, weights) for s in engine.slots]
        self.memories = [port for port in self.ports if isinstance(port, MemoryPort)]
        self.weight_ports = [port for port in self.memories if port.reads_weight_stream]
        self.symbols = Symbols(self.memories, engine, registers)

    @property
    def name(self) -> str:
        """Name of the module."""
        return f"engine_{self.engine.name}"

    @property
    def freezes(self) -> bool:
        """Whether a stall must also stop pipeline registers outside the engine.

        Such registers exist with a target clock; they hold reads in flight between the engine and its banks.
        """
        stalls = any(isinstance(port, StreamPort) and port.slot.store for port in self.ports)
        return bool(self.crossing) and stalls and any(not port.slot.store for port in self.memories)

    @property
    def inputs(self) -> list[Signal]:
        """Inputs of the module besides clk and rst."""
        symbols = [symbol.port for symbol in self.symbols.found.values()]
        slots = [signal for port in self.ports for signal in port.inputs]
        return [*self.control.inputs, *symbols, *slots, *(port.word_ready for port in self.weight_ports)]

    @property
    def outputs(self) -> list[Signal]:
        """Outputs of the module."""
        slots = [signal for port in self.ports for signal in port.outputs]
        weights = [signal for port in self.weight_ports for signal in (port.fresh, port.free)]
        return [*self.control.outputs, *slots, *([self.control.moving] if self.freezes else []), *weights]

    def build(self) -> Any:
        """Builds the module."""
        numbered = ", ".join(f"{i} {nest.name}" for i, nest in enumerate(self.engine.configurations))
        comment = f"Engine {self.engine.name}; rows of its program, by the nests that they run: {numbered}"

        def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
            return _Engine(self, b, p).build()

        return module(self.name, self.inputs, self.outputs, build, comment=comment)


class _Engine:
    """The body of an engine's module.

    A step is issued in a cycle in which three conditions hold:

    - a configuration runs
    - the step's input beat, words of the weight stream and iterations of a producer, as far as it needs them, are there
    - no output stream stalls the pipeline
    """

    def __init__(self, plan: EngineBuilder, b: Builder, p: Mapping[str, Value]) -> None:
        self.plan, self.b, self.p, self.engine, self.control = plan, b, p, plan.engine, plan.control
        streams = [port for port in plan.ports if isinstance(port, StreamPort)]
        self.sink = next((port for port in streams if port.slot.store), None)
        self.source = next((port for port in streams if not port.slot.store), None)
        self.arrived: Deferred | None = None
        self.stall: Deferred | None = None
        self.running = b.state(1, "running", reset=0)
        self.step = b.wire(Signal("stepping"))
        self.moving = b.wire(Signal("odometer_moving"))
        #: The inputs from the sequencer; with a target clock they are registered here, too.
        self.orders = {s: b.register(p[s], f"{s}_q", reset=0) if plan.crossing else p[s] for s in self.control.inputs}
        configuration = self.orders.get(self.control.configuration)
        self.enable = self._enable()
        steps = self.orders[self.control.go], self.step, self.moving, self.enable
        self.counters = LoopCounters(b, self.engine, configuration, *steps)
        self.agu = AddressGenerators(b, p, self.engine, self.counters, plan.symbols)
        self.progress = Progress(b, self.engine, plan.follows)
        self.values: dict[str, Value] = {}

    def build(self) -> dict[str, Value]:
        """Builds the engine and returns its outputs by name."""
        plan = self.plan
        fresh = [first_reads(self.b, self.engine, self.counters, port) for port in plan.weight_ports]
        path = self._advance(fresh)
        path.guards = {id(port.slot): self.agu.guard(port) for port in plan.ports}
        for port in plan.ports:
            if not port.slot.store:
                self._read(port, path)
        self._take_beat(path)
        self._take_words(path, fresh)
        path.build()
        for port in plan.ports:
            if port.slot.store:
                self._write(port, path)
        if self.stall is not None and self.sink:
            self.stall.assign(self.values[self.sink.stream.valid])
        if plan.freezes and path.enable is not None:
            self.values[self.control.moving] = path.enable
        self.values[self.control.done] = self.progress.done(path)
        if self.control.counted:
            self.values[self.control.committed] = self.progress.committed(path)
        return self.values

    def _advance(self, fresh: Sequence[Value]) -> Datapath:
        """Builds the issue condition of a step and returns the datapath.

        Args:
            fresh: per port of the weight stream, i1: the step needs a word that was not read before.
        """
        b, p, plan, go = self.b, self.p, self.plan, self.orders[self.control.go]
        allowed = [~wanted | p[port.word_ready] for port, wanted in zip(plan.weight_ports, fresh, strict=True)]
        # A step that needs the next word of a memory waits until the memory has read the last one.
        paced = (
            may_begin_word(b, self.engine, self.counters, port, self.step)
            for port in plan.memories
            if not port.slot.store and any(bank.reads > 1 for bank in port.banks)
        )
        allowed += [free for free in paced if free is not None]
        # The source's guard follows the loop counters, which depend on this wire: it is assigned later.
        if self.source:
            self.arrived = b.wire(Signal("arrived"))
            allowed.insert(0, self.arrived)
        if self.control.gated:
            told = self.orders[self.control.written], self.orders[self.control.producer_done]
            allowed.append(self.progress.released(self.agu, *told))
        valid = b.all_of(self.running, *allowed)
        enable = self.enable
        self.step.assign(valid if enable is None else valid & enable)
        # The loop counters of an idle engine may change at will. `go` reaches idle engines only, so naming it here
        # changes nothing, and saves synthesis tools another condition at the registers that `go` initializes.
        moves = b.all_of(*allowed, *([] if enable is None else [enable]))
        self.moving.assign(b.any_of(~self.running, *([go] if plan.crossing else []), moves))
        finish = self.step & self.counters.final
        self.running.assign(go | (self.running & ~finish))
        return Datapath(b, self.engine, self.counters, valid, enable, plan.dsp_packing, self._symbol)

    def _symbol(self, configuration: int, term: Term) -> Value:
        """A run-time term of a configuration's indices, in stage 0."""
        return self.p[self.plan.symbols.name(configuration, term)]

    def _enable(self) -> Value | None:
        """i1: the clock enable of the pipeline registers; None where nothing stalls them.

        Back-pressure of an output stream stops the whole pipeline. A late input beat or a late word delays the next
        step only.
        """
        if self.sink is None:
            return None
        self.stall = self.b.wire(Signal("stalling"))
        return ~self.stall | self.p[self.sink.stream.ready]

    def _take_beat(self, path: Datapath) -> None:
        """Connects the input stream: a step waits for a beat, unless it lies in the padding.

        A beat is consumed (`ready`) by the last step that reads it.
        """
        if self.source is None or self.arrived is None:
            return
        guard, stream = path.guards[id(self.source.slot)], self.source.stream
        offered = self.p[stream.valid]
        self.arrived.assign(offered if guard is None else offered | ~guard)
        conditions = [self.running, self._moves_on(self.source), guard, path.enable]
        self.values[stream.ready] = self.b.all_of(*(v for v in conditions if v is not None))

    def _moves_on(self, source: StreamPort) -> Value:
        """i1: the next step reads another beat. An input stream has one reader, the engine's only configuration."""
        (nest,), (access,) = self.engine.configurations, source.slot.accesses
        assert access is not None
        moving = moving_loops(access, nest.loops)
        return self.counters.ended_inside(self.engine.loops(nest).index(moving[-1]) if moving else -1)

    def _take_words(self, path: Datapath, fresh: Sequence[Value]) -> None:
        """Reports the reads of the weight stream: a word's first one when its step is issued (`fresh`), and its last
        one in the cycle in which the bank is read (`free`).
        """
        for port, wanted in zip(self.plan.weight_ports, fresh, strict=True):
            self.values[port.fresh] = self.step & wanted
            last = last_reads(self.b, self.engine, self.counters, port)
            self.values[port.free] = path.flag(self.step & last, port.slot.stage, f"over_{port.name}")

    def _read(self, port: Port, path: Datapath) -> None:
        """Connects a read port to the datapath: data, the stage in which it arrives, and guard."""
        slot, name = port.slot, port.name
        arrival, guard = slot.stage + latency_of(slot.example.op, "load"), path.guards[id(slot)]
        if guard is not None:
            guard = path.delay(guard, arrival - self.agu.late(port), f"inside_{name}")
        match port:
            case MemoryPort():
                path.inputs[id(slot)] = self._read_memory(port, path, arrival), arrival, guard
            case StreamPort():
                path.inputs[id(slot)] = path.delay(self.p[port.stream.data], 1, f"{name}_q"), 1, guard
            case ScalarPort():
                path.inputs[id(slot)] = self.p[port.data], None, None

    def _read_memory(self, port: MemoryPort, path: Datapath, arrival: int) -> Value:
        """Drives address and enable of a read, and returns its data in stage `arrival`."""
        crossing, stage = self.plan.crossing, path.departure(port.slot)
        self.values[port.address] = path.delay(self.agu.address(port), stage - crossing, f"agu_{port.name}")
        active = path.active(port.slot)
        stops = None if self.plan.freezes else path.enable
        self.values[port.enable] = active if stops is None else active & stops
        if len(port.banks) > 1:
            self.values[port.bank] = _bank_number(port, path, stage)
            self.values[port.source] = _bank_number(port, path, arrival - crossing)
        return path.delay(self.p[port.data], crossing, f"{port.name}_q")  # bank and top have the first registers

    def _write(self, port: Port, path: Datapath) -> None:
        """Connects a store port to the datapath."""
        active, data = path.active(port.slot), path.output(port.slot)
        match port:
            case MemoryPort():
                self._write_memory(port, path, active, data)
            case StreamPort():
                self.values |= {port.stream.valid: active, port.stream.data: data}
            case ScalarPort():
                self.values |= {port.enable: active, port.data: data}

    def _write_memory(self, port: MemoryPort, path: Datapath, active: Value, data: Value) -> None:
        """Drives a write: the lowest address bits select the slice of the word whose write enable is 1."""
        b, stage = self.b, path.departure(port.slot)
        address = path.delay(self.agu.address(port), stage - self.plan.crossing, f"agu_{port.name}")
        self.values[port.address] = address[port.slice_bits :]
        if port.most_slices > 1:
            choice = address[: port.slice_bits]
            self.values[port.enable] = b.concat([active & choice.eq(i) for i in range(port.most_slices)][::-1])
        else:
            self.values[port.enable] = active
        self.values[port.data] = b.concat([data.zero_extend(port.width // port.most_slices)] * port.most_slices)
        if len(port.banks) > 1:
            self.values[port.bank] = _bank_number(port, path, stage)


def _bank_number(port: MemoryPort, path: Datapath, stage: int) -> Value:
    """The number of the bank that the configuration whose step is in `stage` accesses."""
    return path.table(port.bank_of, port.bank.bits, stage)
