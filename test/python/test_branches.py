"""Branches that are stacked, weighed and added up, through every level."""

from __future__ import annotations

import numpy as np
import pytest
from level_checks import check_derived, check_linalg
from rtl_checks import check_design
from rtl_networks import Difference, Network, Selected
from torch import nn

from gradcam.compiler import Compilation, Settings
from gradcam.output import compile_to_folder

METHODS = ("gradcam", "hirescam", "layercam")


def selective(channels: int = 8) -> Network:
    net = Network(3, 8, 7, seed=1)
    x = net.add(nn.ReLU(), net.conv(0, channels))
    y = net.add(nn.ReLU(), net.conv(x, channels))
    z = net.add(nn.ReLU(), net.conv(x, channels, 3, 1, 2, dilation=2))
    x = net.add(nn.ReLU(), net.add(Difference(), net.add(Selected(channels), y, z), x))
    net.add(nn.AdaptiveAvgPool2d(1), net.add(nn.ReLU(), net.conv(x, 9)))
    return net.classify(5)


NETWORKS = {"selective": selective, "ragged": lambda: selective(5)}
TARGETS = (2, 4, 7, 9)


@pytest.mark.parametrize("target", TARGETS)
def test_maps_are_those_of_autograd_in_f64(target):
    for method in METHODS:
        check_derived(selective(), target, method, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_linalg_equals_the_integer_reference(name, target):
    net, number = NETWORKS[name](), TARGETS.index(target)
    pe = ("4x4", "8x8", "4x8", "8x4")[number]
    compilation = Compilation(net, Settings(f"layers.{target}", METHODS[number % 3], pe, range_choice="max"))
    wanted = check_linalg(compilation, compilation.to("quantized"), net.calibration_images)
    assert len(np.unique(wanted[0][1])) > 3


#: Maps side by side, of which one does not fill its last word; halves of sums; sums of a branch, of 32 bits.
INNER = r".*\.(parts|unfold|rows|columns|halves|high|sums|softmax\.branch1)(\.\d+)?"

DESIGNS = [("selective", 2, "gradcam", "4x4"), ("ragged", 7, "hirescam", "4x8")]


@pytest.mark.parametrize(("name", "target", "method", "pe"), DESIGNS)
def test_rtl_equals_the_integer_reference(name, target, method, pe, tmp_path):
    net, folder = NETWORKS[name](), tmp_path / "design"
    compile_to_folder(net, "test", Settings(f"layers.{target}", method, pe, range_choice="max"), folder)
    check_design(net, folder, inner=INNER)
