"""The boundary to other people's code, such as libraries that read a user's files: what it raises is one line."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager

from gradcam.errors import GradcamError


@contextmanager
def outside(doing: str) -> Generator[None]:
    """Reports whatever the block raises as `DOING: REASON`.

    Damaged files end in errors of any type (SyntaxError, struct.error, OverflowError, ...), and a user's code can raise
    anything, also end the process by `sys.exit`, so all are caught; errors of ours pass.

    Raises:
        GradcamError: the block raised an error.
    """
    try:
        yield
    except GradcamError:
        raise
    except (Exception, SystemExit) as error:
        raise GradcamError(f"{doing}: {describe(error)}") from error


@contextmanager
def reading(what: str) -> Generator[None]:
    """Reports what a library raises about a damaged file as `cannot read WHAT: REASON`.

    Warnings about the file are dropped, and so is what libraries in C print on stderr meanwhile.

    Raises:
        GradcamError: the block raised an error.
    """
    with outside(f"cannot read {what}"), warnings.catch_warnings(), captured():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def captured() -> Generator[Callable[[], str]]:
    """Keeps what the process writes to the file descriptor of stderr; yields a function that reads what came so far."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:

        def read() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            os.dup2(file.fileno(), 2)
            yield read
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def describe(error: BaseException) -> str:
    """An exception of other people's code in one line: the system's own words, or the type and the first line."""
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, SystemExit):
        return f"it ends the process (sys.exit({error.code!r}))"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
