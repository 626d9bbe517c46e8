"""The core through its interfaces alone: cocotb and cocotbext-axi around it, Verilator and Icarus Verilog under it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from core import DRAM_FAULTS, Scenario, check, fault_kinds, faults, period
from core_simulation import Played, build, lint
from rtl_networks import flat, last_layer, sums
from simulated_core import make

from gradcam.core.register_map import register_map
from gradcam.errors import GradcamError
from gradcam.passes.infra.pass_manager import PassManager


@pytest.fixture(scope="module")
def clocked(tmp_path_factory):
    return make(sums(), tmp_path_factory.mktemp("clocked"), clock_mhz=120.0, name="left")


@pytest.fixture(params=["onchip", "clocked"])
def either(request):
    """A core made for no clock in particular, and one that is."""
    return request.getfixturevalue(request.param)


def test_images_come_back_in_order_as_fast_as_the_core_runs(either):
    core, scenario = either, Scenario(either.program)
    scenario.images([0, 1, 2, 3, 4, 0])
    played = core.play(scenario)
    check(played, scenario.expected, core.reference)
    assert len(set(map(tuple, played.results))) == 6
    cycles = scenario.program.cycles.total
    assert cycles <= period(played) <= 1.005 * cycles
    counters = played.log[-1]["counters"]
    assert counters["images"] == 6 and counters["stall"] == 0
    assert counters["inference"] + counters["explanation"] == cycles
    assert counters["explanation"] == core.design.report().cycles.explanation


def test_random_waiting_on_every_channel_changes_nothing(either):
    scenario = Scenario(either.program)
    scenario.images([0, 1, 2, 3, 4] * 3)
    check(either.play(scenario, pause=True, seed=3), scenario.expected, either.reference)


def test_a_result_that_cannot_leave_stalls_the_next_one(either):
    scenario = Scenario(either.program)
    scenario.blocked([0, 1, 2, 3])
    played = either.play(scenario)
    check(played, scenario.expected, either.reference)
    assert played.log[1]["counters"]["stall"] > 0


def test_faults_are_reported_and_leave_good_images_right(either):
    core = either
    scenario = faults(core.program, 25, len(core.images), seed=1)
    assert (
        {step["do"] for step in scenario.steps}
        > set(fault_kinds(core.program))
        == {*("short", "long", "start_busy", "reset", "class_range")}
    )
    check(core.play(scenario, pause=True), scenario.expected, core.reference)


def test_a_third_of_the_faults_is_in_each_signal_of_a_read(dram):
    kinds = ("rlast", "rid", "rresp")
    scenario = Scenario(dram.program)
    rng = np.random.default_rng(2)
    for kind in rng.permutation(np.resize(kinds, 30)):
        scenario.fault(str(kind), int(rng.integers(5)), rng, 3)
        scenario.images([int(rng.integers(5))])
    made = [(step["signal"], step["bits"]) for step in scenario.steps if step["do"] == "dram"]
    assert {("rid", 1), ("rlast", 1), ("long", 1), ("rresp", 1), ("rresp", 2), ("rresp", 3)} == set(made)
    check(dram.play(scenario, pause=True), scenario.expected, dram.reference)


def test_faults_of_all_kinds_with_weights_from_dram(dram):
    scenario = faults(dram.program, 24, len(dram.images), seed=2)
    assert {step["signal"] for step in scenario.steps if step["do"] == "dram"} > {"rid", "rresp"}
    check(dram.play(scenario, pause=True), scenario.expected, dram.reference)


def wrong_signals(rng):
    """More faults than a run has reads, a third of them in each signal."""
    signals = rng.permutation(np.resize(list(DRAM_FAULTS), 99)).tolist()
    return [{"signal": s, "bits": int(rng.choice(DRAM_FAULTS[s])), "left": int(rng.integers(256))} for s in signals]


@pytest.mark.parametrize("every", [1, 3])
def test_images_between_runs_in_which_every_third_read_or_all_are_wrong(dram, every):
    scenario, rng = Scenario(dram.program), np.random.default_rng(every)
    for image in range(5):
        scenario.unreliable(image, every, wrong_signals(rng))
        scenario.images([image, (image + 1) % 5])
    check(dram.play(scenario, pause=True, seed=every), scenario.expected, dram.reference)


def test_a_read_that_lacks_a_beat_is_reported_and_ends_with_a_reset(dram):
    scenario = Scenario(dram.program)
    for image in range(2):
        scenario.images([image])
        scenario.lost(image)
    scenario.images([3])
    check(dram.play(scenario, limit=20 * dram.program.cycles.total), scenario.expected, dram.reference)


def test_addresses_of_weights_with_a_clock(tmp_path):
    """Their sum has three pieces, and a register in front of ARADDR."""
    core = make(last_layer(), tmp_path, weights="dram", clock_mhz=300.0, family="xcup")
    scenario = Scenario(core.program)
    scenario.images([0, 1, 2])
    check(core.play(scenario, pause=True, seed=1), scenario.expected, core.reference)


@pytest.mark.parametrize("signal", ["rlast", "rid", "rresp"])
def test_every_wrong_beat_is_reported(dram, signal):
    """One beat of a run: the last one of a burst, the one before it, the first one; every wrong value."""
    scenario = Scenario(dram.program)
    for bits in DRAM_FAULTS[signal]:
        for left in (0, 1, 255):
            scenario.unreliable(1, 1, [{"signal": signal, "bits": bits, "left": left}])
    scenario.images([1])
    check(dram.play(scenario), scenario.expected, dram.reference)


def test_start_and_class(onchip):
    scenario = Scenario(onchip.program)
    for early in (False, True):
        scenario.start(1, early)
    for cls in (1, 0, -1):
        scenario.explain(2, cls)
    played = onchip.play(scenario)
    check(played, scenario.expected, onchip.reference)
    assert played.results[2][1:] != played.results[3][1:]


def test_a_wrong_result_a_missing_one_and_an_error_that_was_not_are_found(onchip):
    scenario = Scenario(onchip.program)
    scenario.images([0, 1])
    scenario.fault("short", 0, np.random.default_rng(0), 2)
    played = onchip.play(scenario)
    check(played, scenario.expected, onchip.reference)
    played.log[1]["words"][-1] ^= 1
    with pytest.raises(GradcamError, match="step 1: the result of"):
        check(played, scenario.expected, onchip.reference)
    played.log[1]["words"][-1] ^= 1
    played.log[2]["errors"] = 0
    with pytest.raises(GradcamError, match=r"step 2: .*short_packet.* left"):
        check(played, scenario.expected, onchip.reference)
    with pytest.raises(GradcamError, match="did not come"):
        check(Played(played.log[1:2], 0), scenario.expected[1:], onchip.reference)
    with pytest.raises(GradcamError, match="the log goes on"):
        check(Played(played.log, 0), scenario.expected[:1], onchip.reference)


def test_a_core_that_hangs_fails(onchip):
    scenario = Scenario(onchip.program)
    scenario.images([0])
    with pytest.raises(GradcamError, match="does not end within 200 cycles"):
        onchip.play(scenario, limit=200)


def test_every_field_reads_back(onchip):
    scenario = Scenario(onchip.program)
    scenario.steps.append({"do": "registers"})
    seen = onchip.play(scenario).log[0]
    program = onchip.program
    known = {"fingerprint": program.core.fingerprint, "classes": program.fields["logits"], "maps": 1, "top_k": 1}
    beats = {"IMAGE": program.inputs[0].beats, "RESULT": program.packet_words}
    checked = 0
    for register in register_map():
        for pattern in ("reset", "ffffffff", "a5a5a5a5", "5a5a5a5a", "00000000", "restored"):
            word = seen[pattern][register.name]
            for field in register.fields:
                mask = (1 << field.bits) - 1
                value = word >> field.low & mask
                if field.kind == "storage" and pattern not in ("reset", "restored"):
                    assert value == int(pattern, 16) >> field.low & mask, (register.name, field.name, pattern)
                elif field.kind == "input":
                    assert value == known.get(field.name, beats.get(register.name, 0)), (register.name, field.name)
                else:
                    assert value == field.reset, (register.name, field.name, pattern)
                checked += 1
            assert not word & ~sum(((1 << f.bits) - 1) << f.low for f in register.fields)
        stored = sum(((1 << f.bits) - 1) << f.low for f in register.fields if f.kind == "storage")
        if stored:
            steps = [stored & (1 << 8 * (i + 1)) - 1 for i in range(4)]
            assert [word & stored for word in seen["bytes"][register.name]] == steps, register.name
    assert checked == 6 * sum(len(r.fields) for r in register_map())
    assert seen["hole"] == [2, 2]  # SLVERR


def test_interrupt(onchip):
    scenario = Scenario(onchip.program)
    scenario.steps.append({"do": "interrupt", "image": 1})
    played = onchip.play(scenario)
    raised_and_pending = [[0, 1], [0, 0], [1, 1], [0, 0], [1, 1], [0, 0]]
    assert played.of("interrupt")[0]["seen"] == raised_and_pending


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_icarus_gives_the_same_outputs_in_the_same_cycles(dram, tmp_path):
    build(dram.design.folder, "icarus", tmp_path)
    icarus = replace(dram, simulation=tmp_path)
    scenario = Scenario(dram.program)
    rng = np.random.default_rng(0)
    for kind in fault_kinds(dram.program):
        scenario.fault(kind, 1, rng, 3)
    scenario.images([0, 1])
    played = [c.play(scenario, pause=True, simulator=name) for c, name in ((dram, "verilator"), (icarus, "icarus"))]
    check(played[1], scenario.expected, dram.reference)
    assert played[0] == played[1] and len(played[0].log) > len(fault_kinds(dram.program))


@pytest.mark.parametrize("name", ["onchip", "dram"])
def test_lint(name, request):
    folder = request.getfixturevalue(name).design.folder
    assert lint(folder) == ""
    assert slang_faults(folder) == []


#: What slang warns of in every design: CIRCT's spare parentheses, and outputs that a design has no use for.
STYLE = {"DiagCode(BitwiseOpParentheses)", "DiagCode(EmptyOutputPortConn)"}


def slang_faults(folder: Path) -> list[str]:
    """What slang says of the RTL of a folder, elaborated and analyzed, but for questions of style.

    That a variable has several drivers is found by the analysis alone.
    """
    from pyslang.analysis import AnalysisManager
    from pyslang.ast import Compilation
    from pyslang.syntax import SyntaxTree

    compilation, analysis = Compilation(), AnalysisManager()
    for path in sorted((folder / "rtl").glob("*.sv")):
        compilation.addSyntaxTree(SyntaxTree.fromFile(str(path)))
    found = list(compilation.getAllDiagnostics())
    compilation.freeze()
    analysis.analyze(compilation)
    return [code for d in [*found, *analysis.getDiagnostics()] if (code := str(d.code)) not in STYLE]


def test_slang_finds_a_port_that_does_not_exist(onchip, tmp_path):
    shutil.copytree(onchip.design.folder / "rtl", tmp_path / "rtl")
    path = tmp_path / "rtl" / "gradcam_core.sv"
    path.write_text(path.read_text().replace(".take_valid", ".taken_valid", 1))
    assert slang_faults(tmp_path)


@pytest.mark.parametrize(
    "driver", ["assign interrupt_q = aresetn;", "always_ff @(posedge aclk) interrupt_q <= aresetn;"]
)
def test_slang_finds_a_register_with_two_drivers(onchip, tmp_path, driver):
    shutil.copytree(onchip.design.folder / "rtl", tmp_path / "rtl")
    path = tmp_path / "rtl" / "gradcam_core.sv"
    path.write_text(path.read_text().replace("endmodule", f"  {driver}\nendmodule"))
    assert len(slang_faults(tmp_path)) == 1


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_a_design_that_explains_nothing(tmp_path):
    bare = make(flat(), tmp_path, "icarus")
    assert set(fault_kinds(bare.program)) == {"short", "long", "start_busy", "reset"}
    scenario = faults(bare.program, 4, len(bare.images), seed=3)
    check(bare.play(scenario, simulator="icarus"), scenario.expected, bare.reference)
    assert list(scenario.program.fields) == ["packet", "logits"]


def test_program_says_what_a_packet_holds(dram):
    program = dram.program
    assert list(program.fields) == ["packet", "classes", "logits", "heatmap0", "heatmap1"]
    assert program.fields == {"packet": 1, "classes": 2, "logits": 3, "heatmap0": 30, "heatmap1": 30}
    assert program.packet_words == 66 and (program.inputs[0].beats, program.core.image_bytes) == (30, 2)


def test_a_module_without_a_top_is_refused():
    from pycde import circt
    from pycde.circt import ir

    context = ir.Context()
    circt.register_dialects(context)
    with context:
        module = ir.Module.parse("hw.module @other() { hw.output }")
        with pytest.raises(GradcamError, match="there is no module 'gradcam_top'; run convert-affine-to-hw first"):
            PassManager.parse("builtin.module(gradcam-add-core)").run(module)
        module = ir.Module.parse("hw.module @gradcam_top() { hw.output }")
        with pytest.raises(GradcamError, match="has no 'gradcam_interface'"):
            PassManager.parse("builtin.module(gradcam-add-core)").run(module)
