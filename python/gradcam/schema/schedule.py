"""schedule.json: the choices of a compile, which a later compile can take over or change.

    {
     "stem": [1, 4],
     "ring": 144,
     "nests": {
      "conv1": {"loops": ["oc", "y/8", "x", "y%8", "ic", "ky", "kx"]}
     }
    }

A member that a file leaves out is chosen by the compiler. The costs of a choice are in program.json and report.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec

from gradcam.schema.document import Count, Document, Record, read

_LOOPS = 'a list of loops such as ["oc", "y/8", "x", "y%8"]'


class NestSchedule(Record, frozen=True):
    """The choices for a nest.

    Attributes:
        loops: all time loops, outermost first: `y/8` goes from tile to tile of 8 iterations, `y%8` through a tile.
    """

    loops: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, description=_LOOPS)]


class Schedule(Document, frozen=True, kw_only=True):
    """The contents of schedule.json.

    Attributes:
        format: number of the format.
        stem: kernel rows and columns that gradcam-unfold-stem moves into the channels; null lets the pass choose.
        ring: words of the ring of weights from DRAM; null lets gradcam-size-ring choose.
        nests: the choices for nests, by name.
    """

    REMEDY: ClassVar[str] = ""
    NOUN: ClassVar[str] = "the schedule "
    BY_HAND: ClassVar[bool] = True

    format: Literal[1] = 1
    stem: (
        Annotated[tuple[Count, Count], msgspec.Meta(description="two positive integers, rows and columns of a kernel")]
        | None
    ) = None
    ring: Count | None = None
    nests: dict[str, NestSchedule] = msgspec.field(default_factory=dict)


def read_schedule(path: str | Path) -> Schedule:
    """Reads a schedule; an empty one for no file ("").

    Raises:
        GradcamError: the file cannot be read, or is no schedule.
    """
    return read(path, Schedule) if str(path) else Schedule()


def schedule_text(schedule: Schedule) -> str:
    """The schedule as JSON, one nest per line."""
    members = {name: value for name, value in msgspec.to_builtins(schedule).items() if value is not None}
    nests = ",\n".join(f"  {json.dumps(name)}: {json.dumps(nest)}" for name, nest in members.pop("nests").items())
    parts = [f' "{name}": {json.dumps(value)}' for name, value in members.items()]
    return "{\n" + ",\n".join([*parts, f' "nests": {{\n{nests}\n }}']) + "\n}\n"
