"""Signals that end a command: SIGINT, SIGTERM and SIGHUP stop its child processes, and nothing half-made is left.

`raised` turns these signals into an exception, so that folders and files in work are removed on its way out. What must
not be torn apart, such as replacing a folder by another one, runs in `uninterrupted`. Child processes run in
`running`: each has a process group of its own, which is stopped with everything that the child started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: Seconds that a child process has to remove its temporary files.
GRACE = 3


class Interrupted(BaseException):
    """A signal asked the command to end.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number


class _State:
    """What the handler has to know; only the main thread changes it."""

    def __init__(self) -> None:
        self.seen: int | None = None
        self.deferred = 0
        self.children: set[subprocess.Popen[Any]] = set()


_state = _State()


@contextmanager
def raised() -> Iterator[None]:
    """Raises `Interrupted` in the main thread on the first of `SIGNALS`; further ones do nothing while it cleans up.

    A signal that the caller of the command has set to be ignored, as nohup does, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():  # Python delivers signals there
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    taken = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, _handle, None)}
    for number in taken:
        signal.signal(number, _handle)
    try:
        yield
    except Exception as error:
        if _state.seen is None:
            raise
        raise Interrupted(_state.seen) from error  # such as that of a stopped child process
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)
        if taken:
            _state.seen = None


def _handle(number: int, frame: FrameType | None) -> None:
    if _state.seen is not None:
        return
    _state.seen = number
    for child in list(_state.children):  # threads that wait for one go on
        _signal_group(child, signal.SIGTERM)
    if not _state.deferred:
        raise Interrupted(number)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Puts a signal off until the end of the block, which then raises `Interrupted`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen = _state.seen
    _state.deferred += 1
    try:
        yield
    finally:
        _state.deferred -= 1
    if _state.seen != seen and _state.seen is not None and not _state.deferred:
        raise Interrupted(_state.seen)


@contextmanager
def running(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Runs a command beside the block, in a process group of its own; its output is text.

    The group is stopped when the block ends before the command, by an error or a signal.

    Args:
        command: program and arguments.
        **options: of `subprocess.Popen`.

    Raises:
        OSError: the command cannot be started.
        Interrupted: a signal has come.
    """
    child = None
    try:
        with uninterrupted():
            if _state.seen is not None:
                raise Interrupted(_state.seen)
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                process_group=0,
                **options,
            )
            _state.children.add(child)
        yield child
        child.wait()
    finally:
        if child is not None:
            with uninterrupted():
                _stop(child)
                _state.children.discard(child)


def run(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, as `subprocess.run` with `running`'s options."""
    with running(command, **options) as child:
        stdout, stderr = child.communicate()
    return subprocess.CompletedProcess(child.args, child.returncode, stdout, stderr)


def _stop(child: subprocess.Popen[Any]) -> None:
    """Ends what is left of a child's group, and closes its pipes."""
    if child.poll() is None:
        _signal_group(child, signal.SIGTERM)
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            _signal_group(child, signal.SIGKILL)
            child.wait()
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()


def _signal_group(child: subprocess.Popen[Any], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
