"""Several problems reported at once, each with its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch_mlir import ir

from gradcam.errors import GradcamError


@dataclass(frozen=True)
class Report:
    """One fault with the attributes of an MLIR diagnostic."""

    location: Any
    message: str
    severity: Any = ir.DiagnosticSeverity.ERROR
    notes: tuple = ()


class Faults(GradcamError):
    """All faults of an input; the message has one line per fault, which begins with its place.

    Attributes:
        faults: the errors, in program order.
    """

    def __init__(self, faults: Sequence[GradcamError]) -> None:
        super().__init__("\n".join(map(line, faults)), faults[0].location if len(faults) == 1 else None)
        self.faults = list(faults)

    @property
    def error_diagnostics(self) -> list[Report]:
        """One diagnostic per fault, as an `MLIRError` has them: the tools print and match each on its own."""
        # A module path is no file location: it is part of what a tool prints.
        return [Report(f.location, line(f) if isinstance(f.location, ir.NameLoc) else f.message) for f in self.faults]


def each(error: GradcamError) -> list[GradcamError]:
    """The faults of `error`: those of a `Faults`, else the error itself."""
    return error.faults if isinstance(error, Faults) else [error]


def line(error: GradcamError) -> str:
    """`place: message`, or the message alone where the place is unknown."""
    where = place(error.location)
    return f"{where}: {error.message}" if where else error.message


def place(location: Any) -> str:
    """A location as text: a module path such as `layer1.0.conv1`, a file location as `file:line:column`, else empty."""
    if isinstance(location, ir.NameLoc):
        return location.name_str
    if isinstance(location, ir.FileLineColLoc):
        return f"{location.filename}:{location.start_line}:{location.start_col}"
    return ""
