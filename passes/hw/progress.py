"""The progress of an engine's configuration: its end, the iterations it has committed, its wait for a producer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradcam.bits import signed_bits
from gradcam.passes.hw.addresses import AddressGenerators
from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.datapath import Datapath
from gradcam.passes.hw.value import Value
from gradcam.passes.ir.attributes import DRAIN
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.program.engines import Engine, stage_of
from gradcam.passes.program.nest import Nest
from gradcam.passes.program.runs import Follow


class Progress:
    """Builds the flags that synchronize a producer and the nest that follows it, and the flag of a nest's end.

    Attributes:
        counted: per configuration, the `Follow` whose producer it is; None where no nest follows it.
        gates: per configuration, the `Follow` by which it waits for a producer; None where it waits for none.
        depths: per configuration, the pipeline stage of its stores.
    """

    def __init__(self, b: Builder, engine: Engine, follows: Mapping[int, Follow]) -> None:
        """Takes the engine, and the nests that run behind a producer, by its number."""
        self.b, self.engine = b, engine
        self.counted = [
            next((f for f in follows.values() if f.producer is nest), None) for nest in engine.configurations
        ]
        self.gates = [next((f for f in follows.values() if f.nest is nest), None) for nest in engine.configurations]
        self.depths = [stage_of(nest.epilogue.sinks[0].op) for nest in engine.configurations]

    def released(self, agu: AddressGenerators, written: Value, producer_done: Value) -> Value:
        """i1: the step may be issued: it does not begin an iteration whose operands are not all committed.

        A register counts credits: the iterations that the producer has committed, less the number that the current
        iteration needs. While credits are negative, the first step of an iteration waits, unless the producer is done.
        A nest that is issued later than its producer starts with the iterations that were committed while another nest
        ran on this engine. That one waits for nothing, so its credits are their number.
        """
        counters, gates, configurations = agu.counters, self.gates, self.engine.configurations
        firsts = [self._inner(nest, f.gated if f else 0) for nest, f in zip(configurations, gates, strict=True)]
        # Credits lose what an iteration needs; a configuration without a gate needs nothing.
        forms: list[Linear] = [{t: -n for t, n in f.need.items()} if f else {} for f in gates]
        bits = max(signed_bits(-int(f.needs.max()), f.count - int(f.needs.min())) for f in gates if f)
        base = agu.base([form.get(None, 0) for form in forms], bits)
        deltas = [self.engine.deltas(nest, form) for nest, form in zip(configurations, forms, strict=True)]
        keeps = [int(f is not None and f.after is not None) for f in gates]
        credits = counters.count("ahead", bits, base, deltas, written, keeps)
        short = credits[-1] & ~producer_done
        return ~(counters.begins(firsts) & short)

    def done(self, path: Datapath) -> Value:
        """i1: as far as the configuration that ran is concerned, the next issue group may be issued.

        That is the case when its last step is `gradcam.drain` stages before its stores. An engine with a negative
        drain, which a nest that can stall has with a target clock, gives the flag one cycle later.
        """
        drains = [DRAIN.get(nest.op) for nest in self.engine.configurations]
        stages = [d - max(0, drain) for d, drain in zip(self.depths, drains, strict=True)]
        done = self._after(path, path.counters.final, stages, "final")
        return self.b.register(done, "done_q", reset=0) if min(drains) < 0 else done

    def committed(self, path: Datapath) -> Value:
        """i1: another iteration of a producer is committed: its last step has reached the stage of the stores."""
        counts = [f.counted if f else 0 for f in self.counted]
        firsts = [self._inner(nest, count) for nest, count in zip(self.engine.configurations, counts, strict=True)]
        last = path.counters.inside(firsts, path.counters.at_end)
        stages = [d if f else None for d, f in zip(self.depths, self.counted, strict=True)]
        return self._after(path, last, stages, "landed")

    def _after(self, path: Datapath, step: Value, stages: Sequence[int | None], name: str) -> Value:
        """i1: a step with the flag `step` is in stage `stages[configuration]`; None means that the flag stays 0."""
        # A single chain of registers, which a flag joins as many of them before its end as its stage says.
        ended, left = self.b.const(0, 1), sorted({s for s in stages if s is not None})
        while left:
            stage = left.pop()
            here = path.table([int(s == stage) for s in stages], 1)
            ended = path.flag(ended | self.b.all_of(path.valid, step, here), stage - (left[-1] if left else 0), name)
        return ended if path.enable is None else ended & path.enable

    def _inner(self, nest: Nest, count: int) -> int:
        """The number, among the loop counters, of the first loop inside the nest's `count` outermost loops."""
        loops = self.engine.loops(nest)
        return loops.index(nest.loops[count - 1]) + 1 if count else 0
