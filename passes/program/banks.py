"""Banks and buffers as gradcam-plan-memory placed them, and accesses in the words of a bank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.ir.attributes import BANK, BANKS, OFFSET, RING
from gradcam.passes.ir.constants import elements_of
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.ir.queries import main_function
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.nest import Access


@dataclass(frozen=True)
class Bank:
    """A memory: `words` words of `lanes` x `bits`.

    Attributes:
        depth: words of each of the memories that the bank is made of, a power of two; None for a single memory.
    """

    name: str
    lanes: int
    bits: int
    words: int
    constant: bool
    depth: int | None = None

    @property
    def parts(self) -> list[tuple[str, int]]:
        """The memories that the bank is made of: (number in their names, words); the number of a single one is ""."""
        if self.depth is None or self.depth >= self.words:
            return [("", self.words)]
        starts = range(0, self.words, self.depth)
        return [(str(i), min(self.depth, self.words - start)) for i, start in enumerate(starts)]

    def image(self, number: str) -> str:
        """The file with the contents of the memory `number`; the underscore tells weights_1 from the bank weights1."""
        return f"mem/{self.name}{'_' if number else ''}{number}.hex"

    @property
    def width(self) -> int:
        """Bits of a word."""
        return self.lanes * self.bits

    @property
    def bytes(self) -> int:
        """Size of the memory."""
        return self.width * self.words // 8


def kind_of_constants(bits: int) -> str:
    """What a bank of constants of so many bits holds, which names it."""
    return {1: "constants", 16: "multipliers", 32: "biases"}.get(bits, "weights")


def is_weight(bits: int) -> bool:
    """Whether constants of so many bits are weights."""
    return kind_of_constants(bits) == "weights"


def banks_of(module: ir.Module) -> dict[str, Bank]:
    """The banks of a planned module by name.

    Raises:
        GradcamError: gradcam-plan-memory has not run.
    """
    clock = Clock.of(module.operation)
    return {
        name: Bank(name, **entry, depth=clock.depth(entry["words"], entry["lanes"] * entry["bits"]))
        for name, entry in BANKS.get(module.operation).items()
    }


def place_of(memref: ir.Value) -> tuple[str, int]:
    """Bank name and word offset of a buffer."""
    return BANK.get(memref.owner), OFFSET.get(memref.owner)


def ring_of(memref: ir.Value) -> int | None:
    """The size of a ring in elements, a power of two: element i lies at i modulo the size; None for other buffers."""
    return None if isinstance(memref.owner, ir.Block) else RING.find(memref.owner)


def power_of_two(n: int) -> int:
    """The least power of two that is not less than `n`."""
    return 1 << (n - 1).bit_length()


def slices_of(accesses: list[Access], bank: Bank) -> int:
    """The number of slices of a word: accesses that fit into it side by side, each in a power of two of lanes.

    Returns:
        1 when every access starts at a word.

    Raises:
        GradcamError: the lanes of an access would straddle two words.
    """
    for access in accesses:
        if any(c % bank.lanes for c in access.index.values()):
            break
    else:
        return 1
    lanes = power_of_two(accesses[0].lanes)
    for access in accesses:
        if bank.lanes % lanes or any(c % lanes for c in access.index.values()):
            words = f"the {bank.lanes}-lane words of {bank.name}"
            raise fail(access.op, f"{access.lanes} lanes do not line up with {words}; pad the rows of the buffer")
    return bank.lanes // lanes


def address_form(access: Access, bank: Bank, offset: int, slices: int) -> Linear:
    """The access's index in units of a slice of a word, offset included."""
    unit = bank.lanes // slices
    form = {term: c // unit for term, c in access.index.items()}
    form[None] = form.get(None, 0) + offset * slices
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
