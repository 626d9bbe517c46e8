"""The control registers: an AXI4-Lite subordinate, generated from the register map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradcam.core.register_map import Field, Register
from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import Value

#: Bits of a data word, of its byte enables, of a response, of an access's protection, and of an address (4 KB).
DATA, STROBES, RESPONSE, PROTECTION, ADDRESS = 32, 4, 2, 3, 12

#: The response SLVERR, for an address without a register.
SLVERR = 2

#: Inputs and outputs of the subordinate on the five channels of AXI4-Lite. AWPROT and ARPROT belong to them, but every
#: access is treated alike.
INPUTS = (
    *(Signal("awvalid"), Signal("awaddr", ADDRESS), Signal("awprot", PROTECTION)),
    *(Signal("wvalid"), Signal("wdata", DATA), Signal("wstrb", STROBES), Signal("bready")),
    *(Signal("arvalid"), Signal("araddr", ADDRESS), Signal("arprot", PROTECTION), Signal("rready")),
)
OUTPUTS = (
    *(Signal("awready"), Signal("wready"), Signal("bvalid"), Signal("bresp", RESPONSE)),
    *(Signal("arready"), Signal("rvalid"), Signal("rdata", DATA), Signal("rresp", RESPONSE)),
)


def build_registers(registers: Sequence[Register]) -> Any:
    """Builds the module `registers`.

    Besides the channels the module has a port per field, named register_field: an input for a value from the core or
    for an event that sets a sticky bit, an output for a value that software writes. The output of a sticky bit ends in
    `_q`.

    AWREADY, WREADY and ARREADY are registers: a write is accepted in the cycle after address and data are both valid, a
    read in the cycle after its address is, and the response follows in the next cycle. One write and one read may be in
    progress at a time. Byte enables select the bytes that a write changes; a write takes effect in the cycle in which
    it is accepted.
    """
    fields = [field for register in registers for field in register.fields]
    inputs = [input_port(f) for f in fields if f.kind in ("input", "sticky")]
    outputs = [output_port(f) for f in fields if f.kind in ("storage", "pulse")]
    outputs += [output_port(f) for f in fields if f.kind == "sticky"]

    def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        return _Registers(b, p, registers).outputs()

    comment = "Control registers of registers.rdl behind AXI4-Lite"
    return module("registers", [*INPUTS, *inputs], [*OUTPUTS, *outputs], build, comment=comment)


def input_port(field: Field) -> Signal:
    """The input port of a field that the core sets."""
    return Signal(field.port, field.bits)


def output_port(field: Field) -> Signal:
    """The output port of a field that software writes or clears."""
    return Signal(f"{field.port}_q" if field.kind == "sticky" else field.port, field.bits)


class _Registers:
    """The body of the module `registers`."""

    def __init__(self, b: Builder, p: dict[str, Value], registers: Sequence[Register]) -> None:
        self.b, self.p, self.registers = b, p, registers

    def outputs(self) -> dict[str, Value]:
        """Builds the registers and returns the outputs by name."""
        b, p = self.b, self.p
        accepting, write, responding = self._handshake("aw", "b", [p["awvalid"], p["wvalid"]])
        fetching, read, answering = self._handshake("ar", "r", [p["arvalid"]])
        written, chosen = self._hits(p["awaddr"]), self._hits(p["araddr"])
        values, words = {}, []
        for register, hit in zip(self.registers, written, strict=True):
            states = {f: self._field(f, write & hit) for f in register.fields}
            values |= {output_port(f): states[f] for f in register.fields if f.kind not in ("constant", "input")}
            words.append(self._word(states))
        data = b.any_of(*(b.mux(hit, word, 0) for hit, word in zip(chosen, words, strict=True)))
        values |= {"awready": accepting, "wready": accepting, "bvalid": responding}
        values |= {"arready": fetching, "rvalid": answering}
        return values | {
            "bresp": b.register(self._response(written), "bresp_q", write),
            "rresp": b.register(self._response(chosen), "rresp_q", read),
            "rdata": b.register(data, "rdata_q", read),
        }

    def _handshake(self, request: str, response: str, valids: Sequence[Value]) -> tuple[Value, Value, Value]:
        """Builds the handshakes of a read or a write.

        Args:
            request, response: prefixes of the signals of their channels, such as "ar" and "r".
            valids: i1 per channel that makes up a request: it is valid.

        Returns:
            i1: READY of the request, a register that is 1 only while no response waits; i1: a request is accepted;
            i1: VALID of the response.
        """
        b = self.b
        ready, responding = b.state(1, f"{request}ready_q", reset=0), b.state(1, f"{response}valid_q", reset=0)
        taken = b.all_of(*valids, ready)
        waits = responding & ~self.p[f"{response}ready"]
        ready.assign(b.all_of(*valids, ~ready, ~waits))
        responding.assign(taken | waits)
        return ready, taken, responding

    def _hits(self, address: Value) -> list[Value]:
        """i1 per register: the address lies in the register's word."""
        word = address[2:]
        return [word.eq(r.address // 4) for r in self.registers]

    def _response(self, hits: Sequence[Value]) -> Value:
        """OKAY for an address with a register, SLVERR for any other."""
        return self.b.mux(self.b.any_of(*hits), self.b.const(0, RESPONSE), SLVERR)

    def _field(self, field: Field, write: Value) -> Value:
        """Builds a field and returns its value; `write` is i1: software writes the field's register in this cycle."""
        b, p = self.b, self.p
        if field.kind == "constant":
            return b.const(field.reset, field.bits)
        if field.kind == "input":
            return p[input_port(field)]
        new = p["wdata"][field.low : field.low + field.bits]
        # One write enable per bit, for a field may span several bytes.
        strobes = [p["wstrb"][(field.low + i) // 8] for i in reversed(range(field.bits))]
        taken = b.concat(strobes) & write.replicate(field.bits)
        if field.kind == "pulse":
            return b.register(new & taken, f"{field.port}_q", reset=0)
        value = b.state(field.bits, f"{field.port}_q", reset=field.reset)
        if field.kind == "sticky":
            value.assign((value & ~(new & taken)) | p[input_port(field)])
        else:
            value.assign((value & ~taken) | (new & taken))
        return value

    def _word(self, states: dict[Field, Value]) -> Value:
        """The word of a register as software reads it; bits without a field, and pulses, read 0."""
        b, parts, low = self.b, [], 0
        for field, value in sorted(states.items(), key=lambda item: item[0].low):
            if field.low > low:
                parts.append(b.const(0, field.low - low))
            parts.append(b.const(0, field.bits) if field.kind == "pulse" else value)
            low = field.low + field.bits
        if low < DATA:
            parts.append(b.const(0, DATA - low))
        word = b.concat(parts[::-1])
        assert word.width == DATA
        return word
