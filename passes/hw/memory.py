"""A bank: a memory with one read and one write port, or a read-only one with contents from a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycde.circt import ir
from pycde.circt.dialects import hw, sv

from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.copies import copied
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import Value, bits_for, integer
from gradcam.passes.program.banks import Bank, Memory
from gradcam.passes.program.block_ram import Part, Style
from gradcam.passes.program.weight_load import WeightLoad

#: Bits of a word that are chosen by one register, where a choice between memories has several.
FEW = 64


def address_bits(bank: Bank) -> int:
    """Width of a word address."""
    return bits_for(bank.words)


def memory_address_bits(bank: Bank) -> int:
    """Width of an address of a word of the memories."""
    return bits_for(bank.words * bank.reads)


def build_bank(
    bank: Bank,
    groups: int,
    holds: str = "",
    crossing: int = 0,
    stops: bool = False,
    load: WeightLoad | None = None,
    late: bool = False,
) -> Any:
    """Builds the module of a bank.

    A read has a latency of one cycle, and its value is held while `ren` is 0. With a crossing latency, inputs and
    outputs are registered as well: a read has a latency of three cycles, and its value is held until that of the next
    read is there. Where a bank consists of several memories, the word is selected behind these registers.

    Where a word takes several reads of the memories, as many cycles must lie between values of 1 of `ren`; the word is
    there by as many cycles later, with a crossing latency by one more, and held until the next one is there. Writes are
    those of the memories.

    Args:
        bank: the bank.
        groups: lane groups of a word of the memories. Each has a write enable, so that a narrower write needs no read.
        holds: description of the contents for the comment above the module; empty for the usual one.
        crossing: crossing latency of inputs and of outputs in cycles, 0 or 1.
        stops: whether the bank has an input `moving`, the clock enable of reads in flight.
        late: whether the word has a register behind the memory, with a clock enable `moves` of its own.
        load: the load that fills a bank of constants which are no part of the design, see `build_weight_loader`.
    """
    inputs = [Signal("ren"), Signal("raddr", address_bits(bank)), *([Signal("moving")] if stops else [])]
    inputs += [Signal("moves")] * late
    if bank.loaded and load:
        beats = load.word_beats(bank), load.piece_beats(bank)
        inputs += [Signal("wen"), Signal("waddr", address_bits(bank)), Signal("place", bits_for(beats[0]))]
        inputs.append(Signal("wdata", beats[1] * load.dram.width))
    elif bank.written:
        inputs += [Signal("wen", groups), Signal("waddr", memory_address_bits(bank))]
        inputs.append(Signal("wdata", bank.memory_width))

    def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        return {"rdata": _Bank(b, p, bank, groups, crossing, load).build()}

    usual = "constants of all nests" if bank.constant else "buffers between nests, or a ring of the weight tape"
    comment = f"Bank of {bank.words} words of {bank.lanes} x {bank.bits} bits: {holds or usual}"
    reset = bool(crossing) or bank.reads > 1
    return module(bank.name, inputs, [Signal("rdata", bank.width)], build, reset=reset, comment=comment)


def of_word(
    b: Builder, value: Value, read: Value, crossing: int, moving: Value | None, name: str, last: bool = True
) -> Value:
    """A number that comes with the address of a read, in the cycle of the word, and held as long as the word.

    Args:
        b: the builder of the module.
        value: the number.
        read: i1: the read enable that comes with it.
        crossing: see `build_bank`.
        moving: i1: the clock enable of reads in flight; None where nothing stops them.
        name: name of its registers.
        last: whether its last register with a crossing latency is part of it; else the number is a cycle early.
    """
    if crossing:
        value, read = b.register(value, name, moving), b.register(read, f"{name}_en", moving, reset=0)
    value = b.register(value, name, read if moving is None else read & moving)
    return b.register(value, name, moving) if crossing and last else value


class _Bank:
    """The body of a bank's module."""

    def __init__(
        self, b: Builder, p: dict[str, Value], bank: Bank, groups: int, crossing: int, load: WeightLoad | None
    ) -> None:
        self.b, self.p, self.bank, self.groups, self.crossing, self.load = b, p, bank, groups, crossing, load
        self.clock = ir.Operation.create("seq.from_clock", [integer(1)], [b.clk]).results[0]
        self.moving = p.get("moving")

    def build(self) -> Value:
        """Builds the memories and returns the word that is read."""
        if self.bank.reads > 1:
            return self._gathered()
        return self._memories()

    def _memories(self) -> Value:
        """Builds the memories and returns what is read from them."""
        if len(self.bank.memories) > 1:
            self.late = self._late()
        words, memories = list[Value](), iter(self.bank.memories)
        for start, part in self.bank.starts:
            own = [next(memories) for _ in part.memories]
            words.append(self._whole(start, part, own[0]) if part.pieces == 1 else self._in_pieces(start, part, own))
        if len(words) == 1 or not self.crossing or self.moving is not None:
            return self._chosen(words, 0, memory_address_bits(self.bank))
        chosen, number = [], self.late
        for low in range(0, words[0].width, FEW):
            self.late, high = copied(self.b, number, f"late{low}"), min(low + FEW, words[0].width)
            chosen.append(self._chosen([word[low:high] for word in words], 0, memory_address_bits(self.bank)))
        return self.b.concat(chosen[::-1])

    def _gathered(self) -> Value:
        """Reads a word of the bank by one read after the other, and returns it when all of it is there."""
        b, count, first, address = self.b, self.bank.reads, self.p["ren"], self.p["raddr"]
        number = b.state(bits_for(count), "number_of_read", reset=0)
        reads = first | number.ne(0)
        number.assign(number + 1, reads)
        address = b.mux(first, address, b.register(address, "raddr_held", first))
        self.p = {**self.p, "ren": reads, "raddr": b.concat([address, number])}
        read, arrives, last = self._memories(), reads, number.eq(count - 1)
        last = last & arrives
        if self.crossing:  # what is chosen between memories comes from a register, too
            read = b.register(read, "part")
        for _ in range(1 + 3 * self.crossing):
            arrives, last = b.register(arrives, "arrives", reset=0), b.register(last, "last", reset=0)
        gathered = [read]
        for _ in range(count - 1):
            gathered.append(b.register(gathered[-1], "gathered", arrives))
        return b.register(b.concat(gathered), "gathered_word", last)

    @property
    def low(self) -> int:
        """The lowest address bit that chooses between memories."""
        return min(part.segment.bit_length() - 1 for part in self.bank.parts)

    def _late(self) -> Value:
        """The address bits from `low` on, when the word is there; a cycle earlier where they get several registers.

        The memories of a wide word are far from each other, and so are those who choose between their words.
        """
        number, read = self.p["raddr"][self.low :], self.p["ren"]
        copies = bool(self.crossing) and self.moving is None and len(self.bank.parts) > 1
        return of_word(self.b, number, read, self.crossing, self.moving, "number", not copies)

    def _chosen(self, words: list[Value], start: int, bits: int) -> Value:
        """The word of the part that an address lies in; it is known but for its lowest `bits` bits, `start` with 0."""
        inside = [i for i, (s, p) in enumerate(self.bank.starts) if s < start + (1 << bits) and start < s + p.words]
        if len(inside) == 1:
            return words[inside[0]]
        middle = start + (1 << (bits - 1))
        lower = self._chosen(words, start, bits - 1)
        if middle >= self.bank.words * self.bank.reads:
            return lower
        return self.b.mux(self.late[bits - 1 - self.low], self._chosen(words, middle, bits - 1), lower)

    def _whole(self, start: int, part: Part, memory: Memory) -> Value:
        """Builds the memory of a part with its write logic, and returns the word read from it."""
        built = self._memory(memory)
        if self.bank.loaded:
            self._load(built, start, part, 0)
        elif self.bank.written:
            self._write(built, start, part)
        return self._read(built, memory, self._here("raddr", start, part), self.p["raddr"][: bits_for(part.words)])

    def _in_pieces(self, start: int, part: Part, memories: Sequence[Memory]) -> Value:
        """Builds the memories of a part of constants, and returns the word read from them; see `Part`."""
        b, low, address = self.b, part.segment.bit_length() - 1, self.p["raddr"]
        bits = bits_for(part.pieces + 1)
        segment, here = address[low : low + bits], self._here("raddr", start, part)
        read = list[Value]()
        for number, memory in enumerate(memories):
            places = [part.place(number, s) for s in range(part.pieces + 1)]
            where = b.table(segment, [place[1] if place else 0 for place in places], bits_for(part.pieces))
            enable = here & segment.ne(number)
            built = self._memory(memory)
            if self.bank.loaded:
                self._load(built, start, part, number)
            read.append(self._read(built, memory, enable, b.concat([where, address[:low]])))
        late = self.late[low - self.low : low - self.low + bits]
        pieces = [b.mux(late.ule(i), read[i + 1], read[i]) for i in range(part.pieces)]
        return b.concat(pieces[::-1])

    def _memory(self, memory: Memory) -> ir.Value:
        """Declares a memory, of constants with its contents."""
        declared = _memory(memory.style, memory.number, memory.words, memory.lanes * self.bank.bits)
        if not self.bank.written:
            _initial(declared, self.bank.image(memory.number))
        return declared

    def _read(self, built: ir.Value, memory: Memory, here: Value, address: Value) -> Value:
        """The word that is read from a memory, if the address lies in it."""
        width = memory.lanes * self.bank.bits
        enable = self._arrived("ren", self.p["ren"] & here, self.moving, 0)
        if self.moving is not None:
            enable = enable & self.moving
        address = self._arrived("raddr", address, self.moving)
        word = Value(self.b, _read(self.clock, built, width, enable, address), width)
        if "moves" in self.p:
            return self.b.register(word, "word", self.p["moves"])
        return self.b.register(word, "word", self.moving) if self.crossing else word

    def _write(self, memory: ir.Value, start: int, part: Part) -> None:
        """Builds the write logic: lane groups whose write enables are 1, if the address lies in the part."""
        p, bank = self.p, self.bank
        width, here = bank.memory_width // self.groups, self._here("waddr", start, part).replicate(self.groups)
        enables = self._arrived("wen", p["wen"] & here, reset=0)
        data = self._arrived("wdata", p["wdata"])
        word = _word(memory, self._arrived("waddr", p["waddr"][: bits_for(part.words)]), bank.memory_width)
        parts = [(enables[i], data[i * width : (i + 1) * width]) for i in range(self.groups)]
        _write(self.clock, word, parts)

    def _load(self, memory: ir.Value, start: int, part: Part, number: int) -> None:
        """Builds the write logic of a memory whose words, or pieces of words (see `Part`), come in beats."""
        assert self.load is not None
        b, p, low, beats = self.b, self.p, part.segment.bit_length() - 1, self.load.word_beats(self.bank) // part.pieces
        data = p["wdata"][-beats * self.load.dram.width :][: self.bank.width // part.pieces]
        if part.pieces == 1:
            last, address, there = b.const(beats - 1, p["place"].width), p["waddr"][: bits_for(part.words)], []
        else:
            segment = p["waddr"][low : low + bits_for(part.pieces + 1)]
            places = [part.place(number, s) or (0, 0) for s in range(part.pieces + 1)]
            last = b.table(segment, [(piece + 1) * beats - 1 for piece, _ in places], p["place"].width)
            where = b.table(segment, [n for _, n in places], bits_for(part.pieces))
            address, there = b.concat([where, p["waddr"][:low]]), [segment.ne(number)]
        enable = b.all_of(p["wen"], p["place"].eq(last), self._here("waddr", start, part), *there)
        word = _word(memory, self._arrived("waddr", address), data.width)
        _write(self.clock, word, [(self._arrived("wen", enable, reset=0), self._arrived("wdata", data))])

    def _arrived(self, name: str, value: Value, enable: Value | None = None, reset: int | None = None) -> Value:
        """An input of the bank at the memory: registered where there is a crossing latency."""
        return self.b.register(value, f"{name}_q", enable, reset) if self.crossing else value

    def _here(self, address: str, start: int, part: Part) -> Value:
        """i1: an address lies in a part. A part starts at a multiple of its words, to the next power of two."""
        low = (part.words - 1).bit_length()
        return self.b.const(1, 1) if len(self.bank.parts) == 1 else self.p[address][low:].eq(start >> low)


def _memory(style: Style, number: str, words: int, width: int) -> ir.Value:
    """Declares a memory."""
    # No element is written in the cycle in which it is read, so any read-during-write behaviour is right.
    attributes = [sv.SVAttributeAttr.get("ram_style", f'"{style}"'), sv.SVAttributeAttr.get("no_rw_check")]
    array = ir.Type.parse(f"!hw.uarray<{words}xi{width}>")
    memory = sv.RegOp(hw.InOutType.get(array), f"memory{number}")
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
