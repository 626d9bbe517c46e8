"""Makes the pictures of this folder: `python docs/pictures.py [--demo DIR] [--targets FILE] ...`.

levels.png comes from the table of the passes, overlays.png from the heatmaps in the folder of a demonstration,
targets.png and photographs.png from what `benchmarks/target_layers.py` and `benchmarks/efficientnet.py` wrote with
`--maps`, stippled.png from two files of the former, without and with `--pool-map 2`. page.png and page_run.png are
parts of what `benchmarks/report_page.py build/resnet build/run --pictures DIR` wrote. Without arguments it makes
levels.png alone.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gradcam.comparison import Compared, grid, overlay
from gradcam.data import load_test_images
from gradcam.passes.registry import PASSES

HERE = Path(__file__).parent

#: (level, IR, what a module is, what executes it, the rooms of passes that lead to the next level).
LEVELS = (
    ("0", "torch", "the exported program, target layer marked", "PyTorch", ("torch",)),
    ("1", "gradcam, f32 tensors", "forward ops and gradcam.explain", "reference interpreter", ("backward", "quantize")),
    ("2", "gradcam, !quant.uniform", "int8 activations and weights, int32 sums", "integer reference", ("linalg",)),
    ("3", "linalg", "packed channel blocks, rescales in arith", "LLVM JIT", ("affine", "schedule")),
    ("4", "affine, scheduled", "loops in time and space, banks, start cycles", "LLVM JIT", ("hw",)),
    ("5", "hw, comb, seq, sv", "engines, address generators, sequencer", "as level 6", ("CIRCT",)),
    ("6", "SystemVerilog", "RTL, memory images, program, report", "Verilator", ()),
)
#: Passes that are not this project's, by the name that stands in the place of a room.
UPSTREAM = {"CIRCT": ("lower-seq-to-sv", "hw-legalize-modules", "prettify-verilog")}
#: Levels whose integers are the same, bit for bit, and those of one MLIR context.
EQUAL = (2, 6)
CONTEXTS = ((0, 4, "torch-mlir's context", "#e8f0fa"), (5, 5, "CIRCT's context", "#eaf5ea"))
EDGE, TEXT, SOFT, ACCENT = "#30506e", "#1c1c1c", "#5c6670", "#b0491c"
SHOWN = 7  # the image of targets.png; target_layers.py simulates the first ones
SHOWN_STIPPLED, STIPPLED = (3, 8, 13, 18, 33, 43), ("layer3 layercam", "layer2 layercam")  # of stippled.png
PHOTOGRAPHS = (0, 1, 4, 5, 8, 18)  # the photographs of photographs.png, in the order of efficientnet.py
WIDTH, BOX, LINE, COLUMNS = 10.0, 0.5, 0.155, 2  # inches; passes side by side
PAGE, RUN, MARGIN = 900, 1000, 6  # pixels: the heights of the parts of pages, and what is between two
PITCH = 2.25  # inches from a pass to the one beside it


def passes_of(room: str) -> tuple[str, ...]:
    """The passes of a room in the order of the table."""
    return UPSTREAM.get(room) or tuple(name for name, where, *_ in PASSES if where == room)


def lines_of(room: str) -> list[tuple[str, ...]]:
    """The passes of a room, line by line."""
    names = passes_of(room)
    return [names[i : i + COLUMNS] for i in range(0, len(names), COLUMNS)]


def tops() -> list[float]:
    """The middle of the box of every level, in inches from the first one, downwards."""
    places = [0.0]
    for *_, rooms in LEVELS[:-1]:
        places.append(places[-1] - BOX - 0.22 - LINE * sum(len(lines_of(room)) for room in rooms))
    return places


def levels() -> Figure:
    """The levels from top to bottom, the passes between them by room, and what executes each level."""
    places = tops()
    top, bottom = 0.7, places[-1] - 0.45
    figure = Figure(figsize=(WIDTH, top - bottom), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(bottom, top))
    axes.set_axis_off()
    for first, last, name, colour in CONTEXTS:
        height = places[first] - places[last] + BOX + 0.26
        axes.add_patch(_rounded(0.25, places[last] - BOX / 2 - 0.13, 6.75, height, colour, "none"))
        label = {"fontsize": 8.5, "color": SOFT, "style": "italic"}
        axes.text(6.88, places[first] + BOX / 2 + 0.06, name, ha="right", va="top", **label)
    axes.text(7.3, 0.5, "executed by", fontsize=9.5, color=SOFT, va="center")
    for (number, ir, what, runner, _), y in zip(LEVELS, places, strict=True):
        axes.add_patch(_rounded(0.5, y - BOX / 2, 4.6, BOX, "white", EDGE))
        axes.text(0.68, y, number, fontsize=15, weight="bold", color=EDGE, va="center")
        axes.text(1.05, y + 0.11, ir, fontsize=10.5, weight="bold", color=TEXT, va="center")
        axes.text(1.05, y - 0.12, what, fontsize=8.8, color=TEXT, va="center")
        axes.text(7.3, y, runner, fontsize=9.5, color=TEXT, va="center")
    for i, (*_, rooms) in enumerate(LEVELS[:-1]):
        arrow = {"arrowstyle": "-|>", "color": EDGE}
        axes.annotate("", (0.7, places[i + 1] + BOX / 2), (0.7, places[i] - BOX / 2), arrowprops=arrow)
        _passes(axes, places[i] - BOX / 2 - 0.11 - LINE / 2, rooms)
    _bracket(axes, 9.05, places[EQUAL[0]] + 0.15, places[EQUAL[1]] - 0.15, "equal\nbit for bit")
    return figure


def _passes(axes: Any, y: float, rooms: tuple[str, ...]) -> None:
    """Rooms one below the other from `y` on: the room's name, beside it its passes."""
    for room in rooms:
        title = room if room in UPSTREAM else f"passes/{room}"
        axes.text(0.85, y, title, fontsize=8, color=EDGE, weight="bold", va="center")
        for names in lines_of(room):
            for column, name in enumerate(names):
                axes.text(2.2 + PITCH * column, y, name, fontsize=8, color=ACCENT, family="monospace", va="center")
            y -= LINE


def texts(figure: Figure) -> list[str]:
    """All that is written in a picture."""
    found = [artist.get_text() for artist in figure.findobj(Text) if isinstance(artist, Text)]
    return sorted(text for text in found if text)


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


def stippled(whole: Path, pooled: Path) -> Image.Image:
    """A few shipped images with what two target layers say about them, as whole maps and as means of 2x2 positions."""
    images, found = load_test_images(), [np.load(file) for file in (whole, pooled)]
    rows = [(layer, maps) for layer in STIPPLED for maps in found]
    items = [
        Compared(images.pixels[i], [np.maximum(maps[layer][i], 0) for layer, maps in rows], images.boxes[i])
        for i in SHOWN_STIPPLED
    ]
    titles = [f"{layer.replace(' ', chr(10))}{after}" for layer in STIPPLED for after in ("", ", pooled")]
    return grid(items, ("image", *titles), scale=2)


def explained(best: str, other: str) -> str:
    """The explained class, the best one of float, and that of int8 where it is another one."""
    return best if best == other else f"{best} (int8: {other})"


def photographs(maps: Path) -> Image.Image:
    """A few photographs with what two layers of EfficientNet-Lite0 say about their class, by float and by the RTL."""
    found = np.load(maps)
    layers = sorted({name.split()[0] for name in found if " " in name}, key=lambda name: -int(name.split(".")[-1]))
    rows = [(layer, who) for layer in layers for who in ("float", "int8")]
    items = [
        Compared(found["pixels"][i], [np.maximum(found[f"{layer} {who}"][i], 0) for layer, who in rows], None, name)
        for i, name in ((i, explained(*(str(found[who][i]) for who in ("float", "int8")))) for i in PHOTOGRAPHS)
    ]
    titles = ["image"] + [f"{layer}\n{'torch.autograd' if who == 'float' else 'the RTL, int8'}" for layer, who in rows]
    return grid(items, titles)


def page(folder: Path) -> Image.Image:
    """The beginning of the page of a compile, and the same on a phone in the dark."""
    return _beside(Image.open(folder / "resnet-light.png"), Image.open(folder / "resnet-phone-dark.png"), PAGE)


def page_run(folder: Path) -> Image.Image:
    """The beginning of the page of a run."""
    whole = Image.open(folder / "run-light.png").convert("RGB")
    return whole.crop((0, 0, whole.width, min(whole.height, RUN)))


def _beside(wide: Image.Image, narrow: Image.Image, height: int) -> Image.Image:
    """The upper parts of two pictures, side by side."""
    both = Image.new("RGB", (wide.width + MARGIN + narrow.width, height), "#c9d1d9")
    both.paste(wide.crop((0, 0, wide.width, height)), (0, 0))
    both.paste(narrow.crop((0, 0, narrow.width, height)), (wide.width + MARGIN, 0))
    return both


def _image(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def _save(picture: Image.Image, name: str, written: Sequence[str] = (), colours: int = 256) -> None:
    """Writes a picture, with what is written in it, so that a test can tell when the picture is outdated.

    Args:
        picture: the picture.
        name: of the file.
        written: what is written in it.
        colours: the most that it has; 0 keeps all.
    """
    info = PngInfo()
    for number, text in enumerate(written):
        info.add_text(f"text {number:02}", text)
    shown = picture.quantize(colours) if colours else picture
    shown.save(HERE / name, optimize=True, pnginfo=info)


def main() -> None:
    """Writes the pictures beside this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, metavar="DIR", help="makes overlays.png")
    parser.add_argument("--targets", type=Path, metavar="FILE.npz", help="makes targets.png")
    parser.add_argument("--stippled", type=Path, nargs=2, metavar="FILE.npz", help="makes stippled.png")
    parser.add_argument("--photographs", type=Path, metavar="FILE.npz", help="makes photographs.png")
    parser.add_argument("--pages", type=Path, metavar="DIR", help="makes page.png and page_run.png")
    options = parser.parse_args()
    figure = levels()
    _save(_image(figure), "levels.png", texts(figure))
    for source, make in ((options.demo, overlays), (options.targets, targets), (options.photographs, photographs)):
        if source is not None:
            _save(make(source), f"{make.__name__}.png")
    if options.stippled:
        _save(stippled(*options.stippled), "stippled.png")
    for make in (page, page_run) if options.pages else ():
        _save(make(options.pages), f"{make.__name__}.png", colours=0)


if __name__ == "__main__":
    main()
