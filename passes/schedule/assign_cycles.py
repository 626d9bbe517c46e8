"""gradcam-assign-cycles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.attributes import CYCLES, CYCLES_BY_PHASE, DRAIN, END, PHASE, STALLS, START
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.nest import read_nests
from gradcam.passes.program.runs import Run
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.program.streams import check_streams
from gradcam.passes.program.weight_stream import WeightStream
from gradcam.passes.schedule.drains import drains_of
from gradcam.passes.schedule.stages import StagePlan
from gradcam.passes.schedule.weight_timing import WeightTiming


@dataclass(frozen=True)
class AssignCycles(Pass):
    """Puts every op of a nest into a pipeline stage and every nest into a window of cycles.

    One step of the flattened time loops starts per cycle. A memory read, a product, a sum over lanes and a shift take
    one cycle, everything else none; with a clock see `passes/program/clock.py`. A nest runs for one cycle of issue, its
    steps, and the stages to its last write, but the last ones, its drain, which run beside the nests of the next turn
    (`passes/schedule/drains.py`).

    This pass turns:

        affine.for %oct = 0 to 2 { ... arith.muli ... affine.store ... }

    into:

        affine.for %oct = 0 to 2 {
          ... arith.muli ... {gradcam.stage = 1 : i64} ... affine.store ... {gradcam.stage = 6 : i64}
        } {gradcam.start = 0 : i64, gradcam.end = 721 : i64, gradcam.drain = 6 : i64, gradcam.cycles = 721 : i64,
           gradcam.phase = "inference"}

    and sums the cycles by phase in the module's attribute `gradcam.cycles`. A nest that reads the weight tape also
    waits for late words of an ideal DRAM, for `gradcam.stalls` cycles (`passes/schedule/weight_timing.py`). A nest that
    follows its producer starts in the same cycle and waits for what it reads (`passes/program/runs.py`);
    `gradcam.cycles` of a nest is what it adds to its phase.
    """

    name: ClassVar[str] = "gradcam-assign-cycles"
    preserves = (read_nests,)

    def run(self, module: ir.Module) -> None:
        """Sets the stage of every op, the start, end and phase of every nest, and the module's `gradcam.cycles`."""
        with module.context, ir.Location.unknown():
            program = ScheduledProgram.of(module)
            if not program.nests:
                raise fail(program.function, "there is no loop nest to schedule")
            check_streams(program.nests)
            phases = _phases(program)
            plan = StagePlan(program.nests)
            windows = Timetable(program, plan).windows(program.weight_stream)
            plan.write()
            cycles: dict[str, int] = dict.fromkeys(("load", "inference", "explanation", "store", "total"), 0)
            shares = shares_of(program.issue_groups, phases, windows)
            for nest, phase, window, share in zip(program.nests, phases, windows, shares, strict=True):
                if program.weight_stream:
                    STALLS.set(nest.op, window.stalls)
                for attribute, value in ((START, window.start), (END, window.end), (DRAIN, window.drain)):
                    attribute.set(nest.op, value)
                CYCLES.set(nest.op, share)
                PHASE.set(nest.op, phase)
                cycles[phase] += share
                cycles["total"] += share
            CYCLES_BY_PHASE.set(module.operation, cycles)


@dataclass(frozen=True)
class Window:
    """The cycles of a nest.

    Attributes:
        start: that of its issue.
        end: that in which the next turn may be issued, as far as this nest is concerned.
        drain: for how many cycles from then on its pipeline still works.
        held: by how many its last step is late because it waits for its producer.
        stalls: by how many more because it waits for the tape.
    """

    start: int
    end: int
    drain: int
    held: int
    stalls: int


class Timetable:
    """When the nests of a program run, whatever the ring of weights is."""

    def __init__(self, program: ScheduledProgram, plan: StagePlan) -> None:
        """Asks for what does not depend on the ring; `plan` has the stages of all nests."""
        self.program, self.plan = program, plan
        self.drains = drains_of(program.nests, program.issue_groups, plan)
        self.wait = program.clock.issue - 1

    def windows(self, weight_stream: WeightStream | None) -> list[Window]:
        """The cycles of every nest, with weights from `tape`."""
        timing = WeightTiming(weight_stream, self.plan) if weight_stream else None
        runs: list[Run] = []
        windows: list[Window] = []
        for number, nest in enumerate(self.program.nests):
            if follow := self.program.follows.get(number - 1):
                alone = follow.run(runs[-1], self.plan.depths[number - 1])
            else:
                alone = Run(max((w.end for w in windows), default=0) + self.wait, nest.steps)
            run = timing.nest(number, alone.start - self.wait, alone) if timing else alone
            runs.append(run)
            drain = self.drains[number]
            end = run.last + self.plan.depths[number] - drain + 1
            windows.append(Window(run.start - self.wait, end, drain, alone.stalls, run.stalls - alone.stalls))
        return windows


def shares_of(issue_groups: Sequence[int], phases: Sequence[str], windows: Sequence[Window]) -> list[int]:
    """What each nest adds to the cycles of its phase.

    In a turn, a nest has what it takes longer than those before it, but one that loads has what it adds to the others.
    """
    shares = []
    for group in dict.fromkeys(issue_groups):
        first, *others = windows[group : group + issue_groups.count(group)]
        done = others[0].held if others and phases[group] == "load" else first.end - first.start
        added = []
        for window in others:
            added.append(max(0, window.end - window.start - done))
            done = max(done, window.end - window.start)
        shares += [max(w.end for w in (first, *others)) - first.start - sum(added), *added]
    return shares


def _phases(scheduled: ScheduledProgram) -> list[str]:
    """Load and store touch streams; inference is what the first result (the logits) needs; the rest explains it."""
    program, function = scheduled.nests, scheduled.function
    kinds = [({access_kind(a) for a in n.loads}, {access_kind(a) for a in n.stores}) for n in program]
    stores = [i for i, (_, written) in enumerate(kinds) if "stream" in written]
    written = {program[i].stores[0].memref: i for i in stores}
    outputs = [written[a] for a in function.regions[0].blocks[0].arguments if a in written]
    if not outputs:
        raise fail(function, "no nest writes an argument: there is no output to compute")
    needed, wanted = set(), {a.memref for a in program[outputs[0]].loads}
    for i in reversed(range(len(program))):
        if any(a.memref in wanted for a in program[i].stores):
            needed.add(i)
            wanted |= {a.memref for a in program[i].loads}
    phases = []
    for i, (read, _) in enumerate(kinds):
        phase = (
            "store" if i in stores else "load" if "stream" in read else "inference" if i in needed else "explanation"
        )
        phases.append(phase)
    return phases
