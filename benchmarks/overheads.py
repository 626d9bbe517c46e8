"""Overheads of explanations: interleaved timing, the arithmetic, and the table."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gradcam.evaluate import pearson
from gradcam.view import resize

WARMUP = 5  # calls of each subject before the first that counts
SAME = 0.999  # least Pearson correlation of two maps of one explanation


def interleaved(
    subjects: Mapping[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of one call of each subject, taken in turn, so that what else the machine does meets all of them.

    A timed call follows one of the same subject that does not count: it brings back what others put out of the caches.
    """
    for call in subjects.values():
        for _ in range(WARMUP):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(repeats):
        for name, call in subjects.items():
            call()
            start = clock()
            call()
            seconds[name].append(clock() - start)
    return seconds


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of at least one value."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return Spread(float(median), float(low), float(high))


def overhead(explained: Sequence[float], inference: Sequence[float]) -> Spread:
    """(inference and explanation - inference) / inference, round by round.

    Args:
        explained: seconds of an inference with its explanation, one per round.
        inference: seconds of an inference alone, in the same rounds.
    """
    return spread([(both - alone) / alone for both, alone in zip(explained, inference, strict=True)])


def agreement(ours: np.ndarray, theirs: np.ndarray, full_size: bool) -> float:
    """Pearson correlation of two maps after their ReLU; NaN when one of them is constant.

    Args:
        ours: the weighted sum, hxw.
        theirs: hxw, with or without ReLU and normalization; HxW when `full_size`.
        full_size: theirs was resized to the image.
    """
    wanted = np.maximum(np.asarray(ours, np.float64), 0)
    if full_size:
        height, width = theirs.shape
        wanted = resize(wanted, (height, width))
    return pearson(wanted, np.maximum(np.asarray(theirs, np.float64), 0))


@dataclass(frozen=True)
class Compiled:
    """What the compiler makes of one target layer and method.

    Attributes:
        cycles: by phase; empty when there is no hardware form.
        reason: why there is none.
    """

    cycles: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""

    @property
    def overhead(self) -> float | None:
        """Explanation by inference cycles, as in the compile report."""
        return self.cycles["explanation"] / self.cycles["inference"] if self.cycles else None


@dataclass(frozen=True)
class Measured:
    """A peer's times for one target layer, method and number of threads.

    Attributes:
        seconds: of an inference with its explanation.
        overhead: relative to an inference alone.
        agreement: Pearson correlation of its map with the compiler's, in floating point; see `agreement`.
    """

    seconds: Spread
    overhead: Spread
    agreement: float

    @property
    def same(self) -> bool:
        """Whether it is the same explanation."""
        return not math.isnan(self.agreement) and self.agreement >= SAME


@dataclass(frozen=True)
class Row:
    """One target layer and method: the compiler's cycles, and the peers that have the method, by name."""

    target: str
    method: str
    compiled: Compiled
    measured: Mapping[str, Measured]


@dataclass(frozen=True)
class Block:
    """The rows for one number of threads; `inference` is of all their rounds together, in seconds."""

    threads: int
    inference: Spread
    rows: Sequence[Row]


class Footnotes:
    """Numbered remarks; one that is made again keeps its number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        """The reference to a remark."""
        if text not in self.texts:
            self.texts.append(text)
        return f"[{self.texts.index(text) + 1}]"


def percent(ratio: float) -> str:
    """A ratio in percent for reading: two digits that mean something, or all before the point."""
    value = 100 * ratio
    return f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.2g}"


def cells(row: Row, peers: Iterable[str], notes: Footnotes) -> list[str]:
    """One line of the table: '-' where there is nothing to measure."""
    cycles, ratio = row.compiled.cycles, row.compiled.overhead
    ours = [f"{cycles[name]:,}" if cycles else "-" for name in ("inference", "explanation")]
    ours.append(f"- {notes.mark(row.compiled.reason)}" if ratio is None else f"{percent(ratio)} %")
    return [row.target, row.method, *ours, *(_peer_cell(row, peer, notes) for peer in peers)]


def _peer_cell(row: Row, peer: str, notes: Footnotes) -> str:
    found = row.measured.get(peer)
    if found is None:
        return "-"
    median, low, high = map(percent, (found.overhead.median, found.overhead.low, found.overhead.high))
    text = f"{median} % ({low} to {high})"
    if found.same:
        return text
    differs = f"{peer} gives another map for {row.target} by {row.method}: Pearson {found.agreement:.4f}"
    return f"{text} {notes.mark(differs)}"


def tables(blocks: Sequence[Block], peers: Sequence[str]) -> str:
    """A Markdown table, aligned for reading too, for every number of threads, and the remarks on all of them."""
    notes, lines = Footnotes(), []
    head = ["target layer", "method", "inference, cycles", "explanation, cycles", "gradcam-mlir", *peers]
    for block in blocks:
        low, median, high = (1e3 * t for t in (block.inference.low, block.inference.median, block.inference.high))
        threads = f"{block.threads} thread{'s' if block.threads > 1 else ''}"
        lines += ["", f"{threads}; an inference in PyTorch takes {median:.2f} ms ({low:.2f} to {high:.2f})", ""]
        lines += aligned([head, *(cells(row, peers, notes) for row in block.rows)])
    lines += ["", *(f"[{i}] {text}" for i, text in enumerate(notes.texts, 1))] if notes.texts else []
    return "\n".join(lines) + "\n"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; the first two columns are text, the others figures."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        " | ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    rule = "|".join("-" * (w + 2) if i < 2 else "-" * (w + 1) + ":" for i, w in enumerate(widths))
    return [f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])]
