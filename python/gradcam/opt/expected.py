"""Checks diagnostics against the `expected-error@+1 {{...}}` comments of a source, as mlir-opt does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gradcam.passes.infra.diagnostics import Diagnostic

_EXPECTED = re.compile(
    r"expected-(error|warning|remark|note)(-re)? *(?:@([+-]\d+|above|below|unknown))? *\{\{(.*)\}\}\s*$"
)


@dataclass(frozen=True)
class Expected:
    """One expected diagnostic.

    Attributes:
        severity: "error", "warning", "remark" or "note".
        pattern: a regular expression to be found in the message.
        text: the pattern as it was written.
        written_at: the comment's line.
        line: line of the diagnostic; 0 for an unknown location.
    """

    severity: str
    pattern: str
    text: str
    written_at: int
    line: int

    def matches(self, diagnostic: Diagnostic) -> bool:
        """Whether `diagnostic` is the expected one."""
        same_place = (self.severity, self.line) == (diagnostic.severity, diagnostic.line)
        return same_place and re.search(self.pattern, diagnostic.message, re.DOTALL) is not None


def find_expected(source: str) -> list[Expected]:
    """The expected diagnostics in the comments of `source`.

    `@above` and `@below` mean the nearest line that has no such comment itself.
    """
    lines = source.split("\n")
    found = [_EXPECTED.search(line) for line in lines]
    expected = []
    for number, match in enumerate(found, 1):
        if match:
            severity, is_regex, where, text = match.groups()
            expected.append(
                Expected(severity, _pattern(text, bool(is_regex)), text, number, _target(found, number, where))
            )
    return expected


def _target(found: Sequence[re.Match | None], number: int, where: str | None) -> int:
    if where is None:
        return number
    if where == "unknown":
        return 0
    if where in ("above", "below"):
        step = 1 if where == "below" else -1
        number += step
        while 0 < number <= len(found) and found[number - 1]:
            number += step
        return number
    return number + int(where)


def _pattern(text: str, is_regex: bool) -> str:
    """Plain text matches itself; of an `expected-error-re`, the parts inside `{{...}}` are regular expressions."""
    if not is_regex:
        return re.escape(text)
    parts = re.split(r"\{\{(.*?)\}\}", text)
    return "".join(f"(?:{part})" if index % 2 else re.escape(part) for index, part in enumerate(parts))


def mismatches(source: str, diagnostics: Sequence[Diagnostic], file: str) -> list[Diagnostic]:
    """Every diagnostic that no comment expects, and every comment that no diagnostic matches."""
    waiting = find_expected(source)
    problems = []
    for diagnostic in diagnostics:
        match = next((e for e in waiting if e.matches(diagnostic)), None)
        if match:
            waiting.remove(match)
        else:
            message = f"unexpected {diagnostic.severity}: {diagnostic.first_line}"
            problems.append(Diagnostic("error", message, file, diagnostic.line, diagnostic.column))
    problems += [
        Diagnostic("error", f'expected {e.severity} "{e.text}" was not produced', file, e.written_at, 1)
        for e in waiting
    ]
    return sorted(problems, key=lambda problem: problem.line)
