"""The output folder of a compile, read back and checked against its checksums."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from gradcam.errors import GradcamError
from gradcam.files import digest
from gradcam.schema.document import read
from gradcam.schema.program import Program
from gradcam.schema.report import Report


@dataclass(frozen=True)
class Design:
    """A compiled design.

    Attributes:
        folder: where its files are.
        program: what program.json holds.
    """

    folder: Path
    program: Program

    @property
    def rtl_files(self) -> list[Path]:
        """SystemVerilog files."""
        return [self.folder / name for name in sorted(self.program.rtl)]

    def report(self) -> Report:
        """The compile's report.json.

        Raises:
            GradcamError: the file is missing or is no report.
        """
        return read(self.folder / "report.json", Report)

    def verify(self) -> None:
        """Checks every memory image and RTL file against its checksum.

        Raises:
            GradcamError: a file is missing, or differs from what the compiler wrote.
        """
        for name in (*self.program.memories, *self.program.rtl):
            self.verified(name)

    def verified(self, name: str) -> Path:
        """The path of a file of the design, which is compared with its checksum.

        Raises:
            GradcamError: the file is missing, or differs from what the compiler wrote.
        """
        path = self.folder / name
        if digest(path) != (self.program.memories | self.program.rtl)[name]:
            raise GradcamError(f"{path} is truncated or was changed: its SHA-256 is not the compiled one")
        return path


def load_design(folder: Path | str) -> Design:
    """Reads the output folder of a compile.

    Raises:
        GradcamError: the folder is missing, or its program.json is missing, malformed or inconsistent.
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise GradcamError(f"no such folder: {folder}")
    path = folder / "program.json"
    if not path.exists():
        raise GradcamError(f"{folder} is not the output of gradcam-compile: it has no program.json")
    program = read(path, Program)
    try:
        _check_interfaces(program)
        _check_nests(program)
    except GradcamError as error:
        raise GradcamError(f"{path}: {error}") from None
    return Design(folder, program)


def _check_interfaces(program: Program) -> None:
    """Refuses streams and files that cannot be."""
    for stream in program.streams:
        if math.prod(stream.shape) % stream.lanes:
            raise GradcamError(f"stream '{stream.name}' of shape {stream.shape} has no whole number of beats")
    if len(program.inputs) != 1 or len(program.inputs[0].shape) != 3:
        raise GradcamError(f"the design takes {[s.name for s in program.inputs]}, not one image")
    if program.dram and program.dram.file not in program.memories:
        raise GradcamError(f"the file of the DRAM, '{program.dram.file}', has no checksum")


def _check_nests(program: Program) -> None:
    """Refuses buffers and nests that a simulation could only misread."""
    buffers = [buffer.name for buffer in program.buffers]
    for buffer in program.buffers:
        if buffers.count(buffer.name) > 1:
            raise GradcamError(f"two buffers have the name '{buffer.name}'")
        if (buffer.bank is None) == (buffer.register is None) or (buffer.bank and buffer.bank not in program.banks):
            raise GradcamError(f"buffer '{buffer.name}' is in no bank and no register that exist")
    if not program.nests:
        raise GradcamError("there are no nests")
    for number, nest in enumerate(program.nests):
        if nest.follows is not None and nest.follows != number - 1:
            raise GradcamError(f"nest '{nest.name}' follows nest {nest.follows}, not the one before it")
        missing = [name for name in nest.writes if name not in buffers]
        if missing:
            raise GradcamError(f"nest '{nest.name}' writes '{missing[0]}', which is no buffer")
