"""gradcam-tile-pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch_mlir import ir

from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.program.nest import Nest, read_nests
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.schedule.dependences import violation
from gradcam.passes.schedule.pixel_loops import MOST, fault, rebuild, with_pixels
from gradcam.passes.schedule.time_loops import Part, nest_names, present_parts
from gradcam.schema.schedule import read_schedule


@dataclass(frozen=True)
class TilePixels(Pass):
    """Lets T pixels take turns on every word of weights, so that a word is read in every T-th step only.

    The innermost loop over pixels is tiled, and the loop within a tile put inside the reduction; each of its iterations
    has accumulators of its own (`passes/schedule/pixel_loops.py`). T is the largest number up to 8 that divides that
    loop, with which the fewest words of weights are read. The steps of a nest stay the same. Nests that a schedule
    `file` names keep their loops (`python/gradcam/schema/schedule.py`).

    This pass turns:

        affine.for %o, %y, %x = 0 to 16 {
          affine.parallel (%l) { affine.store %c0, %acc[%l] }
          affine.for %i, %ky, %kx { affine.parallel (%l) { ... affine.store %sum, %acc[%l] } }
          affine.parallel (%l) { ... affine.store %v, %m[%y, %x, %o * 16 + %l] }
        }

    into:

        affine.for %o, %y, %x = 0 to 4 {
          affine.for %p = 0 to 4 { affine.parallel (%l) { affine.store %c0, %acc[%p, %l] } }
          affine.for %i, %ky, %kx, %p = 0 to 4 { affine.parallel (%l) { ... affine.store %sum, %acc[%p, %l] } }
          affine.for %p = 0 to 4 { affine.parallel (%l) { ... affine.store %v, %m[%y, %x * 4 + %p, %o * 16 + %l] } }
        }
    """

    name: ClassVar[str] = "gradcam-tile-pixels"
    preserves = (read_nests,)
    file: str = ""

    def run(self, module: ir.Module) -> None:
        """Rebuilds the nests whose loops change, and sets their `gradcam.loops`."""
        asked = read_schedule(self.file).nests
        with module.context, ir.Location.unknown():
            program = ScheduledProgram.of(module)
            for number, name in enumerate(nest_names(program.nests)):
                parts = None if name in asked else _best(program.nests[number])
                if parts:
                    rebuild(program, number, parts)


def _best(nest: Nest) -> list[Part] | None:
    """The order in which the most pixels take turns; None where none can."""
    whole = present_parts(nest)
    for turns in range(MOST, 1, -1):
        parts = with_pixels(nest, whole, turns)
        if parts and fault(nest, parts) is None and violation(nest, parts) is None:
            return parts
    return None
