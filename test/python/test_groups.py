"""Depthwise and grouped convolutions through every level, against PyTorch, and against the level before."""

from __future__ import annotations

import json

import numpy as np
import pytest
from grouped_networks import TARGETS, network, settings
from hypothesis import given
from hypothesis import settings as search
from hypothesis import strategies as st
from level_checks import check_derived, correlations, float_and_int8
from rtl_checks import check_design
from rtl_networks import Network, Sum
from target_layers import multipliers
from torch import nn

from gradcam.compiler import Compilation
from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.jit import compile_affine, compile_linalg
from gradcam.output import compile_to_folder
from gradcam.passes.linalg.depthwise import Axis, Groups
from gradcam.passes.linalg.packing import Blocks, pack_groups
from gradcam.pe import PE
from gradcam.reference.integer import run_integer

METHODS = ("gradcam", "hirescam", "layercam")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", TARGETS)
def test_maps_are_those_of_autograd_in_f64(target, method):
    check_derived(network(), TARGETS[target], method, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("target", TARGETS)
def test_the_quantized_map_means_the_float_map(target):
    net = network()
    compilation = Compilation(net, settings(target, "gradcam", "4x4"))
    floats, found = float_and_int8(compilation, net.calibration_images)
    same = correlations(found, floats)
    assert np.median(same) > 0.9, same


CASES = [
    ("stem", "gradcam", "4x4"),
    ("stem", "hirescam", "2x8"),
    ("expanded", "layercam", "8x2"),
    ("multiplied", "gradcam", "8x2"),
    ("multiplied", "hirescam", "16x16"),
    ("last", "gradcam", "2x8"),
]


@pytest.mark.parametrize(("target", "method", "pe"), CASES)
def test_every_level_computes_the_integers_of_the_reference(target, method, pe):
    net = network()
    images, classes = net.images(2), (-1, 4)
    compilation = Compilation(net, settings(target, method, pe))
    quantized = compilation.to("quantized")
    wanted = [run_integer(quantized, x[None], c) for x, c in zip(images, classes, strict=True)]
    assert not np.array_equal(wanted[0][1], wanted[1][1])
    for level, build in (("linalg", lambda m: compile_linalg(m, 0)), ("scheduled", lambda m: compile_affine(m, 2, 0))):
        run = build(compilation.to(level))
        for image, cls, (logits, heatmap) in zip(images, classes, wanted, strict=True):
            found = run(np.ascontiguousarray(image.transpose(1, 2, 0)), np.array([cls], np.int32))
            assert np.array_equal(found[0], logits[0]) and np.array_equal(found[1], heatmap[0])


# Tiles.


@given(st.integers(1, 24), st.integers(1, 9), st.integers(1, 9), st.sampled_from(["4x4", "8x2", "2x8", "16x16"]))
@search(max_examples=60, deadline=None)
def test_tiles_of_groups_hold_every_weight_at_its_channels(groups, outputs, inputs, text):
    pe = PE.parse(text)
    w = np.arange(1, groups * outputs * inputs + 1).reshape(groups * outputs, inputs, 1, 1)
    packed, blocks = pack_groups(w, groups, pe), Blocks.of(groups, outputs, inputs, pe)
    whole = np.zeros((packed.shape[0] * packed.shape[1] * pe.oc, packed.shape[0] * packed.shape[2] * pe.ic), int)
    for b, o, i in np.ndindex(packed.shape[:3]):
        row, column = (b * packed.shape[1] + o) * pe.oc, (b * packed.shape[2] + i) * pe.ic
        whole[row : row + pe.oc, column : column + pe.ic] = packed[b, o, i, 0, 0]
    assert whole.shape[0] <= pe.padded(groups * outputs) and whole.shape[1] <= pe.padded(groups * inputs)
    wanted = np.zeros_like(whole)
    for o, i in np.ndindex(groups * outputs, inputs):
        wanted[o, o // outputs * inputs + i] = w[o, i, 0, 0]
    np.testing.assert_array_equal(whole, wanted)
    assert blocks.number * blocks.groups >= groups


def test_only_the_tiles_of_the_diagonal_are_kept():
    """32 groups of 4, 8, 16 and 32 channels, as of a ResNeXt-50: one tile, and 2x2 of the widest groups."""
    found = [pack_groups(np.zeros((32 * n, n, 1, 1)), 32, PE(16, 16)).shape[:3] for n in (4, 8, 16, 32)]
    assert found == [(8, 1, 1), (16, 1, 1), (32, 1, 1), (32, 2, 2)]


def test_taps_of_a_kernel_row_by_hand():
    """Three taps at a time; with a stride those of each phase, or of both; dilated one at a time. -1: no tap."""
    assert Groups.of(3, Axis(1, 1, -1)).taps.tolist() == [[[0, 1, 2]]]
    assert Groups.of(5, Axis(1, 1, -2)).taps.tolist() == [[[-1, 0, 1], [2, 3, 4]]]
    assert Groups.of(3, Axis(2, 1, -1)).taps.tolist() == [[[0, 2, 1]]]
    assert Groups.of(4, Axis(2, 1, -1)).taps.tolist() == [[[-1, 0, 2]], [[-1, 1, 3]]]
    assert Groups.of(2, Axis(1, 2, 0)).taps.tolist() == [[[-1, -1, 0], [-1, -1, 1]]]


# Orders of loops.


@pytest.mark.parametrize(
    ("order", "refused"),
    [
        (["y/7", "oc", "y%7", "x", "d5", "kx", "ky"], False),
        (["oc", "x", "y", "ky", "kx", "d5"], True),
        (["oc", "y", "x/7", "x%7", "ky", "kx", "d5"], True),
    ],
)
def test_sums_slide_along_the_innermost_row(order, refused, tmp_path):
    net, file = network(), tmp_path / "schedule.json"
    file.write_text(json.dumps({"nests": {"layers.4": {"loops": order}}}))
    compilation, images = Compilation(net, settings("last", "gradcam", "4x4", schedule=file)), net.images(2)
    wanted = [run_integer(compilation.to("quantized"), x[None])[0] for x in images[:1]]
    if refused:
        message = (
            "violates a dependence: from the store of an accumulator in one iteration of x to its load in the next"
        )
        with pytest.raises(GradcamError, match=message):
            compilation.to("scheduled")
        return
    run = compile_affine(compilation.to("scheduled"), 2, 0)
    found = run(np.ascontiguousarray(images[0].transpose(1, 2, 0)), np.array([-1], np.int32))
    assert np.array_equal(found[0], wanted[0][0])


# The hardware.

#: Sums of a tap's windows in halves, and parities that no gradient reaches.
INNER = r".*\.(unfold|sums|high)|explain\.weights\.(term\d\.)?(rows|columns|halves).*"

DESIGNS = [
    ("stem", "gradcam", "4x4", {}),
    ("expanded", "hirescam", "4x8", {}),
    ("stem", "layercam", "4x4", {"weights": "dram", "dram_width": 32}),
]


@pytest.mark.parametrize(("target", "method", "pe", "options"), DESIGNS)
def test_rtl_equals_the_integer_reference(target, method, pe, options, tmp_path):
    net, folder = network(), tmp_path / "design"
    report = compile_to_folder(net, "test", settings(target, method, pe, **options), folder)
    assert any("adjoint" in name for name in check_design(net, folder, inner=INNER).trace.compared)
    engines = [name for name in report.multiplications if name.startswith(("mac", "depthwise"))]
    assert pe != "4x4" or engines == ["mac", "depthwise"], "forward and backward share them"
    saved, counted = Design.load(folder).report(), [multipliers(folder / "rtl", e) for e in ("mac", "depthwise")]
    assert saved.macs == sum(count_macs_of(net))
    assert saved.utilization == saved.macs / saved.multipliers / saved.cycles.inference < 1
    assert pe != "4x4" or (saved.multipliers == sum(counted) and counted == [4 * 4, 4 * 3])


def count_macs_of(net):
    """Multiply-adds of every layer, from PyTorch's own shapes."""
    for layer, value in zip(net.layers, net.values, strict=True):
        if hasattr(layer, "weight"):
            yield value[0].numel() * layer.weight[0].numel()


def test_a_copy_of_sums_that_slide(tmp_path):
    """A convolution and a sum read one result, so it is stored twice, and where the sums are complete alone."""
    net = Network(3, 7, 8, seed=2)
    x = net.add(nn.Conv2d(3, 3, 3, groups=3), net.conv(0, 3))
    y = net.add(Sum(), net.add(nn.ReLU(), x), x)
    net.explain(net.add(nn.ReLU(), net.add(Sum(), net.conv(y, 3), y)))
    net.add(nn.AdaptiveAvgPool2d(1), net.target)
    net.classify(5)
    folder = tmp_path / "design"
    compile_to_folder(net, "test", net.settings("4x4"), folder)
    compared = check_design(net, folder).trace.compared
    assert compared.count(f"layers.{y}") == 2
