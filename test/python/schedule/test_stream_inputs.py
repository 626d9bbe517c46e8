"""Images laid out while they arrive: scheduled IR and RTL of unfolded stems against the integer reference."""

import itertools
import json
import re

import dram_checks
import numpy as np
import pytest
from rtl_checks import check_design
from rtl_networks import Network, design
from stem_text import DENSE, STEMS, Stem, image, stem_text
from torch import nn
from torch_mlir import ir

from gradcam.compiler import Settings, passes_for
from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.execution.interpreter import run
from gradcam.jit import run_affine, run_linalg
from gradcam.passes.hw import ports
from gradcam.passes.infra.pass_manager import PassManager
from gradcam.passes.infra.registry import lookup
from gradcam.passes.linalg import unfold_stem
from gradcam.passes.program import banks
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.nest import read_nests
from gradcam.passes.schedule.assign_cycles import AssignCycles
from gradcam.reference.integer import KERNELS

LEVELS = (("linalg", run_linalg), ("affine", run_affine), ("scheduled", run_affine))


pytestmark = pytest.mark.usefixtures("context")


def lowered(text, pe, schedule=None):
    """The module at each of `LEVELS`, with single pixels: few output channels would put several side by side."""
    module, settings = ir.Module.parse(text), Settings(None, pe=pe, schedule=schedule)
    for level, _ in LEVELS:
        manager = PassManager()
        for element in passes_for(level, settings):
            name, options = (element, {}) if isinstance(element, str) else element
            if name != "gradcam-group-pixels":
                manager.add(lookup(name)(**options) if options else name)
        module = manager.run(module)
        yield level, module


def loading(module):
    return [n for n in read_nests(module) if any(access_kind(a) == "stream" for a in n.loads)]


@pytest.fixture
def with_gaps(monkeypatch):
    """No steps that are saved are worth the memory of words without gaps."""
    monkeypatch.setattr(unfold_stem, "WORTH", 0)


def checked_levels(stem, pe):
    """Compares what every level computes with the convolution; returns the module of the last one."""
    text, pixels = stem_text(stem), image(stem)
    (wanted,) = run(ir.Module.parse(text), [pixels], KERNELS)
    executors = dict(LEVELS)
    for level, module in lowered(text, pe):
        (got,) = executors[level](module, np.ascontiguousarray(pixels[0].transpose(1, 2, 0)))
        np.testing.assert_array_equal(got, wanted[0].transpose(1, 2, 0), level)
    return module


@pytest.mark.usefixtures("with_gaps")
@pytest.mark.parametrize(("stem", "pe", "taps", "left"), STEMS)
def test_every_level_computes_the_convolution(stem, pe, taps, left):
    module = checked_levels(stem, pe)
    (load,) = loading(module)
    assert load.name == "conv0.unfold", "the image goes straight into the unfolded one"
    # One step per word that an element goes to, padding and the border's incomplete windows included.
    assert load.steps >= np.prod(stem.size)
    convolution = next(n for n in read_nests(module) if n.name == "conv0" and n.reduction)
    tiles = -(-stem.out // int(pe.split("x")[0]))
    assert convolution.steps == tiles * np.prod(stem.out_size) * np.prod(left)


def test_steps_of_the_stem_of_resnet18(monkeypatch):
    """The figures of the documentation: 7x7, stride 2, 3 channels, on the whole image of 224x224."""
    stem = Stem(3, (7, 7), (2, 2), (3, 3), size=(224, 224), out=64)
    steps = {}
    for pe, worth in (("16x16", 50), ("32x32", 0), ("32x32", 50)):
        monkeypatch.setattr(unfold_stem, "WORTH", worth)
        *_, (_, module) = lowered(stem_text(stem), pe)
        steps[pe, worth] = [n.steps for n in read_nests(module)][:-1]
    assert steps == {
        ("16x16", 50): [224 * 115 * 2 * 2, 4 * 12544 * 14],
        ("32x32", 0): [230 * 230 * 2, 2 * 12544 * 8],
        ("32x32", 50): [224 * 115 * 2 * 2, 224 * 112 * 2, 12544 * 7, 2 * 12544 * 5],
    }


def steps_of(text, pe, file, factors):
    """Steps of the load and of the convolutions with these kernel rows and columns in the channels; None: chosen."""
    file.write_text(json.dumps({"stem": factors} if factors else {}))
    *_, (_, module) = lowered(text, pe, file)
    return sum(n.steps for n in [*loading(module), *(n for n in read_nests(module) if n.reduction)])


@pytest.mark.parametrize(("stem", "pe", "values"), DENSE)
def test_every_level_reads_words_without_gaps(stem, pe, values):
    module = checked_levels(stem, pe)
    conv = next(nest for nest in read_nests(module) if nest.products)
    tiles, words = (-(-n // lanes) for n, lanes in zip((stem.out, values), map(int, pe.split("x")), strict=True))
    assert conv.steps == tiles * words * np.prod(stem.out_size)


@pytest.mark.parametrize("number", [1, 3, 4, 6, 7, 10])
def test_what_is_chosen_takes_the_fewest_steps(number, tmp_path):
    """Of all choices that a schedule can pin, counted in the nests that come out."""
    stem, pe, *_ = STEMS[number]
    counted = {}
    for factors in itertools.product(*(range(1, k + 1) for k in stem.kernel)):
        try:
            counted[factors] = steps_of(stem_text(stem), pe, tmp_path / "s.json", factors)
        except GradcamError as error:
            assert f"the schedule's stem of {factors[0]} rows and {factors[1]} columns cannot be: " in str(error)
    chosen = steps_of(stem_text(stem), pe, tmp_path / "s.json", None)
    # Only taps that fit the lanes with gaps cannot be pinned without them.
    assert chosen <= min(counted.values()) < max(counted.values())


@pytest.mark.parametrize(
    ("stem", "factors", "message"),
    [
        (Stem(3, (5, 5), (2, 2)), [1, 3], "what is left would lie 3 pixels apart, no whole windows of stride 2"),
        (
            Stem(3, (3, 3), (2, 2), (2, 2), (2, 2)),
            [1, 3],
            "it violates a dependence, from each pixel of the stream to the next one: strided and dilated windows take "
            "them in another order",
        ),
        (Stem(3, (5, 5)), [2, 3], "it takes 24 lanes, and the array has 16"),
        (Stem(3, (1, 5)), [2, 2], "the kernel has 1 positions"),
    ],
)
def test_stems_that_cannot_be(stem, factors, message, tmp_path):
    with pytest.raises(GradcamError) as caught:
        steps_of(stem_text(stem), "16x16", tmp_path / "s.json", factors)
    stem_of = f"the schedule's stem of {factors[0]} rows and {factors[1]} columns cannot be: "
    assert str(caught.value).endswith(stem_of + message) and "conv0" in str(caught.value.location)


def test_a_stem_is_asked_of_a_network_without_one(tmp_path):
    text = stem_text(Stem(3, (3, 3)), Stem(3, (5, 5)))
    with pytest.raises(GradcamError, match="the schedule has a stem, but no input is read by convolutions with one wi"):
        steps_of(text, "16x16", tmp_path / "s.json", [1, 1])


@pytest.mark.usefixtures("with_gaps")
def test_a_held_pixel_keeps_its_steps_together(tmp_path):
    """The windows of a pixel are the innermost loop: outside, the image would have to pass twice."""
    *_, (_, module) = lowered(stem_text(Stem(3, (3, 3))), "16x16")
    (load,) = loading(module)
    assert [loop.trip for loop in load.outer] == [9, 10, 3]
    file = tmp_path / "s.json"
    for order, beats in (("oc, y, x", "(y=8, x=9, oc=0) to that at (y=0, x=0, oc=0)"), ("y, oc, x", "")):
        file.write_text(json.dumps({"nests": {"conv0.unfold": {"loops": order.split(", ")}}}))
        with pytest.raises(GradcamError, match=f"{order}, violates a dependence: from the beat at {re.escape(beats)}"):
            list(lowered(stem_text(Stem(3, (3, 3))), "16x16", file))


def test_an_image_with_another_reader_is_copied():
    text = stem_text(Stem(3, (3, 3)), Stem(3, (5, 5)))
    *_, (_, module) = lowered(text, "16x16")
    assert [n.name for n in loading(module)] == ["image"]


def test_strided_and_dilated_windows_read_a_copy():
    """What no pass makes: pixels two apart from windows two apart do not follow each other in the stream."""
    x = "tensor<1x3x8x9x!quant.uniform<i8:f32, 0.5>>"
    y = "tensor<1x8x8x4x!quant.uniform<i8:f32, 0.5>>"
    text = f"""func.func @main(%x: {x}) -> {y} {{
      %y = "gradcam.unfold2d"(%x) {{kernel = [1, 2], stride = [1, 2], low = [0, 1], high = [0, 0], dilation = [1, 2]}}
        : ({x}) -> {y} loc("unfold")
      return %y : {y}
    }}"""
    pixels = image(Stem(3, (1, 1), size=(8, 9)))
    (wanted,) = run(ir.Module.parse(text), [pixels], KERNELS)
    *_, (_, module) = lowered(text, "8x8")
    assert [n.name for n in loading(module)] == ["image"]
    (got,) = run_affine(module, np.ascontiguousarray(pixels[0].transpose(1, 2, 0)))
    defined = [0, 1, 2, 4, 5, 6]  # the fourth lane of a tap is no channel of the image
    np.testing.assert_array_equal(got[..., defined], wanted[0].transpose(1, 2, 0)[..., defined])


# The order of a stream.


SCHEDULED = """
#inside = affine_set<(d0) : (d0 - 1 >= 0, -d0 + 4 >= 0)>
func.func @main(%image: memref<3x4x1xi8>, %out: memref<3x6xi8>) {
  %zero = arith.constant 0 : i8
  %x = memref.alloc() : memref<3x6x2xi8>
  affine.for %y = 0 to 3 {
    affine.for %u = 0 to 6 {
      affine.for %j = 0 to 2 {
        affine.parallel (%c) = (0) to (1) {
          %v = affine.if #inside(%u) -> i8 {
            %p = affine.load %image[%y, %u - 1, %c] : memref<3x4x1xi8>
            affine.yield %p : i8
          } else {
            affine.yield %zero : i8
          }
          affine.store %v, %x[%y, %u, %j + %c] : memref<3x6x2xi8>
        }
      }
    }
  }
  affine.for %y = 0 to 3 {
    affine.for %u = 0 to 6 {
      affine.parallel (%c) = (0) to (1) {
        %v = affine.load %x[%y, %u, %c] : memref<3x6x2xi8>
        affine.store %v, %out[%y, %u] : memref<3x6xi8>
      }
    }
  }
  return
}
"""


def test_a_stream_in_order_is_accepted():
    module = ir.Module.parse(SCHEDULED)
    PassManager.parse("builtin.module(gradcam-form-engines,gradcam-plan-memory,gradcam-assign-cycles)").run(module)
    cycles = ir.DictAttr(module.operation.attributes["gradcam.cycles"])
    assert ir.IntegerAttr(cycles["load"]).value == 3 * 6 * 2 + 1  # the stage of its stores drains


@pytest.mark.parametrize(
    ("before", "after", "verb"),
    [
        ("%image[%y, %u - 1, %c]", "%image[%y, -%u + 4, %c]", "reads"),  # backwards
        ("(d0 - 1 >= 0, -d0 + 4 >= 0)", "(d0 - 1 >= 0, -d0 + 3 >= 0)", "reads"),  # the last pixel of a row is left out
        ("affine_set<(d0) : (d0 - 1", "affine_set<(d0) : (d0", "reads"),  # one too many
        ("%out[%y, %u]", "%out[%y, -%u + 5]", "writes"),
    ],
)
def test_a_stream_out_of_order_is_refused(before, after, verb):
    assert before in SCHEDULED
    module = ir.Module.parse(SCHEDULED.replace(before, after))
    with pytest.raises(GradcamError, match=rf"the nest {verb} argument \d out of order: elements pass once"):
        AssignCycles().run(module)


def test_two_readers_of_a_stream_are_refused():
    loop = SCHEDULED[SCHEDULED.index("  affine.for %y") : SCHEDULED.index("  affine.for %y", 300)]
    module = ir.Module.parse(SCHEDULED.replace(loop, loop + loop, 1))
    with pytest.raises(GradcamError, match="another nest accesses argument 0 too, whose elements pass only once"):
        AssignCycles().run(module)


# RTL.


def stem_network(stem):
    net = Network(stem.channels, *stem.size)
    window = stem.kernel, stem.stride, stem.padding
    net.explain(net.add(nn.ReLU(), net.conv(0, stem.out, *window, dilation=stem.dilation)))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(3)


@pytest.mark.usefixtures("with_gaps")
@pytest.mark.parametrize("number", [2, 3, 6, 7])
def test_rtl_of_unfolded_stems(number, tmp_path):
    """7x7 of 3 channels, rows and columns of one channel, and a dilated window, free and stalled."""
    stem, pe, *_ = STEMS[number]
    net = stem_network(stem)
    design(net, pe, tmp_path / "design")
    check_design(net, tmp_path / "design")


@pytest.mark.parametrize("weights", ["onchip", "dram"])
@pytest.mark.parametrize("number", [2, 3])
def test_rtl_of_words_without_gaps(number, weights, tmp_path):
    """Load, copies and convolution run side by side; where weights may be late, the windows are kept whole."""
    stem, pe, _ = DENSE[number]
    net, folder = stem_network(stem), tmp_path / "design"
    if weights == "dram":
        dram_checks.check_design(net, dram_checks.from_dram(net.settings(pe), 8, 2), folder)
    else:
        design(net, pe, folder)
        check_design(net, folder)
    program = Design.load(folder).program
    copies = [nest.engine for nest in program.nests if nest.name.endswith(".unfold")]
    assert copies == ["load", "elementwise", "elementwise2"]
    windows = program.buffers[2]
    assert program.banks[windows.bank].lanes == windows.shape[-1] == 8 * -(-DENSE[number][2] // 8), "no power of two"
    assert (windows.ring is None) == (weights == "dram")


@pytest.mark.parametrize("change", ["later", "narrower"])
def test_copies_to_wrong_lanes_are_caught(change, tmp_path, monkeypatch):
    """The slices of a word are as wide as a row of a window."""
    real = banks.address_form

    def wrong(access, bank, offset, slices):
        form = real(access, bank, offset, slices)
        if slices.lanes == 5:
            form = form | {None: form[None] + 1} if change == "later" else {t: c // 2 for t, c in form.items()}
        return form

    monkeypatch.setattr(ports, "address_form", wrong)
    net, folder = stem_network(DENSE[2][0]), tmp_path / "design"
    design(net, DENSE[2][1], folder)
    with pytest.raises((AssertionError, GradcamError)):
        check_design(net, folder)
