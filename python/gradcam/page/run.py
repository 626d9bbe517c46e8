"""The page of a run."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import asdict

from gradcam.labels import labels
from gradcam.page.figures import Figure
from gradcam.page.pictures import cells, picture, signed_cells
from gradcam.page.render import count, rendered
from gradcam.page.run_files import RunFiles
from gradcam.schema.run import ImageRun
from gradcam.verdict import percent, quality_rows, quality_warnings
from gradcam.view import blended, normalize

#: Classes with the largest logits that an image shows.
CLASSES = 10

#: Characters: the most that pictures take in a page; the images behind those that fill them have a line in the table.
MOST_PICTURES = 1_800_000


@dataclass(frozen=True)
class Panel:
    """A picture with a caption; `exact` ones have a pixel for each element of a map."""

    source: str
    caption: str
    exact: bool = False


@dataclass(frozen=True)
class Row:
    """The pictures of a map, with what it explains."""

    title: str
    panels: list[Panel]


@dataclass(frozen=True)
class ClassRow:
    """A class with its logit and its share of the softmax.

    Attributes:
        number: the class.
        logit: of the design, in real units.
        of_float: of the float network; None where nothing was compared with it.
        share: of the softmax of the design's logits.
        explained: whether a map explains it.
    """

    number: int
    logit: float
    of_float: float | None
    share: float
    explained: bool


@dataclass(frozen=True)
class Shown:
    """An image with its pictures.

    Attributes:
        number: its place among all images.
        run: what the report says of it.
        tile: the first map over the image, for the sheet; the image alone in a design without maps.
        rows: its pictures, a row for each map; one with the image alone in a design without maps.
        classes: the classes with the largest logits.
    """

    number: int
    run: ImageRun
    tile: Panel
    rows: list[Row]
    classes: list[ClassRow]

    @property
    def characters(self) -> int:
        """Characters of its pictures."""
        return sum(len(panel.source) for panel in (self.tile, *(panel for row in self.rows for panel in row.panels)))


def run_page(folder: Path) -> str:
    """The page of the output folder of `gradcam-sim` as HTML.

    Raises:
        GradcamError: a file of the folder is missing, malformed or of another version.
    """
    files = RunFiles.read(folder)
    report = files.report
    quality = report.simulated_quality
    return rendered(
        "run.html",
        title=f"{report.model}: {_images(report.images)}",
        version=importlib.metadata.version("gradcam-mlir"),
        report=report,
        labels=_labels(report.images),
        figures=list(figures(files)),
        warnings=[*(quality_warnings(quality, report) if quality else ()), *_diagnostics(report.images)],
        quality=quality_rows(quality, report.explains) if quality else [],
        shown=list(_fitting(files)),
        phases=phases(files),
        waits=waits(report.images),
    )


def figures(files: RunFiles) -> Iterator[Figure]:
    """The figures at the top: cycles, overhead, equality, quality."""
    report, first = files.report, files.report.images[0]
    cycles, predicted = first.simulated_cycles, report.cycles.total
    totals = {image.simulated_cycles.total for image in report.images}
    note = "as the compiler predicted" if totals == {predicted} else f"{count(predicted)} predicted"
    value = count(min(totals)) if len(totals) == 1 else f"{count(min(totals))} to {count(max(totals))}"
    yield Figure("cycles of an image", value, note)
    if report.explains and cycles.inference:
        share = percent(cycles.explanation / cycles.inference)
        yield Figure("cycles of the explanation", count(cycles.explanation), f"{share} of the inference")
    what = "logits and maps" if report.explains else "logits"
    equal, note = ("equal", f"{what}, in every bit") if report.reference_equal else ("not compared", "")
    yield Figure("integer reference", equal, note)
    if len(report.images) == 1:
        yield Figure("predicted class", str(first.predicted_class), f"logit {files.logits[0].max():.4g}")
    if (quality := report.simulated_quality) is not None:
        yield Figure("class of float", f"{quality.same_class} of {quality.images}", _images(report.images))
        medians = [found.median for found in quality.maps.values() if found.median is not None]
        if medians:
            yield Figure("map of the RTL and of float", f"{min(medians):.4f}", "Pearson's coefficient, median")


def _images(images: Sequence[ImageRun]) -> str:
    """The number of images; of an only one its name."""
    return f"{len(images)} images" if len(images) > 1 else _labels(images)[0]


def _labels(images: Sequence[ImageRun]) -> list[str]:
    return labels([image.image for image in images])


def _diagnostics(images: Sequence[ImageRun]) -> list[str]:
    named = zip(_labels(images), images, strict=True)
    return [f"{label}: {image.diagnostic}" for label, image in named if image.diagnostic]


def _fitting(files: RunFiles) -> Iterator[Shown]:
    """The images with their pictures, as many as a page takes; at least one."""
    taken = 0
    for number in range(len(files.report.images)):
        shown = _shown(files, number)
        taken += shown.characters
        if taken > MOST_PICTURES and number:
            return
        yield shown


def _shown(files: RunFiles, number: int) -> Shown:
    run, pixels = files.report.images[number], files.images[number]
    image, rows = Panel(picture(pixels), "image"), list[Row]()
    for (name, how), explained in zip(files.report.explains.items(), run.classes, strict=True):
        maps = files.maps[name][number]
        height, width = maps.low.shape
        panels = [
            Panel(picture(blended(pixels, normalize(maps.final))), "the RTL's map over the image"),
            Panel(cells(maps.low), f"the RTL's map, {height} x {width}", exact=True),
            *_float_panels(files, name, number),
        ]
        rows.append(Row(f"Class {explained} at {how.target}", panels if rows else [image, *panels]))
    tile = rows[0].panels[1] if rows else image
    return Shown(number, run, tile, rows or [Row("", [image])], class_rows(files, number))


def _float_panels(files: RunFiles, name: str, number: int) -> list[Panel]:
    """The map of the float network and the difference to it, where there is one."""
    of_float = files.float_maps[name][number] if files.float_maps else None
    difference = files.difference(name, number)
    if of_float is None or difference is None:
        return []
    pearson = files.report.images[number].pearson.get(name)
    r = "" if pearson is None else f"; Pearson's coefficient {pearson:.4f}"
    worst = f"the RTL less float, at most {np.abs(difference).max():.2g} of 1"
    return [
        Panel(cells(of_float.low), f"float's map{r}", exact=True),
        Panel(signed_cells(difference), worst, exact=True),
    ]


def class_rows(files: RunFiles, number: int) -> list[ClassRow]:
    """The classes of an image with the largest logits, the best one first, and those that maps explain."""
    logits = files.logits[number]
    of_float = None if files.float_logits is None else files.float_logits[number]
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    best, explained = np.argsort(-logits, kind="stable"), files.report.images[number].classes
    chosen = [*best[:CLASSES], *(c for c in best[CLASSES:] if c in explained)]
    return [
        ClassRow(
            int(c), float(logits[c]), None if of_float is None else float(of_float[c]), float(shares[c]), c in explained
        )
        for c in chosen
    ]


def phases(files: RunFiles) -> list[tuple[str, int, int, int]]:
    """The phases with their cycles: as predicted, the fewest and the most that were simulated."""
    runs, rows = [asdict(run.simulated_cycles) for run in files.report.images], []
    for name, predicted in asdict(files.report.cycles).items():
        simulated = [run[name] for run in runs]
        rows.append((name, predicted, min(simulated), max(simulated)))
    return rows


def waits(images: Sequence[ImageRun]) -> list[tuple[str, int, int, int]]:
    """The nests that wait for weights from DRAM with their cycles: predicted, fewest and most simulated."""
    rows = []
    for same in zip(*(image.dram for image in images), strict=True):
        simulated = [wait.simulated_stall_cycles for wait in same]
        rows.append((same[0].name, same[0].stall_cycles, min(simulated), max(simulated)))
    return [row for row in rows if any(row[1:])]
