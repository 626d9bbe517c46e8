"""The figures of a demonstration: the required value, the measured value, and whether it is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import asdict

from gradcam.schema.program import Cycles

GB = 1e9


@dataclass(frozen=True)
class ShapeRun:
    """A design for one array, simulated.

    Attributes:
        pe: the array, OCxIC.
        predicted: cycles by phase that the compiler predicts.
        simulated: cycles by phase of every run.
        exact: runs whose logits and heatmap equal the integer reference's in every element.
    """

    pe: str
    predicted: Cycles
    simulated: Sequence[Cycles]
    exact: int


@dataclass(frozen=True)
class Measured:
    """The measurements that the table is made from.

    Attributes:
        shapes: one run per array; the first is the main one, on all images.
        multipliers: of the main design's array.
        macs: multiply-adds of an inference.
        traced: buffers compared with the reference, nest by nest.
        untraced: buffers without a tensor in the reference, such as columns that a lowering lays side by side, and
            buffers that are rings.
        trace_difference: the first difference found there, "" for none.
        same_class: images with the class that the float model predicts.
        correlations: of the device's and the float model's low-resolution maps, one per image.
        hits: images in which the device's map points into the box.
        float_hits: the same for the float model's map.
        compile_seconds: wall time of the compile command.
        compile_peak: its peak memory in bytes.
        build_seconds: wall time of Verilator and g++.
        cycles_per_second: of the simulator.
        accuracy: of the float model, 0 to 1.
    """

    shapes: Sequence[ShapeRun]
    multipliers: int
    macs: int
    traced: int
    untraced: int
    trace_difference: str
    same_class: int
    correlations: Sequence[float]
    hits: int
    float_hits: int
    compile_seconds: float
    compile_peak: int
    build_seconds: float
    cycles_per_second: float
    accuracy: float


@dataclass(frozen=True)
class Figure:
    """A row of the table."""

    what: str
    asked: str
    measured: str
    ok: bool


def figures(m: Measured) -> list[Figure]:
    """The table's rows, in order. A NaN never reaches its limit."""
    main = m.shapes[0]
    images, cycles = len(main.simulated), main.simulated[0]
    overhead = cycles.explanation / cycles.inference
    utilization = m.macs / m.multipliers / cycles.inference
    median, least = float(np.median(m.correlations)), float(np.min(m.correlations))
    return [
        *(_exact(shape) for shape in m.shapes),
        Figure("buffers of a run, nest by nest", "no difference", _traced(m), m.traced > 0 and not m.trace_difference),
        at_least("class equal to the float model's", images - 1, m.same_class, "d", f" of {images}"),
        at_least("Pearson to autograd's Grad-CAM, median", 0.995, median, ".5f"),
        at_least("Pearson to autograd's Grad-CAM, minimum", 0.97, least, ".5f"),
        at_least(f"pointing game hits (float: {m.float_hits})", m.float_hits - 2, m.hits, "d", f" of {images}"),
        *(_cycles(shape) for shape in m.shapes),
        at_most(f"explanation / inference, {main.pe}", 0.002, overhead, ".6f"),
        at_least(f"utilization, {main.pe}", 0.90, utilization, ".4f"),
        at_most("compile time", 60, m.compile_seconds, ".1f", " s", strict=True),
        at_most("compile peak memory", 4, m.compile_peak / GB, ".2f", " GB", strict=True),
        at_most("Verilator and g++", 90, m.build_seconds, ".1f", " s", strict=True),
        Figure("simulated cycles/s", "> 200,000", f"{m.cycles_per_second:,.0f}", m.cycles_per_second > 200_000),
        at_least("float accuracy, composed test images", 98, 100 * m.accuracy, ".2f", " %"),
    ]


def _traced(m: Measured) -> str:
    return m.trace_difference or f"{m.traced} equal" + (f", {m.untraced} no tensor" if m.untraced else "")


def _exact(shape: ShapeRun) -> Figure:
    runs = len(shape.simulated)
    what = f"logits and heatmap bit-exact, {shape.pe}"
    return Figure(what, f"{runs} of {runs}", f"{shape.exact} of {runs}", runs > 0 and shape.exact == runs)


def _cycles(shape: ShapeRun) -> Figure:
    wrong = [run for run in shape.simulated if run != shape.predicted]
    predicted, shown = asdict(shape.predicted), asdict((wrong or shape.simulated)[0])
    part = next((p for p in shown if shown[p] != predicted[p]), "total")
    measured = f"{predicted[part]:,} and {shown[part]:,}" + ("" if part == "total" else f" ({part})")
    return Figure(f"cycles predicted and simulated, {shape.pe}", "equal in every phase", measured, not wrong)


def at_least(what: str, limit: float, value: float, form: str, unit: str = "") -> Figure:
    """The row of a value that must not be less than `limit`."""
    return Figure(what, f">= {limit:g}{unit}", f"{value:{form}}{unit}", value >= limit)


def at_most(what: str, limit: float, value: float, form: str, unit: str = "", strict: bool = False) -> Figure:
    """The row of a value that must not be more than `limit`, with `strict` less than it."""
    ok = value < limit if strict else value <= limit
    return Figure(what, f"{'<' if strict else '<='} {limit:g}{unit}", f"{value:{form}}{unit}", ok)


def table(rows: Sequence[Figure]) -> str:
    """The rows as a Markdown table that is aligned for reading, too."""
    cells = [
        ("what", "asked", "measured", "ok"),
        *((r.what, r.asked, r.measured, "yes" if r.ok else "NO") for r in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [" | ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)) for row in cells]
    rule = "-|-".join("-" * w for w in widths)
    return "".join(f"| {line} |\n" for line in (lines[0], rule, *lines[1:])).replace(f"| {rule} |", f"|-{rule}-|")
