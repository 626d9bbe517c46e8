"""Depthwise convolutions of stride 2: a step reads two words of the map, of an even and of an odd column."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as search
from hypothesis import strategies as st
from level_checks import check_derived
from overlap_checks import program_of
from rtl_checks import check_design
from rtl_networks import Network
from torch import nn

from gradcam.compiler import Compilation
from gradcam.jit import compile_affine, compile_linalg
from gradcam.output import compile_to_folder
from gradcam.passes.linalg.depthwise import Axis, Groups
from gradcam.reference.integer import run_integer


def strided(
    channels: int, size: tuple[int, int], kernel, stride, pads: tuple[int, int, int, int], **options
) -> Network:
    """A depthwise convolution of a map that is never negative; `pads` are left, right, top, bottom."""
    net = Network(3, *size, seed=7)
    x = net.add(nn.Hardsigmoid(), net.conv(0, channels, 1, 1, 0))
    x = net.add(nn.ZeroPad2d(pads), x) if any(pads) else x
    x = net.conv(x, channels, kernel, stride, 0, groups=channels, **options)
    net.explain(x)
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(3)


def test_columns_of_the_lanes_by_hand():
    """At position u lane t adds tap p to output u - t: column 2 * u + p - 2 * t + start, the same for taps 0 and 2."""
    found = Groups.of(3, Axis(2, 1, -1))
    assert (found.taps.tolist(), found.start, found.split, found.second) == ([[[0, 2, 1]]], -1, 2, -3)
    found = Groups.of(2, Axis(2, 1, 0))
    assert (found.taps.tolist(), found.start, found.split, found.second) == ([[[-1, 0, 1]]], -2, 2, -1)
    for kernel, stride in ((3, 1), (4, 2), (3, 3), (1, 2)):
        assert Groups.of(kernel, Axis(stride, 1, 0)).split is None
    assert Groups.of(3, Axis(2, 2, 0)).split is None


def differing(net: Network, pe: str) -> int:
    """The values that linalg and the scheduled program compute otherwise than the integer reference."""
    images = net.images(2)
    compilation = Compilation(net, net.settings(pe))
    quantized, wrong = compilation.to("quantized"), 0
    wanted = [run_integer(quantized, image[None], -1) for image in images]
    for level, build in (("linalg", lambda m: compile_linalg(m, 0)), ("scheduled", lambda m: compile_affine(m, 2, 0))):
        run = build(compilation.to(level))
        for image, outputs in zip(images, wanted, strict=True):
            found = run(np.ascontiguousarray(image.transpose(1, 2, 0)), np.array([-1], np.int32))
            wrong += sum(int(np.sum(f != w[0])) for f, w in zip(found, outputs, strict=True))
    return wrong


@search(max_examples=15, deadline=None)
@given(
    st.integers(1, 9),
    st.tuples(st.integers(4, 9), st.integers(4, 9)),
    st.tuples(st.integers(1, 3), st.integers(2, 3)),
    st.integers(1, 3),
    st.tuples(*[st.integers(0, 1)] * 4),
    st.sampled_from(["4x4", "2x8", "8x2"]),
)
def test_every_size_and_padding_is_that_of_the_reference(channels, size, kernel, stride, pads, pe):
    assert differing(strided(channels, size, kernel, (stride, 2), pads), pe) == 0


@pytest.mark.parametrize("dilation", [(2, 1), (1, 2)])
def test_dilations(dilation):
    assert differing(strided(6, (9, 8), 3, 2, (1, 0, 0, 1), dilation=dilation), "4x4") == 0


@pytest.mark.parametrize("lane", [0, 1, 2])
def test_a_tap_in_the_wrong_lane_is_found(lane, monkeypatch):
    right = Groups.of

    def wrong(kernel, axis):
        groups = right(kernel, axis)
        taps = groups.taps.copy()
        taps[..., [lane, (lane + 1) % 3]] = taps[..., [(lane + 1) % 3, lane]]
        return dataclasses.replace(groups, taps=taps)

    monkeypatch.setattr(Groups, "of", staticmethod(wrong))
    assert differing(strided(6, (7, 8), 3, 2, (1, 1, 1, 1)), "4x4") > 0


def test_gradients_through_it_are_those_of_autograd_in_f64():
    net = strided(5, (8, 7), 3, 2, (0, 1, 1, 0))
    net.target = 2
    check_derived(net, 2, "hirescam", rtol=1e-4, atol=1e-4)


def mobile() -> Network:
    """Strides 1 and 2 with padding on both sides, on one side and none, of even and odd maps; 5 and 10 channels."""
    net = Network(3, 8, 10, seed=3)
    x = net.add(nn.ReLU6(), net.conv(0, 5, 1, 1, 0))
    for out, stride, pads in ((5, 1, (1, 1, 1, 1)), (10, 2, (0, 1, 0, 1)), (6, 2, (1, 1, 1, 1))):
        y = net.conv(net.add(nn.ZeroPad2d(pads), x), net.channels(x), 3, stride, 0, groups=net.channels(x))
        x = net.add(nn.ReLU6(), net.conv(net.add(nn.ReLU6(), y), out, 1, 1, 0))
    y = net.conv(x, 6, (2, 3), (1, 2), (0, 1), groups=6)
    net.explain(net.add(nn.ReLU(), y))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(3)


OPTIONS = [
    ("4x4", {}),
    ("8x16", {"dsp_packing": True}),
    ("4x4", {"weights": "dram", "dram_width": 32, "clock_mhz": 300, "family": "xcup"}),
]


@pytest.mark.parametrize(("pe", "options"), OPTIONS)
def test_rtl_equals_the_integer_reference(pe, options, tmp_path):
    net, folder = mobile(), tmp_path / "design"
    report = compile_to_folder(net, "test", dataclasses.replace(net.settings(pe), **options), folder)
    check_design(net, folder)
    assert [name for name in report.multiplications if name.startswith("depthwise")] == ["depthwise"]
    trips = [nest.trips for nest in program_of(folder).nests if nest.engine == "depthwise"]
    assert all(rest == (1, 1) for *_, rest in [(t[:-2], t[-2:]) for t in trips]), "a step for each kernel row"


def test_an_engine_that_first_reads_two_words_and_then_one(tmp_path):
    """Each configuration selects the port of every lane: here the forward pass has two words, its adjoint one."""
    net, folder = strided(8, (5, 8), 3, 2, (1, 1, 1, 1)), tmp_path / "design"
    net.explain(2)
    compile_to_folder(net, "test", net.settings("4x4"), folder)
    check_design(net, folder, inner=r"explain\.(weights|map)\.(rows|columns|high|sums|halves(\.2)?)")


@pytest.mark.parametrize("packing", [False, True])
def test_two_words_take_no_more_multipliers(packing, tmp_path):
    """Lanes 0 and 1 read one word with either stride, so they share a multiplication as before."""
    counts = []
    for stride in (1, 2):
        net = strided(8, (9, 8), 3, stride, (1, 1, 1, 1))
        settings = dataclasses.replace(net.settings("4x4"), dsp_packing=packing)
        counts.append(compile_to_folder(net, "test", settings, tmp_path / str(stride)).multiplications["depthwise"])
    assert counts[0] == counts[1]
