"""A small network as a core with its interfaces, built for a simulator."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from core import Reference, Scenario
from core_simulation import Played, build, play
from rtl_networks import Network

from gradcam.design import Design
from gradcam.output import compile_to_folder
from gradcam.schema.program import Program


@dataclass(frozen=True)
class SimulatedCore:
    """A compiled network and its simulation."""

    design: Design
    images: np.ndarray
    simulation: Path

    @property
    def program(self) -> Program:
        return self.design.program

    @property
    def reference(self) -> Reference:
        return Reference(self.design, self.images)

    def play(self, scenario: Scenario, **options: object) -> Played:
        return play(self.design.folder, scenario.steps, self.images, self.simulation, **options)


def make(net: Network, folder: Path, simulator: str = "verilator", **settings: object) -> SimulatedCore:
    compile_to_folder(net, "test", replace(net.settings("4x4"), **settings), folder / "design")
    (folder / "simulation").mkdir()
    build(folder / "design", simulator, folder / "simulation")
    return SimulatedCore(Design.load(folder / "design"), net.images(5), folder / "simulation")
