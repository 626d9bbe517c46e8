"""Runs PyTorch without its messages, which would stand before the one line that tells what is wrong."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[list[BaseException]]:
    """Suppresses PyTorch's messages.

    PyTorch warns about its own helpers, and before it raises it logs tracebacks and prints the graph; the exception has
    the same information. The output of user code is printed once the block has ended without an exception.

    Yields:
        The exceptions that PyTorch logged, as they come: the one that it raises may say no more than to look there.
    """
    logged, printed, disabled = _Exceptions(), io.StringIO(), logging.root.manager.disable
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.partition(".")[0] == "torch"]
    before = [(logger, logger.handlers, logger.propagate) for logger in loggers if logger.handlers]
    for logger, _, _ in before:
        logger.handlers, logger.propagate = [logged], False
    logging.disable(logging.INFO)
    try:
        with contextlib.redirect_stderr(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings("ignore", "Using padding='same'")  # it tells of a copy that PyTorch makes
            yield logged.found
    finally:
        logging.disable(disabled)
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
    sys.stderr.write(printed.getvalue())


class _Exceptions(logging.Handler):
    """Keeps the exceptions of the messages that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self.found.append(record.exc_info[1])
