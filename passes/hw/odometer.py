"""The loop odometer of an engine, and address registers that follow it without a multiplier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradcam.passes.engines import Engine
from gradcam.passes.hw.builder import Builder, Value, bits_for, signed_bits, width_of


class Odometer:
    """Counts the flattened time loops of the row that runs; one step per cycle in which `step` is 1.

    Attributes:
        carry: by loop: it ticks, as every loop inside it is at its end.
        final: this is the last step.
        first, last: all reduction loops are at their first, last iteration.
        at_end: per live loop, it is at its last iteration.
    """

    def __init__(self, b: Builder, engine: Engine, row: Value | None, go: Value, step: Value) -> None:
        self.b, self.engine, self.row, self.go, self.step = b, engine, row, go, step
        trips = [list(column) for column in zip(*(engine.trips(n) for n in engine.rows), strict=True)]
        # A loop with one iteration in every row never ticks and needs no counter.
        self.live = [i for i, column in enumerate(trips) if max(column) > 1]
        self.counters: dict[int, Value] = {}
        self.at_end: dict[int, Value] = {}
        connects, ends = {}, {}
        for i in self.live:
            self.counters[i], connects[i] = b.state(bits_for(max(trips[i])), f"count{i}")
            # A register, so that what ticks is known when the step begins.
            self.at_end[i], ends[i] = b.state(1, f"end{i}")
        self.carry = {i: self.ended_inside(i) for i in reversed(self.live)}
        self.final = self.ended_inside(-1)
        for i in self.live:
            zero = b.const(0, trips_width := bits_for(max(trips[i])))
            up = b.mux(self.at_end[i], zero, b.add(self.counters[i], b.const(1, trips_width)))
            ticked = b.mux(self.carry[i], up, self.counters[i])
            connects[i](b.mux(go, zero, ticked), b.any_of(go, step))
            single = [int(t == 1) for t in trips[i]]
            before = b.compare("eq", self.counters[i], b.column(row, [t - 2 for t in trips[i]], trips_width))
            end = b.mux(self.carry[i], b.mux(self.at_end[i], b.column(row, single, 1), before), self.at_end[i])
            ends[i](b.mux(go, b.table(row, single, 1), end), b.any_of(go, step))
        reduction = [i for i in self.live if i >= engine.outer_depth]
        self.first = b.all_of(*(self.at_start(i) for i in reduction))
        self.last = b.all_of(*(self.at_end[i] for i in reduction))

    def ended_inside(self, loop: int) -> Value:
        """i1: every loop inside loop number `loop` is at its end; of -1: every loop."""
        return self.b.all_of(*(self.at_end[i] for i in reversed(self.live) if i > loop))

    def inside(self, firsts: Sequence[int], flags: Mapping[int, Value]) -> Value:
        """i1: the flag is 1 of every live loop from number `firsts[row]` on inwards."""
        outside = {i: self.b.column(self.row, [int(i < first) for first in firsts], 1) for i in self.live}
        return self.b.all_of(*(self.b.any_of(outside[i], flags[i]) for i in self.live if i >= min(firsts)))

    def at_start(self, loop: int) -> Value:
        """i1: a live loop is at its first iteration."""
        return self.b.compare("eq", self.counters[loop], self.b.const(0, width_of(self.counters[loop])))

    def follow(
        self, name: str, width: int, bases: Value, deltas: Sequence[Sequence[int]], modulus: int | None = None
    ) -> Value:
        """A register that starts at `bases` and adds, at each step, the delta of the outermost loop that ticks.

        Args:
            name: name of the register.
            width: its bits.
            bases: start value for the row, read in the cycle of `go`.
            deltas: per row, the delta of every loop.
            modulus: sums wrap at it, at most 2**width; None for 2**width.
        """
        b = self.b
        value, connect = b.state(width, name)
        wraps = modulus is not None and modulus != 1 << width
        bits = width + 1 if wraps else width
        delta = b.const(0, bits)
        for i in reversed(self.live):
            column = b.column(self.row, [d[i] % modulus if modulus else d[i] for d in deltas], bits)
            delta = b.mux(self.carry[i], column, delta) if i != self.live[-1] else column
        total = b.add(b.zero_extend(value, bits), delta)
        if modulus and wraps:
            over = b.compare("uge", total, b.const(modulus, bits))
            total = b.bits(b.mux(over, b.add(total, b.const(-modulus, bits)), total), 0, width)
        connect(b.mux(self.go, bases, total), b.any_of(self.go, self.step))
        return value


def range_of(engine: Engine, forms: Sequence[dict | None]) -> int:
    """Bits of a signed register that holds every value of the rows' linear forms (None where a row has none)."""
    low = high = 0
    for nest, form in zip(engine.rows, forms, strict=True):
        if form is None:
            continue
        lo = hi = form.get(None, 0)
        for loop in nest.loops:
            reach = form.get(loop.iv, 0) * (loop.trip - 1)
            lo, hi = lo + min(0, reach), hi + max(0, reach)
        low, high = min(low, lo), max(high, hi)
    return signed_bits(low, high)
