"""Runs Yosys and nextpnr, which come as WebAssembly in wheels."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gradcam import interrupts
from gradcam.errors import GradcamError

#: Seconds between two looks into the log of a tool.
POLL = 0.1

#: Headings of a log, which name the step that runs: "2.4. Executing ..." of Yosys, "Info: Packing ..." of nextpnr.
_HEADING = re.compile(r"(?:\d+\.)+ Executing (?P<yosys>.+?)\.?|Info: (?P<nextpnr>[A-Z]\w+ing .+?)\.*")


def find(program: str, extra: str) -> str:
    """The path of a program in the environment, or else in PATH.

    Raises:
        GradcamError: it is missing; `extra` of the package brings it.
    """
    path = shutil.which(program, path=str(Path(sys.executable).parent)) or shutil.which(program)
    if path is None:
        raise GradcamError(f"{program} is missing; pip install 'gradcam-mlir[{extra}]'")
    return path


def run_logged(command: Sequence[str], folder: Path, log: Path, say: Callable[[str], None]) -> None:
    """Runs Yosys or nextpnr in `folder`, the only files that it can see, with a log.

    The log is the tool's own (`-l`): nothing that Yosys prints after ABC has run reaches stdout.

    Args:
        command: program and arguments; paths in them are relative to `folder`.
        folder: working directory.
        log: a file in `folder` that does not exist.
        say: called with each heading of the log.

    Raises:
        GradcamError: the tool fails; the message is the first error in its log, or else the last line that it wrote.
    """
    name = Path(command[0]).name
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as printed:
        options: dict[str, Any] = {"cwd": folder, "stdout": printed, "stderr": subprocess.STDOUT}
        with interrupts.running([*command, "-l", os.path.relpath(log, folder)], **options) as process:
            lines = []
            for line in _followed(log, process):
                lines.append(line)
                if match := _HEADING.fullmatch(line):
                    say(f"{name}: {match['yosys'] or match['nextpnr']}")
        if process.returncode:
            printed.seek(0)
            lines += [text for line in printed if (text := line.strip())]
            errors = [line for line in lines if "ERROR" in line]
            raise GradcamError(f"{name} failed: {(errors or lines[-1:] or ['it printed nothing'])[0]}")


def _followed(log: Path, process: subprocess.Popen[str]) -> Iterator[str]:
    """The lines of a log, stripped and without empty ones, as the process writes them, until it ends."""
    place, running = 0, True
    while running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
        running = process.returncode is None
        if not log.exists():
            continue
        with log.open("rb") as file:
            file.seek(place)
            written = file.read()
        whole = written.rfind(b"\n") + 1 if running else len(written)
        place += whole
        yield from filter(None, map(str.strip, written[:whole].decode(errors="replace").splitlines()))
