"""Targets in mid-network: the quantized backward pass in linalg and in RTL against the integer reference."""

import numpy as np
import pytest
import target_layers
from deeper_targets import METHODS, TARGETS, network, settings
from level_checks import check_linalg, correlations, float_and_int8
from rtl_checks import check_design
from rtl_networks import Network, Sum
from torch import nn

from gradcam.compiler import Compilation, Settings
from gradcam.jit import compile_linalg
from gradcam.output import compile_to_folder
from gradcam.reference.integer import run_integer


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", TARGETS)
def test_linalg_equals_the_integer_reference(target, method):
    net = network()
    images, classes = net.images(3), (-1, 4, 0)
    pe = ("4x4", "8x2", "2x8")[(list(TARGETS).index(target) + METHODS.index(method)) % 3]
    compilation = Compilation(net, settings(target, method, pe))
    quantized = compilation.to("quantized")
    wanted = [run_integer(quantized, x[None], c) for x, c in zip(images, classes, strict=True)]
    run = compile_linalg(compilation.to("linalg"), 0)
    for image, cls, (logits, heatmap) in zip(images, classes, wanted, strict=True):
        found = run(np.ascontiguousarray(image.transpose(1, 2, 0)), np.array([cls], np.int32))
        assert np.array_equal(found[0], logits[0]) and np.array_equal(found[1], heatmap[0])
    assert len(np.unique(wanted[0][1])) > 3
    assert not np.array_equal(wanted[1][1], wanted[2][1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", TARGETS)
def test_the_quantized_map_means_the_float_map(target, method):
    net = network()
    compilation = Compilation(net, settings(target, method, "4x4"))
    floats, found = float_and_int8(compilation, net.calibration_images)
    same = correlations(found, floats)
    assert np.median(same) > 0.9, same
    assert np.median(correlations(found[1:], floats)) < 0.8, "maps of other images are others"


#: Sums of a tap's windows in halves, and the one parity that a 1x1 convolution of stride 2 has a gradient in.
INNER = r".*\.(unfold|sums|high)|explain\.weights\.(term\d\.)?(rows|columns|halves).*|layers\.14\.adjoint"

DESIGNS = [
    ("norm", "gradcam", "4x4"),
    ("strided", "layercam", "8x8"),
    ("block", "hirescam", "4x8"),
    ("dilated", "gradcam", "4x4"),  # two parities with equal tap sums
    ("last", "gradcam", "8x4"),
]


@pytest.mark.parametrize(("target", "method", "pe"), DESIGNS, ids=["-".join(d) for d in DESIGNS])
def test_rtl_equals_the_integer_reference(target, method, pe, tmp_path):
    net, folder = network(), tmp_path / "design"
    compile_to_folder(net, "test", settings(target, method, pe), folder)
    assert any("adjoint" in name for name in check_design(net, folder, inner=INNER).trace.compared)


def test_a_deeper_target_adds_no_multipliers_and_no_weights(tmp_path):
    net = network()
    reports = {
        t: compile_to_folder(net, "test", settings(t, "gradcam", "8x8"), tmp_path / t) for t in ("last", "block")
    }
    for report in reports.values():
        assert [name for name in report.multiplications if name.startswith("mac")] == ["mac"], "one array"
    assert target_layers.multipliers(tmp_path / "last/rtl") == target_layers.multipliers(tmp_path / "block/rtl") == 64
    assert reports["last"].memory_bytes["weights"] == reports["block"].memory_bytes["weights"]


def merged(groups: int) -> Network:
    """Two convolutions of one map: both read the same sums over windows, each at scales of its own."""
    net = Network(3, 8, 7, seed=6)
    x = net.add(nn.ReLU(), net.conv(0, 6))
    y = net.add(Sum(), net.conv(x, 6, groups=groups), net.conv(x, 6, groups=groups))
    net.add(nn.AdaptiveAvgPool2d(1), net.add(nn.ReLU(), y))
    return net.classify(5)


@pytest.mark.parametrize("groups", [1, 6])
def test_wide_sums_are_read_at_two_scales(groups, tmp_path):
    net, chosen = merged(groups), Settings("layers.2", pe="4x4", range_choice="max")
    compilation = Compilation(net, chosen)
    floats, found = float_and_int8(compilation, net.calibration_images)
    assert np.median(correlations(found, floats)) > 0.95
    compilation = Compilation(net, chosen)
    quantized = compilation.to("quantized")
    assert "gradcam.requantize" in str(quantized)
    check_linalg(compilation, quantized.operation.clone(), net.calibration_images[:2])
    compile_to_folder(net, "test", chosen, tmp_path / "design")
    check_design(net, tmp_path / "design", inner=INNER)
