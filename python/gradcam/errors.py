"""Errors a user can act on. The tools print them as one line and exit non-zero."""

# pyright: strict
from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class GradcamError(Exception):
    """A problem with the user's input: the fault, its place, and the remedy.

    Attributes:
        message: one line without the location.
        location: an MLIR location, or None when the problem has no place in the IR.
    """

    def __init__(self, message: str, location: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.location = location


def fail(where: Any, message: str) -> GradcamError:
    """Makes the error for an op (anything with `.location`) or a location; use as `raise fail(op, "...")`."""
    return GradcamError(message, getattr(where, "location", where))


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """The end of an error message: "; did you mean 'x'?", or nothing where no candidate is near."""
    near = difflib.get_close_matches(name, list(candidates), 1)
    return f"; did you mean '{near[0]}'?" if near else ""
