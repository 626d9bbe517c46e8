"""The boundary to libraries that read the user's files: whatever they raise becomes one line."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradcam.errors import GradcamError


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Reports what a library raises about a damaged file as `cannot read WHAT: REASON`.

    Damaged files end in errors of any type (SyntaxError, struct.error, OverflowError, ...), so all are caught; errors
    of ours pass. Warnings about the file are dropped, and so is what libraries in C print on stderr meanwhile.

    Raises:
        GradcamError: the block raised an error.
    """
    try:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            yield
    except GradcamError:
        raise
    except MemoryError as error:
        raise GradcamError(f"cannot read {what}: it asks for more memory than there is") from error
    except OSError as error:
        raise GradcamError(f"cannot read {what}: {error.strerror or _first_line(error)}") from error
    except Exception as error:
        raise GradcamError(f"cannot read {what}: {_first_line(error)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Sends to nowhere what the process writes to the file descriptor of stderr."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
