"""Describes the choices of a schedule in a form that `--schedule` accepts."""

from __future__ import annotations

from gradcam.passes.ir.attributes import LOOPS, STEM
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.schedule.time_loops import nest_names
from gradcam.schema.schedule import NestSchedule, Schedule


def describe_schedule(program: ScheduledProgram) -> Schedule:
    """The choices of a scheduled program: stem and ring where there was a choice, and the loops of every nest.

    Raises:
        GradcamError: gradcam-choose-schedule did not run.
    """
    with program.module.context:
        stem, weight_stream = STEM.find(program.module.operation), program.weight_stream
        names = nest_names(program.nests)
        return Schedule(
            stem=(stem[0], stem[1]) if stem else None,
            ring=weight_stream.bank.words if weight_stream else None,
            nests={
                name: NestSchedule(tuple(LOOPS.get(nest.op))) for name, nest in zip(names, program.nests, strict=True)
            },
        )
