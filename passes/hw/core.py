"""The core: the top behind AXI4-Lite, AXI4-Stream and AXI4, with a buffer for the packet on either side."""

from __future__ import annotations

from functools import partial
from typing import Any

from gradcam.core.register_map import describe_registers, register_map
from gradcam.errors import fail
from gradcam.passes.hw.builder import Builder, Value, bits_for, module, width_of
from gradcam.passes.hw.frame_buffer import build_frame_buffer
from gradcam.passes.hw.interface import Interface
from gradcam.passes.hw.registers import INPUTS, OUTPUTS, build_registers
from gradcam.passes.hw.tape_reader import ADDRESS, axi_ports
from gradcam.passes.program.banks import power_of_two
from gradcam.passes.program.packets import WORD, Channel
from gradcam.schema import program as schema

CORE = "gradcam_core"

#: Prefixes of the ports of the four interfaces.
CONTROL, IMAGE, RESULT, WEIGHTS = "s_axi_control", "s_axis_image", "m_axis_result", "m_axi_weights"

#: Bits of an address of the weights.
WIDE = 64

#: Constant fields of a read: no identifier, unprivileged data, normal and bufferable, not locked.
READ_CONSTANTS = (("arid", 1, 0), ("arprot", 3, 0), ("arcache", 4, 0b0011), ("arlock", 1, 0))


def build_core(top: Any) -> Any:
    """The modules `gradcam_core`, `registers`, `image_buffer` and `result_buffer` in the current insertion point.

    Clock `aclk`, synchronous reset `aresetn`, active low, and `interrupt`. Ports by interface, named as AXI names them:
    registers (see registers.rdl) at `s_axi_control`; at `s_axis_image` the image, a pixel per beat; at `m_axis_result`
    words of 32 bits: how many image packets ended before this image's, the explained classes, what the streams of the
    top give, sign-extended; at `m_axi_weights` the weights, from the address in the registers on.

    A run begins when a whole packet is in the image buffer, and its result leaves when it is whole, so that nothing
    broken gets in or out. The next image comes in, and the last result leaves, while a run is under way.

    Args:
        top: the `hw.module` that `build_design` made.

    Raises:
        GradcamError: the top does not read one stream and write at least one, of at most 32 bits a beat.
    """
    interface = Interface.read(top)
    if len(interface.inputs) != 1 or not interface.outputs or len(interface.requests) > 1:
        raise fail(top, "a core has one image stream, at least one result stream and at most one plain input")
    for channel in interface.outputs:
        if channel.bits > WORD:
            raise fail(top, f"the stream {channel.name} has {channel.bits} bits a beat, a result has {WORD}")
    return _Core(top, interface).build()


def describe_core(interface: Interface) -> schema.Core:
    """What the user of a core must know, for program.json."""
    (image,) = interface.inputs
    inputs, outputs = core_ports(interface)
    ports = [schema.Port("aclk", "in", 1), *(schema.Port(name, "in", bits) for name, bits in inputs)]
    ports += [schema.Port(name, "out", bits) for name, bits in outputs]
    return schema.Core(
        top=CORE,
        ports=tuple(ports),
        registers=describe_registers(),
        fingerprint=interface.fingerprint,
        image_bytes=image_bits(image) // 8,
        classes=len(interface.classes),
    )


def image_bits(image: Channel) -> int:
    """Bits of a beat of the image stream: whole bytes, a power of two of them."""
    return power_of_two(max(8, image.bits))


def core_ports(interface: Interface) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Inputs, besides the clock, and outputs of the core: (name, bits)."""
    inputs = [("aresetn", 1), *((f"{CONTROL}_{n}", bits) for n, bits in INPUTS)]
    outputs = [("interrupt", 1), *((f"{CONTROL}_{n}", bits) for n, bits in OUTPUTS)]
    inputs += [(f"{IMAGE}_tvalid", 1), (f"{IMAGE}_tdata", image_bits(interface.inputs[0])), (f"{IMAGE}_tlast", 1)]
    inputs += [(f"{RESULT}_tready", 1)]
    outputs += [(f"{IMAGE}_tready", 1), (f"{RESULT}_tvalid", 1), (f"{RESULT}_tdata", WORD)]
    outputs += [(f"{RESULT}_tkeep", WORD // 8), (f"{RESULT}_tlast", 1)]
    if interface.dram_bits:
        responses, requests = axi_ports(interface.dram_bits)
        wide = [(n, WIDE if n == "araddr" else bits) for n, bits in requests]
        inputs += [(f"{WEIGHTS}_{n}", bits) for n, bits in [*responses, ("rid", 1)]]
        outputs += [(f"{WEIGHTS}_{n}", bits) for n, bits in wide]
        outputs += [(f"{WEIGHTS}_{n}", bits) for n, bits, _ in READ_CONSTANTS]
    return inputs, outputs


class _Core:
    def __init__(self, top: Any, interface: Interface) -> None:
        self.top, self.interface = top, interface
        (self.image,) = interface.inputs
        self.header = 1 + len(interface.classes)
        self.registers = register_map()

    def build(self) -> Any:
        inputs, outputs = core_ports(self.interface)
        modules = {
            "registers": build_registers(self.registers),
            "image_buffer": build_frame_buffer("image_buffer", self.image.bits, self.image.beats),
            "result_buffer": build_frame_buffer("result_buffer", WORD, self.interface.words, self.header),
        }
        comment = "Core: the top behind AXI4-Lite, AXI4-Stream and, for weights in DRAM, AXI4"
        wire = partial(self._wire, modules=modules)
        return module(CORE, inputs, outputs, wire, reset=False, clock="aclk", comment=comment)

    def _wire(self, b: Builder, p: dict[str, Value], modules: dict[str, Any]) -> dict[str, Value]:
        b.rst = b.negate(p["aresetn"])
        fields, connect_fields = self._wires(b, [(f.port, f.bits) for f in self._fields("input", "sticky")])
        control = {n: p[f"{CONTROL}_{n}"] for n, _ in INPUTS}
        registers = b.instance(modules["registers"], "registers", {**control, **fields})
        active, connect_active = b.state(1, "active", reset=0)
        started, connect_started = b.state(1, "started", reset=0)
        start, asked = registers["control_start"], b.any_of(active, started)
        wanted = b.any_of(registers["control_run_on_arrival"], started)
        request, wrong = self._request(b, registers)
        go, connect_go = b.wire(1, "go")
        drop, connect_drop = b.wire(1, "drop")
        taken, connect_taken = b.wire(1, "image_taken")
        image, number, broken = self._receive(b, p, modules["image_buffer"], {"go": go, "drop": drop, "taken": taken})
        # What starts a run is a register, for it reaches every part of the top.
        ready, connect_ready = b.state(1, "image_ready", reset=0)
        connect_ready(b.all_of(image["waiting"], b.negate(active), wanted, b.negate(ready)))
        connect_go(b.all_of(ready, b.negate(wrong)))
        connect_drop(b.all_of(ready, wrong))
        connect_started(b.any_of(b.all_of(started, b.negate(ready)), b.all_of(start, b.negate(asked))))
        room, connect_room = self._wires(b, [(f"{c.name}_ready", 1) for c in self.interface.outputs])
        room_in, connect_room_in = b.wire(1, "image_room")
        stream = image["take_valid"], image["take_data"], room_in
        valid, data, took = _register_slice(b, *stream) if self.interface.hop else stream
        connect_taken(took)
        pixels = {f"{self.image.name}_valid": valid, f"{self.image.name}_data": data}
        top = b.instance(self.top, "gradcam_top", room | pixels | self._inputs(p, request, go))
        connect_room_in(top[f"{self.image.name}_ready"])
        number = b.register(number, "number", go)
        result, ended, failed = self._send(b, p, modules["result_buffer"], top, number)
        # Nests that write a stream have turns of their own, so that no two streams give something at once.
        connect_room(dict.fromkeys(room, result["put_ready"]))
        connect_active(b.any_of(go, b.all_of(active, b.negate(b.any_of(ended, failed)))))
        counts = self._counts(b, top, go, ended)
        errors = {"error_class_range": drop, "error_start_busy": b.all_of(start, asked)}
        errors |= {"error_dram": failed, **broken}
        error = b.any_of(*(registers[f"{n}_q"] for n in errors))
        done = registers["irq_status_done_q"]
        values = {
            **errors,
            **counts,
            **self._facts(b),
            "irq_status_done": ended,
            "irq_status_error": error,
            "status_busy": active,
            "status_image": image["waiting"],
            "status_result": b.any_of(result["whole"], result["take_valid"]),
            "status_started": started,
        }
        connect_fields(values)
        raised = [b.all_of(registers["irq_enable_done"], done), b.all_of(registers["irq_enable_error"], error)]
        outputs = {f"{CONTROL}_{n}": registers[n] for n, _ in OUTPUTS}
        outputs |= {"interrupt": b.register(b.any_of(*raised), "interrupt_q", reset=0)}
        outputs |= {f"{IMAGE}_tready": image["tready"], f"{RESULT}_tvalid": result["take_valid"]}
        outputs |= {f"{RESULT}_tdata": result["take_data"], f"{RESULT}_tlast": result["take_last"]}
        outputs |= {f"{RESULT}_tkeep": b.const(-1, WORD // 8)}
        return outputs | self._weights(b, registers, top)

    def _fields(self, *kinds: str) -> list[Any]:
        return [field for register in self.registers for field in register.fields if field.kind in kinds]

    def _wires(self, b: Builder, ports: list[tuple[str, int]]) -> tuple[dict[str, Value], Any]:
        """Values by name that are known later, and what connects them."""
        wires = {name: b.wire(bits, name) for name, bits in ports}

        def connect(values: dict[str, Value]) -> None:
            for name, (_, set_value) in wires.items():
                set_value(values[name])

        return {name: value for name, (value, _) in wires.items()}, connect

    def _request(self, b: Builder, registers: dict[str, Value]) -> tuple[Value, Value]:
        """The class that is asked for, below 0 for the best one, and i1: it does not exist; both a cycle late."""
        index, argmax = registers["class_select_index"], registers["class_select_argmax"]
        # No run begins with a class that needs more bits.
        request = b.register(b.concat([argmax, b.zero_extend(index, bits_for(self._classes))]), "class_request")
        bits = max(width_of(index), bits_for(self._classes + 1))
        over = b.compare("uge", b.zero_extend(index, bits), b.const(self._classes, bits))
        wrong = b.all_of(b.negate(argmax), over) if self.interface.requests else b.const(0, 1)
        return b.sign_extend(request, WORD), b.register(wrong, "class_wrong")

    @property
    def _classes(self) -> int:
        return self.interface.outputs[0].beats

    def _receive(
        self, b: Builder, p: dict[str, Value], buffer: Any, orders: dict[str, Value]
    ) -> tuple[dict[str, Value], Value, dict[str, Value]]:
        """Takes image packets in.

        Args:
            orders: `go`, the image that waits is run; `drop`, it is not; `taken`, the top takes a pixel.

        Returns:
            The outputs of the buffer with `waiting` (a whole image does) and `tready`; the number of the image that
            waits; the errors of packets.
        """
        offered, last = p[f"{IMAGE}_tvalid"], p[f"{IMAGE}_tlast"]
        skipping, connect_skipping = b.state(1, "skipping", reset=0)  # the rest of a packet that is too long
        leaving, connect_leaving = b.state(1, "leaving", reset=0)
        inputs = {"put_valid": b.all_of(offered, b.negate(skipping)), "ends": last, "rewind": b.const(0, 1)}
        inputs |= {"put_data": b.bits(p[f"{IMAGE}_tdata"], 0, self.image.bits), "leave": leaving}
        inputs |= {"drop": orders["drop"], "take_ready": orders["taken"]}
        image = b.instance(buffer, "image_buffer", inputs)
        put = b.all_of(inputs["put_valid"], image["put_ready"])
        whole = b.all_of(put, image["put_last"], last)
        short = b.all_of(put, b.negate(image["put_last"]), last)
        long = b.all_of(put, image["put_last"], b.negate(last))
        connect_leaving(b.any_of(orders["go"], b.all_of(leaving, image["whole"])))
        image["tready"] = b.any_of(skipping, image["put_ready"])
        ends = b.all_of(offered, image["tready"], last)
        connect_skipping(b.any_of(long, b.all_of(skipping, b.negate(ends))))
        # A packet is counted a cycle late, which is before its run can start.
        packets, connect_packets = b.state(WORD, "packets", reset=0)
        connect_packets(b.add(packets, b.const(1, WORD)), b.register(ends, "packet_ended", reset=0))
        image["waiting"] = b.all_of(image["whole"], b.negate(leaving))
        number = b.register(packets, "waiting_number", b.register(whole, "packet_whole", reset=0))
        return image, number, {"error_short_packet": short, "error_long_packet": long}

    def _inputs(self, p: dict[str, Value], request: Value, go: Value) -> dict[str, Value]:
        """The inputs of the top, but for its streams."""
        inputs = {"start": go} | dict.fromkeys(self.interface.requests, request)
        if self.interface.dram_bits:
            inputs |= {f"dram_{n}": p[f"{WEIGHTS}_{n}"] for n, _ in axi_ports(self.interface.dram_bits)[0]}
        return inputs

    def _send(
        self, b: Builder, p: dict[str, Value], buffer: Any, top: dict[str, Value], number: Value
    ) -> tuple[dict[str, Value], Value, Value]:
        """Collects the result and sends it.

        Returns:
            The outputs of the result buffer; i1, the run has ended and its result is whole; i1, it has failed.
        """
        valids, words = self._streams(b, top)
        failed = b.all_of(top["done"], top["dram_error"]) if self.interface.dram_bits else b.const(0, 1)
        closing, connect_closing = b.state(1, "closing", reset=0)  # the first words of the packet are put, as the last
        place, connect_place = b.state(bits_for(self.header), "header_place", reset=0)
        first = b.choose(place, [number, *(top[n] for n in self.interface.classes)])
        final = b.all_of(closing, b.compare("eq", place, b.const(self.header - 1, width_of(place))))
        inputs = {"put_valid": b.any_of(closing, *valids), "put_data": b.mux(closing, first, b.first_of(valids, words))}
        inputs |= {"ends": final, "rewind": failed, "leave": b.const(1, 1), "drop": b.const(0, 1)}
        result = b.instance(buffer, "result_buffer", {**inputs, "take_ready": p[f"{RESULT}_tready"]})
        put = b.all_of(closing, result["put_ready"])
        ended = b.all_of(final, result["put_ready"])
        connect_place(
            b.mux(closing, b.add(place, b.const(1, width_of(place))), b.const(0, width_of(place))),
            b.any_of(put, b.negate(closing)),
        )
        begins = b.all_of(top["done"], b.negate(failed))
        connect_closing(b.any_of(begins, b.all_of(closing, b.negate(ended))))
        return result, ended, failed

    def _streams(self, b: Builder, top: dict[str, Value]) -> tuple[list[Value], list[Value]]:
        """Valid and word of what the top gives; of streams that leave it on one wire the words are the same."""
        driver = dict(zip(self.top.type.output_names, self.top.body.blocks[0].operations[-1].operands, strict=True))
        wires: dict[Value, list[str]] = {}
        for stream in self.interface.outputs:
            wires.setdefault(driver[f"{stream.name}_data"], []).append(stream.name)
        valids = [b.any_of(*(top[f"{name}_valid"] for name in names)) for names in wires.values()]
        return valids, [b.sign_extend(top[f"{names[0]}_data"], WORD) for names in wires.values()]

    def _counts(self, b: Builder, top: dict[str, Value], go: Value, ended: Value) -> dict[str, Value]:
        """The counters, those of a run as they were when the last one ended."""
        explains = b.table(top["nest"], [int(phase == "explanation") for phase in self.interface.phases], 1)
        one, zero = b.const(1, WORD), b.const(0, WORD)
        images, connect_images = b.state(WORD, "images", reset=0)
        connect_images(b.add(images, one), ended)
        last = []
        for name, counts in (("elapsed", top["busy"]), ("explaining", b.all_of(top["busy"], explains))):
            count, connect = b.state(WORD, name, reset=0)
            connect(b.mux(go, zero, b.add(count, one)), b.any_of(go, counts))
            last.append(b.register(count, f"last_{name}", ended, reset=0))
        elapsed, explaining = last
        predicted = b.const(self.interface.cycles, WORD)
        stalls = b.op("comb.sub", one.type, [elapsed, predicted])
        # A run may be faster than predicted: a DRAM may answer sooner.
        stalls = b.mux(b.compare("ult", elapsed, predicted), zero, stalls)
        inferring = b.op("comb.sub", one.type, [elapsed, explaining])
        return {
            "images_count": images,
            "inference_cycles": b.register(inferring, "inference_cycles", reset=0),
            "explanation_cycles": explaining,
            "stall_cycles": b.register(stalls, "stall_cycles", reset=0),
        }

    def _facts(self, b: Builder) -> dict[str, Value]:
        """What software reads about the design."""
        interface = self.interface
        maps = len(interface.outputs) - 1
        facts = {"design_fingerprint": interface.fingerprint, "image_beats": self.image.beats}
        facts |= {"result_beats": self.interface.words, "shape_classes": self._classes, "shape_maps": maps}
        facts |= {"shape_top_k": len(interface.classes)}
        bits = {field.port: field.bits for field in self._fields("input")}
        return {name: b.const(value, bits[name]) for name, value in facts.items()}

    def _weights(self, b: Builder, registers: dict[str, Value], top: dict[str, Value]) -> dict[str, Value]:
        """The ports of the read channels."""
        if not self.interface.dram_bits:
            return {}
        values = {f"{WEIGHTS}_{n}": top[f"dram_{n}"] for n, _ in axi_ports(self.interface.dram_bits)[1]}
        low = registers["weights_low_address"]
        base = b.concat([registers["weights_high_address"], low, b.const(0, ADDRESS - width_of(low))])
        values[f"{WEIGHTS}_araddr"] = b.add(base, b.zero_extend(top["dram_araddr"], WIDE))
        return values | {f"{WEIGHTS}_{n}": b.const(value, bits) for n, bits, value in READ_CONSTANTS}


def _register_slice(b: Builder, valid: Value, data: Value, ready: Value) -> tuple[Value, Value, Value]:
    """A stream behind registers, a beat a cycle: valid and data of its output, and ready of its input.

    The beat that comes in when the output begins to wait is kept aside.
    """
    full, connect_full = b.state(1, "slice_full", reset=0)
    aside, connect_aside = b.state(1, "slice_aside", reset=0)
    moves = b.any_of(ready, b.negate(full))
    kept = b.register(data, "slice_kept", b.negate(aside))
    connect_full(b.any_of(aside, valid), moves)
    connect_aside(b.all_of(b.any_of(aside, valid), b.negate(moves)))
    return full, b.register(b.mux(aside, kept, data), "slice_data", moves), b.negate(aside)
