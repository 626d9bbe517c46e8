"""The loop counters of an engine, and registers that follow them, such as addresses, without a multiplier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradcam.bits import signed_bits
from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.carries import with_carry
from gradcam.passes.hw.value import State, Value, bits_for
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.engines import Engine


class LoopCounters:
    """Counters of the time loops of the configuration that runs, advanced by one step per cycle in which `step` is 1.

    `moving` is the clock enable of the registers. It is 1 in every step and in the cycle of `go`, and it may be 1 in
    any cycle before `go`. `enable` is that of the pipeline; None where nothing stalls it.

    Attributes:
        configuration: the number of the configuration that runs; None for an engine with a single configuration.
        live: the numbers of the loops that have a counter, from the outermost to the innermost one.
        counters: per live loop, the number of its current iteration.
        carry: i1 per live loop: every loop inside it is at its last iteration, so that this loop advances.
        final: i1: this is the last step of the nest.
        first, last: i1: all reduction loops are at their first iteration; at their last iteration.
        at_start, at_end: i1 per live loop: it is at its first iteration; at its last iteration.
        starting, ending: i1 per live loop: what `at_start` and `at_end` become where `moving` is 1.
    """

    def __init__(
        self,
        b: Builder,
        engine: Engine,
        configuration: Value | None,
        go: Value,
        step: Value,
        moving: Value,
        enable: Value | None,
    ) -> None:
        self.b, self.engine, self.configuration = b, engine, configuration
        self.go, self.step, self.moving, self.enable = go, step, moving, enable
        self.clock = Clock.of(engine.configurations[0].op)
        self.crossing = self.clock.crossing
        self.trips = [list(column) for column in zip(*(engine.trips(n) for n in engine.configurations), strict=True)]
        # A loop with one iteration in every configuration never advances and needs no counter.
        self.live = [i for i, column in enumerate(self.trips) if max(column) > 1]
        self.counters: dict[int, State] = {}
        self.at_start: dict[int, State] = {}
        self.at_end: dict[int, State] = {}
        self.starting: dict[int, Value] = {}
        self.ending: dict[int, Value] = {}
        # Ends and carries are registers: when a step begins, the loops that advance are known already, so the path of
        # an address has only its adder.
        self.carry: dict[int, Value] = {}
        for i in reversed(self.live):
            self.carry[i] = b.const(1, 1) if i == self.live[-1] else b.state(1, f"carry{i}")
            self.at_start[i] = b.state(1, f"start{i}")
            self.at_end[i] = b.state(1, f"end{i}")
            # No reset at `go`: the last step of a nest leaves 0.
            self.counters[i] = b.state(bits_for(max(self.trips[i])), f"count{i}", reset=0)
        self.final = self.ended_inside(-1)
        self._count()
        reduction = [i for i in self.live if engine.outer_depth <= i < engine.reduced_depth]
        self.first = b.all_of(*(self.at_start[i] for i in reduction))
        self.last = b.all_of(*(self.at_end[i] for i in reduction))

    def _count(self) -> None:
        """Assigns the next values of counters, ends and carries, from the innermost loop to the outermost one."""
        b, go = self.b, self.go
        # i1 of each loop inside the current one: in the next step it is at its last iteration.
        ended: list[Value] = []
        # By configuration: the loops inside the current one have one iteration, so they are at their end at `go`, too.
        alone = [1] * len(self.engine.configurations)
        for i in reversed(self.live):
            carry, counter, at_end = self.carry[i], self.counters[i], self.at_end[i]
            if isinstance(carry, State):
                carry.assign(b.mux(go, self._at_go(alone), b.all_of(*ended)), self.moving)
            single = [int(t == 1) for t in self.trips[i]]
            up = b.mux(at_end, 0, counter + 1)
            counter.assign(b.mux(carry, up, counter), self.step)
            before = counter.eq(b.column(self.configuration, [t - 2 for t in self.trips[i]], counter.width))
            ended.append(b.mux(carry, b.mux(at_end, b.column(self.configuration, single, 1), before), at_end))
            self.ending[i] = b.mux(go, self._at_go(single), ended[-1])
            self.starting[i] = go | b.mux(carry, at_end, self.at_start[i])
            at_end.assign(self.ending[i], self.moving)
            self.at_start[i].assign(self.starting[i], self.moving)
            alone = [a & s for a, s in zip(alone, single, strict=True)]

    def ended_inside(self, loop: int) -> Value:
        """i1: every loop inside loop number `loop` is at its last iteration; for `loop` -1, every loop is."""
        return self.b.all_of(*(self.at_end[i] for i in reversed(self.live) if i > loop))

    def inside(self, firsts: Sequence[int], flags: Mapping[int, Value]) -> Value:
        """i1: the flags of all live loops from number `firsts[configuration]` inwards are 1."""
        outside = {i: self.b.column(self.configuration, [int(i < first) for first in firsts], 1) for i in self.live}
        return self.b.all_of(*((outside[i] | flags[i]) for i in self.live if i >= min(firsts)))

    def begins(self, firsts: Sequence[int]) -> Value:
        """i1: all live loops from number `firsts[configuration]` inwards are at their first iteration."""
        value = self.b.state(1, "begins")
        value.assign(self.go | self.inside(firsts, self.at_end), self.moving)
        return value

    def _at_go(self, entries: Sequence[int]) -> Value:
        """The i1 entry of the configuration in the cycle of `go`.

        With a target clock the configuration's number arrives one cycle before `go`, so the entry is registered.
        """
        return (self.b.column if self.crossing else self.b.table)(self.configuration, entries, 1)

    def follow(
        self,
        name: str,
        width: int,
        bases: Value,
        deltas: Sequence[Sequence[int]],
        modulus: int | None = None,
        late: int = 0,
    ) -> Value:
        """A register that starts at `bases` and in each step adds the delta of the outermost loop that advances.

        Args:
            name: name of the register.
            width: bits of the register.
            bases: start value for the configuration, read in the cycle of `go`.
            deltas: per configuration, the delta of every loop.
            modulus: sums are taken modulo this number, at most 2**width; None for 2**width.
            late: the stage in which the register has the value of a step, 0 or 1. The choice of the delta and its sum
                are two cycles for stage 1.
        """
        b, go, moving = self.b, self.go, self.moving
        value = b.state(width, name)
        wraps = modulus is not None and modulus != 1 << width
        bits = width + 1 if wraps else width
        delta = self._of_advancing_loop(
            [[d % modulus if modulus else d for d in per_loop] for per_loop in deltas], bits
        )
        if late:
            go, moving, bases, delta = (self.in_next_stage(v, name) for v in (go, moving, bases, delta))
            moving = moving if self.enable is None else moving & self.enable
            if not wraps and self.clock.fills(width):
                # What is added is chosen in front of the adder: nothing follows the carries.
                value.assign((value & (~go).replicate(width)) + b.mux(go, bases, delta), moving)
                return value
        total = value.zero_extend(bits) + delta
        if modulus and wraps:
            # Both candidate sums are computed in parallel, and the sign of the lower one selects.
            lower = self._of_advancing_loop([[d % modulus - modulus for d in per_loop] for per_loop in deltas], bits)
            lower = value.zero_extend(bits) + (self.in_next_stage(lower, name) if late else lower)
            total = b.mux(lower[-1], total, lower)[:width]
        value.assign(b.mux(go, bases, total), moving)
        return value

    def count(
        self, name: str, width: int, bases: Value, deltas: Sequence[Sequence[int]], more: Value, keeps: Sequence[int]
    ) -> Value:
        """A register that follows the loops as `follow` says, and is greater by `more` after every cycle.

        Args:
            name, width, bases, deltas: see `follow`.
            more: i1, added in every cycle, with or without a step.
            keeps: per configuration, whether the register starts at the sum of `bases`, its value before, and `more`.
        """
        b = self.b
        value, delta = b.state(width, name), self.step.replicate(width) & self._of_advancing_loop(deltas, width)
        # What the adder adds is chosen in front of it, where the step is known as late as the loops that advance.
        stays = ~self.go | self._at_go(keeps)
        terms = value & stays.replicate(width), b.mux(self.go, bases, delta)
        value.assign(with_carry(b, *terms, more & stays))
        return value

    def in_next_stage(self, value: Value, name: str) -> Value:
        """A value behind a register of the pipeline, which belongs to the register `name`."""
        return self.b.register(value, f"{name}_next", self.enable)

    def _of_advancing_loop(self, entries: Sequence[Sequence[int]], bits: int) -> Value:
        """The entry of the outermost loop that advances; 0 where none does. `entries`: per configuration, by loop."""
        b, terms = self.b, []
        for i, outer in zip(self.live, [None, *self.live], strict=False):
            column = b.column(self.configuration, [per_loop[i] for per_loop in entries], bits)
            advances = self.carry[i] if outer is None else self.carry[i] & ~self.carry[outer]
            terms.append(advances.replicate(bits) & column)
        return b.any_of(*terms) if terms else b.const(0, bits)


def range_of(engine: Engine, forms: Sequence[dict | None]) -> int:
    """Bits of a signed register that holds every value of the linear forms, one per configuration (None: no form)."""
    low = high = 0
    for nest, form in zip(engine.configurations, forms, strict=True):
        if form is None:
            continue
        lo = hi = form.get(None, 0)
        for loop in nest.loops:
            reach = form.get(loop.iv, 0) * (loop.trip - 1)
            lo, hi = lo + min(0, reach), hi + max(0, reach)
        low, high = min(low, lo), max(high, hi)
    return signed_bits(low, high)
