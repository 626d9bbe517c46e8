"""The hardware that an explanation shares with the inference, counted in a small network with and without it."""

from dataclasses import replace

import pytest
from deeper_targets import network, settings
from hardware import REGISTERS, hardware
from rtl_networks import last_layer, residual

from gradcam.compiler import Compilation
from gradcam.passes.hw.shapes import Shapes
from gradcam.passes.program.engines import pattern
from gradcam.passes.program.scheduled_program import ScheduledProgram

ARITHMETIC = ("comb.add", "comb.sub", "comb.mul")


@pytest.fixture(scope="module")
def modules():
    """The modules on a 4x4 array, by whether the network is explained and by name."""
    net = last_layer()
    plain = net.settings("4x4")
    return {explained: hardware(net, plain if explained else replace(plain, target_layer=None)) for explained in (0, 1)}


def arithmetic(module):
    """Adders and multipliers by their bits; narrow ones count loops and compute addresses."""
    return {name: module.count(name, least=16) for name in ARITHMETIC}


def test_a_map_without_a_bias_shares_the_arithmetic_of_the_logits(modules):
    assert arithmetic(modules[True]["engine_mac"]) == arithmetic(modules[False]["engine_mac"])
    assert modules[True]["engine_mac"].count("comb.mul")[16] == 16, "the array"


def test_a_backward_pass_through_convolutions_needs_more():
    """The negative of the test above."""
    inference = hardware(network(), replace(settings("stem", "gradcam", "4x4"), target_layer=None))["engine_mac"]
    explained = hardware(network(), settings("stem", "gradcam", "4x4"))["engine_mac"]
    assert explained.count("comb.add", least=16).total() > inference.count("comb.add", least=16).total()


def test_a_lane_is_picked_once_for_class_and_streams(modules):
    explained = modules[True]
    bits = max(explained["engine_store"].inputs)
    assert bits in explained["engine_scan"].inputs and bits == 19, "a lane, no word of four"
    top = explained["gradcam_top"]
    assert top.count("comb.extract")[bits] == 4 and top.count(*REGISTERS)[2] == 1, "each lane once, the choice once"


def test_the_core_has_one_word_for_logits_and_map_and_a_short_class(modules):
    core, bare = modules[True]["gradcam_core"], modules[False]["gradcam_core"]
    assert ("gradcam_top", "heatmap_data") in core.unused, "the word of the logits is the map's, too"
    assert core.count(*REGISTERS) - bare.count(*REGISTERS) == {3: 2}, "the class, and that of a request: a sign, 0 to 2"


@pytest.mark.parametrize(("target", "each"), [("stem", {37: 1, 25: 2}), ("block", {37: 1}), ("wide", {37: 1})])
def test_rescales_of_a_backward_pass_use_the_multipliers_of_the_inference(target, each):
    # These rescales multiply an accumulator without a bias, or with the shifted high half of a gradient in its place.
    # At the stem the gradient is a residual sum, whose copies are rescaled once more: bytes by multipliers of 17 bits.
    # The largest sum of all nests has 20 bits with its bias. At the block channel weights are sums of two halves.
    engine = hardware(network(), settings(target, "gradcam", "4x4"))["engine_mac"]
    assert engine.count("comb.mul", least=25) == {bits: 4 * n for bits, n in each.items()}, "by output lane"


def test_a_rescale_chooses_among_the_shifts_that_occur():
    engine = hardware(network(), settings("stem", "gradcam", "4x4"))["engine_mac"]
    shifts = engine.count("comb.shrs", least=1)
    assert not shifts, "a shift by an amount that is not constant is a shifter for every amount"


def test_layers_without_a_residual_share_what_is_behind_the_sum_with_one(monkeypatch):
    """A lane saturates once, whether a residual was added or not; what is added is 0 for layers without one."""
    net = residual()

    def selections():
        return hardware(net, replace(net.settings("4x4"), target_layer=None))["engine_mac"].count("comb.mux").total()

    shared = selections()
    monkeypatch.setattr(Shapes, "share_sums", lambda self: None)
    assert selections() - shared == 2 * 4, "an upper and a lower bound for each lane"


def test_sums_of_bytes_and_sums_of_these_have_one_engine():
    """Channel weights of an early layer are sums over rows, then over columns; the pool is a sum of bytes, too."""
    modules = hardware(network(), settings("block", "gradcam", "4x4"))
    assert [name for name in modules if name.startswith("engine_sum")] == ["engine_sum"]


def test_nests_of_an_engine_that_store_alike_write_through_one_port():
    """A clamp that a mask reads takes a stage more than one without; both write bytes."""
    scheduled = Compilation(network(), settings("stem", "gradcam", "4x4")).to("scheduled")
    with scheduled.context:
        for engine in ScheduledProgram.of(scheduled).engines:
            slots = [s for s in engine.slots if s.store and s.kind == "memory"]
            one = [s for s in slots if sum(pattern(s.example) == pattern(o.example) for o in slots) > 1]
            for slot in one:
                assert any(
                    sum(a is not None and pattern(a) == pattern(slot.example) for a in nest.stores) > 1
                    for nest in engine.configurations
                ), "a nest that stores twice alike needs two ports, and nothing else does"
