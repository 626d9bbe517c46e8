"""A bank: a memory with one read and one write port, or a read-only one with contents from a file."""

from __future__ import annotations

from typing import Any

from pycde.circt import ir
from pycde.circt.dialects import hw, sv

from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import Value, bits_for, integer
from gradcam.passes.program.banks import Bank


def address_bits(bank: Bank) -> int:
    """Width of a word address."""
    return bits_for(bank.words)


def build_bank(bank: Bank, groups: int, holds: str = "", crossing: int = 0, stops: bool = False) -> Any:
    """The module of a bank; what it holds is for the comment above it.

    A read takes one cycle and holds its value while `ren` is 0. The word is split into `groups` lane groups with a
    write enable each, so that a write narrower than a word needs no read.

    With a clock (`hop`) what goes in and what comes out is registered: a read takes three cycles, and its value is
    there for one. Of several memories the word is chosen behind the registers. Where reads must stop on their way
    (`stops`), they do while `moving` is 0.
    """
    address = address_bits(bank)
    inputs = [Signal("ren"), Signal("raddr", address), *([Signal("moving")] if stops else [])]
    if not bank.constant:
        inputs += [Signal("wen", groups), Signal("waddr", address), Signal("wdata", bank.width)]

    def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        return {"rdata": _Bank(b, p, bank, groups, crossing).build()}

    usual = "constants of all nests" if bank.constant else "buffers between nests, or a ring of the weight tape"
    comment = f"Bank of {bank.words} words of {bank.lanes} x {bank.bits} bits: {holds or usual}"
    return module(bank.name, inputs, [Signal("rdata", bank.width)], build, reset=bool(crossing), comment=comment)


class _Bank:
    def __init__(self, b: Builder, p: dict[str, Value], bank: Bank, groups: int, crossing: int) -> None:
        self.b, self.p, self.bank, self.groups, self.crossing = b, p, bank, groups, crossing
        self.clock = ir.Operation.create("seq.from_clock", [integer(1)], [b.clk]).results[0]
        self.moving = p.get("moving")

    def build(self) -> Value:
        """The word that is read."""
        words = [self._word(number, name, size) for number, (name, size) in enumerate(self.bank.parts)]
        if len(words) == 1:
            return words[0]
        number = self._number("raddr")
        for _ in range(1 + 2 * self.crossing):
            number = self.b.register(number, "number", self.moving)
        return self.b.select(number, words)

    def _word(self, number: int, name: str, size: int) -> Value:
        """The word read from memory `number`, with the logic that writes the memory."""
        b, p, bank = self.b, self.p, self.bank
        memory = _memory(bank, name, size)
        if bank.constant:
            _initial(memory, bank.image(name))
        else:
            self._write(memory, number, size)
        enable = self._arrived("ren", p["ren"] & self._here("raddr", number), self.moving, 0)
        if self.moving is not None:
            enable = enable & self.moving
        address = self._arrived("raddr", p["raddr"][: bits_for(size)], self.moving)
        word = Value(b, _read(self.clock, memory, bank.width, enable, address), bank.width)
        return b.register(word, "word", self.moving) if self.crossing else word

    def _write(self, memory: ir.Value, number: int, size: int) -> None:
        """Writes the groups of a word whose enables are 1, if the address is in the memory."""
        p, bank = self.p, self.bank
        width, here = bank.width // self.groups, self._here("waddr", number).replicate(self.groups)
        enables = self._arrived("wen", p["wen"] & here, reset=0)
        data = self._arrived("wdata", p["wdata"])
        word = _word(memory, self._arrived("waddr", p["waddr"][: bits_for(size)]), bank.width)
        parts = [(enables[i], data[i * width : (i + 1) * width]) for i in range(self.groups)]
        _write(self.clock, word, parts)

    def _arrived(self, name: str, value: Value, enable: Value | None = None, reset: int | None = None) -> Value:
        """An input where it is used: with a clock behind a register."""
        return self.b.register(value, f"{name}_q", enable, reset) if self.crossing else value

    def _number(self, address: str) -> Value:
        """The number of the memory that an address is in."""
        return self.p[address][bits_for(self.bank.parts[0][1]) :]

    def _here(self, address: str, number: int) -> Value:
        """i1: an address is in a memory."""
        return self.b.const(1, 1) if len(self.bank.parts) == 1 else self._number(address).eq(number)


def _memory(bank: Bank, name: str, words: int) -> ir.Value:
    # No element is written in the cycle in which it is read, so nothing needs to decide which of both comes first.
    attributes = [sv.SVAttributeAttr.get("ram_style", '"block"'), sv.SVAttributeAttr.get("no_rw_check")]
    array = ir.Type.parse(f"!hw.uarray<{words}xi{bank.width}>")
    memory = sv.RegOp(hw.InOutType.get(array), f"memory{name}")
    memory.operation.attributes["sv.attributes"] = ir.ArrayAttr.get(attributes)  # the name that CIRCT's export reads
    return memory.result


def _at_clock(clock: ir.Value) -> ir.InsertionPoint:
    always = sv.AlwaysFFOp(ir.Attribute.parse("0 : i32"), clock)
    always.regions[0].blocks.append()
    always.regions[1].blocks.append()
    return ir.InsertionPoint(always.regions[0].blocks[0])


def _where(enable: Value) -> ir.InsertionPoint:
    if_ = ir.Operation.create("sv.if", [], [enable.ssa], regions=2)
    if_.regions[0].blocks.append()
    return ir.InsertionPoint(if_.regions[0].blocks[0])


def _word(memory: ir.Value, address: Value, width: int) -> ir.Value:
    word = [hw.InOutType.get(integer(width))]
    return ir.Operation.create("sv.array_index_inout", word, [memory, address.ssa]).results[0]


def _write(clock: ir.Value, word: ir.Value, parts: list[tuple[Value, Value]]) -> None:
    """Writes the parts of a word, lowest bits first, each given as enable and data."""
    targets = [word] if len(parts) == 1 else [_part(word, i, data.width) for i, (_, data) in enumerate(parts)]
    # One process for all parts: a second one may not drive the same memory.
    with _at_clock(clock):
        for target, (enable, data) in zip(targets, parts, strict=True):
            with _where(enable):
                sv.PAssignOp(target, data.ssa)


def _part(word: ir.Value, number: int, width: int) -> ir.Value:
    """Part `number` of a word as `word[low +: width]`, the form in which synthesis tools find byte write enables."""
    low, bits = (ir.IntegerAttr.get(integer(32), n) for n in (number * width, width))
    base = ir.Operation.create("hw.constant", [integer(32)], [], {"value": low}).results[0]
    part = [hw.InOutType.get(integer(width))]
    return ir.Operation.create("sv.indexed_part_select_inout", part, [word, base], {"width": bits}).results[0]


def _read(clock: ir.Value, memory: ir.Value, width: int, enable: Value, address: Value) -> ir.Value:
    register = sv.RegOp(hw.InOutType.get(integer(width)), "rdata_q").result
    with _at_clock(clock), _where(enable):
        value = ir.Operation.create("sv.read_inout", [integer(width)], [_word(memory, address, width)]).results[0]
        sv.PAssignOp(register, value)
    return ir.Operation.create("sv.read_inout", [integer(width)], [register]).results[0]


def _initial(memory: ir.Value, path: str) -> None:
    initial = sv.InitialOp()
    initial.regions[0].blocks.append()
    with ir.InsertionPoint(initial.regions[0].blocks[0]):
        ir.Operation.create(
            "sv.readmem", [], [memory], {"filename": ir.StringAttr.get(path), "base": ir.Attribute.parse("1 : i32")}
        )
