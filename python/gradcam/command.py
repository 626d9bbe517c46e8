"""Helpers of the command-line tools: exit codes and error messages, and common arguments."""

from __future__ import annotations

import argparse
import atexit
import gc
import logging
import os
import re
import signal as signals
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from gradcam import interrupts
from gradcam.errors import GradcamError, did_you_mean
from gradcam.faults import each, line

Number = TypeVar("Number", int, float)


class _Once(argparse._StoreAction):
    """Stores the value of an argument; an option that is given again is refused, since one value would be lost."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Stores `values`."""
        if option_string is not None:
            if self.dest in parser.stored:
                raise argparse.ArgumentError(self, "given more than once")
            parser.stored.add(self.dest)
        super().__call__(parser, namespace, values, option_string)


class Parser(argparse.ArgumentParser):
    """The parser of a tool's command line, which reports a mistake in one line.

    Attributes:
        stored: the names of the values that options gave so far.
    """

    def __init__(self, **settings: Any) -> None:
        """Makes a parser with the settings of `argparse.ArgumentParser`."""
        super().__init__(**settings)
        self.stored: set[str] = set()
        self.register("action", None, _Once)
        self._negative_number_matcher = re.compile(r"-[.\d]")  # of argparse; also lists of numbers: -0.5,0.1

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override] of overloads
        """Parses; an empty text is refused, since it would be the current folder where it is a path."""
        given = list(sys.argv[1:] if args is None else args)
        for argument in given:
            name, equals, value = argument.partition("=")
            if not argument or (name.startswith("--") and equals and value in ("", "--")):
                self.error(f"argument {name or repr(argument)} has no text")
        for argument in given[: given.index("--")] if "--" in given else given:
            self._check_known(argument)
        self.stored.clear()
        return super().parse_known_args(args, namespace)

    def _check_known(self, argument: str) -> None:
        """Refuses an unknown option; argparse would first miss the required one that is misspelt."""
        name, known = argument.partition("=")[0], self._option_string_actions
        if name.startswith("--") and " " not in name and not any(option.startswith(name) for option in known):
            self.error(f"unrecognized arguments: {argument}{did_you_mean(name, known)}")

    def error(self, message: str) -> NoReturn:
        """Ends the tool with exit code 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def run(name: str, action: Callable[[], None]) -> int:
    """Runs a tool's `action`; returns its exit code. Every problem of the input is one line on stderr.

    The exit code is 128 + N where the signal N ended the action (see `gradcam.interrupts`).
    """
    collect_seldom()
    logging.basicConfig(format=f"{name}: %(levelname)s: %(message)s", level=logging.WARNING)
    try:
        with interrupts.raised(), plain_warnings(name):
            action()
    except interrupts.Interrupted as signal:
        print(f"{name}: error: {signal}", file=sys.stderr)
        return 128 + signal.number
    except KeyboardInterrupt:  # of a user's code: the signal itself is `Interrupted`
        print(f"{name}: error: interrupted by a KeyboardInterrupt", file=sys.stderr)
        return 128 + signals.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the exit does not flush into the pipe
        return 1
    except OSError as error:
        print(f"{name}: error: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except GradcamError as error:
        for fault in each(error):
            print(f"{name}: error: {line(fault)}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def plain_warnings(name: str) -> Iterator[None]:
    """Shows each warning of Python, such as one about a user's own code, in one line."""

    def formatted(message: Warning | str, category: type[Warning], file: str, line: int, _: str | None = None) -> str:
        return f"{name}: WARNING: {file}:{line}: {category.__name__}: {' '.join(str(message).split())}\n"

    before, warnings.formatwarning = warnings.formatwarning, formatted
    try:
        yield
    finally:
        warnings.formatwarning = before


def collect_seldom() -> None:
    """Lets Python collect garbage cycles less often, and not at its exit.

    A command imports and builds many objects that stay. At the default rate, collections traverse them repeatedly,
    which takes a sixth of the time of a compile; those at the exit take another sixth, and free what ends anyway.
    """
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)


def natural_argument(text: str) -> int:
    """The type of an option that takes an integer of at least 0.

    Raises:
        argparse.ArgumentTypeError: the text is none.
    """
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no integer of at least 0")
    return number


def shape_argument(text: str) -> tuple[int, ...]:
    """The type of `--input-shape`: "1,3,64,64".

    Raises:
        argparse.ArgumentTypeError: the text is no list of integers.
    """
    return _split(text, ",", int, "a shape such as 1,3,64,64")


def numbers_argument(text: str) -> tuple[float, ...]:
    """The type of `--mean` and `--std`: "0.5", or "0.485,0.456,0.406".

    Raises:
        argparse.ArgumentTypeError: the text is no list of numbers.
    """
    return _split(text, ",", float, "a number or several such as 0.485,0.456,0.406")


def size_argument(text: str) -> tuple[int, ...]:
    """The type of `--resize` and `--crop`: "224", or "224x160".

    Raises:
        argparse.ArgumentTypeError: the text is no size.
    """
    return _split(text, "x", int, "a size such as 224 or 224x160")


def _split(text: str, separator: str, number: Callable[[str], Number], what: str) -> tuple[Number, ...]:
    """The numbers between separators; `what` says what the text was to be."""
    try:
        return tuple(map(number, text.split(separator)))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not {what}") from None
