"""The schedule of a compiled program as data: schedule.json, and the same for reading."""

from __future__ import annotations

import json
from typing import Any

from gradcam.passes.ir.attributes import END, LOOPS, STALLS, START, STEM
from gradcam.passes.ir.queries import is_argument, is_global
from gradcam.passes.program.nest import Nest
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.program.tape import Tape
from gradcam.passes.schedule.time_loops import nest_names


def describe_schedule(program: ScheduledProgram) -> dict[str, Any]:
    """What was chosen in a scheduled program, in the form that `gradcam.schedule_file` reads back.

    Returns:
        `stem` and `ring` where there was a choice, and by nest its `loops` and, for reading, their `trips`, the operand
        that is `stationary` while the innermost loop over outputs runs, and `cycles` from start to end; with weights
        from DRAM also the `stall_cycles` of them, the bytes of a tile of weights, and bytes read per cycle.
    """
    with program.module.context:
        tape, schedule = program.tape, dict[str, Any]()
        if (stem := STEM.find(program.module.operation)) is not None:
            schedule["stem"] = stem
        if tape:
            schedule["ring"] = tape.bank.words
        named = zip(nest_names(program.nests), program.nests, strict=True)
        schedule["nests"] = {name: _nest(nest) | _reads(tape, i, nest) for i, (name, nest) in enumerate(named)}
        return schedule


def _nest(nest: Nest) -> dict[str, Any]:
    trips = [loop.trip for loop in nest.loops]
    return {
        "loops": LOOPS.get(nest.op),
        "trips": trips,
        "stationary": _stationary(nest),
        "cycles": END.get(nest.op) - START.get(nest.op),
    }


def _stationary(nest: Nest) -> str | None:
    """The operand of the reduction that stays the same from one output to the next; None where there is none."""
    moving = [loop for loop in nest.outer if loop.trip > 1]
    loads = [a for a in nest.body.loads if not is_argument(a.memref)] if nest.body else []
    kept = [
        a for a in loads if moving and moving[-1].iv not in a.index and not any(moving[-1].iv in g for g in a.guards)
    ]
    return ("weights" if is_global(kept[0].memref) else "input") if kept else None


def _reads(tape: Tape | None, number: int, nest: Nest) -> dict[str, Any]:
    use = next((u for u in tape.uses if u.nest == number), None) if tape else None
    if tape is None or use is None:
        return {}
    stalls, cycles = STALLS.get(nest.op), END.get(nest.op) - START.get(nest.op)
    word = tape.bank.width // 8
    bandwidth = round(use.words * word / (cycles - stalls), 4)
    return {"stall_cycles": stalls, "tile_bytes": use.tile * word, "bytes_per_cycle": bandwidth}


def schedule_text(schedule: dict[str, Any]) -> str:
    """The schedule as JSON, one nest per line."""
    parts = [f' "{name}": {json.dumps(schedule[name])}' for name in ("stem", "ring") if name in schedule]
    nests_ = [f"  {json.dumps(name)}: {json.dumps(nest)}" for name, nest in schedule["nests"].items()]
    parts.append(' "nests": {\n' + ",\n".join(nests_) + "\n }")
    return "{\n" + ",\n".join(parts) + "\n}\n"
