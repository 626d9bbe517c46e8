"""The demonstration: the shipped network compiled, simulated on the shipped images and compared, figure by figure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gradcam.data import SIZE, Images, compose, load_test_images, test_image_paths, to_input
from gradcam.figures import Figure, Measured, ShapeRun, figures, table
from gradcam.files import check_replaceable, replace_folder
from gradcam.folder import written_files
from gradcam.measure import Usage, measured_compile
from gradcam.schema.report import Report

MODEL, TARGET = "gradcam.models:tinyml_resnet18", "layer4"
MAIN, OTHERS = "16x16", ("8x8", "4x4", "16x8", "32x32")
FEW = 2  # images for the trace, and for the other arrays
MAKERS = ("Grad-CAM by torch.autograd", "Grad-CAM of the device")
CHUNK = 5  # images between two signs of progress
TEST_IMAGES, TEST_SEED = 3000, 2  # composed, from the test split

#: All that the demonstration writes into its folder, besides one folder per array; see `design_folder`.
FILES = ("overlays/*.png", "heatmaps.npz", "report.json", "table.md")

Say = Callable[[str], None]


def design_folder(pe: str) -> str:
    """Name of the compile's output folder for an array."""
    return f"design-{pe}"


def demonstrate(target: Path, say: Say = lambda _: None) -> list[Figure]:
    """Runs the demonstration and writes its folder, whole or not at all.

    The folder gets `design-OCxIC/` (a compile's output with its simulator) for every array, `overlays/*.png`,
    `heatmaps.npz` (`device`, int32, and `autograd`, float32; 50 x 8 x 8 each), `report.json` (the compile's report with
    `simulated_cycles` and the figures) and `table.md`.

    Args:
        target: the folder; an earlier demonstration there is replaced.
        say: called with a description of the next step.

    Returns:
        The figures. A missed one is not an error here.

    Raises:
        GradcamError: the folder holds something else, or a step fails.
    """
    check_target(target)
    with replace_folder(target) as folder:
        usage = _compile_all(folder, say)  # first: a compile's memory counts from what this process holds
        return _compare(folder, usage, say)


def check_target(target: Path) -> None:
    """Refuses a folder that an earlier demonstration did not write.

    Raises:
        GradcamError: it holds something else.
    """
    designs = [design_folder(pe) for pe in (MAIN, *OTHERS)]
    ours = [f"{design}/{name}" for design in designs for name in written_files(target / design)]
    check_replaceable(target, [*FILES, *ours], "the demonstration")


def _compile_all(folder: Path, say: Say) -> Usage:
    """Compiles for every array; returns the time and memory of the main array's compile."""
    usages = []
    for pe in (MAIN, *OTHERS):
        say(f"compile for {pe}")
        usages.append(measured_compile(MODEL, TARGET, pe, folder / design_folder(pe)))
    return usages[0]


@dataclass(frozen=True)
class _Run:
    """A design, its simulator, the int8 images that it ran and their results."""

    pe: str
    simulator: Any
    images: np.ndarray
    results: list[Any]
    differences: list[str]
    build_seconds: float

    @property
    def shape(self) -> ShapeRun:
        predicted = self.simulator.program.cycles
        return ShapeRun(self.pe, predicted, [r.cycles for r in self.results], self.differences.count(""))


def _simulate(folder: Path, pe: str, images: np.ndarray, say: Say) -> _Run:
    """Builds a design's simulator, runs float images (N x C x H x W) and compares with the integer reference."""
    from gradcam.sim.check import output_difference
    from gradcam.sim.simulator import Simulator
    from gradcam.sim.trace import load_quantized

    say(f"build the simulator of {pe}")
    start = time.perf_counter()
    simulator = Simulator(folder / design_folder(pe))
    build_seconds = time.perf_counter() - start
    quantized = simulator.program.integers(images)
    results: list[Any] = []
    for i in range(0, len(quantized), CHUNK):
        say(f"simulate {pe}: image {i + 1} of {len(quantized)}")
        results += simulator.run(quantized[i : i + CHUNK])
    say(f"compare {pe} with the integer reference")
    module = load_quantized(simulator.design)
    differences = [output_difference(result, module, image) for result, image in zip(results, quantized, strict=True)]
    return _Run(pe, simulator, quantized, results, differences, build_seconds)


def _compare(folder: Path, usage: Usage, say: Say) -> list[Figure]:
    from gradcam.evaluate import accuracy, autograd_gradcam, pearson, pointing_hit
    from gradcam.frontend import load_model

    images = load_test_images()
    inputs = to_input(images.pixels)
    run = _simulate(folder, MAIN, inputs, say)
    say("trace")
    traced, untraced, trace_difference = _trace(run)
    others = [_simulate(folder, pe, inputs[:FEW], say).shape for pe in OTHERS]

    say("Grad-CAM by torch.autograd")
    model: Any = load_model(MODEL)
    explained = autograd_gradcam(model, inputs, TARGET)
    device = [np.maximum(result.heatmap, 0) for result in run.results]
    software = list(np.maximum(explained.maps, 0))
    device_hits, hits = (
        [pointing_hit(m, box, (SIZE, SIZE)) for m, box in zip(maps, images.boxes, strict=True)]
        for maps in (device, software)
    )
    classes = [(int(r.logits.argmax()), int(c)) for r, c in zip(run.results, explained.logits.argmax(1), strict=True)]
    correlations = [pearson(a, b) for a, b in zip(device, software, strict=True)]
    say("accuracy on composed test images")
    test = compose("test", TEST_IMAGES, TEST_SEED)
    report = run.simulator.design.report()
    measured = Measured(
        shapes=[run.shape, *others],
        multipliers=report.multipliers,
        macs=report.macs,
        traced=traced,
        untraced=untraced,
        trace_difference=trace_difference,
        same_class=sum(a == b for a, b in classes),
        correlations=correlations,
        hits=sum(device_hits),
        float_hits=sum(hits),
        compile_seconds=usage.seconds,
        compile_peak=usage.peak,
        build_seconds=run.build_seconds,
        cycles_per_second=sum(r.cycles.total for r in run.results) / sum(r.seconds for r in run.results),
        accuracy=accuracy(model, to_input(test.pixels), test.labels),
    )
    rows = figures(measured)
    say("pictures")
    _write_pictures(folder / "overlays", images, software, device, classes, correlations)
    raw = np.stack([result.heatmap for result in run.results])
    np.savez_compressed(folder / "heatmaps.npz", device=raw, autograd=explained.maps)
    differences = [f"{s}: {d}" for s, d in zip(_names(), run.differences, strict=True) if d]
    _write_report(folder, report, measured, rows, differences)
    (folder / "table.md").write_text(table(rows), encoding="utf-8")
    return rows


def _names() -> list[str]:
    return [path.stem for path in test_image_paths()]


def _trace(run: _Run) -> tuple[int, int, str]:
    """Compares every buffer of a few runs with the reference.

    Returns:
        The numbers of buffers that were compared and that could not be, and the first difference, "" for none.
    """
    from gradcam.sim.trace import compare_trace, load_quantized

    program = run.simulator.program
    module = load_quantized(run.simulator.design)
    images = run.images[:FEW]
    results = run.simulator.run(images, buffers=True)
    traces = [compare_trace(program, result, module, image) for result, image in zip(results, images, strict=True)]
    found = next((str(t.difference) for t in traces if t.difference is not None), "")
    return sum(len(t.compared) for t in traces), sum(len(t.skipped) + len(t.rings) for t in traces), found


def _write_pictures(
    folder: Path,
    images: Images,
    software: Sequence[np.ndarray],
    device: Sequence[np.ndarray],
    classes: Sequence[tuple[int, int]],
    correlations: Sequence[float],
) -> None:
    """One picture per image, named after its file, and `sheet.png` with all of them."""
    from gradcam.comparison import Compared, overlay, sheet

    folder.mkdir()
    items = []
    for pixels, box, label, a, b, (got, expected), r in zip(
        images.pixels, images.boxes, images.labels, software, device, classes, correlations, strict=True
    ):
        caption = f"digit {label}: float predicts {expected}, device predicts {got}; Pearson of the maps {r:.4f}"
        items.append(Compared(pixels, (a, b), box, caption))
    for name, item in zip(_names(), items, strict=True):
        overlay(item, ("image and box", *MAKERS)).save(folder / f"{name}.png")
    sheet(items, 5, ", ".join(("image and box", *MAKERS))).save(folder / "sheet.png", optimize=True)


def _write_report(
    folder: Path, report: Report, measured: Measured, rows: Sequence[Figure], differences: Sequence[str]
) -> None:
    main = measured.shapes[0]
    content = msgspec.to_builtins(report) | {
        "simulated_cycles": main.simulated[0],
        "figures": rows,
        "measured": measured,
        "differences": differences,
    }
    text = json.dumps(msgspec.to_builtins(content), indent=1)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
