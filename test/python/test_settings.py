"""The settings of a compile: wrong types, values that cannot be, and settings without an effect are one line."""

import numpy as np
import pytest

from gradcam import Settings
from gradcam.dram import Dram
from gradcam.errors import GradcamError
from gradcam.tools import gradcam_import

WRONG = [
    ({"pe": 8}, "pe (--pe) must be a text, got 8"),
    ({"top_k": "2"}, "top_k (--top-k) must be an integer, got '2'"),
    ({"top_k": True}, "top_k (--top-k) must be an integer, got True"),
    ({"top_k": 1.5}, "top_k (--top-k) must be an integer, got 1.5"),
    ({"dram_width": "32"}, "dram_width (--dram-width) must be an integer or None, got '32'"),
    ({"clock_mhz": "100"}, "clock_mhz (--clock-mhz) must be a number or None, got '100'"),
    ({"clock_mhz": float("nan")}, "a clock must be above 0 MHz, got nan"),
    ({"dsp_packing": 1}, "dsp_packing (--dsp-packing) must be True or False, got 1"),
    ({"method": None}, "method (--method) must be a text, got None"),
    ({"family": 7}, "family (--family) must be a text or None, got 7"),
    ({"target_layer": 4}, "target_layer (--target-layer) must be a module path or a list of some, got 4"),
    ({"target_layer": ["a", 4]}, "target_layer (--target-layer) must be a module path or a list of some, got"),
    *(({"target_layer": none}, f"target_layer (--target-layer) names no layer in {none!r}; for logits only it is None")
      for none in ([], (), "", ["a", ""])),
    ({"input_shape": "1,3,8,8"}, "the input shape must be a tuple such as (1, 3, 64, 64), got '1,3,8,8'"),
    ({"input_shape": (1, 3, 100000, 100000)}, "has 30,000,000,000 numbers; the most are 67,108,864"),
    ({"range_choice": "foo"}, "range_choice (--range) must be one of mse, percentile, max, got 'foo'"),
    ({"range_choice": "percentile", "percentile": 0}, "(--percentile) must be above 0 and at most 100, got 0"),
    ({"max_onchip_bytes": 0}, "max_onchip_bytes (--max-onchip-bytes) must be at least 1, got 0"),
    ({"clock_mhz": 0}, "a clock must be above 0 MHz, got 0"),
    ({"family": "foo"}, "there is no family 'foo'; choose one of ecp5, xcup, xc7"),
    ({"pe": "256x128"}, "pe '256x128' has 32,768 multipliers; the most are 16,384"),
    (
        {"family": "ecp5"},
        "family (--family) has no effect: without a clock all designs for it are alike; give clock_mhz (--clock-mhz)",
    ),
    ({"percentile": 99.0}, "percentile (--percentile) has no effect: it is for range_choice (--range) percentile"),
    ({"dram_width": 32}, "dram_width (--dram-width) has no effect: it is for weights (--weights) dram"),
    ({"dram_latency": 9}, "dram_latency (--dram-latency) has no effect: it is for weights (--weights) dram"),
    ({"activation_bits": 7}, "activation_bits (--activation-bits) must be from 8 to 12, got 7"),
    ({"activation_bits": 13}, "activation_bits (--activation-bits) must be from 8 to 12, got 13"),
    ({"gradient_bits": 17}, "gradient_bits (--gradient-bits) must be from 8 to 16, got 17"),
    ({"weight_bits": 9.0}, "weight_bits (--weight-bits) must be an integer, got 9.0"),
    ({"weight_bits": None}, "weight_bits (--weight-bits) must be an integer, got None"),
    ({"dsp_packing": True, "activation_bits": 11}, "(--dsp-packing) cannot put two products of weights of 8 bits"),
    ({"dsp_packing": True, "activation_bits": 9, "weight_bits": 9}, "of 9 bits with activations of 9 into a DSP slice"),
    (
        {"dsp_packing": True, "activation_bits": 9, "clock_mhz": 100, "family": "xc7"},
        "activation bits and twice the weight bits may be 24 together",
    ),
    *(
        ({"name": name}, f"at most 64 characters; got {name!r}")
        for name in ("", "Left", "1st", "_a", "a_", "a__b", "a-b", "a.b", "a b", "\u00e9", "a\n", "a" * 65)
    ),
    *(
        ({"name": name}, f"a design cannot be called '{name}', which is reserved in {language}")
        for name, language in (("soft", "SystemVerilog"), ("double", "C or C++"), ("entity", "VHDL"))
    ),
    ({"name": 5}, "name (--name) must be a text or None, got 5"),
    ({"pool_map": 0}, "pool-map must be at least 1, got 0"),
    ({"pool_map": 2.0}, "pool_map (--pool-map) must be an integer, got 2.0"),
    ({"target_layer": None, "pool_map": 2}, "pool-map 2 asks for explanations; name a target layer"),
    ({"target_layer": None, "top_k": 2}, "top-k 2 asks for explanations; name a target layer"),
    ({"target_layer": None, "gradient_bits": 9}, "(--gradient-bits) has no effect: it is for an explanation;"),
    ({"target_layer": None, "method": "layercam"}, "method layercam asks for an explanation; name a target layer"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_settings_that_cannot_be(change, message):
    with pytest.raises(GradcamError) as caught:
        Settings(**{"target_layer": "layer4"} | change)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_settings_that_can_be():
    settings = Settings(["a", "b"], "Grad-CAM++", top_k=np.int64(2), input_shape=[1, 3, np.int64(8), 8], clock_mhz=100)
    assert (settings.method, settings.input_shape) == ("gradcam++", (1, 3, 8, 8))
    assert Settings("a", weights="dram", dram_width=np.int32(32)).dram == Dram(32)
    assert Settings("a", weights="dram").dram.width == 64 and Settings("a").dram is None
    assert Settings("a", activation_bits=12, gradient_bits=np.int64(16), weight_bits=12).gradient_bits == 16
    for activations, weights in ((10, 8), (8, 9)):
        assert Settings("a", activation_bits=activations, weight_bits=weights, gradient_bits=16, dsp_packing=True)
    assert Settings("a", dsp_packing=True, clock_mhz=100, family="xc7").dsp_packing
    assert Settings(None, activation_bits=9, weight_bits=9).gradient_bits == 8
    assert Settings("a", pe="128x128", range_choice="percentile", percentile=100).percentile == 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top-k", "2"], "--top-k has no effect without --target-layer"),
        (["--pool-map", "2"], "--pool-map has no effect without --target-layer"),
        (["--method", "gradcam"], "--method has no effect without --target-layer"),
        (["--level", "torch", "--target-layer", "a", "--eps", "1"], "--eps has no effect at --level torch"),
        (["--list-layers", "--target-layer", "a"], "--target-layer has no effect beside --list-layers"),
        (["--emit-bytecode", "-o", "x", "--mlir-print-debuginfo"], "--mlir-print-debuginfo has no effect in bytecode"),
    ],
)  # fmt: skip
def test_options_of_gradcam_import_without_an_effect(options, message, capsys):
    assert gradcam_import.main(["none:none", *options]) == 1
    assert capsys.readouterr().err == f"gradcam-import: error: {message}\n"
