"""The output folder of a compile, read back and checked against its checksums."""

# pyright: strict
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradcam.checks import check_type
from gradcam.classes import requests
from gradcam.errors import GradcamError
from gradcam.files import digest
from gradcam.images import Source
from gradcam.program_file import read_program
from gradcam.schema.document import read
from gradcam.schema.program import Program
from gradcam.schema.report import Report

if TYPE_CHECKING:  # it imports what a simulation needs
    from gradcam.sim.simulator import Result


@dataclass(frozen=True)
class Design:
    """A compiled design.

    Attributes:
        folder: the folder with its files.
        program: the contents of program.json.
    """

    folder: Path
    program: Program

    @classmethod
    def load(cls, folder: Path | str | Design) -> Design:
        """Reads the output folder of a compile; a design that was read before is returned as it is.

        Raises:
            GradcamError: the folder is missing, or its program.json is missing, malformed or inconsistent.
        """
        if isinstance(folder, Design):
            return folder
        check_type("the folder of a design", folder, "str | Path")
        folder = Path(folder).resolve()
        return cls(folder, read_program(folder))

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

    def simulate(self, images: Source, cls: int | Sequence[int] = -1, check: bool = True) -> list[Result]:
        """Runs images through the RTL in Verilator, one after the other.

        A `gradcam.Simulator` does the same with stalls, traces and other DRAMs, and builds its executable once.

        Args:
            images: files, folders or arrays as `gradcam.images.load_images` takes them: pixels, the model's inputs, or
                int8 images as the design takes them.
            cls: class to explain first, for all images or one per image; -1 for the predicted one.
            check: whether to compare logits and maps with the integer reference, bit for bit.

        Returns:
            A result per image: `logits` and `heatmaps`, int32, whose scales are in `program.streams`; `cycles`.

        Raises:
            GradcamError: an image cannot be read, has another size or type, or is not finite; the simulator cannot be
                built; or an output differs from the reference.
        """
        from gradcam.sim.check import check_results
        from gradcam.sim.inputs import quantized_images
        from gradcam.sim.simulator import Simulator

        integers = quantized_images(images, self.program)
        classes = requests(cls, len(integers), self.program)
        results = Simulator(self).run(integers, classes)
        if check:
            check_results(self, results, integers, classes)
        return results
