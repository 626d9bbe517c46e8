"""The control registers: an AXI4-Lite subordinate made from the register map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradcam.core.register_map import Field, Register
from gradcam.passes.hw.builder import Builder, Value, module, width_of

#: Bits of a word, of its byte enables, of a response, and of the address: a page of 4 KB.
DATA, STROBES, RESPONSE, ADDRESS = 32, 4, 2, 12

#: Response to an address without a register.
SLVERR = 2

#: The channels as a manager drives and sees them: (name, bits).
INPUTS = (
    *(("awvalid", 1), ("awaddr", ADDRESS), ("wvalid", 1), ("wdata", DATA), ("wstrb", STROBES), ("bready", 1)),
    *(("arvalid", 1), ("araddr", ADDRESS), ("rready", 1)),
)
OUTPUTS = (
    *(("awready", 1), ("wready", 1), ("bvalid", 1), ("bresp", RESPONSE)),
    *(("arready", 1), ("rvalid", 1), ("rdata", DATA), ("rresp", RESPONSE)),
)


def build_registers(registers: Sequence[Register]) -> Any:
    """The module `registers`.

    Besides the channels it has a port per field, named register_field: an input for what the core knows and for the
    events that set a sticky bit; an output for what software writes. The output of a sticky bit ends in `_q`.

    A write takes address and data together, a read one cycle; one of each is under way. Byte enables select what a
    write changes; it has its effect in the cycle in which it is taken.
    """
    fields = [field for register in registers for field in register.fields]
    inputs = [(f.port, f.bits) for f in fields if f.kind in ("input", "sticky")]
    outputs = [(f.port, f.bits) for f in fields if f.kind in ("storage", "pulse")]
    outputs += [(f"{f.port}_q", f.bits) for f in fields if f.kind == "sticky"]

    def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        return _Registers(b, p, registers).outputs()

    comment = "Control registers of registers.rdl behind AXI4-Lite"
    return module("registers", [*INPUTS, *inputs], [*OUTPUTS, *outputs], build, comment=comment)


class _Registers:
    def __init__(self, b: Builder, p: dict[str, Value], registers: Sequence[Register]) -> None:
        self.b, self.p, self.registers = b, p, registers

    def outputs(self) -> dict[str, Value]:
        b, p = self.b, self.p
        responding, connect_responding = b.state(1, "bvalid_q", reset=0)
        write = b.all_of(p["awvalid"], p["wvalid"], b.negate(responding))
        connect_responding(b.any_of(write, b.all_of(responding, b.negate(p["bready"]))))
        answering, connect_answering = b.state(1, "rvalid_q", reset=0)
        read = b.all_of(p["arvalid"], b.negate(answering))
        connect_answering(b.any_of(read, b.all_of(answering, b.negate(p["rready"]))))
        written, chosen = self._hits(p["awaddr"]), self._hits(p["araddr"])
        values, words = {}, []
        for register, hit in zip(self.registers, written, strict=True):
            states = {f: self._field(f, b.all_of(write, hit)) for f in register.fields}
            values |= {self._output(f): states[f] for f in register.fields if f.kind not in ("constant", "input")}
            words.append(self._word(states))
        zero = b.const(0, DATA)
        data = b.variadic("or", [b.mux(hit, word, zero) for hit, word in zip(chosen, words, strict=True)])
        values |= {"awready": write, "wready": write, "bvalid": responding, "arready": read, "rvalid": answering}
        values |= {
            "bresp": b.register(self._response(written), "bresp_q", write),
            "rresp": b.register(self._response(chosen), "rresp_q", read),
            "rdata": b.register(data, "rdata_q", read),
        }
        return values

    def _output(self, field: Field) -> str:
        return f"{field.port}_q" if field.kind == "sticky" else field.port

    def _hits(self, address: Value) -> list[Value]:
        """i1 per register: the address is in its word."""
        word = self.b.bits(address, 2, ADDRESS - 2)
        return [self.b.compare("eq", word, self.b.const(r.address // 4, ADDRESS - 2)) for r in self.registers]

    def _response(self, hits: Sequence[Value]) -> Value:
        return self.b.mux(self.b.any_of(*hits), self.b.const(0, RESPONSE), self.b.const(SLVERR, RESPONSE))

    def _field(self, field: Field, write: Value) -> Value:
        """The value of a field; what software writes reaches it in a cycle in which `write` is 1."""
        b, p = self.b, self.p
        if field.kind == "constant":
            return b.const(field.reset, field.bits)
        if field.kind == "input":
            return p[field.port]
        new = b.bits(p["wdata"], field.low, field.bits)
        # One enable per bit: a field may lie in several bytes.
        strobes = [b.bits(p["wstrb"], (field.low + i) // 8, 1) for i in reversed(range(field.bits))]
        taken = b.variadic("and", [b.concat(strobes), b.spread(write, field.bits)])
        if field.kind == "pulse":
            return b.register(b.variadic("and", [new, taken]), f"{field.port}_q", reset=0)
        value, connect = b.state(field.bits, f"{field.port}_q", reset=field.reset)
        if field.kind == "sticky":
            kept = b.variadic("and", [value, b.negate(b.variadic("and", [new, taken]))])
            connect(b.variadic("or", [kept, p[field.port]]))
        else:
            kept = b.variadic("and", [value, b.negate(taken)])
            connect(b.variadic("or", [kept, b.variadic("and", [new, taken])]))
        return value

    def _word(self, states: dict[Field, Value]) -> Value:
        """A register as it is read: 0 where it has no field, and where a pulse was."""
        b, parts, low = self.b, [], 0
        for field, value in sorted(states.items(), key=lambda item: item[0].low):
            if field.low > low:
                parts.append(b.const(0, field.low - low))
            parts.append(b.const(0, field.bits) if field.kind == "pulse" else value)
            low = field.low + field.bits
        if low < DATA:
            parts.append(b.const(0, DATA - low))
        word = b.concat(parts[::-1])
        assert width_of(word) == DATA
        return word
