"""Terms of addresses that are known at run time, such as a part of the class: bits of the program's registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch_mlir import ir as mlir

from gradcam.errors import fail
from gradcam.passes.hw.ports import MemoryPort
from gradcam.passes.hw.signals import Signal
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.ir.queries import symbol_register

#: A symbolic term of an address: mod or floordiv, index value, divisor.
Term = tuple[str, mlir.Value, int]


@dataclass(eq=False)
class Symbol:
    """A run-time term of addresses as bits of a register that each row picks.

    Attributes:
        port: the engine's input.
        low: the lowest bit in the register.
        registers: names of the rows' registers; None in a row without the term.
    """

    port: Signal
    low: int
    registers: list[str | None]


class Symbols:
    """The symbols of an engine.

    Attributes:
        found: by the names of their ports.
    """

    def __init__(self, ports: Sequence[MemoryPort], rows: int, registers: Mapping[mlir.Value, str]) -> None:
        """Finds the symbols in the addresses of `rows` rows; `registers` are the names of one-element buffers."""
        self._ports, self._registers = ports, registers
        self.found: dict[str, Symbol] = {}
        for row in range(rows):
            for term in self._terms(row):
                name = self._name(row, term)
                register, low, bits = symbol_field(term, registers, max(p.address_bits + p.slice_bits for p in ports))
                symbol = self.found.setdefault(name, Symbol(Signal(name, bits), low, [None] * rows))
                symbol.registers[row] = register

    def coefficient(self, row: int, form: Linear, symbol: str) -> int:
        """The factor of a symbol in a row's address."""
        terms = [t for t in form if isinstance(t, tuple)]
        return sum(form[t] for t in terms if self._name(row, t) == symbol)

    def _terms(self, row: int) -> list[Term]:
        """Symbolic terms in the addresses of a row."""
        forms = [port.row_form(row) or {} for port in self._ports]
        return list(dict.fromkeys(t for form in forms for t in form if isinstance(t, tuple)))

    def _name(self, row: int, term: Term) -> str:
        """The rows share a symbol where they divide alike; a row that reads several registers has one for each."""
        kind, value, divisor = term
        alike = (self._registers[symbol_register(v)] for k, v, d in self._terms(row) if (k, d) == (kind, divisor))
        number = list(dict.fromkeys(alike)).index(self._registers[symbol_register(value)])
        return f"index{number or ''}_{kind}_{divisor}"


def symbol_field(term: Term, registers: Mapping[mlir.Value, str], limit: int) -> tuple[str, int, int]:
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
