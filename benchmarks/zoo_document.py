"""The tables of `benchmarks/zoo.py`, and the document around them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from overheads import Footnotes, aligned
from zoo_packages import INSTALL, INSTALL_FILES
from zoo_rows import Row, Run

R = TypeVar("R", Row, Run)

DOCUMENT = """# Public networks

Measured{revisions} for an array of {pe}. {reached} reach level `{level}`.

A row has the level that a network reaches with an explanation at its last stage; the height and width of its images;
the predicted cycles of an inference, and the utilization of all multipliers of the engines that compute convolutions
and linear layers; and the cycles of an explanation as a part of these, at the last stage and at an earlier one. The
last stage is the last layer whose map has several positions, the earlier one the last layer with a larger map; a block
comes after its branches, and a stage after its blocks. Weights are on chip. They are random, seeded and with batch
norms that fit, in the networks of torchvision and timm, and the packages' own in the others; the images that calibrate
are random, too. A level of "none" means that the import refuses the network.

```sh
{install}
{install_files}
{command}
```

The second line installs packages whose files alone are read. What they need to run stays out: TensorFlow, and builds of
OpenCV that overwrite the one that is there.

{levels}"""

IN_RTL = """
## In RTL

Small networks in Verilator, {count} random images each, explained at the last stage and at an earlier layer. Where the
last column says so, logits and maps equal the integer reference in every element, and all images take the predicted
cycles in every phase; the figures are the cycles of all phases.

{runs}"""


def reached(rows: Iterable[Row], level: str) -> str:
    """How many networks reach a level, by package."""
    counts: dict[str, list[bool]] = {}
    for row in rows:
        package = row.title.split()[0]
        counts.setdefault(package if package in ("torchvision", "timm") else "the others", []).append(
            row.level == level
        )
    return ", ".join(f"{sum(found)} of {len(found)} of {package}" for package, found in counts.items())


def level_table(rows: Iterable[Row]) -> str:
    """A Markdown table that is aligned for reading, too, and below it why networks stop."""
    head = ["network", "level", "image", "cycles", "utilization", "overhead", "earlier"]
    return _table(head, rows, _level_cells)


def _level_cells(row: Row, notes: Footnotes) -> list[str]:
    last, earlier = (f"{o:.4f}" if o is not None else "-" for o in row.overheads)
    return [
        row.title,
        _marked(row.level, row.reason, notes),
        row.size,
        f"{row.cycles:,}" if row.cycles else "-",
        f"{row.utilization:.3f}" if row.cycles else "-",
        last,
        _marked(earlier, row.earlier_reason, notes),
    ]


def run_table(runs: Iterable[Run]) -> str:
    """The same of designs in RTL."""
    head = ["network", "explained layer", "image", "cycles, predicted", "simulated", "bit-exact"]
    return _table(head, runs, _run_cells)


def _run_cells(run: Run, notes: Footnotes) -> list[str]:
    simulated = ", ".join(f"{cycles:,}" for cycles in dict.fromkeys(run.simulated))
    result = _marked("no", run.fault, notes) if run.fault else "yes"
    return [
        run.title,
        run.layer or "-",
        run.size,
        f"{run.predicted:,}" if run.predicted else "-",
        simulated or "-",
        result,
    ]


def _table(head: Sequence[str], rows: Iterable[R], cells: Callable[[R, Footnotes], list[str]]) -> str:
    notes = Footnotes()
    lines = aligned([head, *(cells(row, notes) for row in rows)])
    lines += ["", *(f"- [{i}] {text}" for i, text in enumerate(notes.texts, 1))] if notes.texts else []
    return "\n".join(lines) + "\n"


def _marked(text: str, why: str, notes: Footnotes) -> str:
    return f"{text} {notes.mark(why)}" if why else text


def document(
    rows: Sequence[Row], runs: Sequence[Run], revisions: Iterable[str], level: str, pe: str, count: int, command: str
) -> str:
    """The tables with what a reader must know of them.

    Args:
        rows: how far networks got.
        runs: what was simulated.
        revisions: the commits that were measured.
        level: the level that was asked for.
        pe: the array.
        count: images of a simulation.
        command: what measures all this.
    """
    commits = " and ".join(dict.fromkeys(filter(None, revisions)))
    text = DOCUMENT.format(
        revisions=f" on commit {commits}" if commits else "",
        reached=reached(rows, level),
        level=level,
        pe=pe,
        install=INSTALL,
        install_files=INSTALL_FILES,
        command=command,
        levels=level_table(rows),
    )
    return text + (IN_RTL.format(count=count, runs=run_table(runs)) if runs else "")
