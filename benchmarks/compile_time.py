"""CPU time of compiling, beside another build: `python benchmarks/compile_time.py OTHER [--rounds N]`.

OTHER is the Python of an environment that has another version of the package. Both compile the same models in turn,
each in processes of its own, so that whatever else the machine does meets both; medians of user and system time
together. It fails when a compile takes more of the other build's time than is asked for.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from designs import MAKER
from networks import photographs

from gradcam import data
from gradcam.command import run
from gradcam.errors import GradcamError
from gradcam.figures import Figure, table
from gradcam.measure import run_measured
from gradcam.progress import stages

ROUNDS = 5
TINYML = "gradcam.models:tinyml_resnet18"
FULL_IMAGES, MANY_IMAGES = 12, 256  # to calibrate with


@dataclass(frozen=True)
class Case:
    """Something that both builds do.

    Attributes:
        name: for reading.
        limit: most of the other build's time.
        seconds: does it with a Python, in a folder that it may write to; returns what is measured.
    """

    name: str
    limit: float
    seconds: Callable[[str, Path], float]


@dataclass(frozen=True)
class Times:
    """CPU seconds of a case, one per round: of this build and of the other one."""

    case: Case
    here: Sequence[float]
    other: Sequence[float]

    @property
    def figure(self) -> Figure:
        """The row of the table."""
        here, other = statistics.median(self.here), statistics.median(self.other)
        measured = f"{here:.2f} s of {other:.2f} s, {here / other:.3f}"
        return Figure(self.case.name, f"<= {self.case.limit:g}", measured, here <= self.case.limit * other)


def measure(
    cases: Sequence[Case], other: str, rounds: int, folder: Path, say: Callable[[str], None] = lambda _: None
) -> list[Times]:
    """Runs every case `rounds` times with both builds in turn.

    Raises:
        GradcamError: a command fails.
    """
    numbers = itertools.count()
    times = []
    for case in cases:
        found: dict[str, list[float]] = {sys.executable: [], other: []}
        for number in range(rounds):
            for python, seconds in found.items():
                say(f"{case.name}, round {number + 1} of {rounds}")
                work = folder / f"run{next(numbers)}"
                work.mkdir()
                seconds.append(case.seconds(python, work))
        times.append(Times(case, found[sys.executable], found[other]))
    return times


def compiled(python: str, model: str, output: Path, *options: str) -> float:
    """CPU seconds of `gradcam-compile`."""
    command = [python, "-m", "gradcam.tools.gradcam_compile", model, "--target-layer", "layer4", "-o", str(output)]
    return run_measured([*command, *options]).cpu


def calibrated(python: str, folder: Path, many: Path, one: Path) -> float:
    """CPU seconds of calibrating with the images in `many`, without what calibrating with the one image in `one` takes.

    So neither the start of the command counts nor reading the module.
    """
    module = folder / "simplified.mlirbc"
    compiled(python, TINYML, module, "--emit", "simplified")
    command = [python, "-m", "gradcam.tools.gradcam_opt", str(module), "-o", str(folder / "calibrated.mlir")]
    taken = [run_measured([*command, f"--gradcam-calibrate=images={images}"]).cpu for images in (many, one)]
    return taken[0] - taken[1]


def make_cases(folder: Path) -> list[Case]:
    """The three cases that are asked for; writes models and images into a folder."""
    run_measured([sys.executable, str(MAKER), "-o", str(folder)])
    full, twelve, many, one = (folder / name for name in ("model.pt2", "twelve.npy", "many.npy", "one.npy"))
    np.save(twelve, data.to_input(photographs(FULL_IMAGES, 224)))
    images = data.calibration_images(MANY_IMAGES)
    np.save(many, images)
    np.save(one, images[:1])
    options = ["--weights", "dram", "--dram-width", "128", "--calibration", str(twelve)]
    return [
        Case("shipped network", 0.5, lambda python, work: compiled(python, TINYML, work / "design")),
        Case(
            f"ResNet-18 for 224x224 images, {FULL_IMAGES} of them to calibrate with",
            0.6,
            lambda python, work: compiled(python, str(full), work / "design", *options),
        ),
        Case(
            f"calibration with {MANY_IMAGES} images of 64x64",
            0.1,
            lambda python, work: calibrated(python, work, many, one),
        ),
    ]


def compare(other: str, rounds: int) -> None:
    """Measures and prints.

    Raises:
        GradcamError: a command fails, or a case takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="gradcam-compile-time-") as name, stages("compile_time") as say:
        times = measure(make_cases(Path(name)), other, rounds, Path(name), say)
    report(times)


def report(times: Sequence[Times]) -> None:
    """Prints the table.

    Raises:
        GradcamError: a case takes too long.
    """
    rows = [t.figure for t in times]
    print(f"CPU seconds, medians of {len(times[0].here)}: this build's of the other one's, and their ratio\n")
    print(table(rows), end="")
    if missed := [row.what for row in rows if not row.ok]:
        raise GradcamError(f"takes too much of the other build's time: {'; '.join(missed)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", help="the Python of the environment to compare with, such as ENVIRONMENT/bin/python")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"default: {ROUNDS}")
    options = parser.parse_args(argv)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return run("compile_time", lambda: compare(options.other, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
