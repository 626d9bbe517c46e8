"""Words of weights put together from several reads: the same outputs, predicted cycles, and fewer block RAMs."""

import dataclasses

import dram_checks
import numpy as np
import pytest
import rtl_networks
from rtl_checks import check_design

from gradcam.compiler import Compilation
from gradcam.errors import GradcamError
from gradcam.output import compile_to_folder
from gradcam.passes.hw import engine
from gradcam.passes.ir.attributes import BANKS
from gradcam.passes.program.banks import Bank
from gradcam.passes.program.block_ram import Part
from gradcam.passes.program.runs import Run
from gradcam.passes.schedule import narrow_memories


@pytest.fixture
def narrow(monkeypatch):
    """Makes every bank of weights that may be narrower as narrow as it may be, up to so many reads of a word."""

    def choose(most, slower=1):
        monkeypatch.setattr(narrow_memories, "MOST", most)
        monkeypatch.setattr(narrow_memories, "SLOWER", slower)
        monkeypatch.setattr(narrow_memories, "_weight", lambda program, bank, reads: -reads)

    return choose


def reads_of(checked):
    return {name: bank.reads for name, bank in checked.simulator.program.banks.items() if bank.reads > 1}


@pytest.mark.parametrize(
    ("network", "pe", "reads", "options"),
    [
        (rtl_networks.windows, "8x8", 4, {}),
        (rtl_networks.sums, "4x4", 8, {"clock_mhz": 300, "family": "xcup"}),
        (rtl_networks.table, "4x4", 2, {"dsp_packing": True}),
    ],
    ids=["windows-4", "sums-8-clock", "table-2-packed"],
)
def test_rtl_equals_the_integer_reference(network, pe, reads, options, narrow, tmp_path):
    narrow(reads)
    net = network()
    compile_to_folder(net, "test", dataclasses.replace(net.settings(pe), **options), tmp_path / "design")
    found = reads_of(check_design(net, tmp_path / "design"))
    assert found["weights"] == reads and found["biases"] > 1


@pytest.mark.parametrize("clock", [{}, {"clock_mhz": 120, "family": "ecp5"}], ids=["", "clock"])
def test_a_ring_of_weights_from_dram(clock, narrow, tmp_path):
    """A memory's words are four beats, and a beat."""
    narrow(8)
    net = rtl_networks.windows()
    settings = dram_checks.from_dram(dataclasses.replace(net.settings("8x8"), **clock), 16)
    dram_checks.check_design(net, settings, tmp_path / "design")


def test_an_engine_that_does_not_wait_computes_something_else(narrow, monkeypatch, tmp_path):
    narrow(8)
    monkeypatch.setattr(engine, "may_begin_word", lambda *_: None)
    net = rtl_networks.windows()
    compile_to_folder(net, "test", net.settings("8x8"), tmp_path / "design")
    with pytest.raises((GradcamError, AssertionError)):
        check_design(net, tmp_path / "design")


def test_nests_that_would_wait_long_keep_the_memory_wide(narrow):
    narrow(8, slower=10**6)
    net = rtl_networks.windows()
    module = Compilation(net, net.settings("8x8")).to("scheduled")
    with module.context:
        assert "reads" not in BANKS.get(module.operation)["weights"]


def test_steps_that_need_words_faster_than_they_are_read_are_late():
    assert Run(10, 4).slowed(1, 0) == Run(10, 4)
    assert Run(10, 4).slowed(1, 3).cycles(np.arange(4)).tolist() == [11, 15, 19, 23]
    assert Run(10, 6).slowed(2, 1).cycles(np.arange(6)).tolist() == [11, 12, 14, 15, 17, 18]
    late = Run(10, 6, [(2, 4)]).slowed(2, 1)
    assert late.cycles(np.arange(6)).tolist() == [11, 12, 17, 18, 20, 21] and late.stalls == 5


def test_every_word_lies_in_reads_that_follow_one_another():
    words = np.arange(5 * 8).reshape(5, 8)
    bank = Bank("weights", 8, 8, 5, True, (Part(16), Part(4)), 4)
    images = bank.images(words)
    memory = np.concatenate([images["mem/weights_0.hex"], images["mem/weights_1.hex"]])
    assert np.array_equal(memory.reshape(5, 8), words) and memory.shape == (20, 2)
    assert [(m.words, m.lanes) for m in bank.memories] == [(16, 2), (4, 2)]
