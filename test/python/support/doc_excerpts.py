"""Code blocks of the documentation, and how an excerpt is compared with what the compiler prints.

A block is marked by a comment on the line before it:

    <!-- run -->                                commands or Python that work as they stand
    <!-- excerpt: ir/*-gradcam-quantize.mlir --> lines of that file; `#2` takes the second file of that name
    <!-- excerpt: dialect/ops.py -->             lines of a file of the repository

Lines of an excerpt are exact and follow each other. A line `...` stands for any number of lines, `...` inside a line
for any text.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its mark ("" for none), language, lines, and the line number of the first of them."""

    mark: str
    language: str
    lines: list[str]
    number: int

    @property
    def source(self) -> str:
        """The file that an excerpt names, "" when the block is none."""
        return self.mark.removeprefix("excerpt: ") if self.mark.startswith("excerpt: ") else ""


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a Markdown text."""
    found = []
    for match in _BLOCK.finditer(text):
        number = text[: match.start("body")].count("\n") + 1
        found.append(Block(match["mark"] or "", match["language"], match["body"].splitlines(), number))
    return found


def find_source(folder: Path, source: str) -> Path:
    """The file of `folder` that an excerpt names: a pattern, with `#n` for the n-th of several matches."""
    pattern, _, nth = source.partition("#")
    files = sorted(folder.glob(pattern))
    if not files or (len(files) > 1 and not nth):
        raise AssertionError(f"{source} names {len(files)} files of {folder}")
    return files[int(nth or 1) - 1]


def fault(block: Block, printed: list[str]) -> str | None:
    """Why `printed` does not hold the excerpt, as "line N: ..."; None when it does."""
    patterns = [_pattern(line) for line in block.lines]
    segments = _segments(patterns)
    start = 0
    for segment in segments:
        at = _find(segment, patterns, printed, start)
        if at is None:
            return _explain(block, segment, patterns, printed)
        start = at + len(segment)
    return None


def _pattern(line: str) -> re.Pattern[str] | None:
    """What the line matches; None for a line that is only `...`."""
    if line.strip() == "...":
        return None
    return re.compile(".+".join(re.escape(part) for part in line.rstrip().split("...")))


def _segments(patterns: list[re.Pattern[str] | None]) -> list[range]:
    """Stretches of lines between the `...` lines."""
    ends = [i for i, p in enumerate(patterns) if p is None] + [len(patterns)]
    starts = [0, *(e + 1 for e in ends[:-1])]
    return [range(s, e) for s, e in zip(starts, ends, strict=True) if s < e]


def _find(segment: range, patterns: list[re.Pattern[str] | None], printed: list[str], start: int) -> int | None:
    for at in range(start, len(printed) - len(segment) + 1):
        lines = printed[at : at + len(segment)]
        if all(_matches(patterns[i], line) for i, line in zip(segment, lines, strict=True)):
            return at
    return None


def _matches(pattern: re.Pattern[str] | None, line: str) -> bool:
    return pattern is not None and pattern.fullmatch(line.rstrip()) is not None


def _explain(block: Block, segment: range, patterns: list[re.Pattern[str] | None], printed: list[str]) -> str:
    """Names the first line that is printed nowhere, or the stretch whose order or place is wrong."""
    for i in segment:
        if not any(_matches(patterns[i], line) for line in printed):
            closest = difflib.get_close_matches(block.lines[i], printed, 1, 0.3)
            hint = f"; closest is\n{closest[0]}" if closest else ""
            return f"line {block.number + i}: {block.source} has no line\n{block.lines[i]}{hint}"
    return (
        f"line {block.number + segment[0]}: {block.source} has these lines, but not one after the other at this place"
    )
