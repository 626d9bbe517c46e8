"""What one process of `benchmarks/zoo.py` measures: how far a network gets, or its RTL in Verilator."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from zoo_networks import SEED, Network, Prepared, prepared, random_images, targets

from gradcam.compiler import Compilation, Settings
from gradcam.errors import GradcamError
from gradcam.faults import each
from gradcam.outside import describe
from gradcam.schema.document import Document, Record
from gradcam.schema.program import Cycles
from gradcam.sim.simulator import Result

NO_LEVEL = "none"


class Row(Record, frozen=True):
    """How far a network gets.

    Attributes:
        title: its package and name.
        size: height and width of its images.
        level: the last level that it reached with an explanation at `last`.
        reason: why it went no further; "" where nothing stopped it.
        last: the explained layer of the last stage.
        earlier: the explained layer with a larger map.
        cycles: of an inference; 0 where there is no schedule.
        utilization: of the multipliers by the inference.
        overheads: explanation by inference cycles, at the last and at the earlier layer; None where it was not reached.
        earlier_reason: why the design at the earlier layer went no further.
    """

    title: str
    size: str = "-"
    level: str = NO_LEVEL
    reason: str = ""
    last: str = ""
    earlier: str = ""
    cycles: int = 0
    utilization: float = 0.0
    overheads: tuple[float | None, float | None] = (None, None)
    earlier_reason: str = ""


class Run(Record, frozen=True):
    """The RTL of a network, explained at one layer.

    Attributes:
        title: the network's package and name.
        size: height and width of its images.
        layer: the explained layer.
        predicted: cycles of an image, as the compiler predicts them.
        simulated: cycles of every image in Verilator.
        fault: what failed, or differs from the integer reference; "" for nothing.
    """

    title: str
    size: str = "-"
    layer: str = ""
    predicted: int = 0
    simulated: tuple[int, ...] = ()
    fault: str = ""


class Measured(Record, frozen=True):
    """What a process found out about a network: its row, or its runs in Verilator.

    Attributes:
        revision: the commit of the sources, and its day; "" for none.
        seconds: wall time of the process.
    """

    row: Row | None = None
    runs: tuple[Run, ...] = ()
    revision: str = ""
    seconds: float = 0.0


class Kept(Document, frozen=True):
    """The file of `--rows`: what processes found out, by their arguments."""

    REMEDY = "remove it to measure all networks again"

    measured: dict[str, Measured]
    format: int = 1


def row(network: Network, side: int | None, level: str, pe: str) -> Row:
    """Compiles one network as far as `level`, for its last stage, then for the earlier layer."""
    made = prepared(network, side)
    found = Row(network.title, made.size)
    try:
        last, earlier = targets(made)
    except GradcamError as error:
        return replace(found, reason=reason(error))
    reached, why, figures = _compiled(made, last, level, pe)
    found = replace(found, level=reached, reason=why, last=last, earlier=earlier or "")
    if figures is None:
        return found
    cycles, utilization, overhead = figures
    found = replace(found, cycles=cycles, utilization=utilization, overheads=(overhead, None))
    if earlier is None:
        return found
    _, why, figures = _compiled(made, earlier, level, pe)
    return replace(found, earlier_reason=why, overheads=(overhead, figures[2] if figures else None))


def _compiled(made: Prepared, target: str, level: str, pe: str) -> tuple[str, str, tuple[int, float, float] | None]:
    """The level that a compile reached, why it stopped, and cycles, utilization and overhead where it is scheduled."""
    from gradcam.passes.program.scheduled_program import ScheduledProgram
    from gradcam.program import describe_program
    from gradcam.report import make_report

    reached, quantized = NO_LEVEL, None
    try:
        for reached_now, module in Compilation(made.model, _settings(made, target, pe)):
            reached = reached_now
            if reached == "quantized":
                quantized = module.operation.clone()
            if reached == "scheduled":
                program = describe_program(ScheduledProgram.of(module), quantized)
                report = make_report("", pe, quantized, program)
                return reached, "", (report.cycles.inference, report.utilization, report.overhead)
            if reached == level:
                return reached, "", None
    except Exception as error:
        return reached, reason(error), None
    raise AssertionError(level)


def runs(network: Network, side: int | None, pe: str, count: int) -> Iterator[Run]:
    """Simulates `count` random images, other ones than those that calibrate, for the last and for the earlier layer.

    Logits and maps are compared with the integer reference in every element. A map of nothing but zeros is a fault: it
    would equal that of a design that does nothing.
    """
    made = prepared(network, side)
    for layer in targets(made):
        if layer is not None:
            run = Run(network.title, made.size, layer)
            try:
                yield _simulated(run, made, pe, random_images(count, made.shape, SEED + 1))
            except Exception as error:
                yield replace(run, fault=reason(error))


def _simulated(run: Run, made: Prepared, pe: str, images: np.ndarray) -> Run:
    from gradcam.design import Design
    from gradcam.output import compile_to_folder

    with tempfile.TemporaryDirectory(prefix="gradcam-zoo-") as temporary:
        folder = Path(temporary) / "design"
        compile_to_folder(made.model, run.title, _settings(made, run.layer, pe), folder)
        design = Design.load(folder)
        results = design.simulate(images)
    predicted, simulated = design.program.cycles, tuple(result.cycles.total for result in results)
    return replace(run, predicted=predicted.total, simulated=simulated, fault=fault_of(results, predicted))


def fault_of(results: Sequence[Result], predicted: Cycles) -> str:
    """What is wrong with images whose logits and maps equal the reference; "" for nothing."""
    if not all(result.heatmap is not None and result.heatmap.any() for result in results):
        return "a map is 0 everywhere"
    return "" if all(result.cycles == predicted for result in results) else "cycles differ from the predicted ones"


def _settings(made: Prepared, target: str, pe: str) -> Settings:
    return Settings(target, pe=pe, validate=False, calibration=made.calibration, input_shape=made.shape)


def reason(error: Exception) -> str:
    """The most frequent fault of an error, without its place, and how many others there are."""
    if not isinstance(error, GradcamError):
        return f"a fault of the compiler: {describe(error)}"
    counts = Counter(re.sub(r"\s+", " ", fault.message) for fault in each(error))
    (text, times), *others = counts.most_common()
    return text + f" ({times} times)" * (times > 1) + f"; {len(others)} more" * bool(others)
