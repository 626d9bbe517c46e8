"""Buffers that keep their even or their odd columns alone: those that a depthwise convolution of stride 2 reads."""

import dataclasses

import numpy as np
import pytest
from overlap_checks import program_of
from rtl_checks import check_design
from rtl_networks import Network
from torch import nn

from gradcam.output import compile_to_folder
from gradcam.schema.schedule import read_schedule
from gradcam.sim.trace import Tensor, _view


def strided(size: tuple[int, int]) -> Network:
    """A depthwise convolution of stride 2 of a map of 8 channels."""
    net = Network(3, *size, seed=7)
    x = net.add(nn.Hardsigmoid(), net.conv(0, 8, 1, 1, 0))
    net.explain(net.conv(x, 8, 3, 2, 1, groups=8))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(3)


@pytest.mark.parametrize(
    ("size", "target", "kept"),
    [
        ((5, 8), None, [(5, 4, 8)] * 2),
        ((5, 7), None, [(5, 7, 8)] * 2),  # its columns are no pairs
        ((5, 8), 2, [(5, 8, 8), (5, 4, 8)]),  # the map also reads the others
    ],
)
def test_a_buffer_keeps_the_columns_that_are_read(size, target, kept, tmp_path):
    net, folder = strided(size), tmp_path / "design"
    net.target = target or net.target
    compile_to_folder(net, "test", net.settings("4x4"), folder)
    program = program_of(folder)
    (writer,) = (nest for nest in program.nests if nest.name == "layers.2")
    found = [tuple(b.shape) for b in program.buffers if b.name in writer.writes]
    assert sorted(found, reverse=True) == kept
    check_design(net, folder, inner=r"explain\.(weights|map)\.(rows|columns|high|sums|halves(\.2)?)")


def test_a_schedule_with_pairs_of_columns_is_replayed(tmp_path):
    net = strided((5, 8))
    plain, again = tmp_path / "plain", tmp_path / "again"
    compile_to_folder(net, "test", net.settings("4x4"), plain)
    assert {"x/2", "x%2"} <= set(read_schedule(str(plain / "schedule.json")).nests["layers.2"].loops)
    replayed = dataclasses.replace(net.settings("4x4"), schedule=plain / "schedule.json")
    compile_to_folder(net, "test", replayed, again)
    assert program_of(again).rtl == program_of(plain).rtl


def test_a_flipped_byte_of_a_half_is_found():
    whole = np.arange(48, dtype=np.int8).reshape(1, 2, 3, 8)
    for parity in (0, 1):
        half = whole[0, :, :, parity::2].transpose(1, 2, 0).copy()
        tensor = Tensor("x", whole)
        assert np.array_equal(_view(half, tensor), whole)
        half[2, 1, 1] ^= 1
        assert np.argwhere(_view(half, tensor) != whole).tolist() == [[0, 1, 2, 2 + parity]]
