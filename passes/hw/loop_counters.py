"""The loop odometer of an engine, and address registers that follow it without a multiplier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.value import State, Value, bits_for, signed_bits
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.engines import Engine


class LoopCounters:
    """Counts the flattened time loops of the row that runs; one step per cycle in which `step` is 1.

    Registers change in cycles in which `moving` is 1: in every step, in that of `go`, and in any before it.

    Attributes:
        carry: by loop: it ticks, as every loop inside it is at its end.
        final: this is the last step.
        first, last: all reduction loops are at their first, last iteration.
        at_start, at_end: per live loop, it is at its first, its last iteration.
    """

    def __init__(self, b: Builder, engine: Engine, row: Value | None, go: Value, step: Value, moving: Value) -> None:
        self.b, self.engine, self.row, self.go, self.step, self.moving = b, engine, row, go, step, moving
        self.crossing = Clock.of(engine.rows[0].op).crossing
        self.trips = [list(column) for column in zip(*(engine.trips(n) for n in engine.rows), strict=True)]
        # A loop with one iteration in every row never ticks and needs no counter.
        self.live = [i for i, column in enumerate(self.trips) if max(column) > 1]
        self.counters: dict[int, State] = {}
        self.at_start: dict[int, State] = {}
        self.at_end: dict[int, State] = {}
        # Ends and carries are registers: a step knows the loops that tick when it begins, and addresses need only add.
        self.carry: dict[int, Value] = {}
        for i in reversed(self.live):
            self.carry[i] = b.const(1, 1) if i == self.live[-1] else b.state(1, f"carry{i}")
            self.at_start[i] = b.state(1, f"start{i}")
            self.at_end[i] = b.state(1, f"end{i}")
            # The last step of a nest leaves 0.
            self.counters[i] = b.state(bits_for(max(self.trips[i])), f"count{i}", reset=0)
        self.final = self.ended_inside(-1)
        self._count()
        reduction = [i for i in self.live if i >= engine.outer_depth]
        self.first = b.all_of(*(self.at_start[i] for i in reduction))
        self.last = b.all_of(*(self.at_end[i] for i in reduction))

    def _count(self) -> None:
        """The next values of counters, ends and carries, from the innermost loop on outwards."""
        b, go = self.b, self.go
        ended: list[Value] = []  # the loops inside are at their end in the next step,
        alone = [1] * len(self.engine.rows)  # and in the first one, by row
        for i in reversed(self.live):
            carry, counter, at_end = self.carry[i], self.counters[i], self.at_end[i]
            if isinstance(carry, State):
                carry.assign(b.mux(go, self._at_go(alone), b.all_of(*ended)), self.moving)
            single = [int(t == 1) for t in self.trips[i]]
            up = b.mux(at_end, 0, counter + 1)
            counter.assign(b.mux(carry, up, counter), self.step)
            before = counter.eq(b.column(self.row, [t - 2 for t in self.trips[i]], counter.width))
            ended.append(b.mux(carry, b.mux(at_end, b.column(self.row, single, 1), before), at_end))
            at_end.assign(b.mux(go, self._at_go(single), ended[-1]), self.moving)
            starts = b.mux(carry, at_end, self.at_start[i])
            self.at_start[i].assign(go | starts, self.moving)
            alone = [a & s for a, s in zip(alone, single, strict=True)]

    def ended_inside(self, loop: int) -> Value:
        """i1: every loop inside loop number `loop` is at its end; of -1: every loop."""
        return self.b.all_of(*(self.at_end[i] for i in reversed(self.live) if i > loop))

    def inside(self, firsts: Sequence[int], flags: Mapping[int, Value]) -> Value:
        """i1: the flag is 1 of every live loop from number `firsts[row]` on inwards."""
        outside = {i: self.b.column(self.row, [int(i < first) for first in firsts], 1) for i in self.live}
        return self.b.all_of(*((outside[i] | flags[i]) for i in self.live if i >= min(firsts)))

    def begins(self, firsts: Sequence[int]) -> Value:
        """i1: every live loop from number `firsts[row]` on inwards is at its first iteration."""
        value = self.b.state(1, "begins")
        value.assign(self.go | self.inside(firsts, self.at_end), self.moving)
        return value

    def _at_go(self, entries: Sequence[int]) -> Value:
        """i1 of the row in the cycle of `go`; with a clock the row is there a cycle before."""
        return (self.b.column if self.crossing else self.b.table)(self.row, entries, 1)

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
            more: a value that is added in every cycle, with or without a step.
        """
        b = self.b
        value = b.state(width, name)
        wraps = modulus is not None and modulus != 1 << width
        bits = width + 1 if wraps else width
        delta = self._of_tick([[d % modulus if modulus else d for d in row] for row in deltas], bits)
        if more is not None:
            delta = (self.step.replicate(bits) & delta) + more
        total = value.zero_extend(bits) + delta
        if modulus and wraps:
            # Both sums are made side by side, and the sign of the lower one chooses.
            lower = self._of_tick([[d % modulus - modulus for d in row] for row in deltas], bits)
            lower = value.zero_extend(bits) + lower
            total = b.mux(lower[-1], total, lower)[:width]
        value.assign(b.mux(self.go, bases, total), self.moving if more is None else None)
        return value

    def _of_tick(self, entries: Sequence[Sequence[int]], bits: int) -> Value:
        """The row's entry, of one for every loop, of the outermost loop that ticks; of no loop: 0."""
        b, picked = self.b, []
        for i, outer in zip(self.live, [None, *self.live], strict=False):
            column = b.column(self.row, [row[i] for row in entries], bits)
            ticks = self.carry[i] if outer is None else self.carry[i] & ~self.carry[outer]
            picked.append(ticks.replicate(bits) & column)
        return b.any_of(*picked) if picked else b.const(0, bits)


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
