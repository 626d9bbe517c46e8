"""Makes the pictures of this folder: `python docs/pictures.py build/demo build/maps.npz`.

levels.png comes from the tables below, overlays.png from the heatmaps of a demonstration that was run in build/demo,
targets.png from those that `benchmarks/target_layers.py --maps build/maps.npz` wrote.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from gradcam.comparison import Compared, grid, overlay
from gradcam.data import load_test_images

HERE = Path(__file__).parent

#: (level, IR, what a module is, what executes it); the passes behind it lead to the next level.
LEVELS = (
    ("0", "torch", "the exported program, target layer marked", "PyTorch"),
    ("1", "gradcam, f32 tensors", "forward ops and gradcam.explain", "reference interpreter"),
    ("2", "gradcam, !quant.uniform", "int8 activations and weights, int32 sums", "integer reference"),
    ("3", "linalg", "packed channel blocks, rescales in arith", "LLVM JIT"),
    ("4", "affine, scheduled", "loops in time and space, banks, start cycles", "LLVM JIT"),
    ("5", "hw, comb, seq, sv", "engines, address generators, sequencer", "as level 6"),
    ("6", "SystemVerilog", "RTL, memory images, program, report", "Verilator"),
)
PASSES = (
    ("convert-torch-to-gradcam", "gradcam-fold-batch-norm"),
    ("gradcam-derive-backward", "gradcam-simplify-backward", "gradcam-calibrate", "gradcam-quantize"),
    ("gradcam-unfold-stem", "convert-gradcam-to-linalg", "fuse-epilogues"),
    (
        "convert-linalg-to-affine",
        "gradcam-stream-inputs",
        "gradcam-split-time-space",
        "gradcam-choose-schedule",
        "gradcam-form-engines",
        "gradcam-overlap-nests",
        "gradcam-plan-memory",
        "gradcam-assign-cycles",
    ),
    ("convert-affine-to-hw",),
    ("lower-seq-to-sv",),
)
#: Levels whose integers are the same, bit for bit, and those of one MLIR context.
EQUAL = (2, 6)
CONTEXTS = ((0, 4, "torch-mlir's context", "#e8f0fa"), (5, 5, "CIRCT's context", "#eaf5ea"))
EDGE, TEXT, SOFT, ACCENT = "#30506e", "#1c1c1c", "#5c6670", "#b0491c"
SHOWN = 7  # the image of targets.png; target_layers.py simulates the first ones
STEP, BOX = 1.0, 0.52  # distance of two levels, height of a box


def levels() -> Figure:
    """The levels from top to bottom, the passes between them, and what executes each."""
    figure = Figure(figsize=(10, 7.4), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    bottom = -STEP * (len(LEVELS) - 1) - 0.55
    axes.set(xlim=(0, 10), ylim=(bottom, 0.75))
    axes.set_axis_off()
    for first, last, name, colour in CONTEXTS:
        top, height = -STEP * first + 0.42, STEP * (last - first) + 0.84
        axes.add_patch(_rounded(0.25, top - height, 6.55, height, colour, "none"))
        axes.text(6.68, top - 0.06, name, ha="right", va="top", fontsize=8.5, color=SOFT, style="italic")
    axes.text(7.3, 0.55, "executed by", fontsize=9.5, color=SOFT, va="center")
    for i, (number, ir, what, runner) in enumerate(LEVELS):
        y = -STEP * i
        axes.add_patch(_rounded(0.5, y - BOX / 2, 4.6, BOX, "white", EDGE))
        axes.text(0.68, y, number, fontsize=15, weight="bold", color=EDGE, va="center")
        axes.text(1.05, y + 0.11, ir, fontsize=10.5, weight="bold", color=TEXT, va="center")
        axes.text(1.05, y - 0.12, what, fontsize=8.8, color=TEXT, va="center")
        axes.text(7.3, y, runner, fontsize=9.5, color=TEXT, va="center")
    for i, names in enumerate(PASSES):
        y = -STEP * i
        axes.annotate(
            "", (0.9, y - STEP + BOX / 2), (0.9, y - BOX / 2), arrowprops={"arrowstyle": "-|>", "color": EDGE}
        )
        text = "\n".join("  ".join(names[j : j + 3]) for j in range(0, len(names), 3))
        axes.text(1.05, y - STEP / 2, text, fontsize=8, color=ACCENT, family="monospace", va="center")
    _bracket(axes, 9.05, -STEP * EQUAL[0] + 0.15, -STEP * EQUAL[1] - 0.15, "equal\nbit for bit")
    return figure


def _rounded(x: float, y: float, width: float, height: float, face: str, edge: str) -> FancyBboxPatch:
    style = "round,pad=0,rounding_size=0.08"
    return FancyBboxPatch((x, y), width, height, style, facecolor=face, edgecolor=edge, linewidth=1.1)


def _bracket(axes: Any, x: float, top: float, bottom: float, text: str) -> None:
    axes.plot([x - 0.12, x, x, x - 0.12], [top, top, bottom, bottom], color=EDGE, linewidth=1.2)
    axes.text(x + 0.12, (top + bottom) / 2, text, fontsize=9.5, color=EDGE, va="center")


def overlays(demo: Path) -> Image.Image:
    """One shipped image of each class with Grad-CAM by autograd and by the device."""
    images, maps = load_test_images(), np.load(demo / "heatmaps.npz")
    chosen = range(3, len(images.labels), 5)
    items = [
        Compared(images.pixels[i], [np.maximum(maps[name][i], 0) for name in ("autograd", "device")], images.boxes[i])
        for i in chosen
    ]
    return grid(items, ("image", "torch.autograd\nin float32", "the RTL\nin int8"), scale=2)


def targets(maps: Path) -> Image.Image:
    """One shipped image with what two target layers and two methods say about it, by the RTL."""
    images, found = load_test_images(), np.load(maps)
    titles = ("layer4 gradcam", "layer3 gradcam", "layer3 layercam")
    chosen = [np.maximum(found[title][SHOWN], 0) for title in titles]
    return overlay(Compared(images.pixels[SHOWN], chosen, images.boxes[SHOWN]), ("image", *titles), scale=3)


def _image(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def _save(picture: Image.Image, name: str) -> None:
    picture.quantize(256).save(HERE / name, optimize=True)


def main() -> None:
    """Writes the pictures beside this script."""
    if len(sys.argv) != 3:
        sys.exit("usage: python docs/pictures.py DEMO_FOLDER MAPS.npz")
    _save(_image(levels()), "levels.png")
    _save(overlays(Path(sys.argv[1])), "overlays.png")
    _save(targets(Path(sys.argv[2])), "targets.png")


if __name__ == "__main__":
    main()
