"""The ports of an engine: which banks they reach, and where in a word of them an access lies."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch_mlir import ir as mlir

from gradcam.errors import fail
from gradcam.passes.hw.builder import bits_for
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.ir.queries import symbol_register
from gradcam.passes.program.banks import Bank, address_form, place_of, ring_of, slices_of
from gradcam.passes.program.engines import Slot
from gradcam.passes.program.tape import Tape, Use

#: A symbolic term of an address: mod or floordiv, index value, divisor.
Term = tuple[str, mlir.Value, int]


@dataclass(eq=False)
class Port:
    """A slot of an engine as hardware.

    Attributes:
        banks: the banks that rows reach through it; `bank_of` is the number of a row's bank in it.
        uses: per row what it reads from the weight tape, None where it reads something else.
        slices: accesses per word; the lowest address bits pick one, of a read behind the bank.
        address: bits of a word address.
    """

    slot: Slot
    banks: list[Bank] = field(default_factory=list)
    bank_of: list[int] = field(default_factory=list)
    uses: list[Use | None] = field(default_factory=list)
    slices: int = 1
    address: int = 1

    @property
    def name(self) -> str:
        """Port name."""
        return self.slot.name

    @property
    def width(self) -> int:
        """Bits that cross the port: a word of memory, of a read its slice, or the lanes of a stream or register."""
        example = self.slot.example
        if not self.banks:
            return example.lanes * example.element_bits
        return self.banks[0].width // (1 if self.slot.store else self.slices)

    @property
    def low(self) -> int:
        """Address bits that pick a slice of a word."""
        return (self.slices - 1).bit_length()

    def row_form(self, row: int) -> Linear | None:
        """The address of a row's access in slices."""
        access = self.slot.rows[row]
        if access is None:
            return None
        bank, use = self.banks[self.bank_of[row]], self.uses[row]
        offset = 0 if ring_of(access.memref) else place_of(access.memref)[1]
        form = address_form(access, bank, offset, self.slices)
        if use is not None and use.symbol is not None:
            # The tape reader follows it: what a symbol picks has one place in the ring.
            form.pop(use.symbol, None)
        return form

    def row_ring(self, row: int) -> tuple[int, int] | None:
        """Size and first address of the ring that a row accesses, in slices; the first is a multiple of the size."""
        access = self.slot.rows[row]
        size = ring_of(access.memref) if access else None
        if access is None or size is None:
            return None
        words = -(-size // self.banks[0].lanes)
        return words * self.slices, place_of(access.memref)[1] * self.slices


@dataclass(eq=False)
class Symbol:
    """A run-time term of addresses, such as a part of the class, as bits of a register that each row picks.

    Attributes:
        low: its lowest bit in the register.
        bits: their number.
        registers: names of the rows' registers; None in a row without the term.
    """

    low: int
    bits: int
    registers: list[str | None]


def make_port(slot: Slot, banks: dict[str, Bank], tape: Tape | None) -> Port:
    """Works out which banks a slot reaches and how its lanes lie in their words."""
    port = Port(slot)
    if slot.kind != "memory":
        return port
    used = [None if a is None else banks[place_of(a.memref)[0]] for a in slot.rows]
    port.banks = list(dict.fromkeys(b for b in used if b is not None))
    if len({(b.lanes, b.bits) for b in port.banks}) != 1:
        names = ", ".join(b.name for b in port.banks)
        raise fail(slot.example.op, f"{names} have different words; read each constant with one number of lanes")
    port.bank_of = [0 if b is None else port.banks.index(b) for b in used]
    port.uses = [tape.use_of(a) if tape else None for a in slot.rows]
    port.slices = slices_of([a for a in slot.rows if a is not None], port.banks[0])
    port.address = max(bits_for(b.words) for b in port.banks)
    return port


def symbol_field(term: Term, registers: dict[mlir.Value, str], limit: int) -> tuple[str, int, int]:
    """Register, lowest bit and number of bits, at most `limit`, that a symbolic term is.

    Args:
        term: mod or floordiv, index value, divisor.
        registers: names of one-element buffers.
        limit: bits that the term can need.

    Raises:
        GradcamError: the divisor is no power of two.
    """
    kind, value, divisor = term
    shift = (divisor - 1).bit_length()
    if divisor != 1 << shift:
        raise fail(value.owner, f"an index may be divided by a power of two only, not by {divisor}; choose such a pe")
    register = registers[symbol_register(value)]
    return (register, 0, shift) if kind == "mod" else (register, shift, min(32 - shift, limit))
