"""What tests of nests side by side look at, and how they break a program."""

import pytest
from rtl_networks import Network, design
from torch_mlir import ir

import gradcam.output
from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.passes.program.nest import read_nests
from gradcam.passes.program.runs import follows_of
from gradcam.sim import Simulator
from gradcam.sim.check import check_outputs
from gradcam.sim.trace import load_quantized


def open_early(module: ir.Module) -> None:
    for follow in follows_of(read_nests(module)).values():
        attributes = follow.nest.op.attributes
        map_ = ir.AffineMapAttr(attributes["gradcam.follows"]).value
        attributes["gradcam.follows"] = ir.AffineMapAttr.get(ir.AffineMap.get(map_.n_dims, 0, [map_.results[0] - 8]))


def program_of(folder):
    return Design.load(folder).program


def followers(folder) -> dict[str, set[str]]:
    """The nests that follow, with the rings that they read."""
    program = program_of(folder)
    rings = {buffer.name for buffer in program.buffers if buffer.ring is not None}
    following = [nest for nest in program.nests if nest.follows is not None]
    return {nest.name: rings & set(program.nests[nest.follows].writes) for nest in following}


def assert_is_caught(tamper, net: Network, folder, monkeypatch) -> None:
    """The RTL of a scheduled program that `tamper` has changed gives wrong outputs."""
    describe = gradcam.output.describe_program

    def tampered(program, *rest):
        with program.module.context, ir.Location.unknown():
            tamper(program.module)
        return describe(program, *rest)

    monkeypatch.setattr(gradcam.output, "describe_program", tampered)
    design(net, "4x4", folder)
    simulator, image = Simulator(folder), net.images(1)[0]
    with pytest.raises(GradcamError, match=r"in the integer reference|has too many beats"):
        (result,) = simulator.run(image[None])
        check_outputs(result, load_quantized(simulator.design), image)
