"""Adjoints of layers with one window along an axis: a position has a tap of its own, and there is no loop over taps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dram_checks import from_dram
from hypothesis import assume, given
from hypothesis import settings as search
from hypothesis import strategies as st
from rtl_checks import check_design
from rtl_networks import Network
from torch import nn

from gradcam.compiler import Compilation, Settings
from gradcam.jit import compile_affine, compile_linalg
from gradcam.output import compile_to_folder
from gradcam.passes.linalg.taps import Taps, WindowAxis
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.reference.integer import run_integer


def flattened() -> Network:
    """A linear layer behind a map of 5x6; values 2 and 4 can be explained."""
    net = Network(3, 5, 6, seed=2)
    net.add(nn.ReLU(), net.conv(0, 8))
    net.add(nn.ReLU(), net.conv(2, 12))
    return net.classify(5, 7)


def alone() -> Network:
    """The classifier itself behind a map of 5x6; value 2 can be explained."""
    net = Network(3, 5, 6, seed=2)
    net.add(nn.ReLU(), net.conv(0, 6))
    return net.classify(5)


def narrowing() -> Network:
    """One window along the height, which leaves two rows over; value 2 can be explained."""
    net = Network(3, 9, 8, seed=3)
    net.add(nn.ReLU(), net.conv(0, 6))
    net.add(nn.ReLU(), net.conv(2, 8, (7, 3), (3, 1), (0, 1)))
    return net.classify(5)


def by_channel() -> Network:
    """A depthwise layer as large as its padded map; values 2 and 4 can be explained."""
    net = Network(3, 5, 6, seed=4)
    net.add(nn.ReLU(), net.conv(0, 8))
    net.add(nn.ReLU(), net.conv(2, 8, 1, 1, 0))
    net.add(nn.ReLU(), net.conv(4, 8, (7, 6), 1, (1, 0), groups=8))
    return net.classify(5)


def check_levels(net: Network, settings: Settings) -> dict[str, list[int]]:
    """Levels 3 and 4 compute the integers of the reference; returns the trip counts of the nests by their names."""
    images, classes = net.images(2), (-1, 4)
    compilation = Compilation(net, replace(settings, validate=False))
    quantized = compilation.to("quantized")
    wanted = [run_integer(quantized, x[None], c) for x, c in zip(images, classes, strict=True)]
    assert any(values.any() for _, *maps in wanted for values in maps)
    linalg = compile_linalg(compilation.to("linalg"), 0)
    scheduled = compilation.to("scheduled")
    for run in (linalg, compile_affine(scheduled, 2, 0)):
        for image, cls, expected in zip(images, classes, wanted, strict=True):
            found = run(np.ascontiguousarray(image.transpose(1, 2, 0)), np.array([cls], np.int32))
            assert all(np.array_equal(f, e[0]) for f, e in zip(found, expected, strict=True))
    return {nest.name: [loop.trip for loop in nest.loops] for nest in ScheduledProgram.of(scheduled).nests}


def test_taps_by_hand():
    """Three windows: a loop over taps. One: positions with a tap, from the first one on; the stride means nothing."""
    assert WindowAxis(3, 1, 1, 1, windows=3).taps(0, 3) == Taps(0, 1, 3, 1, 1)
    assert WindowAxis(3, 2, 1, 1, windows=3).taps(1, 3) == Taps(0, 2, 2, 1, 1)
    whole, inner = WindowAxis(8, 5, 0, 1, windows=1), WindowAxis(5, 1, 2, 1, windows=1)
    assert whole.period == inner.period == 1
    assert whole.taps(0, 8) == Taps(0, 1, 8, 0, 1, 0, is_single=True)
    assert inner.taps(0, 1) == Taps(2, 1, 1, 0, 1, 0, is_single=True)
    few = Taps(0, 1, 3, 0, 1, 0, is_single=True)
    assert WindowAxis(3, 4, 0, 1, windows=1).taps(0, 6) == few
    assert (few.trips, few.outputs(6), few.windows(6)) == (1, range(3), range(1))
    dilated = WindowAxis(3, 1, 1, 2, windows=1)
    assert dilated.period == 2 and dilated.taps(0, 2) is None
    assert dilated.taps(1, 2) == Taps(1, 1, 2, 0, 1, 0, is_single=True)
    assert not WindowAxis(1, 2, 0, 1, windows=1).is_single, "a kernel of one tap has no loop over taps anyway"


@pytest.mark.parametrize("more", [{}, {"weights": "dram"}, {"top_k": 2}], ids=["chip", "dram", "classes"])
def test_a_linear_layer_has_one_step_per_position_and_tiles(more):
    settings = Settings(["layers.2", "layers.4"], "hirescam", "4x4", range_choice="max", **more)
    trips = check_levels(flattened(), settings)
    walks = [t for name, t in trips.items() if name.startswith("layers.6.adjoint")]
    assert walks == [[5, 3, 6, 2, 1, 1]] * more.get("top_k", 1)


@pytest.mark.parametrize("method", ["hirescam", "layercam", "gradcam"])
@pytest.mark.parametrize("pe", ["4x4", "2x8"])
def test_a_row_of_the_classifier_may_weigh_a_map_element_by_element(method, pe):
    check_levels(alone(), Settings("layers.2", method, pe, range_choice="max"))


def test_only_the_axis_with_one_window_has_no_loop_over_taps():
    """7 of 9 rows have a tap."""
    trips = check_levels(narrowing(), Settings("layers.2", "hirescam", "4x4", range_choice="max"))
    assert trips["layers.3.adjoint"] == [2, 7, 2, 1, 3, 8]  # 8 pixels take turns


def test_a_depthwise_layer_takes_a_step_per_row_and_group_of_columns():
    """Of 7 rows, 5 are inside of the map; the 6 columns are two groups. Rows are outermost, for the nest behind it."""
    trips = check_levels(by_channel(), Settings("layers.2", "hirescam", "4x4", range_choice="max"))
    assert trips["layers.4.adjoint"] == [5, 2, 6, 1, 1, 2]


def test_sums_of_taps_do_not_walk_positions():
    """Five rows of the kernel are inside of the map, and six columns."""
    trips = check_levels(by_channel(), Settings("layers.4", "gradcam", "4x4", range_choice="max"))
    assert trips["explain.weights.rows"] == [2, 5, 1, 1]
    assert trips["explain.weights.halves"] == [2, 6, 7, 1]


@st.composite
def axes(draw, single: bool, dilated: bool):
    """Size, kernel, stride, padding and dilation of an axis; where it is `single`, one window of several taps fits."""
    kernel = draw(st.integers(2 if single else 1, 8))
    padding, dilation = draw(st.integers(0, kernel // 2)), draw(st.integers(1, 2)) if dilated else 1
    least = max(1, dilation * (kernel - 1) + 1 - 2 * padding)
    size = draw(st.integers(least, least + 4))
    beyond = size + 2 * padding - dilation * (kernel - 1) - 1
    return size, kernel, draw(st.integers(beyond + 1, beyond + 3) if single else st.integers(1, 4)), padding, dilation


@st.composite
def layers(draw):
    """Height, width and channels of a map, and a layer with one window along an axis at least."""
    kind = draw(st.sampled_from(["conv", "depthwise", "groups", "max", "average"]))
    single = draw(st.sampled_from([(True, False), (False, True), (True, True)]))
    both = [draw(axes(one, kind != "average")) for one in single]
    # Windows of which some reach the map: taps that are apart may all fall on the padding, which has no gradient.
    for size, kernel, stride, padding, dilation in both:
        windows = range((size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)
        assume(any(0 <= o * stride + i * dilation - padding < size for o in windows for i in range(kernel)))
    size, kernel, stride, padding, dilation = zip(*both, strict=True)
    channels = draw(st.sampled_from([4, 6, 10]))
    if kind == "max":
        return size, channels, nn.MaxPool2d(kernel, stride, padding, dilation)
    if kind == "average":
        return size, channels, nn.AvgPool2d(kernel, stride, padding)
    groups = {"conv": 1, "depthwise": channels, "groups": 2}[kind]
    return size, channels, nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups)


@given(layers(), st.sampled_from(["gradcam", "hirescam"]), st.sampled_from(["4x4", "8x2", "2x8"]))
@search(max_examples=20, deadline=None)
def test_any_layer_with_one_window_along_an_axis(layer, method, pe):
    size, channels, window = layer
    net = Network(3, *size, seed=5)
    net.add(nn.ReLU(), net.conv(0, channels))
    net.add(nn.ReLU(), net.conv(2, channels, 1, 1, 0))
    net.add(window)
    net.classify(5, 7)
    assume(all(v.isfinite().all() and v.any() for v in net.values))
    check_levels(net, Settings("layers.4", method, pe, range_choice="max"))


#: Buffers that the reference has no tensor for: sums of taps, logits without a class, a map whose tensor is a vector.
INNER = r".*\.unfold|explain\.(.*\.)?(weights\.(rows|halves)|.*\.high).*|explain\.class1\.others|layers\.6\.adjoint1?"

DESIGNS = {
    "classes": (flattened, Settings(["layers.2", "layers.4"], "layercam", "4x4", range_choice="max", top_k=2)),
    "row": (alone, Settings("layers.2", "layercam", "4x4", range_choice="max", top_k=2)),
    "dram": (flattened, from_dram(Settings("layers.4", "gradcam", "8x8", range_choice="max"), 16)),
    "axes": (narrowing, Settings("layers.2", "hirescam", "2x8", range_choice="max")),
    "depthwise": (by_channel, Settings("layers.2", "hirescam", "4x4", range_choice="max")),
    "sums": (by_channel, Settings("layers.4", "gradcam", "4x8", range_choice="max")),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_rtl_equals_the_integer_reference(name, tmp_path):
    network, settings = DESIGNS[name]
    net, folder = network(), tmp_path / "design"
    report = compile_to_folder(net, "test", settings, folder)
    arrays = [n for n in report.multiplications if n.startswith("mac")]
    assert arrays == (["mac", "mac2"] if name == "axes" else ["mac"]), "transposed products share a square array"
    check_design(net, folder, inner=INNER, distinct=False)
