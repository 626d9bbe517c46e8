"""Writes the output folder of `gradcam-sim`."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from gradcam.classes import best_class, explained_classes
from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.files import check_replaceable, replace_folder
from gradcam.folder import PAGE
from gradcam.images.files import SUFFIXES
from gradcam.labels import labels
from gradcam.page import write_page
from gradcam.schema.derived import dram_reads
from gradcam.schema.program import Program
from gradcam.schema.report import Quality
from gradcam.sim.inputs import DesignImage
from gradcam.sim.simulator import Result
from gradcam.verdict import percent, quality_line
from gradcam.view import Maps, heatmap_maps, overlay, sheet, write_overlay

if TYPE_CHECKING:  # it imports torch
    from gradcam.float_network import ImageQuality

#: The files that a run writes; a folder with other files must not be replaced.
FILES = (
    "image.npy",
    "logits.npy",
    "logits_float.npy",
    "heatmap*.npy",
    "overlay*.png",
    "overlays/*.png",
    "overlay[0-9]*s/*.png",
    "sheet*.png",
    "table.csv",
    "report.json",
    PAGE,
)

#: Pixels, the width of a picture in the sheet of all.
TILE = 128


def check_target(target: Path, force: bool) -> None:
    """Refuses an output folder that cannot be written or must not be replaced.

    Raises:
        GradcamError: it exists and `force` is false, it holds files of others, or it has no parent folder.
    """
    if not target.parent.is_dir():
        raise GradcamError(f"cannot write {target}: {target.parent} is no folder")
    check_replaceable(target, FILES, "gradcam-sim")
    if target.exists() and not force:
        raise GradcamError(f"{target} exists; --force replaces it")


@dataclass(frozen=True)
class Run:
    """An image and what the design made of it.

    Attributes:
        image: the image.
        result: the results of the simulation.
        request: the class that was asked for, -1 for the predicted one.
        compared: the comparison with the float network, where there was one.
    """

    image: DesignImage
    result: Result
    request: int
    compared: ImageQuality | None = None

    def classes(self, program: Program) -> list[int]:
        """The class that each map explains."""
        ranks = [explanation.rank for explanation in program.maps.values()]
        chosen = explained_classes(self.result.logits, self.request, max(ranks, default=0) + 1)
        return [chosen[rank] for rank in ranks]

    def maps(self, program: Program) -> dict[str, Maps]:
        """The maps by name, as people see them."""
        size, found = self.image.picture.shape[:2], {}
        for name, raw in self.result.heatmaps.items():
            asked = program.maps[name]
            found[name] = heatmap_maps(raw, program.scale(name), size, asked.relu, asked.normalize, asked.eps)
        return found


def run_report(program: Program, run: Run) -> dict[str, Any]:
    """What report.json says of an image; `explained_class` is a list where there are several maps."""
    result, classes = run.result, run.classes(program)
    waiting = [
        {
            "nest": read.number,
            "name": read.nest.name,
            "stall_cycles": read.weights.stall_cycles,
            "simulated_stall_cycles": result.nest_cycles[read.number] - read.cycles,
        }
        for read in dram_reads(program)
    ]
    notes = {name: maps.diagnostic for name, maps in run.maps(program).items() if maps.diagnostic}
    found = {
        "image": run.image.name,
        "simulated_cycles": msgspec.to_builtins(result.cycles),
        "cycles_per_second": round(result.cycles.total / result.seconds),
        "predicted_class": best_class(result.logits),
        "explained_class": classes if len(classes) > 1 else next(iter(classes), None),
        "pixels_outside": run.image.outside,
        "dram": waiting,
        "diagnostic": "; ".join(f"{n}: {text}" if len(classes) > 1 else text for n, text in notes.items()),
    }
    if result.load_cycles is not None:
        found["load_cycles"] = result.load_cycles
    if run.compared is not None:
        same, r = run.compared.same_class, run.compared.correlations
        pearson = {name: None if math.isnan(x) else x for name, x in zip(result.heatmaps, r, strict=True)}
        found |= {"class_of_float": same, "logit_error": run.compared.logit_error, "pearson": pearson}
    return found


def simulation_report(
    design: Design, runs: Sequence[Run], reference_equal: bool | None, quality: Quality | None = None
) -> dict[str, Any]:
    """The compile's report with the results of the simulation: of one image beside it, of several as `images`.

    Args:
        design: the design that ran.
        runs: one or more.
        reference_equal: outcome of the comparison with the integer reference; None when there was none.
        quality: of the RTL on these images, beside the compile's `quality`; None where it was not measured.
    """
    program, reports = design.program, [run_report(design.program, run) for run in runs]
    simulated = reports[0] if len(reports) == 1 else {"images": reports}
    return (
        msgspec.to_builtins(design.report())
        | simulated
        | {
            "scales": {name: program.scale(name) for name in ("image", *runs[0].result.outputs)},
            "reference_equal": reference_equal,
            "simulated_quality": msgspec.to_builtins(quality),
        }
    )


def write_output(target: Path, program: Program, runs: Sequence[Run], report: Mapping[str, Any]) -> None:
    """Writes the results of one image or several, all or none.

    Arrays: image.npy (uint8, for people), logits.npy (int32), and of every map heatmap.npy (int32),
    heatmap_normalized.npy (float32, after ReLU and normalization) and heatmap_image.npy (float32, in the size of the
    image); with a comparison logits_float.npy and heatmap_float.npy (float32, of the float network, in real units, NaN
    where that chose another class); of several images along a first axis. Pictures: overlay.png, or of several images
    overlays/NUMBER-NAME.png and sheet.png with all. table.csv has a line for each image, report.html shows all. Several
    maps are heatmap0, heatmap1 and so on, in the names of arrays and pictures.

    Args:
        target: the folder.
        program: the design.
        runs: one or more.
        report: see `simulation_report`.

    Raises:
        GradcamError: the folder cannot be written.
    """
    shown = [run.maps(program) for run in runs]
    with replace_folder(target) as folder:
        _save(folder / "image.npy", [run.image.picture for run in runs])
        _save(folder / "logits.npy", [run.result.logits for run in runs])
        _write_float(folder, list(program.maps), [run.compared for run in runs if run.compared is not None])
        for name in shown[0]:
            _save(folder / f"{name}.npy", [run.result.heatmaps[name] for run in runs])
            _save(folder / f"{name}_normalized.npy", [maps[name].low.astype(np.float32) for maps in shown])
            _save(folder / f"{name}_image.npy", [maps[name].final.astype(np.float32) for maps in shown])
            _write_pictures(folder, name, program, runs, [maps[name] for maps in shown])
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(table(program, runs))
        write_page(folder)


def _write_float(folder: Path, names: Sequence[str], compared: Sequence[ImageQuality]) -> None:
    """Writes what the float network made of the images, where the runs were compared with it."""
    if compared:
        _save(folder / "logits_float.npy", [image.logits for image in compared])
        for index, name in enumerate(names):
            _save(folder / f"{name}_float.npy", [image.maps[index].astype(np.float32) for image in compared])


def _save(path: Path, arrays: Sequence[np.ndarray]) -> None:
    np.save(path, arrays[0] if len(arrays) == 1 else np.stack(arrays))


def _write_pictures(folder: Path, name: str, program: Program, runs: Sequence[Run], shown: Sequence[Maps]) -> None:
    """Writes the pictures of a map of every image."""
    picture, several = name.replace("heatmap", "overlay"), len(runs) > 1
    index, where = list(program.maps).index(name), f" at {program.maps[name].target}" if len(program.maps) > 1 else ""
    digits, panels, names = len(str(len(runs))), [], labels([run.image.name for run in runs])
    for number, (run, maps) in enumerate(zip(runs, shown, strict=True)):
        file = folder / f"{picture}.png"
        if several:
            file = folder / f"{picture}s" / f"{number:0{digits}}-{_file_name(run.image.name)}.png"
            file.parent.mkdir(exist_ok=True)
        predicted, cls = best_class(run.result.logits), run.classes(program)[index]
        write_overlay(file, run.image.picture, maps, f"predicted class {predicted}, heatmap of class {cls}{where}")
        panels.append((overlay(run.image.picture, maps, side=TILE), f"{cls}: {names[number]}"))
    if several:
        columns = math.ceil(math.sqrt(len(panels)))
        tiles = [(image.resize((TILE, TILE * image.height // image.width)), text) for image, text in panels]
        sheet(tiles, columns, [f"{len(runs)} images, each with its explained class{where}"]).save(
            folder / f"sheet{picture.removeprefix('overlay')}.png"
        )


def _file_name(name: str) -> str:
    """The name of an image as part of the name of a file."""
    short = name.rpartition("/")[2]
    stem, dot, suffix = short.rpartition(".")
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem if dot and f".{suffix.lower()}" in (*SUFFIXES, ".npy") else short)


def table(program: Program, runs: Sequence[Run]) -> list[list[str]]:
    """A line for each image, below a heading: predicted class, its logit, the cycles, and what else is known."""
    scale, names = program.scale("logits"), list(program.maps)
    compared = any(run.compared is not None for run in runs)
    heading = ["image", "class", "logit", "cycles", "pixels outside"]
    heading += ["class of float", *(f"Pearson {n}" if len(names) > 1 else "Pearson" for n in names)] if compared else []
    lines = [heading]
    for run in runs:
        logits = run.result.logits
        cells = [f"{best_class(logits)}", f"{logits.max() * scale:.4g}", f"{run.result.cycles.total}"]
        lines.append([run.image.name, *cells, percent(run.image.outside)])
        if run.compared is not None:
            correlations = ["undefined" if math.isnan(r) else f"{r:.4f}" for r in run.compared.correlations]
            lines[-1] += ["same" if run.compared.same_class else "another", *correlations]
    return lines


def table_text(lines: Sequence[Sequence[str]]) -> str:
    """A table with aligned columns; of files the names alone."""
    heading, *rest = lines
    shown = [heading, *([name, *cells] for name, (_, *cells) in zip(labels([n for n, *_ in rest]), rest, strict=True))]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    rows = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in shown)
    return "\n".join(row.rstrip() for row in rows)


def summary(report: Mapping[str, Any], program: Program, runs: Sequence[Run], target: Path) -> str:
    """A summary for users, in lines of text: of one image its figures, of several a table."""
    lines = _of_one(report) if len(runs) == 1 else [table_text(table(program, runs))]
    if report["simulated_quality"]:
        lines.append(f"quality: {quality_line(msgspec.convert(report['simulated_quality'], Quality))}")
    return "\n".join([*lines, f"wrote {target}"])


def _of_one(report: Mapping[str, Any]) -> list[str]:
    simulated, predicted = report["simulated_cycles"], report["cycles"]
    classes = report["explained_class"]
    lines = [f"predicted class {report['predicted_class']}"]
    if classes is not None:
        some = f"classes {', '.join(map(str, classes))}" if isinstance(classes, list) else f"class {classes}"
        lines[0] += f", explained {some}"
    lines.append("cycles: " + ", ".join(f"{phase} {n}" for phase, n in simulated.items()))
    if "load_cycles" in report:
        lines.append(f"load of weights before them: {report['load_cycles']} cycles")
    if simulated["total"] != predicted["total"]:
        lines.append(f"the compiler predicted a total of {predicted['total']}")
    if simulated["inference"] and classes is not None:
        lines.append(f"overhead of the explanation: {simulated['explanation'] / simulated['inference']:.3%}")
    if report["diagnostic"]:
        lines.append(f"note: {report['diagnostic']}")
    return lines
