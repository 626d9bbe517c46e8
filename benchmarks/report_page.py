"""`report.html` in headless Chromium: `python benchmarks/report_page.py [--pictures DIR] [DIR ...]`.

Looks at the pages of output folders of `gradcam-compile` and `gradcam-sim`; without any, of the shipped network, of a
ResNet-18 for 224x224 images and 1000 classes, and of torchvision's MobileNetV3-Small. Prints for each page its size,
the time until all charts are drawn, what it loads, and what its Gantt chart draws and does, and fails when a figure is
missed. Needs Chromium, and `pip install -c constraints.txt '.[browser,zoo]'`. `--pictures` writes pictures of the
pages, from which `docs/pictures.py` takes parts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from browser import PHONE, WINDOW, Seen, browser, look, opened, program_of
from designs import Design, Workshop

from gradcam.command import Parser, run
from gradcam.errors import GradcamError
from gradcam.figures import Figure, at_most, table
from gradcam.folder import PAGE
from gradcam.progress import stages

TINYML = Design("gradcam.models:tinyml_resnet18", weights="onchip")
ZOO = "mobilenet_v3_small"


def compiled(work: Path, say: Callable[[str], None]) -> Iterator[tuple[str, Path]]:
    """Compiles the three networks; gives their names and folders."""
    from zoo_networks import networks, prepared, targets

    from gradcam.compiler import Settings
    from gradcam.output import compile_to_folder

    shop = Workshop(work)
    for name, design in (("TinyML ResNet-18", TINYML), ("ResNet-18, 224x224", Design())):
        say(f"compile {name}")
        shop.compile(design)
        yield name, shop.folder(design)
    say(f"compile {ZOO}")
    network = prepared(next(n for n in networks() if n.name == ZOO), None)
    settings = Settings(targets(network)[0], calibration=network.calibration, input_shape=network.shape)
    compile_to_folder(network.model, f"torchvision {ZOO}", settings, work / ZOO)
    yield f"torchvision {ZOO}", work / ZOO


def figures(name: str, seen: Seen, program: dict[str, Any] | None) -> list[Figure]:
    """The rows of a page."""

    def none(what: str, found: Sequence[str]) -> Figure:
        return Figure(f"{what}, {name}", "none", ", ".join(found) or "none", not found)

    rows = [
        at_most(f"size, {name}", 3, seen.bytes / 1e6, ".2f", " MB", strict=True),
        at_most(f"all charts drawn, {name}", 2, seen.seconds, ".2f", " s", strict=True),
        none("console errors", seen.errors),
        none("requests", seen.requests),
        at_most(f"width in a window of {PHONE[0]} pixels, {name}", PHONE[0], seen.phone_width, "d"),
    ]
    if program and (gantt := seen.gantt):
        longest = max(program["nests"], key=lambda nest: nest["end"] - nest["start"])["name"]
        hovered = gantt.hovered.partition("\n")[0]
        rows += [
            none(f"bars other than the {len(program['nests'])} nests", gantt.wrong_bars),
            Figure(f"zoom, drag, double click, {name}", "work", "work" if gantt.zoomed else "do not", gantt.zoomed),
            Figure(f"text at the longest bar, {name}", longest, hovered, longest == hovered),
        ]
    return rows


def pictures(started: Any, page: Path, name: str, folder: Path) -> None:
    """Writes pictures of a page, light and dark, in a window and on a phone."""
    for scheme in ("light", "dark"):
        for kind, size in (("", WINDOW), ("phone-", PHONE)):
            with opened(started, page, size, scheme) as tab:
                tab.screenshot(path=folder / f"{name}-{kind}{scheme}.png", full_page=True)


def _main(options: argparse.Namespace) -> None:
    rows = list[Figure]()
    with tempfile.TemporaryDirectory(prefix="gradcam-pages-") as work, stages("report_page") as say:
        named = ((folder.name, folder) for folder in options.folders)
        folders = list(named if options.folders else compiled(Path(work), say))
        with browser() as started:
            for name, folder in folders:
                say(f"look at {name}")
                program = program_of(folder)
                rows += figures(name, look(started, folder / PAGE, program), program)
                if options.pictures:
                    options.pictures.mkdir(parents=True, exist_ok=True)
                    pictures(started, folder / PAGE, "".join(c if c.isalnum() else "-" for c in name), options.pictures)
    print(table(rows), end="")
    if missed := [row.what for row in rows if not row.ok]:
        raise GradcamError(f"missed: {'; '.join(missed)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark with `argv`; returns its exit code."""
    parser = Parser(prog="report_page", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="DIR", help="output folders of gradcam-compile or gradcam-sim"
    )
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="where to write pictures of the pages")
    options = parser.parse_args(argv)
    return run("report_page", lambda: _main(options))


if __name__ == "__main__":
    sys.exit(main())
