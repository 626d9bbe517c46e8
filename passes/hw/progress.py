"""How far the row of an engine is: when it has ended, when others may follow it, and when it waits for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradcam.passes.hw.addresses import AddressGenerators
from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.datapath import Datapath
from gradcam.passes.hw.value import Value, signed_bits
from gradcam.passes.ir.attributes import DRAIN
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.program.engines import Engine, stage_of
from gradcam.passes.program.nest import Nest
from gradcam.passes.program.runs import Follow


class Progress:
    """Per row, what other nests count of it, and what it waits for."""

    def __init__(self, b: Builder, engine: Engine, follows: Mapping[int, Follow]) -> None:
        """Of the rows of `engine`, given the nests that follow others."""
        self.b, self.engine = b, engine
        self.counted = [next((f for f in follows.values() if f.producer is nest), None) for nest in engine.rows]
        self.gates = [next((f for f in follows.values() if f.nest is nest), None) for nest in engine.rows]
        #: Per row the stage of its stores.
        self.depths = [stage_of(nest.epilogue.sinks[0].op) for nest in engine.rows]

    def released(self, agu: AddressGenerators, written: Value, producer_done: Value) -> Value:
        """i1: the step is not the first of an iteration whose operands the producer has not written yet."""
        counters, gates, rows = agu.counters, self.gates, self.engine.rows
        firsts = [self._inner(nest, f.gated if f else 0) for nest, f in zip(rows, gates, strict=True)]
        # What is written but not needed yet; a row without a gate needs nothing.
        forms: list[Linear] = [{t: -n for t, n in f.need.items()} if f else {} for f in gates]
        bits = max(signed_bits(-int(f.needs.max()), f.count - int(f.needs.min())) for f in gates if f)
        base = agu.base([form.get(None, 0) for form in forms], bits)
        deltas = [self.engine.deltas(nest, form) for nest, form in zip(rows, forms, strict=True)]
        credits = counters.follow("ahead", bits, base, deltas, more=written.zero_extend(bits))
        short = credits[-1] & ~producer_done
        return ~(counters.begins(firsts) & short)

    def done(self, path: Datapath) -> Value:
        """i1: the next turn may be issued, as far as the row that ran is concerned."""
        drains = [DRAIN.get(nest.op) for nest in self.engine.rows]
        stages = [d - max(0, drain) for d, drain in zip(self.depths, drains, strict=True)]
        done = self._after(path, path.counters.final, stages, "final")
        return self.b.register(done, "done_q", reset=0) if min(drains) < 0 else done

    def committed(self, path: Datapath) -> Value:
        """i1: an iteration that nests count is written."""
        counts = [f.counted if f else 0 for f in self.counted]
        firsts = [self._inner(nest, count) for nest, count in zip(self.engine.rows, counts, strict=True)]
        producer_done = path.counters.inside(firsts, path.counters.at_end)
        stages = [d if f else None for d, f in zip(self.depths, self.counted, strict=True)]
        return self._after(path, producer_done, stages, "landed")

    def _after(self, path: Datapath, step: Value, stages: Sequence[int | None], name: str) -> Value:
        """i1: a step of the row for which `step` is 1 is in the stage `stages[row]`; None for never."""
        ends = []
        for stage in sorted({s for s in stages if s is not None}):
            here = path.table([int(s == stage) for s in stages], 1)
            ends.append(path.flag(self.b.all_of(path.valid, step, here), stage, name))
        ended = self.b.any_of(*ends)
        return ended if path.enable is None else ended & path.enable

    def _inner(self, nest: Nest, count: int) -> int:
        """The number of the odometer's first loop inside the nest's `count` outermost ones."""
        loops = self.engine.loops(nest)
        return loops.index(nest.loops[count - 1]) + 1 if count else 0
