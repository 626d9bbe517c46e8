"""The address generators of an engine, and the sign tests of padding: registers that follow the loop counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.loop_counters import LoopCounters, range_of
from gradcam.passes.hw.ports import MemoryPort, Port
from gradcam.passes.hw.symbols import Symbols
from gradcam.passes.hw.value import Value
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.program.engines import Engine


class AddressGenerators:
    """Builds the values that are linear in an engine's loop counters: addresses and guards.

    With a target clock the addresses of memories and the guards of reads are valid in stage 1, else in stage 0: nothing
    needs them earlier, and the loops that advance are known a cycle before the sum.
    """

    def __init__(
        self, b: Builder, p: Mapping[str, Value], engine: Engine, counters: LoopCounters, symbols: Symbols
    ) -> None:
        """Takes the engine's inputs `p`, which contain the values of the symbols in addresses."""
        self.b, self.p, self.engine, self.counters, self.symbols = b, p, engine, counters, symbols
        self.configuration, self.crossing = counters.configuration, counters.crossing

    def address(self, port: MemoryPort) -> Value:
        """The address register of a port: the address of the step in stage `crossing`, in slices of a word."""
        b, width = self.b, port.address_bits + port.slice_bits
        forms = [port.form_in_slices(i) for i in range(len(self.engine.configurations))]
        modulus = port.banks[0].words * port.most_slices if port.reads_weight_stream else None
        bases = [_constant(f) for f in forms]
        terms = self._symbol_terms(forms, width)
        base = self.base([n % modulus if modulus else n for n in bases], width, terms)
        name = f"agu_{port.name}"
        address = self.counters.follow(name, width, base, self._deltas(forms), modulus, late=self.crossing)
        rings = [port.ring_in_slices(i) for i in range(len(self.engine.configurations))]
        if not any(rings):
            return address
        low = b.column(self.configuration, [ring[0] - 1 if ring else -1 for ring in rings], width)
        high = b.column(self.configuration, [ring[1] if ring else 0 for ring in rings], width)
        if self.crossing:
            low, high = (self.counters.in_next_stage(value, name) for value in (low, high))
        return (address & low) | high

    def late(self, port: Port) -> int:
        """The stage in which the guard of a port is valid."""
        return self.crossing if isinstance(port, MemoryPort) and not port.slot.store else 0

    def guard(self, port: Port) -> Value | None:
        """i1 in stage `late`: the access lies inside its buffer; None when no configuration guards the port.

        Each guard is a linear form that must not be negative: the result is the complement of the forms' sign bits.
        """
        count = max((len(a.guards) for a in port.slot.accesses if a), default=0)
        signs = []
        for i in range(count):
            forms = [a.guards[i] if a and i < len(a.guards) else None for a in port.slot.accesses]
            width = range_of(self.engine, forms)
            base, name = self.base([_constant(f) for f in forms], width), f"guard_{port.name}{i}"
            signs.append(self.counters.follow(name, width, base, self._deltas(forms), late=self.late(port))[-1])
        return ~self.b.any_of(*signs) if signs else None

    def base(self, entries: Sequence[int], width: int, terms: Sequence[Value] = ()) -> Value:
        """The start value, in the cycle of `go`, of a register that follows the loop counters.

        It is the configuration's entry plus the run-time terms. With a target clock the configuration's number arrives
        one cycle before `go`, so entry and terms are registered.
        """
        b = self.b
        if not self.crossing:
            return b.sum_of(b.table(self.configuration, entries, width), *terms)
        return b.sum_of(b.column(self.configuration, entries, width), *(b.register(term, "term") for term in terms))

    def _deltas(self, forms: Sequence[Linear | None]) -> list[list[int]]:
        """Per configuration, the increment of its form by the loop that advances; 0 where there is no form."""
        return [
            self.engine.deltas(nest, form or {}) for nest, form in zip(self.engine.configurations, forms, strict=True)
        ]

    def _symbol_terms(self, forms: Sequence[Linear | None], width: int) -> list[Value]:
        """Terms of run-time symbols, such as the class, to add to a base; 0 in configurations without the symbol."""
        b, terms = self.b, []
        for name in self.symbols.found:
            coefficients = [self.symbols.coefficient(i, form or {}, name) for i, form in enumerate(forms)]
            for factor in dict.fromkeys(c for c in coefficients if c):
                product = self.p[name].zero_extend(width) * b.const(factor, width)
                active = b.table(self.configuration, [int(c == factor) for c in coefficients], 1)
                terms.append(b.mux(active, product, 0))
        return terms


def _constant(form: Linear | None) -> int:
    """The constant term of a linear form; 0 where there is no form."""
    return 0 if form is None else form.get(None, 0)
