"""The check that every design with its weights in DRAM has to pass."""

import dataclasses

from rtl_networks import Network
from torch_mlir import ir

from gradcam.compiler import Compilation, Settings
from gradcam.output import compile_to_folder
from gradcam.passes.infra.pass_manager import PassManager
from gradcam.passes.ir.attributes import END, START
from gradcam.passes.ir.platform import Platform
from gradcam.passes.program.nest import read_nests
from gradcam.sim import DramModel, Result, Simulator, compare_trace, lint
from gradcam.sim.check import check_outputs
from gradcam.sim.trace import load_quantized
from gradcam.timeline import Timeline


def from_dram(settings: Settings, width: int = 64, outstanding: int = 8) -> Settings:
    return dataclasses.replace(settings, weights="dram", dram_width=width, dram_outstanding=outstanding)


def predicted(module: ir.Module, latency: int) -> list[int]:
    """Cycles of every nest with another latency of the DRAM."""
    with module.context, ir.Location.unknown():
        platform = Platform.of(module.operation)
        dataclasses.replace(platform, dram=dataclasses.replace(platform.dram, latency=latency)).write(module)
        PassManager.parse("gradcam-assign-cycles").run(module)
        return [END.get(nest.op) - START.get(nest.op) for nest in read_nests(module)]


def without_waits(result: Result) -> list[int]:
    """Cycles of every nest in which it did not wait."""
    waits = result.timeline.waits
    return [n - sum(w.end - w.begin for w in waits if w.number == i) for i, n in enumerate(result.nest_cycles)]


def check_design(net: Network, settings: Settings, folder) -> None:
    """Outputs with DRAMs of all kinds, every nest's cycles with ideal ones, and without its waits with any."""
    compile_to_folder(net, "test", settings, folder)
    simulator, module = Simulator(folder), Compilation(net, settings).to("scheduled")
    reference, images = load_quantized(simulator.design), net.images(3)
    classes = [-1, len(net.values[-1][0]) - 1, 0] if simulator.program.ports else [-1] * 3
    working = set()
    drams = [DramModel(latency) for latency in (1, 20, 64, 333)]
    for dram in [*drams, DramModel(latency=3, interval=3), DramModel(stall_seed=1), DramModel(stall_seed=2, stall=0.9)]:
        results = simulator.run(images, classes, dram=dram, stall_seed=None if dram in drams else 3, timeline=True)
        for image, cls, result in zip(images, classes, results, strict=True):
            check_outputs(result, reference, image, cls)
            assert dram not in drams or result.nest_cycles == predicted(module, dram.latency)
            working.add(tuple(without_waits(result)))
            if dram == DramModel(simulator.program.dram.latency):
                assert dataclasses.replace(result.timeline, waits=()) == Timeline.of(simulator.program)
    assert len(working) == 1
    assert predicted(module, 1) != predicted(module, 333)
    (traced,) = simulator.run(images[:1], classes[0], buffers=True)
    assert compare_trace(simulator.program, traced, reference, images[0], classes[0]).difference is None
    assert lint(folder) == ""
