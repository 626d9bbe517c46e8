"""The simulator on a design written by hand: what it delivers, and that each of its checks can fail."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import sim_design
from sim_design import predicted_cycles, quantized_module, random_images, random_weights, write_design

from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.reference.integer import run_integer
from gradcam.sim import Simulator, build, compare_trace, lint
from gradcam.sim.check import check_outputs
from gradcam.sim.header import dumps
from gradcam.sim.trace import Tensor, compare_buffers, load_quantized

WEIGHTS = random_weights()
IMAGES = random_images(8)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A design with its simulator; tests copy it before they change it."""
    folder = write_design(tmp_path_factory.mktemp("sim") / "a design", WEIGHTS)
    build(folder)
    return folder


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A design that reads its class late, and moves on whether or not a beat of the heatmap is taken."""
    top = sim_design.TOP.replace("nest_q == 7 ? heatmap_ready :", "")
    top = top.replace("$signed(class_q) < 0 ? arg : class_q", "$signed(class_select) < 0 ? arg : class_select")
    return Simulator(write_design(tmp_path_factory.mktemp("sim") / "faulty", WEIGHTS, top))


@pytest.fixture
def copy(built, tmp_path):
    return shutil.copytree(built, tmp_path / "copy")


def flip_weight(folder):
    path = folder / "mem/weights.hex"
    digits = path.read_text()
    # The last digit is the low half of class 0's weight of channel 0.
    path.write_text(digits[:-2] + f"{int(digits[-2], 16) ^ 1:x}\n")


@pytest.mark.parametrize("cls", [-1, 0, 2])
def test_equals_the_integer_reference(built, cls):
    module = quantized_module(WEIGHTS)
    results = Simulator(built).run(IMAGES, cls)
    for image, result in zip(IMAGES, results, strict=True):
        logits, heatmap = run_integer(module, image[None], cls)
        np.testing.assert_array_equal(result.logits, logits[0])
        np.testing.assert_array_equal(result.heatmap, heatmap[0])
        assert result.logits.dtype == result.heatmap.dtype == np.int32
        assert result.cycles == predicted_cycles()
        assert result.nest_cycles == list(sim_design.STEPS.values())
        assert result.seconds > 0
        check_outputs(result, module, image, cls)
    assert len({r.logits.tobytes() for r in results}) > 1


def test_a_class_per_image(built):
    simulator = Simulator(built)
    twice = np.stack([IMAGES[0]] * 2)
    first, second = simulator.run(twice, [0, 1])
    assert (first.heatmap == simulator.run(IMAGES[:1], 0)[0].heatmap).all()
    assert (second.heatmap == simulator.run(IMAGES[:1], 1)[0].heatmap).all()
    assert (first.heatmap != second.heatmap).any()


@pytest.mark.parametrize("stall", [(0.9, 0.0), (0.0, 0.9), (0.5, 0.5)])
def test_stalls_cost_cycles_and_nothing_else(built, stall):
    simulator = Simulator(built)
    free, stalled = simulator.run(IMAGES), simulator.run(IMAGES, stall_seed=3, stall=stall)
    for one, other in zip(free, stalled, strict=True):
        for name, value in one.outputs.items():
            np.testing.assert_array_equal(value, other.outputs[name])
        assert other.cycles.inference == one.cycles.inference
    for phase, probability in zip(("load", "store"), stall, strict=True):
        cycles = [sum(getattr(r.cycles, phase) for r in results) for results in (free, stalled)]
        assert (cycles[0] < cycles[1]) == (probability > 0)


def test_stalls_repeat_with_their_seed(built):
    simulator = Simulator(built)
    cycles = [[r.nest_cycles for r in simulator.run(IMAGES, stall_seed=seed)] for seed in (1, 1, 2)]
    assert cycles[0] == cycles[1] != cycles[2]


@pytest.mark.parametrize("cls", [-1, 1])
def test_trace_compares_every_buffer(built, cls):
    simulator = Simulator(built)
    (result,) = simulator.run(IMAGES[:1], cls, buffers=True)
    trace = compare_trace(simulator.program, result, load_quantized(simulator.design), IMAGES[0], cls)
    assert trace.compared == ["image", "relu", "avgpool", "fc", "explain", "explain"]
    assert (trace.skipped, trace.difference) == ([], None)


def test_trace_names_the_first_difference(copy):
    flip_weight(copy)
    simulator = Simulator(copy, verify=False)
    (result,) = simulator.run(IMAGES[:1], 0, buffers=True)
    module = load_quantized(simulator.design)
    expected, _ = run_integer(module, IMAGES[:1], 0)
    difference = compare_trace(simulator.program, result, module, IMAGES[0], 0).difference
    assert difference is not None
    assert (difference.nest, difference.tensor, difference.index, difference.count) == (3, "fc", (0, 0), 1)
    assert (difference.expected, difference.got) == (expected[0, 0], result.logits[0])
    assert str(difference).startswith("nest 3 wrote fc[0, 0] = ")
    with pytest.raises(GradcamError, match=r"logits\[0\] = .* in the integer reference"):
        check_outputs(result, module, IMAGES[0], 0)


def test_trace_finds_every_single_wrong_element(built):
    simulator = Simulator(built)
    (result,) = simulator.run(IMAGES[:1], 1, buffers=True)
    module = load_quantized(simulator.design)
    for i, dump in enumerate(dumps(simulator.program)):
        buffers = [b.copy() for b in result.buffers]
        buffers[i].flat[1 if dump.buffer.name == "explain.1" else 0] ^= 1  # the lane of class 1
        changed = dataclasses.replace(result, buffers=buffers)
        difference = compare_trace(simulator.program, changed, module, IMAGES[0], 1).difference
        assert difference is not None
        assert (difference.nest, difference.count) == (dump.nest, 1)


def test_trace_of_nothing_is_an_error(built):
    simulator = Simulator(built)
    module = load_quantized(simulator.design)
    (result,) = simulator.run(IMAGES[:1])
    with pytest.raises(GradcamError, match="the run has 0 buffers"):
        compare_trace(simulator.program, result, module, IMAGES[0])
    (result,) = simulator.run(IMAGES[:1], buffers=True)
    with pytest.raises(GradcamError, match="nothing was compared"):
        compare_buffers(simulator.program, result.buffers, [Tensor("other", IMAGES[:1])])


def test_trace_matches_a_name_used_twice_from_the_end(built):
    program = Design.load(built).program
    (result,) = Simulator(built).run(IMAGES[:1], buffers=True)
    image, relu = IMAGES[:1], np.maximum(IMAGES[:1], 0)
    # The first op of the name stores nothing, so that it is not compared.
    tensors = [Tensor("image", image), Tensor("relu", image), Tensor("relu", relu)]
    assert compare_buffers(program, result.buffers, tensors).difference is None
    difference = compare_buffers(program, result.buffers, [tensors[0], tensors[2], tensors[1]]).difference
    assert difference is not None
    assert difference.tensor == "relu"


def test_ports_are_sampled_at_start(faulty):
    module = load_quantized(faulty.design)
    other = (int(run_integer(module, IMAGES[:1])[0].argmax()) + 1) % sim_design.CLASSES
    (result,) = faulty.run(IMAGES[:1], other, buffers=True)
    difference = compare_trace(faulty.program, result, module, IMAGES[0], other).difference
    assert difference is not None
    assert difference.tensor == "explain"


def test_a_beat_must_wait_until_it_is_taken(faulty):
    with pytest.raises(GradcamError, match="output 'heatmap' changed beat 0 before it was taken"):
        faulty.run(IMAGES, stall_seed=1, stall=(0.0, 0.9))


def test_a_design_that_hangs_is_given_up(tmp_path):
    top = sim_design.TOP.replace("heatmap_ready : 1'b1", "heatmap_ready : nest_q != 5")
    simulator = Simulator(write_design(tmp_path / "hangs", WEIGHTS, top))
    with pytest.raises(GradcamError, match=r"no end after \d+ cycles, in nest 5, after 4 of 4 beats of 'image'"):
        simulator.run(IMAGES[:1])


def test_the_simulator_is_built_once_per_rtl(built):
    executable = build(built)
    first = executable.stat().st_mtime_ns
    assert build(built).stat().st_mtime_ns == first
    top = built / "rtl/gradcam_top.sv"
    text = top.read_text()
    try:
        top.write_text(text.replace("module gradcam_top(", "modul gradcam_top("))
        with pytest.raises(GradcamError, match=r"Verilator cannot translate the RTL: .*syntax error"):
            build(built)
        assert executable.stat().st_mtime_ns == first
    finally:
        top.write_text(text)


def test_lint_reports_warnings(copy):
    assert lint(copy) == ""
    top = copy / "rtl/gradcam_top.sv"
    top.write_text(top.read_text().replace("reg [31:0] y;", "reg [31:0] y; reg spare;"))
    assert "UNUSEDSIGNAL" in lint(copy)


@pytest.mark.parametrize("change", [lambda t: t[:-6], lambda t: t.replace(t[0], "7" if t[0] != "7" else "8", 1)])
def test_changed_memory_images_are_refused(copy, change):
    path = copy / "mem/weights.hex"
    path.write_text(change(path.read_text()))
    with pytest.raises(GradcamError, match=r"mem/weights.hex is truncated or was changed"):
        Simulator(copy)


def test_missing_and_changed_files_are_named(copy):
    bank = copy / "rtl/bank0.sv"
    bank.write_text(bank.read_text() + "\n")
    with pytest.raises(GradcamError, match=r"rtl/bank0.sv is truncated or was changed"):
        Simulator(copy)
    bank.unlink()
    with pytest.raises(GradcamError, match=r"cannot read .*rtl/bank0.sv"):
        Simulator(copy)


def test_what_is_no_design_is_refused(copy, tmp_path):
    with pytest.raises(GradcamError, match="no such folder"):
        Simulator(tmp_path / "none")
    with pytest.raises(GradcamError, match="not the output of gradcam-compile"):
        Simulator(tmp_path)
    (copy / "ir/quantized.mlirbc").write_bytes(b"ML")
    with pytest.raises(GradcamError, match="is damaged"):
        load_quantized(Design.load(copy))
    path = copy / "program.json"
    program = json.loads(path.read_text())
    program["nests"][0]["writes"] = ["nowhere"]
    path.write_text(json.dumps(program))
    with pytest.raises(GradcamError, match="nest 'image' writes 'nowhere', which is no buffer"):
        Simulator(copy)
    program["nests"][0]["writes"], program["nests"][2]["follows"] = ["image"], 0
    path.write_text(json.dumps(program))
    with pytest.raises(GradcamError, match="nest 'avgpool' follows nest 0, not the one before it"):
        Simulator(copy)
    path.write_text("{")
    with pytest.raises(GradcamError, match="not valid JSON"):
        Simulator(copy)


@pytest.mark.parametrize(
    ("images", "cls", "message"),
    [
        (IMAGES.astype(np.float32), -1, "int8 N x 4 x 2 x 2, got float32"),
        (IMAGES[0], -1, r"got int8 \(4, 2, 2\)"),
        (IMAGES[:, :3], -1, r"got int8 \(8, 3, 2, 2\)"),
        (IMAGES, 3, "class 3 does not exist; the model has classes 0 to 2"),
        (IMAGES, -2, "class -2 does not exist"),
        (IMAGES, [0], "1 classes for 8 images"),
    ],
)
def test_wrong_inputs_are_refused(built, images, cls, message):
    with pytest.raises(GradcamError, match=message):
        Simulator(built).run(images, cls)


def test_a_damaged_key_builds_the_simulator_again(copy):
    key = (copy / "sim" / "key").read_bytes()
    (copy / "sim" / "key").write_bytes(b"\xff\xfe")
    build(copy)
    assert (copy / "sim" / "key").read_bytes() == key


@pytest.mark.parametrize(("present", "missing"), [((), "make"), (("make",), r"g\+\+")])
def test_missing_build_tools_are_named(copy, tmp_path, monkeypatch, present, missing):
    (tmp_path / "bin").mkdir()
    for name in present:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    shutil.rmtree(copy / "sim")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(GradcamError, match=f"needs {missing}, which is not on PATH"):
        Simulator(copy)
