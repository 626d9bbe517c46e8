"""Writes the output folder of `gradcam-sim`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gradcam.classes import best_class, explained_classes
from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.files import check_replaceable, replace_folder
from gradcam.schema.derived import dram_reads
from gradcam.schema.program import Program
from gradcam.sim.simulator import Result
from gradcam.view import heatmap_maps, write_overlay

#: The files that a run writes; a folder with other files must not be replaced.
FILES = ("logits.npy", "heatmap*.npy", "overlay*.png", "report.json")


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


def simulation_report(design: Design, result: Result, cls: int, reference_equal: bool | None) -> dict[str, Any]:
    """The compile's report with the results of the simulation.

    Args:
        design: the design that ran.
        result: the result of the run.
        cls: the requested class, -1 for the predicted one. `explained_class` is a list where there are several maps.
        reference_equal: outcome of the comparison with the integer reference; None when there was none.
    """
    program = design.program
    ranks = [explanation.rank for explanation in program.maps.values()]
    classes = explained_classes(result.logits, cls, max(ranks, default=0) + 1)
    explained = [classes[rank] for rank in ranks]
    waiting = [
        {
            "nest": read.number,
            "name": read.nest.name,
            "stall_cycles": read.weights.stall_cycles,
            "simulated_stall_cycles": result.nest_cycles[read.number] - read.cycles,
        }
        for read in dram_reads(program)
    ]
    return msgspec.to_builtins(design.report()) | {
        "simulated_cycles": msgspec.to_builtins(result.cycles),
        "cycles_per_second": round(result.cycles.total / result.seconds),
        "predicted_class": best_class(result.logits),
        "explained_class": explained if len(explained) > 1 else next(iter(explained), None),
        "scales": {name: program.scale(name) for name in ("image", *result.outputs)},
        "dram": waiting,
        "reference_equal": reference_equal,
        "diagnostic": "",
    }


def write_output(
    target: Path, program: Program, result: Result, pixels: np.ndarray, report: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes logits.npy, heatmap.npy, overlay.png and report.json, all or none.

    Several maps are heatmap0.npy, heatmap1.npy and so on, with overlay0.png, overlay1.png.

    Args:
        target: the folder.
        program: the design.
        result: the run.
        pixels: the input as a picture, uint8, H x W x 3.
        report: see `simulation_report`.

    Returns:
        The report with the heatmaps' diagnostics.

    Raises:
        GradcamError: the folder cannot be written.
    """
    report = dict(report)
    with replace_folder(target) as folder:
        np.save(folder / "logits.npy", result.logits)
        found = {name: _write_map(folder, program, result, name, pixels, report) for name in result.heatmaps}
        several = len(found) > 1
        report["diagnostic"] = "; ".join(f"{n}: {text}" if several else text for n, text in found.items() if text)
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _write_map(
    folder: Path, program: Program, result: Result, name: str, pixels: np.ndarray, report: Mapping[str, Any]
) -> str:
    """Writes a heatmap and its picture; returns its diagnostic."""
    height, width = pixels.shape[:2]
    np.save(folder / f"{name}.npy", result.heatmaps[name])
    explain = program.maps[name]
    conventions = explain.relu, explain.normalize, explain.eps
    maps = heatmap_maps(result.heatmaps[name], program.scale(name), (height, width), *conventions)
    cls = report["explained_class"]
    if isinstance(cls, list):
        cls = f"{cls[list(result.heatmaps).index(name)]} at {explain.target}"
    title = f"predicted class {report['predicted_class']}, heatmap of class {cls}"
    write_overlay(folder / f"{name.replace('heatmap', 'overlay')}.png", pixels, maps, title)
    return maps.diagnostic


def summary(report: Mapping[str, Any], target: Path) -> str:
    """A summary of a report for users, in lines of text."""
    simulated, predicted = report["simulated_cycles"], report["cycles"]
    classes = report["explained_class"]
    lines = [f"predicted class {report['predicted_class']}"]
    if classes is not None:
        some = f"classes {', '.join(map(str, classes))}" if isinstance(classes, list) else f"class {classes}"
        lines[0] += f", explained {some}"
    lines.append("cycles: " + ", ".join(f"{phase} {n}" for phase, n in simulated.items()))
    if simulated["total"] != predicted["total"]:
        lines.append(f"the compiler predicted a total of {predicted['total']}")
    if simulated["inference"] and classes is not None:
        lines.append(f"overhead of the explanation: {simulated['explanation'] / simulated['inference']:.3%}")
    if report["diagnostic"]:
        lines.append(f"note: {report['diagnostic']}")
    return "\n".join([*lines, f"wrote {target}"])
