"""Designs of untrained ResNet-18s, compiled by `gradcam-compile` in a process of its own, and their reports."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import gradcam.design
from gradcam.measure import Usage, measured_compile, run_measured
from gradcam.pe import PE
from gradcam.schema.derived import dram_reads
from gradcam.schema.program import Cycles, Program
from gradcam.schema.report import Report

MAKER = Path(__file__).parent / "networks.py"


@dataclass(frozen=True)
class Network:
    """A ResNet-18; see `networks.untrained`."""

    width: int = 64
    side: int = 224
    classes: int = 1000
    stem: str = "imagenet"


@dataclass(frozen=True)
class Design:
    """What to compile.

    Attributes:
        network: the model, or the name of one as gradcam-compile takes it, which brings its calibration images.
        pe: the array, OCxIC.
        target: module path of the feature map.
        weights: "onchip" or "dram".
    """

    network: Network | str = field(default_factory=Network)
    pe: str = "16x16"
    target: str = "layer4"
    weights: str = "dram"

    @property
    def name(self) -> str:
        """Of the network, for reading."""
        network = self.network
        return network if isinstance(network, str) else f"width {network.width}, {network.side}x{network.side}"

    @property
    def multipliers(self) -> int:
        """Of the array."""
        pe = PE.parse(self.pe)
        return pe.oc * pe.ic

    @property
    def dram_width(self) -> int:
        """Bits of a beat: half of one per multiplier, so 128 at 16x16, as wide as a memory port of Zynq UltraScale+.

        A tile of weights, a byte per multiplier, is used for every pixel of a map. At the smallest map that the large
        ResNet-18 convolves, 7x7, that is a byte per 49 multipliers and cycle; the DRAM brings one per 16. What is more
        than that shortens the waits of products with vectors, which use a weight once.
        """
        return max(8, self.multipliers // 2)


@dataclass(frozen=True)
class Compiled:
    """A design as its report describes it.

    Attributes:
        design: what was asked for.
        report: the compile's report.json.
        program: the compile's program.json.
        usage: seconds and peak memory of the command, the import of PyTorch included.
    """

    design: Design
    report: Report
    program: Program
    usage: Usage

    @property
    def cycles(self) -> Cycles:
        """By phase, predicted."""
        return self.report.cycles

    @property
    def waiting(self) -> int:
        """Cycles that nests wait for the DRAM."""
        return sum(read.weights.stall_cycles for read in dram_reads(self.program))

    @property
    def memory(self) -> int:
        """Bytes on chip."""
        return sum(self.report.memory_bytes.values())

    @property
    def bandwidth(self) -> float:
        """The most bytes per cycle that a convolution needs from the DRAM in order not to wait."""
        convolutions = {n for layer in self.report.layers if layer.op == "conv2d" for n in layer.nests}
        reads = (read for read in dram_reads(self.program) if read.number in convolutions)
        return max((read.bytes_per_cycle for read in reads), default=0.0)


class Workshop:
    """Compiles designs in a folder, every network and every design once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._networks: dict[Network, Path] = {}
        self._designs: dict[Design, tuple[Compiled, Path]] = {}

    def compile(self, design: Design) -> Compiled:
        """The design's report.

        Raises:
            GradcamError: the network cannot be made or compiled.
        """
        if design not in self._designs:
            target = self._folder / f"design{len(self._designs)}"
            model, options = self._model(design.network)
            if design.weights == "dram":
                options += ["--weights", "dram", "--dram-width", str(design.dram_width)]
            usage = measured_compile(model, design.target, design.pe, target, options)
            found = gradcam.design.Design.load(target)
            self._designs[design] = Compiled(design, found.report(), found.program, usage), target
        return self._designs[design][0]

    def folder(self, design: Design) -> Path:
        """The output folder of a design that was compiled."""
        return self._designs[design][1]

    def calibration(self, network: Network) -> Path:
        """The file of a network's calibration images, float32, N x 3 x side x side."""
        return self._made(network) / "calibration.npy"

    def _model(self, network: Network | str) -> tuple[str, list[str]]:
        """A model as gradcam-compile takes it, and the options that belong to it."""
        if isinstance(network, str):
            return network, []
        return str(self._made(network) / "model.pt2"), ["--calibration", str(self.calibration(network))]

    def _made(self, network: Network) -> Path:
        if network not in self._networks:
            folder = self._folder / f"network{len(self._networks)}"
            folder.mkdir()
            sizes = ["--width", network.width, "--side", network.side, "--classes", network.classes]
            run_measured([sys.executable, str(MAKER), *map(str, sizes), "--stem", network.stem, "-o", str(folder)])
            self._networks[network] = folder
        return self._networks[network]
