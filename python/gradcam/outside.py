"""The boundary to libraries that read the user's files: whatever they raise becomes one line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from gradcam.errors import GradcamError


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Reports what a library raises about a damaged file as `cannot read WHAT: REASON`.

    Damaged files end in errors of any type (SyntaxError, struct.error, OverflowError, ...), so all are caught; errors
    of ours pass. Warnings about the file are dropped, but for those that were made errors before.

    Raises:
        GradcamError: the block raised an error.
    """
    try:
        with warnings.catch_warnings():
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


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
