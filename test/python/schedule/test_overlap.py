"""Nests beside their producer: nothing is read before it is written or after it is overwritten, to the cycle."""

import dram_checks
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nest_replay import is_as_predicted, number_of, pair_text, replay, scheduled
from overlap_checks import assert_is_caught, followers, open_early, program_of
from rtl_checks import check_design
from rtl_networks import Network, Sum, design
from torch import nn
from torch_mlir import ir

from gradcam.passes.ir.attributes import DRAIN, RING
from gradcam.passes.program.banks import ring_of
from gradcam.passes.program.nest import read_nests
from gradcam.passes.program.runs import Run, follows_of
from gradcam.passes.schedule.assign_cycles import Window, shares_of
from gradcam.passes.schedule.followers import ring_size
from gradcam.schema.derived import dram_reads, overlaps
from gradcam.sim import Simulator

# Two nests, run cycle by cycle.


def halve_ring(module: ir.Module) -> None:
    ring = next(a.memref for n in read_nests(module) for a in n.loads if ring_of(a.memref))
    RING.set(ring.owner, number_of(ring.owner, "ring") // 2)


def drain_beside(module: ir.Module) -> None:
    """Issues every issue group after the last step of the group before it."""
    for nest in read_nests(module)[:-1]:
        DRAIN.set(nest.op, number_of(nest.stores[0].op, "stage"))


def pairs(low, high):
    return st.tuples(*[st.integers(low, high)] * 2)


@pytest.fixture(autouse=True)
def mlir():
    with ir.Context(), ir.Location.unknown():
        yield


WINDOWS = [  # channel tiles, size, reduction, kernel, stride, padding
    (2, (6, 6), 4, (3, 3), (2, 2), (1, 1)),
    (2, (7, 5), 4, (3, 3), (2, 2), (1, 1)),
    (1, (6, 4), 5, (2, 2), (2, 2), (0, 0)),
    (3, (5, 5), 9, (2, 2), (2, 2), (0, 0)),
    (2, (4, 6), 9, (3, 3), (1, 1), (1, 1)),
    (1, (9, 3), 2, (1, 3), (3, 1), (0, 1)),
]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_the_nests_meet_in_time(window):
    module = scheduled(pair_text(*window))
    wrong, lasts = replay(module)
    assert wrong == 0 and 2 in lasts and is_as_predicted(module, lasts)
    _, producer, nest, _ = read_nests(module)
    assert number_of(nest.op, "start") == number_of(producer.op, "start")
    assert 2 * (number_of(nest.op, "end") - number_of(producer.op, "end")) < min(producer.steps, nest.steps)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3),
    pairs(1, 7),
    st.integers(1, 9),
    pairs(1, 3),
    pairs(1, 3),
    st.lists(st.integers(0, 3), max_size=5),
    st.lists(st.integers(0, 3), max_size=5),
    st.booleans(),
)
def test_delays_change_no_value(tiles, size, reduction, kernel, stride, late, later, tap):
    padding = tuple(k // 2 for k in kernel)
    with ir.Context(), ir.Location.unknown():
        # The nest in the middle reads constants: it may be late by itself where it has no ring.
        for dram, lates in ((False, {0: late, 1: late}), (True, {0: late, 1: later})):
            module = scheduled(pair_text(tiles, size, reduction, kernel, stride, padding, tap=tap), dram)
            if follows := follows_of(read_nests(module)):
                lates = {n: steps for n, steps in lates.items() if dram or n - 1 not in follows}
                (wrong, lasts), (wrong_late, lasts_late) = replay(module), replay(module, lates)
                assert wrong == wrong_late == 0 and all(lasts_late[n] >= lasts[n] for n in lasts)
                assert is_as_predicted(module, lasts)


def test_late_constants_need_the_whole_buffer():
    text = pair_text(1, (8, 8), 1)
    rings = {dram: scheduled(text, dram) for dram in (False, True)}
    assert [ring_of(read_nests(m)[1].loads[0].memref) is None for m in rings.values()] == [False, True]
    assert [replay(m, {1: [9]})[0] > 0 for m in rings.values()] == [True, False]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_both_nests_read_constants(window):
    """On chip the nests meet as if one alone did; two nests never wait for the DRAM at once."""
    plain, module = (scheduled(pair_text(*window, tap=tap)) for tap in (False, True))
    (wrong, lasts), (_, before) = replay(module), replay(plain)
    assert wrong == 0 and lasts == before and is_as_predicted(module, lasts)
    assert 2 not in replay(scheduled(pair_text(*window, tap=True), dram=True))[1]


def test_rows_made_the_other_way_round_are_waited_for():
    module = scheduled(pair_text(1, (6, 5), row="-%h + 5"))
    assert 1 not in follows_of(read_nests(module))
    _, before, nest, _ = read_nests(module)
    assert number_of(before.op, "end") == number_of(nest.op, "start")


@pytest.mark.parametrize("window", WINDOWS[:3], ids=str)
def test_a_ring_that_is_too_small_is_found(window):
    module = scheduled(pair_text(*window))
    halve_ring(module)
    assert replay(module)[0] > 0


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_a_gate_that_opens_early_is_found(window):
    module = scheduled(pair_text(*window))
    open_early(module)
    assert replay(module)[0] > 0


# The size of a ring.


def holds(size: int, lives) -> bool:
    """Whether a memory of `size` places returns every element at its last read, another having come in later."""
    events = [(t, 0, place) for place, t, _ in lives] + [(t, 1, place) for place, w, t in lives if t > w]
    memory = {}
    for _, is_read, place in sorted(events):
        if is_read and memory[place % size] != place:
            return False
        if not is_read:
            memory[place % size] = place
    return True


@settings(max_examples=200, deadline=None)
@given(st.permutations(range(16)), st.lists(st.integers(0, 12), min_size=16, max_size=16), st.integers(1, 3))
def test_the_smallest_ring_that_loses_nothing(order, spans, pace):
    lives = [(place, pace * i, pace * i + span) for i, (place, span) in enumerate(zip(order, spans, strict=True))]
    expected = next((size for size in (1, 2, 4, 8) if holds(size, lives)), None)
    assert ring_size(*np.array(lives).T, 16) == expected


def test_waits_add_up():
    run = Run(10, 6, [(2, 3), (4, 5)])
    assert run.cycles(np.arange(6)).tolist() == [11, 12, 16, 17, 20, 21]
    assert (run.last, run.stalls) == (21, 5)


def test_an_issue_group_is_counted_once():
    def windows(*cycles):
        return [Window(start, end, 0, held, 0) for start, end, held in cycles]

    convolution = windows((0, 100, 0), (0, 104, 60), (0, 50, 9), (104, 110, 0))
    assert shares_of([0, 0, 0, 3], ["inference"] * 4, convolution) == [100, 4, 0, 6]
    image = windows((0, 90, 0), (0, 101, 20), (0, 103, 30))
    assert shares_of([0, 0, 0], ["load", "inference", "inference"], image) == [20, 81, 2]
    copied = windows((0, 90, 0), (0, 91, 40), (0, 101, 20))
    assert shares_of([0, 0, 0], ["load", "inference", "inference"], copied) == [20, 71, 10]


# Networks, in RTL.


def pooled(size, *pools) -> Network:
    """A convolution, the pools with a convolution behind each, and a head; two tiles of 4 channels."""
    net = Network(3, *size)
    net.add(nn.ReLU(), net.conv(0, 6))
    for pool in pools:
        net.add(pool)
        net.add(nn.ReLU(), net.conv(len(net.values) - 1, 5))
    net.explain(len(net.values) - 1)
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(3)


def readers() -> Network:
    """A pool of the image, a pool and a sum, pools of two kinds, one behind the other, a value with two readers."""
    net = Network(3, 11, 12)
    x = net.add(nn.ReLU(), net.conv(net.add(nn.MaxPool2d(2, 1), 0), 8))
    x = net.add(nn.ReLU(), net.conv(net.add(nn.AvgPool2d(3, 1, 1), x), 8))
    x = net.add(nn.ReLU(), net.conv(net.add(Sum(), net.add(nn.AvgPool2d(3, 1, 1), x), x), 8))
    x = net.add(nn.ReLU(), net.conv(net.add(nn.AvgPool2d(3, 1, 1), net.add(nn.MaxPool2d(3, 2, 1), x)), 8))
    y = net.add(nn.MaxPool2d((1, 3), 1, (0, 1)), x)
    net.explain(net.add(Sum(), net.conv(x, 8), y))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(3)


def test_pools_of_all_kinds(tmp_path):
    folder = tmp_path / "design"
    design(readers(), "8x8", folder)
    rings = {"layers.1": {"image"}, "layers.4": {"layers.3"}, "layers.8": {"layers.6", "layers.6.2"}}
    rings |= {"layers.11": {"layers.10"}, "layers.12": {"layers.11"}}
    # The convolution that follows the pool of the image reads that a second time, for the second tile of channels.
    assert followers(folder) == rings | {name: set() for name in ("layers.3", "layers.15", "layers.18")}
    assert [nest.follows for nest in program_of(folder).nests[1:4]] == [0, 1, 2]
    found = {overlap.nest.name: set(overlap.rings) for overlap in overlaps(program_of(folder))}
    assert found == followers(folder)
    check_design(readers(), folder)


def test_weights_from_dram(tmp_path):
    net, folder = pooled((13, 10), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2)), tmp_path / "design"
    dram_checks.check_design(net, dram_checks.from_dram(net.settings("4x4"), 8, 1), folder)
    assert followers(folder) == {"layers.2": set(), "layers.3": {"layers.2"}, "layers.6": {"layers.5"}}
    program = program_of(folder)
    (result,) = Simulator(folder).run(net.images(1))
    assert result.cycles == program.cycles and sum(read.weights.stall_cycles for read in dram_reads(program)) > 0


@pytest.mark.parametrize("tamper", [halve_ring, open_early, drain_beside])
def test_what_is_wrong_gives_wrong_outputs(tamper, tmp_path, monkeypatch):
    assert_is_caught(tamper, pooled((8, 8), nn.MaxPool2d(3, 2, 1)), tmp_path / "design", monkeypatch)
