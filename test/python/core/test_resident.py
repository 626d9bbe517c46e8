"""Resident weights: loaded by the driver, refused where they are wrong, exchanged without another design."""

import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from core import Scenario, check
from folders import ROOT
from idle_core import Idle
from rtl_networks import last_layer, residual
from simulated_core import SimulatedCore

from gradcam.core.driver import Core
from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.output import compile_to_folder
from gradcam.reference.integer import run_integer
from gradcam.sim import Simulator
from gradcam.sim.check import check_outputs
from gradcam.sim.trace import load_quantized


def with_other_weights(net, seed=3, spread=0.5):
    """The network with weights and biases of other sizes, some of them 0."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1 + spread * torch.randn_like(parameter))
            parameter[torch.rand_like(parameter) < 0.1] = 0
    return net


def compiled(net, folder, **settings):
    compile_to_folder(net, "test", replace(net.settings("4x4"), **settings), folder)
    return Design.load(folder)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The network of `resident` with other weights."""
    return compiled(with_other_weights(residual()), tmp_path_factory.mktemp("other") / "design", weights="resident")


def rtl(design):
    return {path.name: path.read_bytes() for path in sorted((design.folder / "rtl").iterdir())}


def test_other_weights_are_the_same_hardware(resident, other):
    assert rtl(resident.design) == rtl(other)
    first, second = resident.program, other.program
    assert first.core.fingerprint == second.core.fingerprint
    assert first.load.checksum != second.load.checksum and first.load.cycles == second.load.cycles
    assert first.dram.file == "mem/weights.bin" and sorted(first.memories) == ["mem/weights.bin"]


def test_another_network_is_another_structure(resident, tmp_path):
    found = compiled(last_layer(), tmp_path / "design", weights="resident").program
    assert found.core.fingerprint != resident.program.core.fingerprint
    with pytest.raises(GradcamError, match=r"the core is design 0x[0-9a-f]+, program.json describes 0x[0-9a-f]+"):
        Core(Idle(found), resident.program)


@pytest.mark.parametrize(("latency", "width", "outstanding"), [(64, 64, 8), (3, 32, 1), (200, 128, 2)])
def test_the_load_takes_the_predicted_cycles(tmp_path, latency, width, outstanding):
    dram = {"dram_latency": latency, "dram_width": width, "dram_outstanding": outstanding}
    design = compiled(residual(), tmp_path / "design", weights="resident", **dram)
    module, images = load_quantized(design), residual().images(2)
    for late in (False, True):
        results = Simulator(design).run(images, stall_seed=1 if late else None)
        for image, result in zip(images, results, strict=True):
            check_outputs(result, module, image, -1)
            assert result.load_cycles == design.program.load.cycles
            assert late or result.cycles == design.program.cycles


def test_a_changed_bit_is_another_checksum(resident, other, tmp_path):
    folder = tmp_path / "design"
    compiled(residual(), folder, weights="resident")
    path = folder / "mem/weights.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)
    images = residual().images(1)
    with pytest.raises(GradcamError, match=r"mem/weights\.bin"):
        Simulator(folder)
    with pytest.raises(GradcamError, match="the weights that were loaded have the checksum 0x"):
        Simulator(folder, verify=False).run(images)


def test_images_after_a_load(resident):
    scenario = Scenario(resident.program)
    scenario.images([0, 1, 2, 3])
    check(resident.play(scenario, pause=True, seed=2), scenario.expected, resident.reference)


def test_the_driver_loads_and_refuses(resident, other, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "test" / "python" / "support"))
    np.save(tmp_path / "images.npy", resident.images)
    step = {"do": "session", "function": "driver_sessions:resident", "folder": str(resident.design.folder)}
    step |= {"file": str(tmp_path / "images.npy"), "other": str(other.folder)}
    gave = SimulatedCore.play(resident, types.SimpleNamespace(steps=[step])).log[0]["gave"]

    def reference(design, image):
        return [part[0].tolist() for part in run_integer(load_quantized(design), resident.images[image][None], -1)]

    first, second = (f"{d.program.load.checksum:#010x}" for d in (resident.design, other))
    assert gave["missing"] == gave["after"][1] == "no weights are loaded; call load_weights"
    assert gave["held"] == {"busy": 0, "image": 1, "result": 0, "started": 0, "loading": 0, "loaded": 0}
    runs = [gave["first"], *gave["good"]]
    assert [run["outputs"] for run in runs] == [reference(resident.design, image) for image in range(3)]
    assert gave["cycles"] >= resident.program.load.cycles - resident.program.dram.latency
    assert all(text.startswith("the core has loaded weights 0x") for text in gave["changed"])
    assert not any(f"weights {known}" in text for known in (first, second) for text in gave["changed"])
    assert gave["bits"] == ["dram"] and "while weights were loaded: dram (A read of weights" in gave["failed"]
    assert gave["after"][0] == 0
    assert gave["others"] == f"the core has loaded weights {first}, program.json describes {second}; call load_weights"
    assert gave["second"]["outputs"] == reference(other, 0) != reference(resident.design, 0)
    assert gave["back"].startswith(f"the core has loaded weights {second}, program.json describes {first}")
