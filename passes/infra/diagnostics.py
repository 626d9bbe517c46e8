"""MLIR diagnostics as plain data, to print in one line or to compare with the expectations of a test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_FILE_LINE_COLUMN = re.compile(r'"((?:[^"\\]|\\.)*)":(\d+):(\d+)')


@dataclass(frozen=True)
class Diagnostic:
    """A message at a place in a source file.

    Attributes:
        severity: "error", "warning", "remark" or "note".
        message: the text, without location.
        file: name of the source file, "-" for text from memory, "" when unknown.
        line: from 1; 0 when unknown.
        column: from 1; 0 when unknown.
    """

    severity: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file or "<unknown>"
        return f"{place}: {self.severity}: {self.first_line}"

    @property
    def first_line(self) -> str:
        """The first line of the message."""
        return self.message.strip().partition("\n")[0].rstrip()


def at(location: Any, severity: str, message: str) -> Diagnostic:
    """A diagnostic at an MLIR location (the first file location in it) or at no known place (None)."""
    found = _FILE_LINE_COLUMN.search(str(location))
    if not found or found[2] == "0":
        return Diagnostic(severity, message)
    return Diagnostic(severity, message, found[1], int(found[2]), int(found[3]))


def from_mlir(info: Any) -> list[Diagnostic]:
    """A diagnostic of the bindings and its notes; the note that prints the whole op is left out."""
    found = [at(info.location, info.severity.name.lower(), info.message)]
    for note in info.notes:
        if not note.message.startswith("see current operation"):
            found += from_mlir(note)
    return found


def from_exception(error: Exception) -> list[Diagnostic] | None:
    """The diagnostics of an `MLIRError` of either side or a `GradcamError`; None for any other exception.

    An `MLIRError` is empty where the context emits errors to its handlers (`Context.emit_error_diagnostics`) instead.
    """
    if hasattr(error, "error_diagnostics"):
        return [d for info in error.error_diagnostics for d in from_mlir(info)]
    if hasattr(error, "location") and hasattr(error, "message"):
        return [at(error.location, "error", error.message)]
    return None
