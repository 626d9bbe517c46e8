"""Errors a user can act on. The tools print them as one line and exit non-zero."""

# pyright: strict
from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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


@contextmanager
def outside(doing: str) -> Iterator[None]:
    """Makes one line of whatever other people's code raises inside: the one wrapper of calls that read a user's file.

    A damaged file surfaces as almost any exception of the library that reads it, and a user's code can raise anything,
    also end the process by `sys.exit`. What is a `GradcamError` already stays as it is.

    Args:
        doing: the beginning of the message, such as "cannot read image x.png".

    Raises:
        GradcamError: `doing`, and the reason.
    """
    try:
        yield
    except GradcamError:
        raise
    except (Exception, SystemExit) as error:
        raise GradcamError(f"{doing}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """An exception of other people's code in one line: the system's own words, or the type and the first line."""
    if isinstance(error, SystemExit):
        return f"it ends the process (sys.exit({error.code!r}))"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
