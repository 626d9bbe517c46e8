"""Modules with instances of DSP slices compute, in a model of the slice, what the modules in the design do."""

import json
import os
from pathlib import Path

import pytest
from instance_checks import cascade, icarus, mismatches, multiplier, slice_model, verilator

from gradcam.passes.hw.dot import Dot
from gradcam.synth.families import FAMILIES
from gradcam.synth.instances import multipliers_in_fabric, split_instances
from gradcam.synth.synthesis import module_figures
from gradcam.synth.tools import run_logged, yosys

#: What templates say of the slice that Yosys has a model of.
DSP48E1 = FAMILIES["xc7"].slice

#: Cascades that slices of 7 series can hold, and some that those of UltraScale+ can.
OF_7_SERIES = (
    *(Dot(*shape) for shape in ((4, 9, 8, 18, 1), (5, 13, 12, 28, 1), (4, 7, 7, 16, 2), (1, 9, 8, 16, 2))),
    *(Dot(*shape, ports=2) for shape in ((4, 9, 8, 18, 1), (1, 9, 8, 17, 1))),
)
OF_ULTRASCALE = (*(Dot(*shape) for shape in ((4, 9, 8, 18, 1), (4, 9, 8, 18, 2), (2, 10, 8, 18, 2))), OF_7_SERIES[-2])

#: Xilinx's own model, as it stands in the public unisim library: verilog/src/unisims/DSP48E2.v.
UNISIM = os.environ.get("GRADCAM_DSP48E2")


def mapped(replaced, slice_):
    kept, text = split_instances([f"rtl/{replaced.name}.sv"], FAMILIES["xcup"].templates, slice_)
    assert not kept
    return text


def named(replaced):
    return replaced.name


@pytest.mark.parametrize(
    "replaced",
    [*map(cascade, OF_7_SERIES), multiplier(18, 16), multiplier(25, 18)],
    ids=named,
)
def test_slices_of_7_series_compute_what_the_module_does(replaced, tmp_path):
    wrong, different = mismatches(replaced, mapped(replaced, DSP48E1), slice_model(), tmp_path, verilator)
    assert wrong == 0 and different > 3000


@pytest.mark.skipif(UNISIM is None, reason="GRADCAM_DSP48E2 names no file with a model of DSP48E2")
@pytest.mark.parametrize(
    "replaced",
    [*map(cascade, OF_ULTRASCALE), multiplier(18, 16)],
    ids=named,
)
def test_slices_of_ultrascale_compute_what_the_module_does(replaced, tmp_path):
    model, text = Path(UNISIM).read_text(), mapped(replaced, FAMILIES["xcup"].slice)
    wrong, different = mismatches(replaced, text, model, tmp_path, icarus)
    assert wrong == 0 and different > 3000


#: MULT18X18D of ECP5 with registers at its inputs and its output, as Lattice describes it (FPGA-TN-02205).
MULT18X18D = """
module MULT18X18D #(
  parameter REG_INPUTA_CLK = "NONE", REG_INPUTA_CE = "", REG_INPUTA_RST = "", REG_INPUTB_CLK = "NONE",
  REG_INPUTB_CE = "", REG_INPUTB_RST = "", REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "", REG_OUTPUT_RST = ""
) (input CLK0, CE0, RST0, SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, {inputs}, output {outputs});
  reg signed [17:0] a, b;
  reg signed [35:0] p;
  always @(posedge CLK0) begin a <= {{{a}}}; b <= {{{b}}}; p <= a * b; end
  assign {{{outputs}}} = p;
endmodule
"""


def ecp5_slice():
    def pins(port, bits):
        return ", ".join(f"{port}{i}" for i in reversed(range(bits)))

    a, b, c = (pins(port, 18) for port in "ABC")
    return MULT18X18D.format(inputs=f"{a}, {b}, {c}", outputs=pins("P", 36), a=a, b=b)


@pytest.mark.parametrize("bits", [(18, 16), (9, 8), (18, 18)], ids=str)
def test_slices_of_ecp5_compute_what_the_module_does(bits, tmp_path):
    replaced = multiplier(*bits)
    _, text = split_instances([f"rtl/{replaced.name}.sv"], FAMILIES["ecp5"].templates, FAMILIES["ecp5"].slice)
    wrong, different = mismatches(replaced, text, ecp5_slice(), tmp_path, verilator)
    assert wrong == 0 and different > 3000


@pytest.mark.parametrize("bits", [(6, 18), (17, 9), (2, 3)], ids=str)
def test_luts_compute_what_the_multiplier_does(bits, tmp_path):
    replaced, family = multiplier(*bits), FAMILIES["ecp5"]
    files = [f"rtl/{replaced.name}.sv"]
    _, text = split_instances(files, family.templates, family.slice, fabric=[replaced.name])
    wrong, different = mismatches(replaced, text, "", tmp_path, verilator)
    assert wrong == 0 and different > 2000
    (tmp_path / "mapped.v").write_text(text)
    commands = f"read_verilog mapped.v; {family.map} -top {replaced.name}; tee -q -o stat.json stat -json"
    run_logged(yosys(), ["-p", commands], tmp_path, tmp_path / "yosys.log", lambda _: None)
    modules = json.loads((tmp_path / "stat.json").read_text())["modules"]
    figures = module_figures(modules, replaced.name, family)[replaced.name]
    assert figures["DSP"] == 0 and figures["FF"] >= 3 * sum(bits)


def test_a_partial_product_with_another_sign_is_found(tmp_path):
    replaced, family = multiplier(17, 9), FAMILIES["ecp5"]
    _, text = split_instances([f"rtl/{replaced.name}.sv"], family.templates, family.slice, fabric=[replaced.name])
    wrong, _ = mismatches(replaced, text.replace("? -(", "? ("), "", tmp_path, verilator)
    assert wrong > 1000


def test_multipliers_of_the_fewest_bits_leave_slices_to_others():
    slices = {"multiplier_9x8": 128, "multiplier_18x18": 16, "multiplier_6x18": 16, "multiplier_17x15": 1, "mac": 0}
    slices |= {"multiplier_17x9": 16}
    assert multipliers_in_fabric(slices, 177) == []
    assert multipliers_in_fabric(slices, 176) == ["multiplier_17x15"]
    assert multipliers_in_fabric(slices, 161) == ["multiplier_6x18"]
    assert multipliers_in_fabric(slices, 156) == ["multiplier_6x18", "multiplier_17x9"]
    assert multipliers_in_fabric({"left_multiplier_6x18": 16}, 8, "left") == ["left_multiplier_6x18"]
    assert multipliers_in_fabric({**slices, "mac": 200}, 156) == []  # a module's own slices are too many


def test_a_product_that_is_a_cycle_early_is_found(tmp_path):
    replaced = multiplier(9, 8)
    _, text = split_instances([f"rtl/{replaced.name}.sv"], FAMILIES["ecp5"].templates, FAMILIES["ecp5"].slice)
    early = text.replace("always @(posedge clk) product <=", "always @* product =")
    wrong, _ = mismatches(replaced, early, ecp5_slice(), tmp_path, verilator)
    assert wrong > 1000


def test_a_factor_that_is_a_cycle_early_is_found(tmp_path):
    replaced = cascade(Dot(4, 9, 8, 18, 1))
    text = mapped(replaced, DSP48E1).replace(".BREG(i ? 2 : 1), .BCASCREG(i ? 2 : 1)", ".BREG(1), .BCASCREG(1)")
    wrong, _ = mismatches(replaced, text, slice_model(), tmp_path, verilator)
    assert wrong > 1000


def test_a_choice_that_is_a_cycle_late_is_found(tmp_path):
    replaced = cascade(Dot(4, 9, 8, 18, 1, ports=2))
    text = mapped(replaced, DSP48E1).replace(".INMODEREG(1)", ".INMODEREG(0)")
    wrong, _ = mismatches(replaced, text, slice_model(), tmp_path, verilator)
    assert wrong > 1000


@pytest.mark.parametrize(
    ("replaced", "others"),
    [
        (cascade(Dot(4, 9, 8, 18, 1)), {"DSP": 4, "FF": 3 * 17}),  # in front of slices 2 and 3
        (cascade(Dot(4, 9, 8, 18, 2)), {"DSP": 4, "FF": 3 * 25, "LUT": 1}),  # that inverts the lower sum's highest bit
        (cascade(Dot(4, 9, 8, 18, 1, ports=2)), {"DSP": 4, "FF": 3 * 25 + 2}),
        (multiplier(18, 16), {"DSP": 1}),
    ],
    ids=["sum", "sums", "either", "multiplier"],
)
def test_slices_and_few_registers_alone_are_taken(replaced, others, tmp_path):
    (tmp_path / "mapped.v").write_text(mapped(replaced, FAMILIES["xcup"].slice))
    commands = f"read_verilog mapped.v; {FAMILIES['xcup'].map} -top {replaced.name}; tee -q -o stat.json stat -json"
    run_logged(yosys(), ["-p", commands], tmp_path, tmp_path / "yosys.log", lambda _: None)
    modules = json.loads((tmp_path / "stat.json").read_text())["modules"]
    figures = module_figures(modules, replaced.name, FAMILIES["xcup"])[replaced.name]
    assert {name: count for name, count in figures.items() if count} == others
