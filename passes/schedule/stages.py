"""Pipeline stages of a nest: which cycle after its step each op of a lane runs in."""

from __future__ import annotations

from math import prod
from typing import Any

from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.program.clock import EXTREME, LATENCY, Clock
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.nest import Access, Dataflow, Nest, Node

#: The stage in which a value is ready, and the delay of the ops before it in that stage, in ns.
Ready = tuple[int, float]


def set_integer(op: Any, name: str, value: int) -> None:
    """Sets the attribute `gradcam.<name>`, an i64."""
    op.attributes[f"gradcam.{name}"] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)


def assign_stages(nest: Nest) -> int:
    """Sets `gradcam.stage` of every op of a nest, as early as possible; returns the stage of its writes.

    Where the clock asks for it, `gradcam.latency` of an op says that it takes more cycles than usual.
    """
    clock = Clock.of(nest.op)
    base = clock.address + clock.read
    if nest.body is not None:
        base = 1 + _Stages(clock, nest.body).reduce()
    return _Stages(clock, nest.epilogue).finish(base)


class _Stages:
    """Places the ops of a dataflow."""

    def __init__(self, clock: Clock, flow: Dataflow) -> None:
        self.clock, self.flow = clock, flow
        self.ready: dict[int, Ready] = {}
        #: Nodes that depend on an accumulator of the body: it has to change in one cycle, so nothing cuts them.
        self.updates: set[int] = set()

    def reduce(self) -> int:
        """Stages of a reduction body; returns the stage in which the accumulators change."""
        sinks = self.flow.sinks
        self._place_all(self.clock.address, 0, True)
        update = max(self.ready[id(s.value)][0] for s in sinks)
        self._place_all(self.clock.address, update, True)
        for sink in sinks:
            if self.ready[id(sink.value)][0] != update:
                raise fail(
                    sink.op,
                    "an accumulator must change in one cycle: no product, shift or sum over lanes may depend on it",
                )
            set_integer(sink.op, "stage", update)
        return update

    def finish(self, base: int) -> int:
        """Stages of an epilogue that reads the accumulators in stage `base`; returns the stage of its writes."""
        # An epilogue read is issued late, so that the address waits in the pipeline and not the data.
        self._place_all(base - self.clock.read, base, False)
        # All writes of an epilogue happen in one stage, so that one flag ends the nest.
        stage = max(self._start([s.value])[0] for s in self.flow.sinks)
        if any(isinstance(s.target, Access) and access_kind(s.target) == "memory" for s in self.flow.sinks):
            stage += self.clock.hop
        for sink in self.flow.sinks:
            set_integer(sink.op, "stage", stage)
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
            return self._place_load(node.what, read_stage)
        updates = any(id(a) in self.updates for a in node.args)
        if updates:
            # What comes from elsewhere is registered before it meets the accumulator; what is compared with it even a
            # cycle earlier, so that the comparison with what it begins with is made by then.
            early = clock.hop if node.kind in ("arith.cmpi", *EXTREME) else 0
            ready = (self.ready[id(a)][0] if id(a) in self.updates else self._start([a])[0] + early for a in node.args)
            stage, delay = max(ready), 0.0
        else:
            stage, delay = self._after(node.args)
            if delay > 0 and delay + clock.delay(node) > clock.budget:
                stage, delay = stage + 1, 0.0
        terms = prod(self.flow.extents[d] for d in node.reduced)
        latency = 0 if updates and node.kind in EXTREME else clock.latency(node, terms)
        _set_stage(node.op, node.kind, stage, latency)
        return stage + latency, clock.rest(node) if latency else delay + clock.delay(node)

    def _place_load(self, access: Access, read_stage: int) -> Ready:
        kind, clock = access_kind(access), self.clock
        if kind in ("register", "port"):
            set_integer(access.op, "stage", read_stage + 1)
            return read_stage + 1, 0.0
        # A beat is taken by the step that wants it.
        stage, latency = (0, 1) if kind == "stream" else (read_stage, clock.read)
        _set_stage(access.op, "load", stage, latency)
        return stage + latency, clock.lane

    def _after(self, args: Any) -> Ready:
        """When the last of some values is ready."""
        return max((self.ready[id(a)] for a in args), default=(0, 0.0))

    def _start(self, args: Any) -> Ready:
        """When the last of some values is in a register."""
        stage, delay = self._after(args)
        return (stage + 1, 0.0) if delay > 0 else (stage, 0.0)


def _set_stage(op: Any, kind: str, stage: int, latency: int) -> None:
    set_integer(op, "stage", stage)
    if latency != LATENCY.get(kind, 0):
        set_integer(op, "latency", latency)
