"""Weights from DRAM: the same outputs as with weights on chip, and the cycles of an ideal DRAM to the cycle."""

import dataclasses
import shutil

import numpy as np
import pytest
import rtl_networks
import torch
from rtl_networks import Network
from torch_mlir import ir

from gradcam.compiler import Compilation, Settings
from gradcam.errors import GradcamError
from gradcam.jit import run_affine
from gradcam.output import compile_to_folder
from gradcam.passes.nest import nests
from gradcam.passes.pass_manager import PassManager
from gradcam.passes.tape import Tape, read_tape
from gradcam.reference.integer import run_integer
from gradcam.sim import DramModel, Simulator
from gradcam.sim.check import check_outputs
from gradcam.sim.trace import load_quantized

torch.set_num_threads(1)


def settings(net: Network, pe: str, width: int = 64, outstanding: int = 8) -> Settings:
    return dataclasses.replace(net.settings(pe), weights="dram", dram_width=width, dram_outstanding=outstanding)


def scheduled(net: Network, asked: Settings, level: str = "scheduled") -> ir.Module:
    return Compilation(asked).run(net, level)


def predicted(module: ir.Module, latency: int) -> list[int]:
    """Cycles of every nest with another latency of the DRAM."""
    with module.context:
        tape = ir.DictAttr(module.operation.attributes["gradcam.tape"])
        number = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), latency)
        entries = {e.name: e.attr for e in tape} | {"latency": number}
        module.operation.attributes["gradcam.tape"] = ir.DictAttr.get(entries)
        PassManager.parse("gradcam-assign-cycles").run(module)
        ends = [ir.IntegerAttr(nest.op.attributes["gradcam.end"]).value for nest in nests(module)]
    return np.diff([0, *ends]).tolist()


DESIGNS = [
    (rtl_networks.windows, "8x8", 64, 8),
    (rtl_networks.sums, "4x4", 8, 1),
    (rtl_networks.wide, "16x8", 1024, 3),
    (rtl_networks.point, "4x16", 32, 16),
    (rtl_networks.flat, "4x8", 256, 2),
    (rtl_networks.table, "4x4", 128, 2),
    (rtl_networks.last_layer, "32x32", 16, 2),
]


@pytest.mark.parametrize(
    ("network", "pe", "width", "outstanding"), DESIGNS, ids=[f"{d[0].__name__}-{d[1]}" for d in DESIGNS]
)
def test_outputs_and_cycles(network, pe, width, outstanding, tmp_path):
    net = network()
    asked = settings(net, pe, width, outstanding)
    compile_to_folder(net, "test", asked, tmp_path / "design")
    simulator, module = Simulator(tmp_path / "design"), scheduled(net, asked)
    reference, images = load_quantized(simulator.program), net.images(3)
    classes = [-1, len(net.values[-1][0]) - 1, 0] if simulator.program.ports else [-1] * 3
    for latency in (1, 20, 64, 333):
        cycles = predicted(module, latency)
        for image, cls, result in zip(
            images, classes, simulator.run(images, classes, dram=DramModel(latency)), strict=True
        ):
            check_outputs(result, reference, image, cls)
            assert result.nest_cycles == cycles
    late = DramModel(latency=3, interval=2, stall_seed=1)
    for image, cls, result in zip(
        images, classes, simulator.run(images, classes, stall_seed=2, dram=late), strict=True
    ):
        check_outputs(result, reference, image, cls)
