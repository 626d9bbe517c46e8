"""Depthwise convolutions beside the pointwise ones that feed them: both nests read weights."""

import dataclasses

import dram_checks
import pytest
from overlap_checks import assert_is_caught, followers, open_early, program_of
from rtl_checks import check_design
from rtl_networks import Network, Sum, design
from torch import nn

from gradcam.compiler import Compilation
from gradcam.passes.program.runs import follows_of
from gradcam.passes.program.scheduled_program import ScheduledProgram


def depthwise(net: Network, x: int, stride: int = 1, kernel: int = 3) -> int:
    y = net.conv(x, net.channels(x), kernel, stride, kernel // 2, groups=net.channels(x))
    return net.add(nn.ReLU6(), y)


def separable() -> Network:
    """Inverted residual blocks of strides 1 and 2 as in MobileNetV2, more channels than lanes, an odd size."""
    net = Network(3, 13, 10, seed=3)
    x = net.add(nn.ReLU6(), net.conv(0, 8, 3, 1, 1))
    for stride, kernel in ((1, 3), (2, 3), (1, 5)):
        y = depthwise(net, net.add(nn.ReLU6(), net.conv(x, 20, 1, 1, 0)), stride, kernel)
        y = net.conv(y, 8, 1, 1, 0)
        x = net.add(Sum(), y, x) if stride == 1 else y
    net.explain(net.add(nn.ReLU(), x))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(3)


def follower_engines(folder) -> list[str]:
    return [nest.engine for nest in program_of(folder).nests if nest.follows is not None]


def test_weights_on_chip(tmp_path):
    design(separable(), "4x4", tmp_path / "design")
    found = [engine for engine in follower_engines(tmp_path / "design") if engine.startswith("depthwise")]
    assert len(found) == 3
    assert any(followers(tmp_path / "design").values())
    check_design(separable(), tmp_path / "design")


def test_weights_from_dram(tmp_path):
    """The pointwise weights are streamed, those of the depthwise convolutions stay on chip: only one nest waits."""
    net, folder = separable(), tmp_path / "design"
    dram_checks.check_design(net, dram_checks.from_dram(net.settings("4x4"), 8, 2), folder)
    assert sum(engine.startswith("depthwise") for engine in follower_engines(folder)) == 3


def schedule(net: Network, pe: str, **settings) -> ScheduledProgram:
    return ScheduledProgram.of(Compilation(net, dataclasses.replace(net.settings(pe), **settings)).to("scheduled"))


def names_of(program: ScheduledProgram) -> list[str]:
    """The nests that follow."""
    return [program.nests[number + 1].name for number in follows_of(program.nests)]


def between(first: int, last: int, kernel: int) -> Network:
    """A depthwise convolution of 4 channels behind a pointwise one and before another convolution."""
    net = Network(first, 8, 8)
    x = net.conv(net.add(nn.ReLU(), net.conv(0, first, 1, 1, 0)), 4, 1, 1, 0)
    net.explain(net.conv(depthwise(net, x), last, kernel, 1, kernel // 2))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(3)


@pytest.mark.parametrize(
    ("network", "following"),
    [
        # 8 tiles of input channels before it: the depthwise convolution hides whole; the one behind it can follow, too.
        ((32, 4, 1), ["layers.5", "layers.6"]),
        ((4, 4, 3), ["layers.6"]),  # 64 steps before it, 576 steps behind it
    ],
)
def test_a_nest_runs_beside_the_neighbour_that_hides_more(network, following):
    found = [name for name in names_of(schedule(between(*network), "4x4")) if name in ("layers.5", "layers.6")]
    assert found == following


def test_a_depthwise_nest_that_starts_early_gives_wrong_outputs(tmp_path, monkeypatch):
    assert_is_caught(open_early, between(32, 4, 1), tmp_path / "design", monkeypatch)
