"""What an explanation shares with the inference, in the SystemVerilog of a small network with and without it."""

import re
from dataclasses import replace

import pytest
from deeper_targets import network, settings
from rtl_networks import last_layer

from gradcam.compiler import Compilation
from gradcam.output import compile_to_folder


@pytest.fixture(scope="module")
def rtl(tmp_path_factory):
    """The modules on a 4x4 array, by whether the network is explained and by name."""
    net, folder = last_layer(), tmp_path_factory.mktemp("area")
    texts = {}
    for explained in (False, True):
        settings = net.settings("4x4")
        settings = settings if explained else replace(settings, target_layer=None)
        compile_to_folder(net, "test", settings, folder / str(explained))
        texts[explained] = {p.stem: p.read_text() for p in (folder / str(explained) / "rtl").glob("*.sv")}
    return texts


def declared(text, name):
    """The bits of a port or register."""
    high = re.search(rf"\[(\d+):0\]\s+{name}\b", text)
    assert high, name
    return int(high[1]) + 1


@pytest.mark.parametrize("explained", [False, True])
def test_a_map_without_a_bias_shares_the_adder_of_the_logits(rtl, explained):
    # An accumulation adds to the mux that begins it, not to the register.
    assert sorted(re.findall(r"\b(acc0_\d) \+ ", rtl[explained]["engine_mac"])) == [f"acc0_{i}" for i in range(4)]


def test_a_lane_is_picked_once_for_class_and_streams(rtl):
    modules = rtl[True]
    assert declared(modules["engine_scan"], "x_data") == declared(modules["engine_store"], "x_data") == 32
    assert len(re.findall(r"reg +\[1:0\] +bank\d_pick4;", modules["gradcam_top"])) == 1


def test_the_core_has_one_word_for_logits_and_map_and_a_short_class(rtl):
    core = rtl[True]["gradcam_core"]
    assert re.search(r"\.heatmap_data +\(/\* unused \*/\)", core)
    assert declared(core, "class_request") == 3  # a sign and 0 to 2


@pytest.mark.parametrize("target", ["stem", "block", "wide"])
def test_rescales_of_a_backward_pass_use_the_multipliers_of_the_inference(target):
    # They multiply an accumulator without a bias, or with the shifted high half of a gradient in its place.
    hardware = str(Compilation(network(), settings(target, "gradcam", "4x4")).to("hw"))
    (engine,) = (text for text in hardware.split("hw.module @") if text.startswith("engine_mac("))
    assert len(re.findall(r"comb\.mul .+ : i48", engine)) == 4, "one per output lane"
