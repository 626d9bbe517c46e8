"""The page of a compile."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradcam.bits import integers_named
from gradcam.errors import GradcamError
from gradcam.page.charts import area_chart, layer_charts, schedule_chart
from gradcam.page.diagram import diagram
from gradcam.page.figures import Figure
from gradcam.page.levels import level_rows
from gradcam.page.render import count, rendered, size
from gradcam.page.synthesized import read_synthesized
from gradcam.program_file import read_program
from gradcam.schema.derived import DramRead, dram_reads, explained, overlaps
from gradcam.schema.document import read
from gradcam.schema.program import Nest, Program
from gradcam.schema.report import Report
from gradcam.schema.schedule import Schedule, read_schedule
from gradcam.timeline import Timeline
from gradcam.verdict import percent, quality_rows, warnings

#: Choices of the schedule that a reader sees at once.
COSTLIEST = 5


@dataclass(frozen=True)
class Choice:
    """What the schedule chose for a nest, and what that costs.

    Attributes:
        nest: the nest.
        loops: its time loops with their trip counts, outermost first.
        run: cycles from its start to its end.
        beside: the name of the nest that it runs beside; "" for none.
        read: what it reads from DRAM; None for nothing.
    """

    nest: Nest
    loops: str
    run: int
    beside: str
    read: DramRead | None

    @property
    def beyond(self) -> int:
        """Cycles beyond the steps of its loops."""
        return self.run - self.nest.steps


@dataclass(frozen=True)
class LayerReads:
    """What the nests of a layer read from DRAM.

    Attributes:
        bytes: bytes that they read.
        stalls: cycles that they wait for them.
    """

    bytes: int
    stalls: int


def design_page(folder: Path) -> str:
    """The page of the output folder of a compile as HTML.

    Raises:
        GradcamError: a file of the folder is missing, malformed or of another version.
    """
    program, report = read_program(folder), read(folder / "report.json", Report)
    schedule = read_schedule(folder / "schedule.json")
    if not _is_of(report, program):
        raise GradcamError(f"{folder / 'report.json'} is not the report of program.json; compile again")
    reads = {read.number: read for read in dram_reads(program)}
    synthesized = read_synthesized(folder)
    chosen = choices(program, schedule, reads)
    dram = layer_reads(report, reads)
    timeline = Timeline.of(program)
    charts = layer_charts(report, [read.bytes if read else 0 for read in dram])
    charts["schedule"] = schedule_chart(program, timeline)
    if synthesized:
        charts["area"] = area_chart(synthesized)
    return rendered(
        "design.html",
        title=report.model,
        version=importlib.metadata.version("gradcam-mlir"),
        program=program,
        report=report,
        schedule=schedule,
        explained=explained(program),
        figures=list(figures(program, report)),
        warnings=warnings(report),
        quality=quality_rows(report.quality, report.explains) if report.quality else [],
        phases=phases(program),
        charts=charts,
        reads=reads,
        dram=dram,
        timeline=timeline,
        choices=chosen,
        costliest=sorted(chosen, key=lambda choice: -choice.beyond)[:COSTLIEST],
        levels=level_rows(report.passes),
        diagram=diagram(program, report),
        memories=memories(program, report),
        synthesized=synthesized,
    )


def _is_of(report: Report, program: Program) -> bool:
    """Whether what a report repeats of a program is there: cycles, nests, and the sizes of its banks."""
    numbers = [number for layer in report.layers for number in layer.nests]
    return (
        report.cycles == program.cycles
        and sorted(numbers) == list(range(len(program.nests)))
        and all(layer.cycles == sum(program.nests[n].cycles for n in layer.nests) for layer in report.layers)
        and all(report.memory_bytes.get(name) == bank.size for name, bank in program.banks.items())
    )


def figures(program: Program, report: Report) -> Iterator[Figure]:
    """The figures at the top: cycles, overhead, utilization, memory and quality."""
    cycles = report.cycles
    yield Figure("cycles of an image", count(cycles.total), _time(program, cycles.total))
    yield Figure("cycles of the inference", count(cycles.inference), f"{count(report.macs)} multiply-adds")
    if program.maps:
        note = f"{percent(report.overhead)} of the inference"
        yield Figure("cycles of the explanation", count(cycles.explanation), note)
    yield Figure("utilization", f"{100 * report.utilization:.1f} %", f"of {count(report.multipliers)} multipliers")
    weights = "weights loaded from DRAM" if program.load else "weights in DRAM" if program.dram else "weights included"
    yield Figure("memory on chip", size(sum(report.memory_bytes.values())), weights)
    if (quality := report.quality) is not None:
        same = f"{quality.same_class} of {quality.images}"
        integers = integers_named(report.bits)
        yield Figure(f"class of {integers} as of float", same, f"{quality.source} images")
        medians = [found.median for found in quality.maps.values() if found.median is not None]
        if medians:
            own = [found.median for found in quality.noise.values() if found.median is not None]
            note = f"; {min(own):.4f} of float with noise" if own else ""
            yield Figure(f"map of {integers} and float", f"{min(medians):.4f}", f"Pearson's coefficient, median{note}")


def _time(program: Program, cycles: int) -> str:
    """The time of a run, where the design was made for a clock."""
    if program.clock_ns is None:
        return "predicted by the compiler"
    return f"{cycles * program.clock_ns / 1e6:,.3g} ms at {1000 / program.clock_ns:,.4g} MHz"


def phases(program: Program) -> list[tuple[str, int]]:
    """The cycles of each phase, in their order."""
    cycles = program.cycles
    return [(name, getattr(cycles, name)) for name in ("load", "inference", "explanation", "store")]


def layer_reads(report: Report, reads: Mapping[int, DramRead]) -> list[LayerReads | None]:
    """What each layer reads from DRAM; None for nothing."""
    of_layers = [[reads[nest].weights for nest in layer.nests if nest in reads] for layer in report.layers]
    return [
        LayerReads(sum(w.bytes for w in weights), sum(w.stall_cycles for w in weights)) if weights else None
        for weights in of_layers
    ]


def choices(program: Program, schedule: Schedule, reads: Mapping[int, DramRead]) -> list[Choice]:
    """The choices of the schedule, nest by nest.

    Raises:
        GradcamError: the schedule is not the one of the program.
    """
    beside = {overlap.number: overlap.producer.name for overlap in overlaps(program)}
    chosen = list(schedule.nests.values())
    if [len(nest.trips) for nest in program.nests] != [len(choice.loops) for choice in chosen]:
        raise GradcamError("schedule.json is not the schedule of program.json; compile again")
    return [
        Choice(nest, _loops(choice.loops, nest), nest.end - nest.start, beside.get(number, ""), reads.get(number))
        for number, (nest, choice) in enumerate(zip(program.nests, chosen, strict=True))
    ]


def _loops(names: Sequence[str], nest: Nest) -> str:
    return " · ".join(f"{name} {trip}" for name, trip in zip(names, nest.trips, strict=True))


def memories(program: Program, report: Report) -> list[tuple[str, str, int]]:
    """The memories on chip: the name, what is in them, and their bytes."""
    rows = []
    for name, number in (report.memory_bytes | report.packet_bytes).items():
        bank = program.banks.get(name)
        if bank is None:
            rows.append((name, "packet" if name in report.packet_bytes else "table of a function", number))
        else:
            what = "constants" if bank.constant else "feature maps and sums"
            rows.append((name, f"{what}: {bank.words:,} words of {bank.lanes} x {bank.bits} bits", number))
    return rows
