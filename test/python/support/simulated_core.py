"""A small network as a core with its interfaces, built for a simulator."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from core import Reference, Scenario
from core_simulation import Played, build, play
from rtl_networks import Network

from gradcam.output import compile_to_folder
from gradcam.sim.program import Program, load_program


@dataclass(frozen=True)
class SimulatedCore:
    """A compiled network and its simulation."""

    program: Program
    images: np.ndarray
    simulation: Path

    @property
    def reference(self) -> Reference:
        return Reference(self.program, self.images)

    def play(self, scenario: Scenario, **options: object) -> Played:
        return play(self.program.folder, scenario.steps, self.images, self.simulation, **options)


def make(net: Network, folder: Path, simulator: str = "verilator", **settings: object) -> SimulatedCore:
    compile_to_folder(net, "test", replace(net.settings("4x4"), **settings), folder / "design")
    (folder / "simulation").mkdir()
    build(folder / "design", simulator, folder / "simulation")
    return SimulatedCore(load_program(folder / "design"), net.images(5), folder / "simulation")
