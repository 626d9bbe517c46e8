"""Sums of products as cascades of DSP slices: each slice adds its product to the sum of the slice before it.

A slice has a register behind its sum, so slice i works i cycles later than the first one, and gets its factors i cycles
late; `cascade_latency` says when the sum is ready. A cascade is a module of its own: `gradcam.synth` puts instances of
slices in its place where synthesis tools do not infer them.

Two sums whose products share a factor can take one cascade, as two products can take one multiplication
(`gradcam.passes.hw.dsp`): the sums are fields of F bits, wide enough for the sum of all products. The cascade starts
with 2^(F-1), so that the lower field is never negative, and nothing is borrowed from the upper one: the lower sum is
its field with the highest bit inverted.

A factor may come from one of two ports, such as a weight and its transpose. A slice chooses between both in front of
its multiplier: its pre-adder adds the one to 0 in place of the other.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.dsp import module_once
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import Value


class Dot(NamedTuple):
    """The shape of a cascade.

    Attributes:
        terms: the products of a sum.
        left: bits of the factor `a` of each product, with its sign.
        right: bits of its other factor, with its sign.
        bits: bits of a sum.
        sums: 1, or 2 that share the factors `a`.
        ports: the ports that the other factors of a single sum come from: 1 or 2.
    """

    terms: int
    left: int
    right: int
    bits: int
    sums: int
    ports: int = 1

    @property
    def kind(self) -> str:
        """The beginning of the module's name."""
        return "either" if self.ports == 2 else "dot" if self.sums == 1 else "dots"

    @property
    def name(self) -> str:
        """Name of the module."""
        return f"{self.kind}{self.terms}_{self.left}x{self.right}_{self.bits}"

    @classmethod
    def named(cls, name: str) -> Dot | None:
        """The shape of the cascade whose module has this name; None for any other module."""
        found = re.fullmatch(r"(dots?|either)(\d+)_(\d+)x(\d+)_(\d+)", name)
        if found is None:
            return None
        terms, left, right, bits = map(int, found.groups()[1:])
        return cls(terms, left, right, bits, 1 + (found[1] == "dots"), 1 + (found[1] == "either"))

    def module(self, b: Builder) -> Any:
        """The module, which is built once in a design.

        Its inputs are the clock enable `ce` of all registers, and `a` and `b0` (for two sums or ports also `b1`) with
        the factors of all products side by side, the first one in the lowest bits; of two ports also `second`, whether
        `b1` has the factors. Its outputs are `sum0` (and `sum1`).
        """
        factors = [Signal(f"b{i}", self.terms * self.right) for i in range(max(self.sums, self.ports))]
        inputs = [Signal("ce", 1), Signal("a", self.terms * self.left), *factors]
        inputs += [Signal("second", 1)] if self.ports == 2 else []
        outputs = [Signal(f"sum{i}", self.bits) for i in range(self.sums)]

        def build(inside: Builder, p: dict[str, Value]) -> dict[str, Value]:
            total = self._cascade(inside, p)
            if self.sums == 1:
                return {"sum0": total}
            low, high = total[: self.bits], total[self.bits :]
            return {"sum0": inside.concat([~low[-1], low[:-1]]), "sum1": high}

        comment = f"{'Sum' if self.sums == 1 else 'Two sums'} of {self.terms} products of signed numbers"
        comment += ", with factors from one of two ports" if self.ports == 2 else ""
        return module_once(b, self.name, inputs, outputs, build, comment)

    def _start(self) -> int:
        """What the first slice adds to its product."""
        return 0 if self.sums == 1 else 1 << (self.bits - 1)

    def _cascade(self, b: Builder, p: dict[str, Value]) -> Value:
        """The registers of the slices, from the first one to the last one; returns the sum of the last one."""
        wide = self.sums * self.bits
        total = b.const(self._start(), wide)
        for i in range(self.terms):

            def late(name: str, width: int, i: int = i, at: int | None = None) -> Value:
                at = i if at is None else at
                value = p[name][at * width : (at + 1) * width]
                for _ in range(i + 1):
                    value = b.register(value, f"{name}_{i}", p["ce"])
                return value

            a = late("a", self.left)
            factors = [late(f"b{j}", self.right) for j in range(max(self.sums, self.ports))]
            chosen = b.mux(late("second", 1, at=0), *factors[::-1]) if self.ports == 2 else factors[0]
            factor = chosen.sign_extend(wide)
            if self.sums == 2:
                upper = b.concat([factors[1].sign_extend(self.right + 1), b.const(0, self.bits)])
                factor = (upper + factors[0].sign_extend(upper.width)).sign_extend(wide)
            product = b.register(a.sign_extend(wide) * factor, f"product_{i}", p["ce"])
            total = b.register(product + total, f"total_{i}", p["ce"])
        return total
