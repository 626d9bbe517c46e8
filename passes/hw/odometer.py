"""The loop odometer of an engine, and address registers that follow it without a multiplier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradcam.passes.hw.builder import Builder, Value, bits_for, signed_bits
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.engines import Engine


class Odometer:
    """Counts the flattened time loops of the row that runs; one step per cycle in which `step` is 1.

    Registers change in cycles in which `moving` is 1: in every step, in that of `go`, and in any before it.

    Attributes:
        carry: by loop: it ticks, as every loop inside it is at its end.
        final: this is the last step.
        first, last: all reduction loops are at their first, last iteration.
        at_start, at_end: per live loop, it is at its first, its last iteration.
    """

    def __init__(self, b: Builder, engine: Engine, row: Value | None, go: Value, step: Value, moving: Value) -> None:
        self.moving = moving
        self.b, self.engine, self.row, self.go, self.step = b, engine, row, go, step
        self.hop = Clock.of(engine.rows[0].op).hop
        trips = [list(column) for column in zip(*(engine.trips(n) for n in engine.rows), strict=True)]
        # A loop with one iteration in every row never ticks and needs no counter.
        self.live = [i for i, column in enumerate(trips) if max(column) > 1]
        self.counters: dict[int, Value] = {}
        self.at_start: dict[int, Value] = {}
        self.at_end: dict[int, Value] = {}
        # Ends and carries are registers: what ticks is known when the step begins, and its addresses need only add.
        self.carry: dict[int, Value] = {}
        connects = {}
        for i in reversed(self.live):
            inside = i == self.live[-1]
            self.carry[i], connects["carry", i] = (b.const(1, 1), None) if inside else b.state(1, f"carry{i}")
            self.at_start[i], connects["start", i] = b.state(1, f"start{i}")
            self.at_end[i], connects["end", i] = b.state(1, f"end{i}")
            # The last step of a nest leaves 0.
            self.counters[i], connects["count", i] = b.state(bits_for(max(trips[i])), f"count{i}", reset=0)
        self.final = self.ended_inside(-1)
        ended: list[Value] = []  # the loops inside are at their end in the next step,
        alone = [1] * len(engine.rows)  # and in the first one, by row
        for i in reversed(self.live):
            if connect := connects["carry", i]:
                connect(b.mux(go, self._at_go(alone), b.all_of(*ended)), moving)
            counter, at_end, width = self.counters[i], self.at_end[i], bits_for(max(trips[i]))
            zero, single = b.const(0, width), [int(t == 1) for t in trips[i]]
            up = b.mux(at_end, zero, b.add(counter, b.const(1, width)))
            connects["count", i](b.mux(self.carry[i], up, counter), step)
            before = b.compare("eq", counter, b.column(row, [t - 2 for t in trips[i]], width))
            ended.append(b.mux(self.carry[i], b.mux(at_end, b.column(row, single, 1), before), at_end))
            connects["end", i](b.mux(go, self._at_go(single), ended[-1]), moving)
            starts = b.mux(self.carry[i], at_end, self.at_start[i])
            connects["start", i](b.any_of(go, starts), moving)
            alone = [a & s for a, s in zip(alone, single, strict=True)]
        reduction = [i for i in self.live if i >= engine.outer_depth]
        self.first = b.all_of(*(self.at_start[i] for i in reduction))
        self.last = b.all_of(*(self.at_end[i] for i in reduction))

    def ended_inside(self, loop: int) -> Value:
        """i1: every loop inside loop number `loop` is at its end; of -1: every loop."""
        return self.b.all_of(*(self.at_end[i] for i in reversed(self.live) if i > loop))

    def inside(self, firsts: Sequence[int], flags: Mapping[int, Value]) -> Value:
        """i1: the flag is 1 of every live loop from number `firsts[row]` on inwards."""
        outside = {i: self.b.column(self.row, [int(i < first) for first in firsts], 1) for i in self.live}
        return self.b.all_of(*(self.b.any_of(outside[i], flags[i]) for i in self.live if i >= min(firsts)))

    def begins(self, firsts: Sequence[int]) -> Value:
        """i1: every live loop from number `firsts[row]` on inwards is at its first iteration."""
        value, connect = self.b.state(1, "begins")
        connect(self.b.any_of(self.go, self.inside(firsts, self.at_end)), self.moving)
        return value

    def _at_go(self, entries: Sequence[int]) -> Value:
        """i1 of the row in the cycle of `go`; with a clock the row is there a cycle before."""
        return (self.b.column if self.hop else self.b.table)(self.row, entries, 1)

    def follow(
        self,
        name: str,
        width: int,
        bases: Value,
        deltas: Sequence[Sequence[int]],
        modulus: int | None = None,
        more: Value | None = None,
    ) -> Value:
        """A register that starts at `bases` and adds, at each step, the delta of the outermost loop that ticks.

        Args:
            name: name of the register.
            width: its bits.
            bases: start value for the row, read in the cycle of `go`.
            deltas: per row, the delta of every loop.
            modulus: sums wrap at it, at most 2**width; None for 2**width.
            more: what is added in every cycle, whether a step is made in it or not.
        """
        b = self.b
        value, connect = b.state(width, name)
        wraps = modulus is not None and modulus != 1 << width
        bits = width + 1 if wraps else width
        delta = self._of_tick([[d % modulus if modulus else d for d in row] for row in deltas], bits)
        if more is not None:
            delta = b.add(b.variadic("and", [b.spread(self.step, bits), delta]), more)
        total = b.add(b.zero_extend(value, bits), delta)
        if modulus and wraps:
            # Both sums are made side by side, and the sign of the lower one chooses.
            lower = self._of_tick([[d % modulus - modulus for d in row] for row in deltas], bits)
            lower = b.add(b.zero_extend(value, bits), lower)
            total = b.bits(b.mux(b.bits(lower, width, 1), total, lower), 0, width)
        connect(b.mux(self.go, bases, total), self.moving if more is None else None)
        return value

    def _of_tick(self, entries: Sequence[Sequence[int]], bits: int) -> Value:
        """The row's entry, of one for every loop, of the outermost loop that ticks; of no loop: 0."""
        b, picked = self.b, []
        for i, outer in zip(self.live, [None, *self.live], strict=False):
            column = b.column(self.row, [row[i] for row in entries], bits)
            ticks = self.carry[i] if outer is None else b.all_of(self.carry[i], b.negate(self.carry[outer]))
            picked.append(b.variadic("and", [b.spread(ticks, bits), column]))
        return b.variadic("or", picked) if picked else b.const(0, bits)


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
