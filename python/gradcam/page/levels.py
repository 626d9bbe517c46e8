"""The levels of a compile with the time of their passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gradcam.passes.registry import PASSES, PIPELINES
from gradcam.schema.report import PassTime

#: What the passes of a room do, by room, in the order of a compile; the last one are passes of CIRCT.
STEPS = {
    "torch": "0 to 1: torch ops become those of the gradcam dialect",
    "backward": "1: the backward pass is derived and simplified",
    "quantize": "1 to 2: f32 becomes int8 and int32",
    "linalg": "2 to 3: linalg on packed channels",
    "affine": "3 to 4: affine loops",
    "schedule": "4: engines, loop orders, banks, cycles",
    "hw": "4 to 5: engines, address generators, sequencer",
    "circt": "5 to 6: SystemVerilog",
}


@dataclass
class Level:
    """A step from level to level.

    Attributes:
        title: the levels, and what happens.
        passes: its passes with their times, in order.
    """

    title: str
    passes: list[PassTime] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Wall time of its passes."""
        return sum(time.seconds for time in self.passes)


def level_rows(passes: Sequence[PassTime]) -> list[Level]:
    """The passes of a compile by level, in order; a pass of MLIR belongs to the level of the pass before it."""
    rooms = {name: room for name, room, *_ in PASSES} | {PIPELINES["gradcam-sv-pipeline"][0]: "circt"}
    levels, room = dict[str, Level](), ""
    for time in passes:
        room = rooms.get(time.name, room)
        levels.setdefault(room, Level(STEPS.get(room, "other"))).passes.append(time)
    return list(levels.values())
