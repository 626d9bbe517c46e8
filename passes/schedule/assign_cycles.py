"""gradcam-assign-cycles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.attributes import (
    BEATS,
    CYCLES,
    CYCLES_BY_PHASE,
    DRAIN,
    END,
    PHASE,
    RING_LEVELS,
    STALLS,
    START,
)
from gradcam.passes.ir.queries import contributing
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.nest import read_nests
from gradcam.passes.program.runs import Run
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.program.streams import check_streams
from gradcam.passes.program.weight_stream import Use
from gradcam.passes.schedule.drains import drains_of
from gradcam.passes.schedule.stages import StagePlan
from gradcam.passes.schedule.weight_timing import WeightTiming


@dataclass(frozen=True)
class AssignCycles(Pass):
    """Puts every op of a nest into a pipeline stage and every nest into a window of cycles.

    One step of the flattened time loops starts per cycle. A memory read, a product, a sum over lanes and a shift take
    one cycle, everything else none; with a clock see `passes/program/clock.py`. A nest takes one cycle of issue, its
    steps, and the stages up to its last write. The last of these stages, its drain, run beside the nests of the next
    issue group (`passes/schedule/drains.py`).

    This pass turns:

        affine.for %oct = 0 to 2 { ... arith.muli ... affine.store ... }

    into:

        affine.for %oct = 0 to 2 {
          ... arith.muli ... {gradcam.stage = 1 : i64} ... affine.store ... {gradcam.stage = 6 : i64}
        } {gradcam.start = 0 : i64, gradcam.end = 721 : i64, gradcam.drain = 6 : i64, gradcam.cycles = 721 : i64,
           gradcam.phase = "inference"}

    and sums the cycles by phase in the module's attribute `gradcam.cycles`. A nest that reads the weight stream also
    waits `gradcam.stalls` cycles for late words of an ideal DRAM, which come from the first to the second cycle of
    `gradcam.beats` (`passes/schedule/weight_timing.py`); the module's `gradcam.ring_levels` are the beats in the ring
    at the events of the schedule. A follower is issued together with its producer, or when its engine is free, and
    waits for its operands (`passes/program/runs.py`). The `gradcam.cycles` of a nest are the cycles that it adds to its
    phase.
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
            timing = WeightTiming(program.weight_stream, plan, program.clock) if program.weight_stream else None
            windows = Timetable(program, plan).windows(timing)
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
            if timing and program.weight_stream:
                _write_stream(module, program, timing, program.weight_stream.uses, windows)


@dataclass(frozen=True)
class Window:
    """The cycles of a nest.

    Attributes:
        start: the cycle in which it is issued.
        end: the earliest cycle in which this nest allows the next issue group to be issued.
        drain: cycles for which its pipeline still works from `end` on.
        held: cycles by which its last step is late because it waits for its producer, or for memories whose words take
            several reads.
        stalls: further cycles by which its last step is late because it waits for the weight stream.
    """

    start: int
    end: int
    drain: int
    held: int
    stalls: int


class Timetable:
    """Computes the cycles of a program's nests, for any size of the ring of weights."""

    def __init__(self, program: ScheduledProgram, plan: StagePlan) -> None:
        """Computes the drains, which do not depend on the ring; `plan` has the stages of all nests."""
        self.program, self.plan = program, plan
        self.drains = drains_of(program.nests, program.issue_groups, plan)
        self.wait = program.clock.issue - 1

    def windows(self, timing: WeightTiming | None) -> list[Window]:
        """The cycles of every nest, with the timing of the weight stream; None where all weights are on chip."""
        runs: list[Run] = []
        windows: list[Window] = []
        for number, nest in enumerate(self.program.nests):
            follow = self.program.follows.get(number - 1)
            if follow is None:
                alone = Run(max((w.end for w in windows), default=0) + self.wait, nest.steps)
            else:
                free = None if follow.after is None else windows[self.program.issue_groups[number]].end + self.wait
                alone = follow.run(runs[-1], self.plan.depths[number - 1], free)
            every, more = self.plan.pace(nest)
            alone = alone.slowed(every, more)
            run = timing.nest(number, alone.start - self.wait, alone, more) if timing else alone
            runs.append(run)
            drain = self.drains[number]
            end = run.last + self.plan.depths[number] - drain + 1
            windows.append(Window(run.start - self.wait, end, drain, alone.stalls, run.stalls - alone.stalls))
        return windows


def _write_stream(
    module: ir.Module, program: ScheduledProgram, timing: WeightTiming, uses: Sequence[Use], windows: Sequence[Window]
) -> None:
    """Sets `gradcam.beats` of the nests that read the weight stream, and the module's `gradcam.ring_levels`.

    Levels are those of the cycles in which nests are issued or end, and the weights of a nest begin or end to arrive.
    """
    cycles = {0, *(w.start for w in windows), *(w.end for w in windows)}
    for use in uses:
        first, last = timing.beats_of(use)
        BEATS.set(program.nests[use.nest].op, [first, last])
        cycles |= {first, last + 1}
    levels = sorted(cycles)
    RING_LEVELS.set(module.operation, [list(pair) for pair in zip(levels, timing.taken(levels), strict=True)])


def shares_of(issue_groups: Sequence[int], phases: Sequence[str], windows: Sequence[Window]) -> list[int]:
    """The cycles that each nest adds to its phase.

    In an issue group a nest adds the cycles by which it ends later than the nests before it. A nest that loads adds the
    cycles that all of its followers wait.
    """
    shares = []
    for group in dict.fromkeys(issue_groups):
        first, *others = windows[group : group + issue_groups.count(group)]
        done = first.start + min(w.held for w in others) if others and phases[group] == "load" else first.end
        added = []
        for window in others:
            added.append(max(0, window.end - done))
            done = max(done, window.end)
        shares += [max(w.end for w in (first, *others)) - first.start - sum(added), *added]
    return shares


def _phases(scheduled: ScheduledProgram) -> list[str]:
    """The phase of each nest.

    Nests of load and store access streams. The inference are the nests that the first result, the logits, depends on;
    all other nests are the explanation.
    """
    program, function = scheduled.nests, scheduled.function
    kinds = [({access_kind(a) for a in n.loads}, {access_kind(a) for a in n.stores}) for n in program]
    stores = [i for i, (_, written) in enumerate(kinds) if "stream" in written]
    written = {program[i].stores[0].memref for i in stores}
    outputs = [a for a in function.regions[0].blocks[0].arguments if a in written]
    if not outputs:
        raise fail(function, "no nest writes an argument: there is no output to compute")
    needed = contributing([({a.memref for a in n.loads}, {a.memref for a in n.stores}) for n in program], outputs[0])
    phases = []
    for i, (read, _) in enumerate(kinds):
        phase = (
            "store" if i in stores else "load" if "stream" in read else "inference" if i in needed else "explanation"
        )
        phases.append(phase)
    return phases
