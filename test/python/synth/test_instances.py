"""The modules that take the place of cascades compute the same sums, in a model of the DSP slice."""

import json
import os
from pathlib import Path

import pytest
from cascade_checks import icarus, mismatches, slice_model, verilator

from gradcam.passes.hw.dot import Dot
from gradcam.synth.families import FAMILIES
from gradcam.synth.instances import split_instances
from gradcam.synth.synthesis import module_figures
from gradcam.synth.tools import run_logged, yosys

#: What templates say of the slice that Yosys has a model of.
DSP48E1 = {"slice": "DSP48E1", "preadder": 25, "preadd": '.USE_DPORT("TRUE")'}

#: Xilinx's own model, as it stands in the public unisim library: verilog/src/unisims/DSP48E2.v.
UNISIM = os.environ.get("GRADCAM_DSP48E2")


def mapped(dot, slice_):
    kept, text = split_instances([f"rtl/{dot.name}.sv"], FAMILIES["xcup"].templates, slice_)
    assert not kept
    return text


@pytest.mark.parametrize("dot", [Dot(4, 9, 8, 18, 1), Dot(5, 13, 12, 28, 1), Dot(4, 7, 7, 16, 2)], ids=str)
def test_a_cascade_of_dsp48e1_equals_the_module(dot, tmp_path):
    wrong, different = mismatches(dot, mapped(dot, DSP48E1), slice_model(), tmp_path, verilator)
    assert wrong == 0 and different > 3000


@pytest.mark.skipif(UNISIM is None, reason="GRADCAM_DSP48E2 names no file with a model of DSP48E2")
@pytest.mark.parametrize("dot", [Dot(4, 9, 8, 18, 1), Dot(4, 9, 8, 18, 2), Dot(2, 10, 8, 18, 2)], ids=str)
def test_a_cascade_of_dsp48e2_equals_the_module(dot, tmp_path):
    model = Path(UNISIM).read_text()
    wrong, different = mismatches(dot, mapped(dot, FAMILIES["xcup"].slice), model, tmp_path, icarus)
    assert wrong == 0 and different > 3000


@pytest.mark.parametrize(("dot", "registers"), [(Dot(4, 9, 8, 18, 1), 17), (Dot(4, 9, 8, 18, 2), 25)], ids=str)
def test_a_cascade_takes_slices_and_registers_alone(dot, registers, tmp_path):
    (tmp_path / "mapped.v").write_text(mapped(dot, FAMILIES["xcup"].slice))
    commands = f"read_verilog mapped.v; {FAMILIES['xcup'].map} -top {dot.name}; tee -q -o stat.json stat -json"
    run_logged(yosys(), ["-p", commands], tmp_path, tmp_path / "yosys.log", lambda _: None)
    modules = json.loads((tmp_path / "stat.json").read_text())["modules"]
    found = {
        name: count for name, count in module_figures(modules, dot.name, FAMILIES["xcup"])[dot.name].items() if count
    }
    # In front of slice 2 and 3; the lower sum's highest bit is inverted.
    assert found == {"FF": 3 * registers, "DSP": 4, **({"LUT": 1} if dot.sums == 2 else {})}


def test_a_factor_that_is_a_cycle_early_is_found(tmp_path):
    dot = Dot(4, 9, 8, 18, 1)
    text = mapped(dot, DSP48E1).replace(".BREG(i ? 2 : 1), .BCASCREG(i ? 2 : 1)", ".BREG(1), .BCASCREG(1)")
    wrong, _ = mismatches(dot, text, slice_model(), tmp_path, verilator)
    assert wrong > 1000
