"""Banks and buffers as gradcam-plan-memory placed them, and accesses in the words of a bank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from torch_mlir import ir

from gradcam.errors import fail
from gradcam.numerics import ALIGNED_MULTIPLIER_BITS, PAIR_BITS, READ_BIAS_BITS, READ_MULTIPLIER_BITS
from gradcam.passes.ir.attributes import BANK, BANKS, OFFSET, RING
from gradcam.passes.ir.constants import elements_of
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.ir.platform import Platform
from gradcam.passes.ir.queries import constant_trip, main_function
from gradcam.passes.program.block_ram import PIECES, Part, Style
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.nest import Access


class Memory(NamedTuple):
    """One of the memories of a bank.

    Attributes:
        number: the number in its name and in that of its file; "" for the only one.
        words: its words.
        lanes: lanes of a word.
        style: what it is made of.
    """

    number: str
    words: int
    lanes: int
    style: Style


@dataclass(frozen=True)
class Bank:
    """A memory: `words` words of `lanes` x `bits`.

    Attributes:
        layout: the parts that it is made of; none for one memory of block RAMs.
        reads: reads that make a word, a power of two: in memory it is so many narrower words, its first lanes first.
        loaded: whether its constants are written to it before the first run, and not part of the design.
    """

    name: str
    lanes: int
    bits: int
    words: int
    constant: bool
    layout: tuple[Part, ...] = ()
    reads: int = 1
    loaded: bool = False

    @property
    def written(self) -> bool:
        """Whether it has a write port."""
        return not self.constant or self.loaded

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that it is made of, in words of the memories."""
        return self.layout or (Part(self.words * self.reads),)

    @property
    def memories(self) -> list[Memory]:
        """The memories of all parts."""
        found = [(part, words) for part in self.parts for words in part.memories]
        numbers = map(str, range(len(found))) if len(found) > 1 else [""]
        lanes = self.lanes // self.reads
        return [Memory(n, w, lanes // p.pieces, p.style) for n, (p, w) in zip(numbers, found, strict=True)]

    def image(self, number: str) -> str:
        """The file with the contents of the memory `number`; the underscore tells weights_1 from the bank weights1."""
        return f"mem/{self.name}{'_' if number else ''}{number}.hex"

    def images(self, words: np.ndarray) -> dict[str, np.ndarray]:
        """The contents of each memory by its file; `words` are those of the bank, of shape (words, lanes)."""
        rows = words.reshape(-1, self.lanes // self.reads)
        contents = [c for start, part in self.starts for c in _contents(part, rows[start : start + part.words])]
        return {self.image(m.number): c for m, c in zip(self.memories, contents, strict=True)}

    @property
    def starts(self) -> list[tuple[int, Part]]:
        """The parts, each with its first word, in words of the memories."""
        return list(zip(accumulate((p.words for p in self.parts), initial=0), self.parts, strict=False))

    @property
    def width(self) -> int:
        """Bits of a word."""
        return self.lanes * self.bits

    @property
    def memory_width(self) -> int:
        """Bits of a word of the memories."""
        return self.width // self.reads

    @property
    def delay(self) -> int:
        """The cycles by which a word is there later than one that takes a single read."""
        return self.reads if self.reads > 1 else 0

    @property
    def bytes(self) -> int:
        """Size of the memory."""
        return -(-self.width * self.words // 8)


#: What constants hold, by their bits, where they are no weights.
_KINDS = {1: "constants", ALIGNED_MULTIPLIER_BITS + 1: "multipliers", 32: "biases"}
_KINDS |= {PAIR_BITS: "shifts", READ_MULTIPLIER_BITS: "multipliers", READ_BIAS_BITS: "biases"}


def kind_of_constants(bits: int) -> str:
    """What a bank of constants of so many bits holds, which names it."""
    return _KINDS.get(bits, "weights")


def is_weight(bits: int) -> bool:
    """Whether constants of so many bits are weights."""
    return kind_of_constants(bits) == "weights"


def banks_of(module: ir.Module) -> dict[str, Bank]:
    """The banks of a planned module by name.

    Raises:
        GradcamError: gradcam-plan-memory has not run.
    """
    clock, platform = Clock.of(module.operation), Platform.of(module.operation)

    def bank(name: str, lanes: int, bits: int, words: int, constant: bool, reads: int = 1) -> Bank:
        loaded = constant and platform.resident
        layout = layout_of(clock, platform, lanes, bits, words, constant, reads)
        return Bank(name, lanes, bits, words, constant, layout, reads, loaded)

    return {name: bank(name, **entry) for name, entry in BANKS.get(module.operation).items()}


def layout_of(
    clock: Clock, platform: Platform, lanes: int, bits: int, words: int, constant: bool, reads: int
) -> tuple[Part, ...]:
    """The parts of a bank, for its members; see `Bank`."""
    # With a clock there is no time for the choice between the pieces of a word.
    in_pieces, loaded = constant and not clock.crossing, constant and platform.resident
    if loaded and platform.dram:  # pieces of whole beats are written as these arrive
        in_pieces = in_pieces and lanes * bits % (PIECES[-1] * platform.dram.width) == 0
    return clock.block.parts(words * reads, lanes // reads, bits, in_pieces, constant and not loaded)


def _contents(part: Part, words: np.ndarray) -> list[np.ndarray]:
    """The contents of the memories of a part, each of shape (words, lanes); `words` are those of the part."""
    if part.pieces == 1:
        return [words]
    size, lanes = part.segment, words.shape[1] // part.pieces
    found = [np.zeros((rows, lanes), words.dtype) for rows in part.memories]
    for segment in range(part.pieces + 1):
        mine = words[segment * size : (segment + 1) * size]
        for memory, contents in enumerate(found):
            if place := part.place(memory, segment):
                piece, where = place
                contents[where * size : where * size + len(mine)] = mine[:, piece * lanes : (piece + 1) * lanes]
    return found


def place_of(memref: ir.Value) -> tuple[str, int]:
    """Bank name and word offset of a buffer."""
    return BANK.get(memref.owner), OFFSET.get(memref.owner)


def ring_of(memref: ir.Value) -> int | None:
    """The size of a ring in elements, a power of two of words: element i lies at i modulo the size; else None."""
    return None if isinstance(memref.owner, ir.Block) else RING.find(memref.owner)


def power_of_two(n: int) -> int:
    """The least power of two that is not less than `n`."""
    return 1 << (n - 1).bit_length()


class Slices(NamedTuple):
    """Equal slices of a word, of which a port accesses one.

    Attributes:
        lanes: of a slice; a power of two, unless accesses lie side by side without a gap.
        places: the slices of a word that addresses count, a power of two; there may be fewer.
    """

    lanes: int
    places: int

    @staticmethod
    def of(lanes: int, word: int) -> Slices:
        """The slices of a word with so many lanes."""
        return Slices(lanes, power_of_two(-(-word // lanes)))


def is_dense(access: Access, word: int) -> bool:
    """Whether an access begins where another one of its lanes ends, and not at a multiple of a power of two."""
    return any(c % word % power_of_two(access.lanes) for c in access.index.values())


def slices_of(accesses: Sequence[tuple[Access, Bank]]) -> dict[Bank, Slices]:
    """The slices of the words of each bank: accesses that fit side by side.

    Returns:
        One slice for every bank when each access starts at a word, and the words are equally wide.

    Raises:
        GradcamError: the lanes of an access would straddle two words.
    """
    banks = list(dict.fromkeys(bank for _, bank in accesses))
    starts = all(c % bank.lanes == 0 for access, bank in accesses for c in access.index.values())
    if starts and len({bank.lanes for bank in banks}) == 1:
        return {bank: Slices(bank.lanes, 1) for bank in banks}
    dense = any(is_dense(access, bank.lanes) for access, bank in accesses)
    lanes = accesses[0][0].lanes if dense else power_of_two(accesses[0][0].lanes)
    for access, bank in accesses:
        is_inside = _end(access, bank.lanes) <= bank.lanes if dense else bank.lanes % lanes == 0
        if not is_inside or any(c % bank.lanes % lanes for c in access.index.values()):
            words = f"the {bank.lanes}-lane words of {bank.name}"
            raise fail(access.op, f"{access.lanes} lanes do not line up with {words}; pad the rows of the buffer")
    return {bank: Slices.of(lanes, bank.lanes) for bank in banks}


def _end(access: Access, word: int) -> int:
    """The lanes from the start of a word to the end of an access in its last iterations."""
    lane = {term: c % word for term, c in access.index.items() if c % word}
    last = (c * (constant_trip(term.owner.owner) - 1 if isinstance(term, ir.Value) else 1) for term, c in lane.items())
    return sum(last) + access.lanes


def address_form(access: Access, bank: Bank, offset: int, slices: Slices) -> Linear:
    """The access's index in slices of words, offset included."""
    parts = {term: divmod(c, bank.lanes) for term, c in access.index.items()}
    form = {term: word * slices.places + lane // slices.lanes for term, (word, lane) in parts.items()}
    form[None] = form.get(None, 0) + offset * slices.places
    return form


def constants_of(module: ir.Module) -> dict[ir.Value, np.ndarray]:
    """The elements of every constant that a memory holds, flat, in any integer type."""
    globals_ = {
        ir.StringAttr(o.attributes["sym_name"]).value: o
        for o in module.body.operations
        if o.operation.name == "memref.global"
    }
    found = {}
    for op in main_function(module).regions[0].blocks[0].operations:
        if op.operation.name == "memref.get_global" and BANK.is_on(op):
            symbol = ir.FlatSymbolRefAttr(op.attributes["name"]).value
            found[op.results[0]] = elements_of(globals_[symbol].attributes["initial_value"]).ravel()
    return found


def constant_words(banks: Mapping[str, Bank], constants: Mapping[ir.Value, np.ndarray]) -> dict[str, np.ndarray]:
    """Contents of the read-only banks: per bank an int64 array of shape (words, lanes)."""
    contents = {b.name: np.zeros((b.words, b.lanes), dtype=np.int64) for b in banks.values() if b.constant}
    for memref, data in constants.items():
        name, offset = place_of(memref)
        if name in contents:
            lanes = banks[name].lanes
            padded = np.zeros(-(-data.size // lanes) * lanes, dtype=np.int64)
            padded[: data.size] = data
            contents[name][offset : offset + padded.size // lanes] = padded.reshape(-1, lanes)
    return contents


def hex_lines(words: np.ndarray, bits: int) -> str:
    """Text for $readmemh: a word per line, lane 0 in the lowest bits. words: (words, lanes), values modulo 2**bits."""
    unsigned = words[:, ::-1] & ((1 << bits) - 1)
    if bits % 4:  # digits hold parts of several lanes
        each = (unsigned[:, :, None] >> np.arange(bits - 1, -1, -1) & 1).reshape(len(unsigned), -1)
        digits = np.pad(each, ((0, 0), (-each.shape[1] % 4, 0))).reshape(len(unsigned), -1, 4)
        unsigned, bits = digits @ [8, 4, 2, 1], 4
    digits = np.stack([(unsigned >> shift & 15).astype(np.uint8) for shift in range(bits - 4, -1, -4)], -1)
    lines = np.full((len(unsigned), digits[0].size + 1), ord("\n"), np.uint8)
    lines[:, :-1] = np.frombuffer(b"0123456789abcdef", np.uint8)[digits].reshape(len(unsigned), -1)
    return lines.tobytes().decode("ascii")
