"""Pipeline stages of a nest: the number of cycles from a step to the execution of each op."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from gradcam.errors import fail
from gradcam.passes.ir import attributes
from gradcam.passes.ir.attributes import BANK, BANKS, CASCADE, ENGINE, STAGE
from gradcam.passes.program.cascades import cascade_latency, cascades_of
from gradcam.passes.program.clock import EXTREME, LATENCY, SUM, Clock
from gradcam.passes.program.engines import access_kind, pattern
from gradcam.passes.program.nest import Access, Dataflow, Nest, Node
from gradcam.passes.program.streams import held_steps, word_steps
from gradcam.passes.schedule.equal_values import raise_to_largest

#: The stage in which a value is ready, and the delay in ns of the ops that compute it in that stage.
Ready = tuple[int, float]


class StagePlan:
    """The stage of every op of some nests, as early as possible; `write` puts it into the IR.

    Attributes:
        depths: for each nest the stage of its writes.
    """

    def __init__(self, nests: Sequence[Nest]) -> None:
        """Assigns a stage to every op.

        Raises:
            GradcamError: a reduction cannot update its accumulators in one cycle.
        """
        #: The op of each lane sum that cascades of DSP slices add up, and the products of one of them.
        self._cascades: list[tuple[Any, int]] = []
        #: Op, stage, and a latency that is not the usual one, by the identity of the op's Python object.
        self._placed: dict[int, tuple[Any, int, int | None]] = {}
        #: The reads that make a word, of each bank that takes several.
        self._reads = {n: e["reads"] for nest in nests[:1] for n, e in _banks(nest).items() if "reads" in e}
        #: By engine, the most cycles by which a word of the bodies of its nests is there later than usual.
        self._latest: dict[str | None, int] = {}
        for nest in nests:
            most = max((self.late(a) for a in self.gathered(nest) if nest.in_body(a)), default=0)
            self._latest[ENGINE.find(nest.op)] = max(self._latest.get(ENGINE.find(nest.op), 0), most)
        self.depths = self._aligned(nests, [self._depth(nest) for nest in nests])

    def _aligned(self, nests: Sequence[Nest], depths: Sequence[int]) -> list[int]:
        """The stages in which nests store: those of an engine that store alike do so in the stage of the last of them.

        They then write through one port of the engine: nothing selects between ports in front of each bank that several
        of them write, and the engine selects what it stores before the register that holds it, where it is narrow.
        """
        alike: dict[Any, list[int]] = {}
        for number, nest in enumerate(nests):
            for access in nest.stores:
                if access_kind(access) == "memory" and ENGINE.is_on(nest.op):
                    alike.setdefault((ENGINE.find(nest.op), pattern(access)), []).append(number)
        aligned = dict(enumerate(depths))
        raise_to_largest(aligned, alike.values())
        for nest, depth in zip(nests, aligned.values(), strict=True):
            for access in nest.stores:
                op, _, latency = self._placed[id(access.op)]
                self._placed[id(op)] = op, depth, latency
        return list(aligned.values())

    def _depth(self, nest: Nest) -> int:
        clock = Clock.of(nest.op)
        base = clock.address + clock.read
        late = {id(a.op): self.late(a) for a in self.gathered(nest)}
        if nest.body is not None:
            cascades = cascades_of(nest.body, clock)
            self._cascades += [(n.op, cascades[id(n)]) for n in nest.body.nodes if n.reduced and id(n) in cascades]
            latest = self._latest[ENGINE.find(nest.op)]
            base = 1 + _Stages(clock, nest.body, self._placed, cascades, late).reduce(latest)
        return _Stages(clock, nest.epilogue, self._placed, {}, late).finish(base)

    def gathered(self, nest: Nest) -> list[Access]:
        """The loads of a nest whose words take several reads."""
        return [a for a in nest.loads if self.reads(a) > 1]

    def reads(self, access: Access) -> int:
        """The reads that make the word of a load; 1 as long as no bank is planned."""
        return self._reads.get(BANK.find(access.memref.owner) or "", 1) if access_kind(access) == "memory" else 1

    def late(self, access: Access) -> int:
        """The cycles by which a word of several reads is there later than one of a single read."""
        return self.reads(access) + Clock.of(access.op).crossing

    def pace(self, nest: Nest) -> tuple[int, int]:
        """The steps that need the same word of a load that slows a nest down, and `missing` of it; 1 and 0 without."""
        slow = [a for a in self.gathered(nest) if self.missing(nest, a)]
        return (held_steps(nest, slow[0]), self.missing(nest, slow[0])) if slow else (1, 0)

    def missing(self, nest: Nest, access: Access) -> int:
        """The cycles by which the reads of a word outlast the steps that need it; 0 where they do not."""
        reads = self.reads(access)
        return max(0, reads - held_steps(nest, access)) if reads > 1 else 0

    def busy(self, nest: Nest, access: Access) -> int:
        """The cycles for which the last word of a nest is still read after the one of the last step."""
        reads = self.reads(access)
        return max(0, reads - nest.steps + int(word_steps(nest, access)[-1])) if reads > 1 else 0

    def stage(self, access: Access) -> int:
        """The stage of a load or store."""
        return self._placed[id(access.op)][1]

    def write(self) -> None:
        """Sets `gradcam.stage` of every op, `gradcam.latency` where it takes another number of cycles than usual, and
        `gradcam.cascade` of the lane sums that cascades of DSP slices add up.
        """
        for op, terms in self._cascades:
            CASCADE.set(op, terms)
        for op, stage, latency in self._placed.values():
            STAGE.set(op, stage)
            if latency is not None:
                attributes.LATENCY.set(op, latency)


def _banks(nest: Nest) -> Mapping[str, Any]:
    """The banks of the module around a nest; none before they are planned."""
    module = nest.op.operation
    while module.parent is not None:
        module = module.parent
    return BANKS.find(module) or {}


def adds_up(body: Dataflow) -> bool:
    """Whether all that a reduction body makes of each accumulator is its sum with another value."""
    sums = [sink.value for sink in body.sinks]
    before = [n for n in body.nodes if n.kind == "acc"]
    readers = [n for n in body.nodes if any(a in before for a in n.args)]
    alone = all(n.kind == "arith.addi" and sum(a in before for a in n.args) == 1 for n in sums)
    return alone and all(n in sums for n in readers) and all(n not in r.args for n in sums for r in body.nodes)


class _Stages:
    """Assigns stages to the ops of a dataflow graph."""

    def __init__(
        self,
        clock: Clock,
        flow: Dataflow,
        placed: dict[int, tuple[Any, int, int | None]],
        cascades: Mapping[int, int],
        late: Mapping[int, int],
    ) -> None:
        self.clock, self.flow, self.placed, self.cascades = clock, flow, placed, cascades
        #: The cycles by which the words of loads are there later than usual, by id of the op of each such load.
        self.words_late = late
        self.ready: dict[int, Ready] = {}
        #: Nodes that depend on an accumulator of the body. It is updated in one cycle, so they stay in one stage.
        self.updates: set[int] = set()
        #: The cycles by which the highest piece of the accumulators is updated later than the lowest one.
        self.late = 0

    def reduce(self, latest: int) -> int:
        """Assigns the stages of a reduction body; returns the last stage in which the accumulators are updated.

        Args:
            latest: the most cycles by which a word is late in a body of the engine, whose bodies have equal stages.
        """
        sinks, read_stage = self.flow.sinks, self.clock.address + latest
        # Pieces of a sum depend on each other by a carry alone: each has a loop of one cycle through a register.
        self.late = max(self.clock.pieces(s.value.bits) - 1 for s in sinks) if adds_up(self.flow) else 0
        self._place_all(read_stage, 0, True)
        update = max(self.ready[id(s.value)][0] for s in sinks) - self.late
        self._place_all(read_stage, update, True)
        for sink in sinks:
            if self.ready[id(sink.value)][0] != update + self.late:
                raise fail(
                    sink.op,
                    "an accumulator must change in one cycle: no product, shift or sum over lanes may depend on it",
                )
            self._set(sink.op, update)
        return update + self.late

    def finish(self, base: int) -> int:
        """Assigns the stages of an epilogue that reads the accumulators in stage `base`; returns that of its writes."""
        # An epilogue read is issued late, so that the address waits in the pipeline and not the data.
        self._place_all(base - self.clock.read, base, False)
        # All writes of an epilogue happen in one stage, so that one flag ends the nest.
        stage = max(self._start([s.value])[0] for s in self.flow.sinks)
        if any(isinstance(s.target, Access) and access_kind(s.target) == "memory" for s in self.flow.sinks):
            stage += self.clock.crossing
        for sink in self.flow.sinks:
            self._set(sink.op, stage)
        return stage

    def _place_all(self, read_stage: int, accumulator_stage: int, body: bool) -> None:
        self.ready.clear()
        for node in self.flow.nodes:
            self.ready[id(node)] = self._place(node, read_stage, accumulator_stage)
            if body and (node.kind == "acc" or any(id(a) in self.updates for a in node.args)):
                self.updates.add(id(node))

    def _place(self, node: Node, read_stage: int, accumulator_stage: int) -> Ready:
        clock = self.clock
        if node.kind in ("const", "iv"):
            return 0, 0.0
        if node.kind == "acc":
            return accumulator_stage, 0.0
        if node.kind == "load":
            return max(self._place_load(word, read_stage) for word in node.what.words)
        updates = any(id(a) in self.updates for a in node.args)
        if updates:
            # Other operands are registered before they meet the accumulator. Operands of a comparison are ready another
            # cycle earlier, so that their comparison with the initial value is finished by then.
            early = clock.crossing if node.kind in ("arith.cmpi", *EXTREME) else 0
            ready = (self.ready[id(a)][0] if id(a) in self.updates else self._start([a])[0] + early for a in node.args)
            stage, delay = max(ready), 0.0
        else:
            stage, delay = self._after(node.args)
            if delay > 0 and delay + clock.delay(node) > clock.budget:
                stage, delay = stage + 1, 0.0
        latency = self.late if updates and node.kind in SUM else self._latency(node)
        latency = 0 if updates and node.kind in EXTREME else latency
        self._set(node.op, stage, latency, node.kind)
        registered = latency or id(node) in self.cascades
        return stage + latency, clock.rest(node) if registered else delay + clock.delay(node)

    def _latency(self, node: Node) -> int:
        """Cycles from the inputs of an op to its result.

        Products of a cascade are ready together, as their sum; adders add up the sums of several cascades.
        """
        terms, cascade = prod(self.flow.extents[d] for d in node.reduced), self.cascades.get(id(node))
        if cascade is None:
            return self.clock.latency(node, terms)
        if not node.reduced:
            return cascade_latency(cascade)
        return self.clock.latency(node, terms // cascade) if terms > cascade else 0

    def _place_load(self, access: Access, read_stage: int) -> Ready:
        kind, clock = access_kind(access), self.clock
        if kind in ("register", "port"):
            self._set(access.op, read_stage + 1)
            return read_stage + 1, 0.0
        # The step that needs a beat takes it. Where a word is made by several reads, those of other words are issued
        # later, so that their addresses wait in the pipeline and not the data.
        late = self.words_late.get(id(access.op), 0)
        early = max(clock.address, read_stage - late)
        stage, latency = (0, 1) if kind == "stream" else (early, clock.read + late)
        self._set(access.op, stage, latency, "load")
        return stage + latency, clock.lane

    def _after(self, args: Any) -> Ready:
        """The stage and delay at which the last of the values is ready."""
        return max((self.ready[id(a)] for a in args), default=(0, 0.0))

    def _start(self, args: Any) -> Ready:
        """The stage at whose start the last of the values comes from a register."""
        stage, delay = self._after(args)
        return (stage + 1, 0.0) if delay > 0 else (stage, 0.0)

    def _set(self, op: Any, stage: int, latency: int = 0, kind: str = "") -> None:
        self.placed[id(op)] = op, stage, None if latency == LATENCY.get(kind, 0) else latency
