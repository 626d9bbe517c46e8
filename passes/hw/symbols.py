"""Terms of indices that are known at run time only, such as a part of the class: bits of the program's registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch_mlir import ir as mlir

from gradcam.errors import fail
from gradcam.passes.hw.ports import MemoryPort
from gradcam.passes.hw.signals import Signal
from gradcam.passes.ir.linear_form import Linear, Term
from gradcam.passes.ir.queries import symbol_register
from gradcam.passes.program.engines import Engine


@dataclass(eq=False)
class Symbol:
    """A run-time term of indices: a bit field of a register, which each configuration selects.

    Attributes:
        port: the engine's input.
        low: the lowest bit of the field in the register.
        registers: per configuration, the name of the register; None in a configuration without the term.
    """

    port: Signal
    low: int
    registers: list[str | None]


class Symbols:
    """The symbols of an engine.

    Attributes:
        found: the symbols by the names of their ports.
    """

    def __init__(self, ports: Sequence[MemoryPort], engine: Engine, registers: Mapping[mlir.Value, str]) -> None:
        """Finds the symbols in addresses and in the indices of accumulators.

        Args:
            ports: the memory ports of the engine.
            engine: the engine.
            registers: names of one-element buffers.
        """
        self._ports, self._engine, self._registers = ports, engine, registers
        self.found: dict[str, Symbol] = {}
        configurations = len(engine.configurations)
        for configuration in range(configurations):
            for term in self._terms(configuration):
                name = self.name(configuration, term)
                register, low, bits = symbol_field(term, registers, max(p.address_bits + p.slice_bits for p in ports))
                symbol = self.found.setdefault(name, Symbol(Signal(name, bits), low, [None] * configurations))
                symbol.registers[configuration] = register

    def coefficient(self, configuration: int, form: Linear, symbol: str) -> int:
        """The coefficient of a symbol in an address `form` of a configuration."""
        terms = [t for t in form if isinstance(t, tuple)]
        return sum(form[t] for t in terms if self.name(configuration, t) == symbol)

    def _terms(self, configuration: int) -> list[Term]:
        """The symbolic terms of a configuration."""
        forms = [port.form_in_slices(configuration) or {} for port in self._ports]
        picked = [register.term for register in self._engine.configurations[configuration].picked]
        return list(dict.fromkeys(t for t in (*(t for form in forms for t in form), *picked) if isinstance(t, tuple)))

    def name(self, configuration: int, term: Term) -> str:
        """Name of the symbol of a term.

        Configurations share a symbol when operation and divisor are equal. A configuration that applies them to several
        registers has one symbol per register.
        """
        kind, value, divisor = term
        alike = (
            self._registers[symbol_register(v)] for k, v, d in self._terms(configuration) if (k, d) == (kind, divisor)
        )
        number = list(dict.fromkeys(alike)).index(self._registers[symbol_register(value)])
        return f"index{number or ''}_{kind}_{divisor}"


def symbol_field(term: Term, registers: Mapping[mlir.Value, str], limit: int) -> tuple[str, int, int]:
    """The bit field of a register that equals a symbolic term.

    Args:
        term: "mod" or "floordiv", index value, divisor.
        registers: names of one-element buffers.
        limit: the most bits that the term needs.

    Returns:
        Name of the register, the lowest bit of the field, and the number of its bits.

    Raises:
        GradcamError: the divisor is no power of two.
    """
    kind, value, divisor = term
    shift = (divisor - 1).bit_length()
    if divisor != 1 << shift:
        raise fail(value.owner, f"an index may be divided by a power of two only, not by {divisor}; choose such a pe")
    register = registers[symbol_register(value)]
    return (register, 0, shift) if kind == "mod" else (register, shift, min(32 - shift, limit))
