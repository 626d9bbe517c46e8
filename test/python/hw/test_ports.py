"""Ports of an engine are declared once: a change of a name there reaches every module that has or connects the port."""

import re

import pytest
import rtl_networks

from gradcam.compiler import Compilation
from gradcam.passes.hw.convert_affine_to_hw import ConvertAffineToHw
from gradcam.passes.hw.ports import Control, MemoryPort, Port
from gradcam.passes.hw.signals import Signal, Stream

#: Text that the tests append to names; no name in a design ends in it.
MARK = "Renamed"


@pytest.fixture(scope="module")
def scheduled():
    net = rtl_networks.table()
    return Compilation(net, net.settings("4x4")).to("scheduled")


def hardware(scheduled) -> str:
    design = ConvertAffineToHw().run(scheduled)
    assert design.operation.verify(), "every port that is connected exists"
    return str(design)


def marked(text: str) -> set[str]:
    """Names of ports that end in the mark, without the mark."""
    return set(re.findall(rf"(?:in %|out )(\w+){MARK} :", text))


def test_another_name_for_the_signals_of_slots_changes_nothing_else(scheduled, monkeypatch):
    plain, original = hardware(scheduled), Port.signal
    monkeypatch.setattr(Port, "signal", lambda self, end, bits=1: original(self, end + MARK, bits))
    text = hardware(scheduled)
    assert {"x_en", "x_addr", "x_bank", "x_from", "x_data", "y_en", "y_addr", "y_data"} <= marked(text)
    assert text.replace(MARK, "") == plain


def test_another_name_for_the_signals_of_streams_changes_nothing_else(scheduled, monkeypatch):
    plain, original = hardware(scheduled), Stream.of

    def of(name: str, bits: int) -> Stream:
        return Stream(*(Signal(signal + MARK, signal.bits) for signal in vars(original(name, bits)).values()))

    monkeypatch.setattr(Stream, "of", of)
    text = hardware(scheduled)
    assert {"x_valid", "x_ready", "image_valid", "image_data", "image_ready", "heatmap_data"} <= marked(text)
    assert text.replace(MARK, "") == plain


@pytest.mark.parametrize(
    ("attribute", "name"),
    [("go", "go"), ("written", "written"), ("producer_done", "over"), ("done", "done"), ("committed", "landed")],
)
def test_another_name_for_a_control_signal_changes_nothing_else(scheduled, monkeypatch, attribute, name):
    plain = hardware(scheduled)
    monkeypatch.setattr(Control, attribute, Signal(name + MARK))
    text = hardware(scheduled)
    # An engine has the name itself, the sequencer one for each of its engines that have the signal.
    at_engines = {found for found in marked(text) if found.endswith(f"_{name}")}
    assert name in marked(text) and at_engines, "at the engine and at the sequencer"
    assert text.replace(MARK, "") == plain


def test_a_signal_without_its_declared_name_is_refused(scheduled, monkeypatch):
    declare = MemoryPort._declare

    def misname(port: MemoryPort) -> None:
        declare(port)
        port.enable = Signal("of_nobody", port.enable.bits)  # the header has the other name already

    monkeypatch.setattr(MemoryPort, "_declare", misname)
    with pytest.raises(Exception, match=r"Ports \['y_en'\] unconnected in design module engine_load"):
        hardware(scheduled)
