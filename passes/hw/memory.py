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
    """Builds the module of a bank.

    A read has a latency of one cycle, and its value is held while `ren` is 0. With a crossing latency, inputs and
    outputs are registered as well: a read has a latency of three cycles, and its value is valid for one. Where a bank
    consists of several memories, the word is selected behind these registers.

    Args:
        bank: the bank.
        groups: lane groups of a word. Each has a write enable, so that a write narrower than a word needs no read.
        holds: description of the contents for the comment above the module; empty for the usual one.
        crossing: crossing latency of inputs and of outputs in cycles, 0 or 1.
        stops: whether the bank has an input `moving`, the clock enable of reads in flight.
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
    """The body of a bank's module."""

    def __init__(self, b: Builder, p: dict[str, Value], bank: Bank, groups: int, crossing: int) -> None:
        self.b, self.p, self.bank, self.groups, self.crossing = b, p, bank, groups, crossing
        self.clock = ir.Operation.create("seq.from_clock", [integer(1)], [b.clk]).results[0]
        self.moving = p.get("moving")

    def build(self) -> Value:
        """Builds the memories and returns the word that is read."""
        words = [self._word(number, name, size) for number, (name, size) in enumerate(self.bank.parts)]
        if len(words) == 1:
            return words[0]
        number = self._number("raddr")
        for _ in range(1 + 2 * self.crossing):
            number = self.b.register(number, "number", self.moving)
        return self.b.select(number, words)

    def _word(self, number: int, name: str, size: int) -> Value:
        """Builds memory `number` with its write logic, and returns the word read from it."""
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
        """Builds the write logic: lane groups whose write enables are 1, if the address lies in memory `number`."""
        p, bank = self.p, self.bank
        width, here = bank.width // self.groups, self._here("waddr", number).replicate(self.groups)
        enables = self._arrived("wen", p["wen"] & here, reset=0)
        data = self._arrived("wdata", p["wdata"])
        word = _word(memory, self._arrived("waddr", p["waddr"][: bits_for(size)]), bank.width)
        parts = [(enables[i], data[i * width : (i + 1) * width]) for i in range(self.groups)]
        _write(self.clock, word, parts)

    def _arrived(self, name: str, value: Value, enable: Value | None = None, reset: int | None = None) -> Value:
        """An input of the bank at the memory: registered where there is a crossing latency."""
        return self.b.register(value, f"{name}_q", enable, reset) if self.crossing else value

    def _number(self, address: str) -> Value:
        """The number of the memory in which an address lies."""
        return self.p[address][bits_for(self.bank.parts[0][1]) :]

    def _here(self, address: str, number: int) -> Value:
        """i1: an address lies in memory `number`."""
        return self.b.const(1, 1) if len(self.bank.parts) == 1 else self._number(address).eq(number)


def _memory(bank: Bank, name: str, words: int) -> ir.Value:
    """Declares a memory of `words` words for block RAM."""
    # No element is written in the cycle in which it is read, so any read-during-write behaviour is right.
    attributes = [sv.SVAttributeAttr.get("ram_style", '"block"'), sv.SVAttributeAttr.get("no_rw_check")]
    array = ir.Type.parse(f"!hw.uarray<{words}xi{bank.width}>")
    memory = sv.RegOp(hw.InOutType.get(array), f"memory{name}")
    memory.operation.attributes["sv.attributes"] = ir.ArrayAttr.get(attributes)  # the name that CIRCT's export reads
    return memory.result


def _at_clock(clock: ir.Value) -> ir.InsertionPoint:
    """The insertion point in a new always_ff at the rising edge of `clock`."""
    always = sv.AlwaysFFOp(ir.Attribute.parse("0 : i32"), clock)
    always.regions[0].blocks.append()
    always.regions[1].blocks.append()
    return ir.InsertionPoint(always.regions[0].blocks[0])


def _where(enable: Value) -> ir.InsertionPoint:
    """The insertion point in a new `if (enable)`."""
    if_ = ir.Operation.create("sv.if", [], [enable.ssa], regions=2)
    if_.regions[0].blocks.append()
    return ir.InsertionPoint(if_.regions[0].blocks[0])


def _word(memory: ir.Value, address: Value, width: int) -> ir.Value:
    """The word of a memory at an address, for reading or writing."""
    word = [hw.InOutType.get(integer(width))]
    return ir.Operation.create("sv.array_index_inout", word, [memory, address.ssa]).results[0]


def _write(clock: ir.Value, word: ir.Value, parts: list[tuple[Value, Value]]) -> None:
    """Assigns the parts of a word at the clock edge; `parts` has write enable and data of each, lowest bits first."""
    targets = [word] if len(parts) == 1 else [_part(word, i, data.width) for i, (_, data) in enumerate(parts)]
    # One always_ff for all parts: a variable must have a single driving process.
    with _at_clock(clock):
        for target, (enable, data) in zip(targets, parts, strict=True):
            with _where(enable):
                sv.PAssignOp(target, data.ssa)


def _part(word: ir.Value, number: int, width: int) -> ir.Value:
    """Part `number` of a word as `word[low +: width]`, in which synthesis tools recognize byte write enables."""
    low, bits = (ir.IntegerAttr.get(integer(32), n) for n in (number * width, width))
    base = ir.Operation.create("hw.constant", [integer(32)], [], {"value": low}).results[0]
    part = [hw.InOutType.get(integer(width))]
    return ir.Operation.create("sv.indexed_part_select_inout", part, [word, base], {"width": bits}).results[0]


def _read(clock: ir.Value, memory: ir.Value, width: int, enable: Value, address: Value) -> ir.Value:
    """Builds a synchronous read port and returns its output register."""
    register = sv.RegOp(hw.InOutType.get(integer(width)), "rdata_q").result
    with _at_clock(clock), _where(enable):
        value = ir.Operation.create("sv.read_inout", [integer(width)], [_word(memory, address, width)]).results[0]
        sv.PAssignOp(register, value)
    return ir.Operation.create("sv.read_inout", [integer(width)], [register]).results[0]


def _initial(memory: ir.Value, path: str) -> None:
    """Initializes a memory from the file `path` by $readmemh."""
    initial = sv.InitialOp()
    initial.regions[0].blocks.append()
    with ir.InsertionPoint(initial.regions[0].blocks[0]):
        ir.Operation.create(
            "sv.readmem", [], [memory], {"filename": ir.StringAttr.get(path), "base": ir.Attribute.parse("1 : i32")}
        )
