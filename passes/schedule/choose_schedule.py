"""gradcam-choose-schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch_mlir import ir

from gradcam.errors import did_you_mean, fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.attributes import LOOPS
from gradcam.passes.program.nest import Nest, read_nests
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.schedule.dependences import violation
from gradcam.passes.schedule.pixel_loops import bands, counts_with
from gradcam.passes.schedule.pixel_loops import fault as fault_of_pixels
from gradcam.passes.schedule.schedule_cost import Reads, cost, orders, weights_of
from gradcam.passes.schedule.time_loops import Part, loop_names, nest_names, parse_part, reorder
from gradcam.schema.schedule import read_schedule


@dataclass(frozen=True)
class ChooseSchedule(Pass):
    """Puts the time loops of every nest into the order that costs least, or that a schedule file names.

    Without a file, outer loops are permuted, and one of them is tiled, where that lowers the cost
    (`passes/schedule/schedule_cost.py`): cycles, then bytes on chip, then bytes of DRAM per cycle. A nest stays as it
    is where no order costs less. An order must keep the nest's dependences (`passes/schedule/dependences.py`). `file`
    is described in `python/gradcam/schema/schedule.py`. The attribute `gradcam.loops` names the loops of the order.

    This pass turns:

        affine.for %y = 0 to 8 { affine.for %o = 0 to 4 { ... affine.load %w[%o, %k] ... affine.store %v, %m[%y, %o] } }

    with {"nests": {"conv": {"loops": ["oc/2", "y", "oc%2", "ic"]}}} into:

        affine.for %o = 0 to 2 { affine.for %y = 0 to 8 { affine.for %p = 0 to 2 {
          ... affine.load %w[%o * 2 + %p, %k] ... affine.store %v, %m[%y, %o * 2 + %p]
        } {gradcam.loops = ["oc/2", "y", "oc%2", "ic"]}
    """

    name: ClassVar[str] = "gradcam-choose-schedule"
    preserves = (read_nests,)
    file: str = ""

    def run(self, module: ir.Module) -> None:
        """Rebuilds the nests whose loops change; sets `gradcam.loops` on every nest."""
        schedule = read_schedule(self.file)
        asked = schedule.nests
        with module.context, ir.Location.unknown():
            scheduled = ScheduledProgram.of(module)
            dram = scheduled.platform.streamed
            if schedule.ring and not dram:
                reason = "weights are on chip; leave it out, or put them in DRAM"
                raise fail(scheduled.function, f"the schedule has a ring of weights, but {reason}")
            program = list(scheduled.nests)
            names = nest_names(program)
            unknown = next((n for n in asked if n not in names), None)
            if unknown is not None:
                near = did_you_mean(unknown, names) or f"; there are {', '.join(names)}"
                raise fail(scheduled.function, f"the schedule names a nest '{unknown}', which the program lacks{near}")
            reads = weights_of(program, dram.width if dram else 0)
            for number, (name, nest) in enumerate(zip(names, program, strict=True)):
                whole = [Part(loop, n) for loop, n in zip(nest.loops, loop_names(nest), strict=True)]
                if name in asked:
                    parts = _asked(nest, name, whole, asked[name].loops)
                else:
                    parts = _best(nest, whole, reads.get(number))
                if parts != whole:
                    scheduled.reread(number, reorder(nest, *bands(nest, parts)))
                LOOPS.set(scheduled.nests[number].op, [str(part) for part in parts])


def _best(nest: Nest, whole: list[Part], reads: Reads | None) -> list[Part]:
    """The legal order that costs least; the present order where none costs less."""
    if reads is None:
        return whole
    outer, reduction = whole[: len(nest.outer)], whole[len(nest.outer) :]
    here = cost(nest, reads, whole)
    choices = ((cost(nest, reads, order), order) for part in orders(outer) for order in [[*part, *reduction]])
    better = sorted((c for c in choices if c[0] < here), key=lambda c: c[0])
    legal = (order for _, order in better if _fault(nest, order) is None)
    return next(legal, whole)


def _asked(nest: Nest, name: str, whole: list[Part], texts: Sequence[str]) -> list[Part]:
    """The order that a schedule file names.

    Raises:
        GradcamError: it is no order of the nest's loops, or violates a dependence.
    """
    said = f"the schedule of '{name}', {', '.join(texts)},"
    parts = [_part(nest, said, whole, text) for text in texts]
    for loop in whole:
        found = [p for p in parts if p.loop is loop.loop]
        if not found:
            raise fail(nest.op, f"{said} lacks the loop {loop}; the nest has {', '.join(map(str, whole))}")
        if [p.tile for p in found] != [0] and not _is_tiled_once(found):
            listed = " and ".join(map(str, found))
            raise fail(nest.op, f"{said} has {listed}; a loop stands once, or as both parts of one tiling, y/4 and y%4")
    if fault := _fault(nest, parts):
        raise fail(nest.op, f"{said} {fault}")
    return parts


def _is_tiled_once(parts: list[Part]) -> bool:
    return len(parts) == 2 and parts[0].tile == parts[1].tile and parts[0].inside != parts[1].inside


def _part(nest: Nest, said: str, whole: list[Part], text: str) -> Part:
    try:
        name, tile, inside = parse_part(text)
    except ValueError:
        raise fail(nest.op, f"{said} has '{text}', which is no loop such as y, y/4 or y%4") from None
    loop = next((p.loop for p in whole if p.name == name), None)
    if loop is None:
        raise fail(nest.op, f"{said} has an unknown loop '{name}'; the nest has {', '.join(map(str, whole))}")
    if tile and loop.trip % tile:
        raise fail(nest.op, f"{said} has tiles of {tile}, which do not divide the {loop.trip} iterations of {name}")
    return Part(loop, name, tile, inside)


def _fault(nest: Nest, parts: Sequence[Part]) -> str | None:
    """The reason why an order is no order of the nest's loops; None when it is one."""
    pixels = bands(nest, parts)[2]
    tiled = next((p for p in parts if (p.tile or p in pixels) and counts_with(nest, p.loop)), None)
    if tiled is not None:
        return f"{'tiles' if tiled.tile else 'moves'} {tiled.name}, whose number the nest computes with"
    dependence = violation(nest, parts)
    if dependence:
        return f"violates a dependence: {dependence}"
    return fault_of_pixels(nest, parts)
