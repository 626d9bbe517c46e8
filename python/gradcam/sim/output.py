"""Writes the output folder of `gradcam-sim`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gradcam.errors import GradcamError
from gradcam.files import check_replaceable, replace_folder
from gradcam.sim.program import Program
from gradcam.sim.simulator import Result
from gradcam.view import heatmap_maps, write_overlay

#: All that a run writes; a folder with anything else is not ours to replace.
FILES = ("logits.npy", "heatmap.npy", "overlay.png", "report.json")


def check_target(target: Path, force: bool) -> None:
    """Refuses an output folder that cannot be written or must not be replaced.

    Raises:
        GradcamError: it exists and `force` is false, it holds files of others, or it has no parent folder.
    """
    if not target.parent.is_dir():
        raise GradcamError(f"cannot write {target}: {target.parent} is no folder")
    if target.exists() and not force:
        raise GradcamError(f"{target} exists; --force replaces it")
    check_replaceable(target, FILES, "gradcam-sim")


def simulation_report(program: Program, result: Result, cls: int, reference_equal: bool | None) -> dict[str, Any]:
    """The compile's report with what the simulation found.

    Args:
        program: the design.
        result: the run.
        cls: the class asked for, -1 for the predicted one.
        reference_equal: outcome of the comparison with the integer reference; None when there was none.
    """
    predicted = int(result.logits.argmax())
    scales = {name: program.scale(name) for name in ("image", *result.outputs)}
    report = program.report()
    for layer in report.get("dram") or ():
        layer["simulated_stall_cycles"] = result.nest_cycles[layer["nest"]] - layer["cycles"]
    return report | {
        "simulated_cycles": result.cycles,
        "cycles_per_second": round(result.cycles["total"] / result.seconds),
        "predicted_class": predicted,
        "explained_class": None if result.heatmap is None else (cls if cls >= 0 else predicted),
        "scales": scales,
        "reference_equal": reference_equal,
        "diagnostic": "",
    }


def write_output(
    target: Path, program: Program, result: Result, pixels: np.ndarray, report: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes logits.npy, heatmap.npy, overlay.png and report.json, all or none.

    Args:
        target: the folder.
        program: the design.
        result: the run.
        pixels: the input as a picture, uint8, H x W x 3.
        report: see `simulation_report`.

    Returns:
        The report with the heatmap's diagnostic.

    Raises:
        GradcamError: the folder cannot be written.
    """
    report = dict(report)
    with replace_folder(target) as folder:
        np.save(folder / "logits.npy", result.logits)
        if result.heatmap is not None:
            np.save(folder / "heatmap.npy", result.heatmap)
            report["diagnostic"] = _write_overlay(folder / "overlay.png", program, result.heatmap, pixels, report)
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _write_overlay(
    path: Path, program: Program, heatmap: np.ndarray, pixels: np.ndarray, report: Mapping[str, Any]
) -> str:
    height, width = pixels.shape[:2]
    explain = program.quantization.get("explain")
    maps = heatmap_maps(heatmap, program.scale("heatmap"), (height, width), explain)
    title = f"predicted class {report['predicted_class']}, heatmap of class {report['explained_class']}"
    write_overlay(path, pixels, maps, title)
    return maps.diagnostic


def summary(report: Mapping[str, Any], target: Path) -> str:
    """What a user wants to know first, in lines of text."""
    simulated, predicted = report["simulated_cycles"], report["cycles"]
    lines = [f"predicted class {report['predicted_class']}, explained class {report['explained_class']}"]
    lines.append("cycles: " + ", ".join(f"{phase} {n}" for phase, n in simulated.items()))
    if simulated["total"] != predicted["total"]:
        lines.append(f"the compiler predicted a total of {predicted['total']}")
    if simulated["inference"]:
        lines.append(f"overhead of the explanation: {simulated['explanation'] / simulated['inference']:.3%}")
    if report["diagnostic"]:
        lines.append(f"note: {report['diagnostic']}")
    return "\n".join([*lines, f"wrote {target}"])
