"""Time and memory of a command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gradcam import interrupts
from gradcam.errors import GradcamError


@dataclass(frozen=True)
class Usage:
    """The time and memory of a command.

    Attributes:
        seconds: wall time, from its start to its end.
        peak: largest resident memory of its process, in bytes. Linux counts what the caller held when it started the
            command as the least, so measure before loading much.
        cpu: user and system time of its process and of those that it waited for, in seconds.
    """

    seconds: float
    peak: int
    cpu: float


def run_measured(command: Sequence[str]) -> Usage:
    """Runs a command and measures it.

    Raises:
        GradcamError: it cannot be started or fails; the message is then the last line that it printed.
    """
    start = time.perf_counter()
    try:
        with interrupts.running(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            assert process.stdout is not None
            printed = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)  # Popen.wait would not tell the memory of this one process
            process.returncode = os.waitstatus_to_exitcode(status)
    except OSError as error:
        raise GradcamError(f"cannot run {command[0]}: {error.strerror}") from error
    seconds = time.perf_counter() - start
    if process.returncode:
        lines = printed.strip().splitlines() or [f"exit code {process.returncode}"]
        raise GradcamError(lines[-1])
    return Usage(seconds, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime)


def measured_compile(model: str, target_layer: str, pe: str, folder: Path, options: Sequence[str] = ()) -> Usage:
    """Compiles a model into a new folder with `gradcam-compile`, in a process of its own.

    Args:
        model: as the command takes it, package.module:callable or a .pt2 file.
        target_layer: module path of the feature map to explain.
        pe: the array, OCxIC.
        folder: output folder; it must not exist.
        options: further ones of the command.

    Raises:
        GradcamError: the model cannot be compiled.
    """
    command = [sys.executable, "-m", "gradcam.tools.gradcam_compile", model]
    return run_measured([*command, "--target-layer", target_layer, "--pe", pe, "-o", str(folder), *options])
