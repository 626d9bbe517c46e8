"""The core: the top behind AXI4-Lite, AXI4-Stream and AXI4, with a buffer for an image and one for a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradcam.core.register_map import Field, describe_registers, register_map
from gradcam.errors import fail
from gradcam.names import CORE, prefixed
from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.carries import counter, late_sum, select_sum
from gradcam.passes.hw.core_packets import Beat, Image, Result, receive_images, register_slice, send_results
from gradcam.passes.hw.frame_buffer import build_frame_buffer
from gradcam.passes.hw.interface import Interface
from gradcam.passes.hw.registers import INPUTS, OUTPUTS, build_registers, input_port, output_port
from gradcam.passes.hw.signals import AxiStream, Signal, Stream
from gradcam.passes.hw.top import DRAM, LOAD
from gradcam.passes.hw.value import Deferred, Value, bits_for
from gradcam.passes.hw.weight_loader import CRC, LOADED, LOADING
from gradcam.passes.hw.weight_reader import ERROR, IDENTIFIER, axi_ports
from gradcam.passes.program.banks import power_of_two
from gradcam.passes.program.packets import WORD, Channel
from gradcam.schema import program as schema

#: Prefixes of the ports of the four interfaces.
CONTROL, IMAGE, RESULT, WEIGHTS = "s_axi_control", "s_axis_image", "m_axis_result", "m_axi_weights"

#: Bits of an address of the AXI4 port for weights.
WIDE = 64

#: Constant signals of a read: its identifier, unprivileged data access, normal bufferable memory, not locked.
READ_CONSTANTS = {Signal("arid"): IDENTIFIER, Signal("arprot", 3): 0, Signal("arcache", 4): 0b0011, Signal("arlock"): 0}


def build_core(top: Any) -> Any:
    """Builds `gradcam_core`, `registers`, `image_buffer` and `result_buffer` in the current insertion point.

    Ports of the core, with the signal names of AXI:

    - clock `aclk`, synchronous active-low reset `aresetn`, and `interrupt`
    - `s_axi_control`: AXI4-Lite, the registers of registers.rdl
    - `s_axis_image`: AXI4-Stream, the image with one pixel per beat
    - `m_axis_result`: AXI4-Stream of 32-bit words: the number of image packets that ended before this image's, the
      explained classes, and the sign-extended beats of the top's output streams
    - `m_axi_weights`: AXI4 reads of weights, from the base address in the registers on, in every run, or for a load

    A run begins when a complete packet is in the image buffer, and a result is sent when it is complete. No broken
    packet gets in or out. During a run the next image is received and the previous result is sent.

    Args:
        top: the `hw.module` built by `build_design`.

    Raises:
        GradcamError: the core does not support the ports of the top. It needs exactly one input stream, at least one
            output stream of at most 32 bits per beat, and at most one one-element input.
    """
    interface = Interface.read(top)
    if len(interface.inputs) != 1 or not interface.outputs or len(interface.requests) > 1:
        raise fail(top, "a core has one image stream, at least one result stream and at most one plain input")
    for channel in interface.outputs:
        if channel.bits > WORD:
            raise fail(top, f"the stream {channel.name} has {channel.bits} bits a beat, a result has {WORD}")
    return _Core(top, interface).build()


def describe_core(interface: Interface, name: str | None = None) -> schema.Core:
    """The description of the core of the design `name` in program.json: ports, registers, fingerprint, sizes."""
    (image,) = interface.inputs
    inputs, outputs = core_ports(interface)
    ports = [schema.Port("aclk", "in", 1), *(schema.Port(str(s), "in", s.bits) for s in inputs)]
    ports += [schema.Port(str(s), "out", s.bits) for s in outputs]
    return schema.Core(
        top=prefixed(name, CORE),
        ports=tuple(ports),
        registers=describe_registers(),
        fingerprint=interface.fingerprint,
        image_bytes=image_bits(image) // 8,
        classes=len(interface.classes),
    )


def image_bits(image: Channel) -> int:
    """Bits of a beat of the image stream: the bits of a pixel, rounded up to a power of two of at least 8."""
    return power_of_two(max(8, image.bits))


def core_ports(interface: Interface) -> tuple[list[Signal], list[Signal]]:
    """The inputs of the core besides the clock, and its outputs."""
    image, result = _streams(interface)
    inputs = [Signal("aresetn"), *(signal.of(CONTROL) for signal in INPUTS)]
    outputs = [Signal("interrupt"), *(signal.of(CONTROL) for signal in OUTPUTS)]
    inputs += [image.tvalid, image.tdata, image.tlast, result.tready]
    outputs += [image.tready, result.tvalid, result.tdata, result.tkeep, result.tlast]
    if interface.dram_bits:
        responses, requests = axi_ports(interface.dram_bits)
        wide = [Signal(n, WIDE) if n == "araddr" else n for n in requests]
        inputs += [signal.of(WEIGHTS) for signal in responses]
        outputs += [signal.of(WEIGHTS) for signal in [*wide, *READ_CONSTANTS]]
    return inputs, outputs


def _streams(interface: Interface) -> tuple[AxiStream, AxiStream]:
    """The AXI4-Streams of images and of results."""
    return AxiStream.of(IMAGE, image_bits(interface.inputs[0])), AxiStream.of(RESULT, WORD)


class _Core:
    """The modules of the core."""

    def __init__(self, top: Any, interface: Interface) -> None:
        self.top, self.interface = top, interface
        (self.image,) = interface.inputs
        self.header = 1 + len(interface.classes)
        self.registers = register_map()

    def build(self) -> Any:
        """Builds the modules and the core that connects them."""
        modules = {
            "registers": build_registers(self.registers),
            "image_buffer": build_frame_buffer(
                "image_buffer", self.image.bits, self.image.beats, crossing=self.interface.crossing
            ),
            "result_buffer": build_frame_buffer("result_buffer", WORD, self.interface.words, self.header),
        }

        def wire(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
            return _Wiring(self, b, p, modules).build()

        comment = "Core: the top behind AXI4-Lite, AXI4-Stream and, for weights in DRAM, AXI4"
        return module(CORE, *core_ports(self.interface), wire, reset=False, clock="aclk", comment=comment)

    def fields(self, *kinds: str) -> list[Field]:
        """The fields of the given kinds, of all registers."""
        return [field for register in self.registers for field in register.fields if field.kind in kinds]

    @property
    def classes(self) -> int:
        """The number of classes that the network distinguishes."""
        return self.interface.outputs[0].beats


class _Wiring:
    """The body of the core: instances, control of runs, counters and errors."""

    def __init__(self, core: _Core, b: Builder, p: Mapping[str, Value], modules: Mapping[str, Any]) -> None:
        b.rst = ~p["aresetn"]
        self.core, self.interface, self.b, self.p, self.modules = core, core.interface, b, p, modules
        self.image_stream, self.result_stream = _streams(core.interface)
        self.results = [Stream.of(c.name, c.bits) for c in core.interface.outputs]
        self.fields = {f.port: b.wire(input_port(f)) for f in core.fields("input", "sticky")}
        control = {signal: p[signal.of(CONTROL)] for signal in INPUTS}
        self.registers = b.instance(modules["registers"], "registers", {**control, **self.fields})
        self.active = b.state(1, "active", reset=0)
        self.started = b.state(1, "started", reset=0)
        self.asked = self.active | self.started
        self.wanted = self.registers["control_run_on_arrival"] | self.started
        #: i1: a load of resident weights begins; one waits to; one is under way; they are there.
        self.load, self.load_asked, self.loading, self.loaded = [b.const(0, 1)] * 4
        if core.interface.resident:
            self.load_asked = b.state(1, "load_asked", reset=0)
            self.load, self.loading, self.loaded = map(b.wire, (Signal("load_begins"), LOADING, LOADED))

    def build(self) -> dict[str, Value]:
        """Connects everything and returns the outputs of the core by name."""
        b = self.b
        request, missing = self._request()
        # Both come from registers, for a start has a large fan-out in the top.
        self.go, self.drop = (b.state(1, name, reset=0) for name in ("go", "drop"))
        self.going, taken = b.wire(Signal("going")), b.wire(Signal("image_taken"))
        image = self._receive(taken)
        self._start(image, missing)
        room = [b.wire(stream.ready) for stream in self.results]
        top = self._run(image, request, taken, room)
        number = b.register(image.number, "number", self.go)
        wrong, failed = self._failure(top)
        result = self._send(top, number, failed)
        # A nest that writes a stream is alone in its issue group, so no two streams have a beat in the same cycle.
        for wire in room:
            wire.assign(result.room)
        self.active.assign(self.go | (self.active & ~(result.ended | failed)))
        counts = self._counts(top, result.ended)
        raised = self._report(image, result, wrong, counts)
        return self._outputs(image, result) | {"interrupt": raised} | self._weights(top)

    def _request(self) -> tuple[Value, Value]:
        """The requested class (negative: the best one), and i1: there is no such class; both from registers."""
        b, classes = self.b, self.core.classes
        index, argmax = self.registers["class_select_index"], self.registers["class_select_argmax"]
        # The bits suffice: no run begins with a class that needs more of them.
        request = b.register(b.concat([argmax, index.zero_extend(bits_for(classes))]), "class_request")
        bits = max(index.width, bits_for(classes + 1))
        too_large = index.zero_extend(bits).uge(classes)
        wrong = ~argmax & too_large if self.interface.requests else b.const(0, 1)
        # A run begins a cycle after it was found that the class exists.
        return b.register(request, "class_asked").sign_extend(WORD), b.register(wrong, "class_wrong")

    def _receive(self, taken: Value) -> Image:
        """Instantiates the receiver of images; the top accepts a pixel while `taken` is 1."""
        p, stream = self.p, self.image_stream
        beat, buffer = Beat(p[stream.tvalid], p[stream.tdata], p[stream.tlast]), self.modules["image_buffer"]
        bits, pieces = self.core.image.bits, self.interface.pieces(WORD)
        return receive_images(self.b, beat, bits, buffer, self.going, self.drop, taken, pieces)

    def _start(self, image: Image, wrong: Value) -> None:
        """Builds the start of a run: the waiting image is run on request, or dropped when its class does not exist."""
        b, start = self.b, self.registers["control_start"]
        ready = self.go | self.drop
        begins = b.all_of(image.waiting, ~self.active, self.wanted, ~ready, *self._may_run())
        self.going.assign(begins & ~wrong)
        self.go.assign(self.going)
        self.drop.assign(begins & wrong)
        self._load(ready)
        self.started.assign((self.started & ~ready) | (start & ~self.asked))

    def _may_run(self) -> list[Value]:
        """What of resident weights a run waits for: they are there, and no load of others is asked for."""
        return [self.loaded, ~self.load_asked] if self.interface.resident else []

    def _load(self, ready: Value) -> None:
        """Builds the start of a load, which waits for the end of a run; `ready` is i1: a run begins."""
        b, load, asked = self.b, self.load, self.load_asked
        if not (isinstance(load, Deferred) and isinstance(asked, Deferred)):
            return
        load.assign(b.all_of(asked, ~self.active, ~ready, ~self.loading))
        asked.assign((asked & ~load) | self.registers["control_load"])

    def _run(self, image: Image, request: Value, taken: Deferred, room: Sequence[Value]) -> dict[str, Value]:
        """Instantiates the top and returns its outputs.

        Args:
            image: the receiver of images.
            request: the requested class.
            taken: the wire that says that the top accepts a pixel, assigned here.
            room: per output stream, i1: a word of it may be stored.
        """
        b, channel, interface = self.b, self.core.image, self.interface
        stream, accepted = Stream.of(channel.name, channel.bits), b.wire(Signal("image_room"))
        valid, data, took = image.valid, image.data, accepted
        if interface.crossing:
            valid, data, took = register_slice(b, valid, data, accepted)
        taken.assign(took)
        inputs: dict[str, Value] = {s.ready: value for s, value in zip(self.results, room, strict=True)}
        inputs |= {stream.valid: valid, stream.data: data, "start": self.go}
        inputs |= dict.fromkeys(interface.requests, request)
        if interface.dram_bits:
            inputs |= {signal.of(DRAM): self.p[signal.of(WEIGHTS)] for signal in axi_ports(interface.dram_bits)[0]}
        inputs |= {LOAD: self.load} if interface.resident else {}
        top = b.instance(self.core.top, "gradcam_top", inputs)
        for wire, port in ((self.loading, LOADING), (self.loaded, LOADED)):
            if isinstance(wire, Deferred):
                wire.assign(top[port])
        accepted.assign(top[stream.ready])
        return top

    def _failure(self, top: Mapping[str, Value]) -> tuple[Value, Value]:
        """i1, for one cycle: weights have come with an error; i1: the run has ended, and weights of it had."""
        b = self.b
        if not self.interface.dram_bits:
            return b.const(0, 1), b.const(0, 1)
        wrong = top[ERROR.of(DRAM)]
        failed = b.const(0, 1) if self.interface.resident else top["done"] & wrong
        return wrong & ~b.register(wrong, "weights_wrong", reset=0), failed

    def _send(self, top: Mapping[str, Value], number: Value, failed: Value) -> Result:
        """Instantiates the sender of results; `failed` is i1: the run has ended with an error."""
        header = [number, *(top[n] for n in self.interface.classes)]
        words, taken = self._words(top), self.p[self.result_stream.tready]
        return send_results(self.b, self.modules["result_buffer"], header, words, top["done"], failed, taken)

    def _words(self, top: Mapping[str, Value]) -> list[tuple[Value, Value]]:
        """Valid flag and word of the top's output streams, with one entry for streams that share a data wire."""
        module_ = self.core.top
        driver = dict(zip(module_.type.output_names, module_.body.blocks[0].operations[-1].operands, strict=True))
        wires: dict[Any, list[Stream]] = {}
        for stream in self.results:
            wires.setdefault(driver[stream.data], []).append(stream)
        valids = [self.b.any_of(*(top[stream.valid] for stream in streams)) for streams in wires.values()]
        words = [top[streams[0].data].sign_extend(WORD) for streams in wires.values()]
        return list(zip(valids, words, strict=True))

    def _counts(self, top: Mapping[str, Value], ended: Value) -> dict[str, Value]:
        """The counters that software reads; the counters of a run keep the values of the run that ended last.

        With a target clock they count a cycle late. The header of a result is stored behind the run, so that they have
        counted all of it when they are read.
        """
        b = self.b
        explains = b.table(top["nest"], [int(phase == "explanation") for phase in self.interface.phases], 1)
        images = self._counter("images", ended)
        last = []
        for name, counts in (("elapsed", top["busy"]), ("explaining", top["busy"] & explains)):
            counts, clear = (self._late(v, f"{name}_{n}") for n, v in (("counts", counts), ("begins", self.go)))
            last.append(b.register(self._counter(name, counts, clear), f"last_{name}", ended, reset=0))
        elapsed, explaining = last
        predicted = b.const(self.interface.cycles, WORD)
        # A run may take fewer cycles than predicted, when the DRAM answers sooner.
        early, stalls = elapsed.ult(predicted), self._difference(elapsed, predicted, "stalls")
        for _ in range(self.interface.pieces(WORD) - 1):
            early = b.register(early, "early", reset=0)
        stalls = b.mux(early, 0, stalls)
        inferring = self._difference(elapsed, explaining, "inferring")
        return {
            **self._load_counts(top),
            "images_count": images,
            "inference_cycles": b.register(inferring, "inference_cycles", reset=0),
            "explanation_cycles": explaining,
            "stall_cycles": b.register(stalls, "stall_cycles", reset=0),
        }

    def _late(self, value: Value, name: str) -> Value:
        """A value, with a target clock that of a cycle ago."""
        return self.b.register(value, name, reset=0) if self.interface.crossing else value

    def _counter(self, name: str, step: Value, clear: Value | None = None) -> Value:
        """A counter of the cycles in which `step` is 1."""
        return counter(self.b, WORD, name, step, self.interface.pieces(WORD), clear)

    def _difference(self, left: Value, right: Value, name: str) -> Value:
        """`left` minus `right`; a cycle later for each piece but the first one."""
        pieces = self.interface.pieces(WORD)
        return late_sum(self.b, left, right, name, pieces, minus=True) if pieces > 1 else left - right

    def _load_counts(self, top: Mapping[str, Value]) -> dict[str, Value]:
        """Checksum and cycles of the last load of resident weights."""
        b = self.b
        if not self.interface.resident:
            return {"weights_checksum": b.const(0, WORD), "load_cycles": b.const(0, WORD)}
        cycles = self._counter("load_cycles", self.loading, self.load)
        return {"weights_checksum": top[CRC], "load_cycles": cycles}

    def _report(self, image: Image, result: Result, wrong: Value, counts: Mapping[str, Value]) -> Value:
        """Assigns the register fields that software reads, and returns the interrupt.

        Args:
            image, result: the packets.
            wrong: i1: the first error of a run in the weights that come from the DRAM.
            counts: values of counters by field.
        """
        b, registers = self.b, self.registers
        errors = {"error_class_range": self.drop, "error_start_busy": registers["control_start"] & self.asked}
        errors |= {"error_dram": wrong, **image.errors}
        sticky = {f.port: registers[output_port(f)] for f in self.core.fields("sticky")}
        error = b.register(b.any_of(*(sticky[n] for n in errors)), "error", reset=0)
        values = {**errors, **counts, **self._facts(), "irq_status_done": result.ended, "irq_status_error": error}
        values |= {"status_busy": self.active, "status_image": image.waiting, "status_started": self.started}
        values |= {"status_loading": self.loading | self.load_asked, "status_loaded": self.loaded}
        values["status_result"] = result.whole | result.beat.valid
        # Bits that come through logic are registered in front of the choice among registers.
        values |= {n: b.register(v, f"{n}_q", reset=0) for n, v in values.items() if n.startswith("status_")}
        for name, wire in self.fields.items():
            wire.assign(values[name])
        done = registers["irq_enable_done"] & sticky["irq_status_done"]
        raised = done | (registers["irq_enable_error"] & error)
        return b.register(raised, "interrupt_q", reset=0)

    def _facts(self) -> dict[str, Value]:
        """The register fields that describe the design, all of them constants."""
        interface, core = self.interface, self.core
        maps = len(interface.outputs) - 1
        facts = {"design_fingerprint": interface.fingerprint, "image_beats": core.image.beats}
        facts |= {"result_beats": interface.words, "shape_classes": core.classes, "shape_maps": maps}
        facts |= {"shape_top_k": len(interface.classes)}
        bits = {field.port: field.bits for field in core.fields("input")}
        return {name: self.b.const(value, bits[name]) for name, value in facts.items()}

    def _outputs(self, image: Image, result: Result) -> dict[str, Value]:
        """The outputs of the control registers and of the two streams."""
        beat, stream = result.beat, self.result_stream
        outputs: dict[str, Value] = {signal.of(CONTROL): self.registers[signal] for signal in OUTPUTS}
        outputs |= {self.image_stream.tready: image.ready, stream.tvalid: beat.valid, stream.tdata: beat.data}
        return outputs | {stream.tlast: beat.last, stream.tkeep: self.b.const(-1, stream.tkeep.bits)}

    def _weights(self, top: Mapping[str, Value]) -> dict[str, Value]:
        """The outputs of the AXI4 read channels; empty when all constants are on chip."""
        if not self.interface.dram_bits:
            return {}
        b, registers = self.b, self.registers
        channel = axi_ports(self.interface.dram_bits)[1]
        values: dict[str, Value] = {signal.of(WEIGHTS): top[signal.of(DRAM)] for signal in channel}
        # A run, or a load, keeps the address that it began with: ARADDR does not change while it waits for ARREADY.
        low, high = registers["weights_low_address"], registers["weights_high_address"]
        base = b.register(b.concat([high, low]), "weights_base", self.load if self.interface.resident else self.go)
        address = Signal("araddr")
        own, aligned = top[address.of(DRAM)].zero_extend(WIDE), WIDE - base.width
        low, clock = own[:aligned], self.interface.clock
        if clock.crossing:  # ARADDR of the top has its value a cycle before ARVALID is 1
            low = b.register(low, "araddr_low")
            high = select_sum(b, base, own[aligned:], "araddr", clock.pieces(base.width))
        else:
            high = base + own[aligned:]
        values[address.of(WEIGHTS)] = b.concat([high, low])
        return values | {signal.of(WEIGHTS): b.const(value, signal.bits) for signal, value in READ_CONSTANTS.items()}
