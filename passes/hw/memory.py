"""A bank: one memory with one read and one write port, or a read-only one with contents from a file."""

from __future__ import annotations

from typing import Any

from pycde.circt import ir
from pycde.circt.dialects import hw, sv

from gradcam.passes.hw.builder import Builder, Value, bits_for, integer, module
from gradcam.passes.hw.layout import Bank


def address_bits(bank: Bank) -> int:
    """Width of a word address."""
    return bits_for(bank.words)


def build_bank(bank: Bank, groups: int, holds: str = "") -> Any:
    """The module of a bank; what it holds is for the comment above it.

    A read takes one cycle and holds its value while `ren` is 0. The word is split into `groups` lane groups with a
    write enable each, so that a write narrower than a word needs no read.
    """
    address = address_bits(bank)
    inputs = [("ren", 1), ("raddr", address)]
    if not bank.constant:
        inputs += [("wen", groups), ("waddr", address), ("wdata", bank.width)]

    def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        clock = ir.Operation.create("seq.from_clock", [integer(1)], [b.clk]).results[0]
        memory = _memory(bank)
        if bank.constant:
            _initial(memory, f"mem/{bank.name}.hex")
        else:
            width = bank.width // groups
            parts = [(b.bits(p["wen"], i, 1), b.bits(p["wdata"], i * width, width)) for i in range(groups)]
            _write(clock, _word(memory, p["waddr"], bank.width), parts)
        return {"rdata": _read(clock, memory, bank.width, p["ren"], p["raddr"])}

    usual = "constants of all nests" if bank.constant else "buffers between nests, or a ring of the weight tape"
    comment = f"Bank of {bank.words} words of {bank.lanes} x {bank.bits} bits: {holds or usual}"
    return module(bank.name, inputs, [("rdata", bank.width)], build, reset=False, comment=comment)


def _memory(bank: Bank) -> Value:
    # No element is written in the cycle in which it is read, so nothing needs to decide which of both comes first.
    attributes = [sv.SVAttributeAttr.get("ram_style", '"block"'), sv.SVAttributeAttr.get("no_rw_check")]
    array = ir.Type.parse(f"!hw.uarray<{bank.words}xi{bank.width}>")
    memory = sv.RegOp(hw.InOutType.get(array), "memory")
    memory.operation.attributes["sv.attributes"] = ir.ArrayAttr.get(attributes)  # the name that CIRCT's export reads
    return memory.result


def _at_clock(clock: Value) -> ir.InsertionPoint:
    always = sv.AlwaysFFOp(ir.Attribute.parse("0 : i32"), clock)
    always.regions[0].blocks.append()
    always.regions[1].blocks.append()
    return ir.InsertionPoint(always.regions[0].blocks[0])


def _where(enable: Value) -> ir.InsertionPoint:
    if_ = ir.Operation.create("sv.if", [], [enable], regions=2)
    if_.regions[0].blocks.append()
    return ir.InsertionPoint(if_.regions[0].blocks[0])


def _word(memory: Value, address: Value, width: int) -> Value:
    return ir.Operation.create("sv.array_index_inout", [hw.InOutType.get(integer(width))], [memory, address]).results[0]


def _write(clock: Value, word: Value, parts: list[tuple[Value, Value]]) -> None:
    """Writes the parts of a word, lowest bits first, each given as enable and data."""
    targets = [word] if len(parts) == 1 else [_part(word, i, data.type) for i, (_, data) in enumerate(parts)]
    # One process for all parts: a second one may not drive the same memory.
    with _at_clock(clock):
        for target, (enable, data) in zip(targets, parts, strict=True):
            with _where(enable):
                sv.PAssignOp(target, data)


def _part(word: Value, number: int, type_: ir.Type) -> Value:
    """Part `number` of a word as `word[low +: width]`, the form in which synthesis tools find byte write enables."""
    low, width = (ir.IntegerAttr.get(integer(32), n) for n in (number * type_.width, type_.width))
    base = ir.Operation.create("hw.constant", [integer(32)], [], {"value": low}).results[0]
    part = [hw.InOutType.get(type_)]
    return ir.Operation.create("sv.indexed_part_select_inout", part, [word, base], {"width": width}).results[0]


def _read(clock: Value, memory: Value, width: int, enable: Value, address: Value) -> Value:
    register = sv.RegOp(hw.InOutType.get(integer(width)), "rdata_q").result
    with _at_clock(clock), _where(enable):
        value = ir.Operation.create("sv.read_inout", [integer(width)], [_word(memory, address, width)]).results[0]
        sv.PAssignOp(register, value)
    return ir.Operation.create("sv.read_inout", [integer(width)], [register]).results[0]


def _initial(memory: Value, path: str) -> None:
    initial = sv.InitialOp()
    initial.regions[0].blocks.append()
    with ir.InsertionPoint(initial.regions[0].blocks[0]):
        ir.Operation.create(
            "sv.readmem", [], [memory], {"filename": ir.StringAttr.get(path), "base": ir.Attribute.parse("1 : i32")}
        )
