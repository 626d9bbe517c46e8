"""Nests beside the array have as few lanes as keep up with it."""

import numpy as np
import pytest
import rtl_networks
from deeper_targets import network, settings
from rtl_checks import check_design
from rtl_networks import design

from gradcam.compiler import Compilation
from gradcam.jit import run_affine
from gradcam.passes.program.nest import read_nests
from gradcam.passes.schedule import lane_widths
from gradcam.passes.schedule.lane_widths import Lanes, fewer_lanes
from gradcam.reference.integer import run_integer

POOL, OTHER = Lanes("sum", 16, 8), Lanes("elementwise", 16, 100)
BACKWARD = Lanes("elementwise", 16, 10, infers=False)


@pytest.mark.parametrize(
    ("nests", "steps", "explaining", "lanes"),
    [
        # Of 10,000 steps 200 may be added; 8, 16, 32 and 64 for the pool are 120.
        ([POOL], 10_000, 0, {"sum": 1}),
        # 8 + 16 + 32 = 56 of 60; another 64 are too many.
        ([POOL], 3_000, 0, {"sum": 2}),
        ([POOL], 350, 0, {"sum": 16}),
        # All 8 + 16 + 32 for three halvings of the pool, then 100 for the other.
        ([POOL, OTHER], 8_000, 0, {"sum": 2, "elementwise": 8}),
        # Two nests of one engine: 16 more for the first halving, 32 for the second.
        ([POOL, POOL], 2_500, 0, {"sum": 4}),
        # 10 and 20 of the 30 that an explanation may take longer, whatever the inference may.
        ([BACKWARD], 10_000, 1_500, {"elementwise": 4}),
        # 100 of 200 in the inference, but 10 of 9 in the explanation.
        ([OTHER, BACKWARD], 10_000, 450, {"elementwise": 16}),
        ([OTHER, BACKWARD], 10_000, 500, {"elementwise": 8}),
        # What is odd cannot be halved.
        ([Lanes("sum", 6, 1)], 10_000, 0, {"sum": 3}),
        ([], 10_000, 0, {}),
    ],
)
def test_lanes_are_halved_as_long_as_few_steps_are_added(nests, steps, explaining, lanes):
    assert fewer_lanes(nests, {True: steps, False: explaining}) == lanes


@pytest.fixture
def one_lane(monkeypatch):
    """Compiles with the fewest lanes beside the array that there can be, whatever steps they take."""
    monkeypatch.setattr(lane_widths, "GROWTH", 10**9)


@pytest.mark.parametrize(("net", "pe"), [(rtl_networks.pools, "8x16"), (rtl_networks.sums, "4x4")])
def test_rtl_with_one_lane_beside_the_array_is_exact(net, pe, one_lane, tmp_path):
    built = net()
    design(built, pe, tmp_path / "design")
    check_design(built, tmp_path / "design")


def narrow(module):
    """The fewest lanes in which a nest of a scheduled module computes."""
    with module.context:
        return min(store.lanes for nest in read_nests(module)[1:-2] for store in nest.stores)


@pytest.mark.parametrize("target", ["stem", "block"])
def test_a_backward_pass_with_one_lane_beside_the_array_is_exact(target, one_lane):
    compilation, net = Compilation(network(), settings(target, "gradcam", "4x4")), network()
    quantized = compilation.to("quantized")
    scheduled = Compilation(net, settings(target, "gradcam", "4x4")).to("scheduled")
    assert narrow(scheduled) == 1
    rng = np.random.default_rng(0)
    image = rng.integers(-128, 128, np.shape(net.calibration_images[0])).astype(np.int8)
    expected = run_integer(quantized, image[None])
    got = run_affine(scheduled, np.ascontiguousarray(image.transpose(1, 2, 0)), np.array([-1], np.int32))
    for mine, theirs in zip(got[:2], expected, strict=True):
        assert np.array_equal(mine, theirs[0])
