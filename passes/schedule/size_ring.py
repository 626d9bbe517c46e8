"""gradcam-size-ring."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import ClassVar

from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.program.nest import read_nests
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.schedule.assign_cycles import Timetable
from gradcam.passes.schedule.limit_memory import memory_sizes
from gradcam.passes.schedule.stages import StagePlan
from gradcam.passes.schedule.stream_weights import set_ring
from gradcam.passes.schedule.weight_timing import WeightTiming
from gradcam.schema.schedule import read_schedule


@dataclass(frozen=True)
class SizeRing(Pass):
    """Makes the ring of weights as small as possible without adding cycles.

    The cycles are predicted for an ideal DRAM (`passes/schedule/weight_timing.py`). Where all memories on chip exceed
    `bytes`, the ring shrinks further, down to a tile and a burst, and the program waits longer; 0 sets no limit. A
    schedule `file` that names the words of the ring takes precedence.

    This pass turns:

        module attributes {gradcam.banks = {weights = {bits = 8, lanes = 256, words = 256, ...}, ...}} { ... }

    into:

        module attributes {gradcam.banks = {weights = {bits = 8, lanes = 256, words = 143, ...}, ...}} { ... }
    """

    name: ClassVar[str] = "gradcam-size-ring"
    preserves = (read_nests,)
    file: str = ""
    bytes: int = 0

    def run(self, module: ir.Module) -> None:
        """Changes the words of the ring in `gradcam.banks`."""
        asked = read_schedule(self.file).ring
        with module.context, ir.Location.unknown():
            program = ScheduledProgram.of(module)
            weight_stream = program.weight_stream
            if weight_stream is None:
                raise fail(program.function, "there is no ring of weights; run gradcam-stream-weights first")
            plan = StagePlan(program.nests)
            timetable = Timetable(program, plan)
            least, most = weight_stream.least_ring_words, sum(use.words for use in weight_stream.uses)
            if asked is not None and not least <= asked <= max(least, most):
                reason = f"a ring of {asked} words cannot be: a tile and a burst take {least}, all weights {most}"
                raise fail(program.function, reason)

            def cycles(words: int) -> int:
                resized = replace(weight_stream, bank=replace(weight_stream.bank, words=words))
                return timetable.windows(WeightTiming(resized, plan, program.clock))[-1].end

            # More words never add cycles, so a binary search finds the smallest size with the present cycles.
            sizes, present = range(least, weight_stream.bank.words + 1), cycles(weight_stream.bank.words)
            words = asked or sizes[bisect_left(sizes, True, key=lambda n: cycles(n) <= present)]
            if self.bytes and not asked:
                others = sum(size for name, size in memory_sizes(program).items() if name != weight_stream.bank.name)
                words = max(least, min(words, (self.bytes - others) * 8 // weight_stream.bank.width))
            set_ring(module, weight_stream.bank, words)
