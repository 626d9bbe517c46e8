"""A nest that follows another one on the engine of the first nest of their group, issued while that one still runs."""

import dataclasses

import dram_checks
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nest_replay import is_as_predicted, number_of, pair_text, replay, scheduled
from overlap_checks import assert_is_caught, program_of
from rtl_checks import check_design, nest_lengths
from rtl_networks import Network, Sum, design
from torch import nn
from torch_mlir import ir

from gradcam.errors import GradcamError
from gradcam.output import compile_to_folder
from gradcam.passes.hw.loop_counters import LoopCounters
from gradcam.passes.hw.sequencer import _Sequencer
from gradcam.passes.ir.attributes import FOLLOWS
from gradcam.passes.program.banks import place_of, ring_of
from gradcam.passes.program.nest import read_nests
from gradcam.passes.program.runs import Follow, Run, follows_of, issue_groups_of, issues_of
from gradcam.schema.schedule import read_schedule
from gradcam.sim import Simulator
from gradcam.sim.check import check_outputs
from gradcam.sim.trace import load_quantized


@pytest.fixture(autouse=True)
def mlir():
    with ir.Context(), ir.Location.unknown():
        yield


def returns(module: ir.Module) -> list[Follow]:
    """The followers that are issued later than their producers."""
    return [follow for follow in follows_of(read_nests(module)).values() if follow.after]


CASES = [  # channel tiles, size, reduction, kernel, stride, padding: the windows take longer than what they look at
    (2, (6, 6), 1, (3, 3), (1, 1), (1, 1)),
    (3, (5, 7), 2, (3, 3), (1, 1), (1, 1)),
    (2, (9, 6), 1, (3, 3), (2, 2), (1, 1)),
    (4, (6, 5), 1, (2, 2), (1, 1), (0, 0)),
    (1, (7, 4), 1, (3, 1), (1, 1), (1, 0)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_three_nests_meet_in_time(case):
    module = scheduled(pair_text(*case, third=True))
    wrong, lasts = replay(module)
    program = read_nests(module)
    assert issues_of(program) == [0, 1, 1, 3, 4] and issue_groups_of(program) == [0, 1, 1, 1, 4]
    assert wrong == 0 and 3 in lasts and is_as_predicted(module, lasts)
    first, second, third = (nest.op for nest in program[1:4])
    assert number_of(third, "start") == number_of(first, "end") < number_of(second, "end")
    assert ring_of(program[3].loads[0].memref) is None  # whatever delays the first nest delays the third one alone


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4),
    st.tuples(*[st.integers(1, 7)] * 2),
    st.integers(1, 3),
    st.tuples(*[st.integers(1, 3)] * 2),
    st.tuples(*[st.integers(1, 2)] * 2),
    st.lists(st.integers(0, 3), max_size=5),
    st.lists(st.integers(0, 3), max_size=5),
)
def test_delays_of_the_first_and_third_nest_change_no_value(tiles, size, reduction, kernel, stride, late, later):
    padding = tuple(k // 2 for k in kernel)
    with ir.Context(), ir.Location.unknown():
        for dram in (False, True):
            module = scheduled(pair_text(tiles, size, reduction, kernel, stride, padding, third=True), dram)
            if returns(module):
                (wrong, lasts), (wrong_late, lasts_late) = replay(module), replay(module, {1: late, 3: later})
                assert wrong == wrong_late == 0 and all(lasts_late[n] >= lasts[n] for n in lasts)
                assert is_as_predicted(module, lasts)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_third_nest_that_starts_early_is_found(case):
    module = scheduled(pair_text(*case, third=True))
    need_less(module)
    assert replay(module)[0] > 0


def need_less(module: ir.Module) -> None:
    """Lets the nests that are issued later wait for fewer iterations."""
    for follow in returns(module):
        map_ = FOLLOWS.get(follow.nest.op)
        FOLLOWS.set(follow.nest.op, ir.AffineMap.get(map_.n_dims, 0, [map_.results[0] - 8]))


def test_a_producer_that_takes_no_longer_is_waited_for():
    """The third nest would hide nothing."""
    assert not returns(scheduled(pair_text(2, (6, 6), 3, (1, 1), (1, 1), (0, 0), third=True)))


def test_memories_of_nests_at_once_are_apart():
    """Of the nests on one engine, only the buffers of one are in use at a time."""
    module = scheduled(pair_text(*CASES[0], third=True))
    first, second, third = read_nests(module)[1:4]

    def banks(accesses) -> set[str]:
        return {place_of(a.memref)[0] for a in accesses}

    for one, other in ((first, second), (second, third)):
        assert not banks(one.loads) & banks(other.loads) and not banks(one.stores) & banks(other.stores)
    assert banks(first.loads) & banks(third.loads)  # their constants


def test_a_run_that_starts_late_finds_what_was_committed():
    """A producer whose iterations take 3 steps, and a follower whose steps need an iteration each."""
    module = scheduled(pair_text(1, (20, 1), 1, (3, 1), (1, 1), (1, 0), third=True))
    (follow,) = returns(module)
    assert (follow.count, follow.needs.tolist()) == (20, list(range(1, 21)))
    made, stage, first = Run(0, 60), 5, np.arange(4)
    assert follow.run(made, stage, 0).cycles(first).tolist() == [9, 12, 15, 18]  # 3 steps, the store, and 1
    assert follow.run(made, stage, 13).cycles(first).tolist() == [14, 15, 16, 18]


# Networks, in RTL.


def blocks() -> Network:
    """Inverted residual blocks of few channels: with and without a sum, with a stride, of several tiles.

    With the stride, a kernel row of five columns takes two steps for an output.
    """
    net = Network(3, 11, 10, seed=3)
    x = net.add(nn.ReLU(), net.conv(0, 4, 3, 1, 1))
    for channels, stride, kernel in ((4, 1, 3), (8, 2, 5), (8, 1, 3)):
        y = net.add(nn.ReLU6(), net.conv(x, 3 * net.channels(x), 1, 1, 0))
        y = net.add(nn.ReLU6(), net.conv(y, net.channels(y), kernel, stride, kernel // 2, groups=net.channels(y)))
        y = net.conv(y, channels, 1, 1, 0)
        x = net.add(Sum(), y, x) if stride == 1 else y
    net.explain(net.add(nn.ReLU(), x))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(3)


def issued_late(folder) -> int:
    """The number of nests that are issued later than their producers."""
    program = program_of(folder)
    return sum(a != b for a, b in zip(program.issues, program.issue_groups, strict=True))


def test_weights_on_chip(tmp_path):
    design(blocks(), "4x4", tmp_path / "design")
    assert issued_late(tmp_path / "design") == 3
    check_design(blocks(), tmp_path / "design")


def test_a_schedule_is_replayed_and_obeyed(tmp_path):
    """The loops that a file names stay: then the nests beside it have their channel tiles outermost, too."""
    net = blocks()
    plain, again, asked = (tmp_path / name for name in ("plain", "again", "asked"))
    design(net, "4x4", plain)
    replayed = dataclasses.replace(net.settings("4x4"), schedule=plain / "schedule.json")
    compile_to_folder(net, "test", replayed, again)
    assert program_of(again).rtl == program_of(plain).rtl
    chosen = read_schedule(str(plain / "schedule.json")).nests
    assert [chosen[name].loops[:3] for name in ("layers.10", "layers.12")] == [("y", "oc", "x/5"), ("y", "oc", "x")]
    file = tmp_path / "asked.json"
    file.write_text('{"nests": {"layers.12": {"loops": ["oc", "y", "x", "ky", "kx", "d5"]}}}')
    compile_to_folder(net, "test", dataclasses.replace(net.settings("4x4"), schedule=file), asked)
    found = read_schedule(str(asked / "schedule.json")).nests
    assert [found[name].loops[:3] for name in ("layers.10", "layers.12")] == [("oc", "y", "x/5"), ("oc", "y", "x")]


def test_weights_from_dram(tmp_path):
    net, folder = blocks(), tmp_path / "design"
    dram_checks.check_design(net, dram_checks.from_dram(net.settings("4x4"), 8, 2), folder)
    assert issued_late(folder) == 3


def test_with_a_clock(tmp_path):
    net, folder = blocks(), tmp_path / "design"
    compile_to_folder(net, "test", dataclasses.replace(net.settings("4x4"), clock_mhz=300, family="xcup"), folder)
    assert issued_late(folder) == 3
    check_design(net, folder)


def test_a_third_nest_that_starts_early_gives_wrong_outputs(tmp_path, monkeypatch):
    assert_is_caught(need_less, blocks(), tmp_path / "design", monkeypatch)


def test_credits_that_start_anew_cost_cycles(tmp_path, monkeypatch):
    """Without the iterations that were committed before, a nest waits for the end of its producer."""
    count = LoopCounters.count
    monkeypatch.setattr(LoopCounters, "count", lambda *a: count(*a[:-1], [0] * len(a[-1])))
    net, folder = blocks(), tmp_path / "design"
    design(net, "4x4", folder)
    simulator, image = Simulator(folder), net.images(1)[0]
    (result,) = simulator.run(image[None])
    check_outputs(result, load_quantized(simulator.design), image)
    assert sum(a > b for a, b in zip(result.nest_cycles, nest_lengths(folder), strict=True)) == 3


def without(monkeypatch, fact: str) -> None:
    """The sequencer without one of the facts of an issue."""
    of_issue = _Sequencer._of_issue

    def changed(self, name, entries, width):
        return of_issue(self, name, {} if name.endswith(fact) else entries, width)

    monkeypatch.setattr(_Sequencer, "_of_issue", changed)


def test_a_sequencer_that_waits_for_the_second_nest_costs_cycles(tmp_path, monkeypatch):
    without(monkeypatch, "_outlasts")
    net, folder = blocks(), tmp_path / "design"
    design(net, "4x4", folder)
    simulator, image = Simulator(folder), net.images(1)[0]
    (result,) = simulator.run(image[None])
    check_outputs(result, load_quantized(simulator.design), image)
    assert result.cycles.total > simulator.program.cycles.total


def test_a_nest_that_is_not_told_of_the_end_of_its_producer_waits_for_ever(tmp_path, monkeypatch):
    """The third nest waits for the second one, which waits until the engine of the first one is idle."""
    without(monkeypatch, "_outlives")
    net, folder = blocks(), tmp_path / "design"
    design(net, "4x4", folder)
    with pytest.raises(GradcamError, match="no end after"):
        Simulator(folder).run(net.images(1))
