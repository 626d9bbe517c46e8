"""Constants that a model applies to its image: exact with padding, and the same input in every tool."""

import logging

import numpy as np
import pytest
import torch
from idle_core import Idle
from image_files import noise
from normalized_models import MEAN, STD, Buffers, Gains, Reverse, Scalars, Shift, input_norm, network
from PIL import Image
from torch import nn

import gradcam
from gradcam.compiler import Compilation, Settings
from gradcam.core.driver import Core
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float
from gradcam.images import Normalization
from gradcam.numerics import quantize
from gradcam.passes.ir.normalization import normalization_of
from gradcam.passes.ir.queries import main_function
from gradcam.reference.integer import quantize_image
from gradcam.tools.gradcam_opt import main as opt_main
from gradcam.tools.gradcam_sim import main as simulate_main

FOLDED = {
    "buffers": (lambda: network(Buffers()), [*MEAN], [*STD]),
    "scalars": (lambda: network(Scalars()), [0.5] * 3, [0.5] * 3),
    "shift": (lambda: network(Shift()), [0.3] * 3, [0.32] * 3),
    "reverse": (lambda: network(Reverse()), [1] * 3, [-1] * 3),
    "two": (lambda: network(nn.Sequential(Scalars(), Buffers())), [0.7425, 0.728, 0.703], [0.1145, 0.112, 0.1125]),
    "batch norm": (lambda: network(input_norm()), None, None),
    "one channel": (lambda: network(Buffers([0.1307], [0.3081]), channels=1), [0.1307], [0.3081]),
}
KEPT = {
    "twice": lambda: network(Buffers(), twice=True),
    "constant channel": lambda: network(Gains()),
}


def images(channels=3, count=2):
    return np.random.default_rng(1).random((count, channels, 4, 8), np.float32)


def level1(model, target="act", **settings):
    """The module of level 1."""
    return Compilation(model, Settings(target, pe="4x4", **settings)).to("simplified")


def autograd(model, image, target):
    """Logits, and Grad-CAM of the best class before its ReLU, by PyTorch in float64."""
    maps, model = [], model.double()
    hook = model.get_submodule(target).register_forward_hook(lambda _module, _inputs, y: maps.append(y))
    logits = model(torch.from_numpy(image).double().requires_grad_())
    hook.remove()
    gradient = torch.autograd.grad(logits[0].max(), maps[0])[0]
    weighted = (gradient.mean((2, 3), keepdim=True) * maps[0]).sum(1)
    model.float()
    return logits.detach().numpy(), weighted.detach().numpy()


@pytest.mark.parametrize("target", ["act", "first", "norm"])
@pytest.mark.parametrize("name", FOLDED)
def test_folded_constants_are_those_of_torch(name, target):
    make, mean, std = FOLDED[name]
    model = make()
    module, image = level1(model, target), images(model.input_shape[1], 1)
    main = main_function(module)
    own = normalization_of(main)
    if mean is not None:
        np.testing.assert_allclose([own.mean, own.std], [mean, std], rtol=1e-6)
    convolutions = [op for op in main.entry_block.operations if op.operation.name == "gradcam.conv2d"]
    assert len(convolutions) == 2 and "gradcam.batch_norm" not in str(module)
    for found, wanted in zip(run_float(module, image), autograd(model, image, target), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-6 * max(1, np.abs(wanted).max()))
    del main.attributes["arg_attrs"]
    assert np.abs(run_float(module, image)[0] - autograd(model, image, target)[0]).max() > 1e-3


@pytest.mark.parametrize("name", KEPT)
def test_constants_that_stay_are_those_of_torch(name):
    model = KEPT[name]()
    module, image = level1(model), images(count=1)
    assert normalization_of(main_function(module)) is None
    for found, wanted in zip(run_float(module, image), autograd(model, image, "act"), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-6 * max(1, np.abs(wanted).max()))


def test_only_the_constants_before_the_target_are_folded():
    model = network(nn.Sequential(Scalars(), Buffers()))
    module, image = level1(model, "norm.0"), images(count=1)
    assert normalization_of(main_function(module)) == Normalization((0.5,) * 3, (0.5,) * 3)
    for found, wanted in zip(run_float(module, image), autograd(model, image, "norm.0"), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-6 * max(1, np.abs(wanted).max()))


def test_constants_per_pixel_are_refused():
    norm = Buffers()
    norm.mean = torch.full((1, 3, 4, 8), 0.5)
    with pytest.raises(GradcamError, match="takes a constant of shape 1x3x4x8; supported is a number, or one per"):
        level1(network(norm))


def test_numbers_of_several():
    """(x - 1) / 2 * 4 + 3 = (x + 0.5) / 0.5, by hand."""
    own = Normalization((1.0,), (2.0,)).then(np.array([4.0]), np.array([3.0]))
    assert own == Normalization((-0.5,), (0.5,)) and str(own) == "(image - -0.5) / 0.5"
    x = images(1)
    np.testing.assert_array_equal(own.applied(x), (x + np.float32(0.5)) / np.float32(0.5))
    np.testing.assert_allclose(own.undone(own.applied(x)), x, rtol=1e-6)
    assert not Normalization((0.0,), (1e-45,)).is_exact and not Normalization((1e39,), (1.0,)).is_exact


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """8 images of the network's size."""
    return noise(tmp_path_factory.mktemp("images"), 4, 8)


@pytest.fixture(scope="module")
def designs(folder, tmp_path_factory):
    """One network: normalizing inside, with the same constants as options, and without them."""
    out = tmp_path_factory.mktemp("designs")
    how = {"target_layer": "first", "pe": "4x4", "calibration": folder}
    return {
        "inside": gradcam.compile(network(Buffers()), out / "inside", **how),
        "options": gradcam.compile(network(), out / "options", mean=MEAN, std=STD, **how),
        "raw": gradcam.compile(network(), out / "raw", preset="zero-one", **how),
    }


def contents(design):
    return {p.name: p.read_bytes() for part in ("rtl", "mem") for p in sorted((design.folder / part).iterdir())}


def floats(folder):
    """The files as inputs of the model that normalizes inside, and of the other one."""
    pixels = np.stack([np.asarray(Image.open(file)) for file in sorted(folder.iterdir())]).transpose(0, 3, 1, 2)
    inside = pixels.astype(np.float32) / 255
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (MEAN, STD))
    return {"inside": inside, "options": (inside - mean) / std}


def test_the_design_is_that_of_options(designs):
    assert contents(designs["inside"]) == contents(designs["options"]) != contents(designs["raw"])
    own = designs["inside"].program.preprocessing.normalization
    np.testing.assert_allclose([own.mean, own.std], [MEAN, STD], rtol=1e-7)
    assert designs["options"].program.preprocessing.normalization is None


def test_every_reader_gives_the_same_integers(designs, folder, tmp_path):
    """Files, arrays of pixels and of floats, and int8 images: in simulations, the driver and the reference."""
    given = floats(folder)
    scale = designs["options"].program.scale("image")
    integers = np.clip(np.rint(given["options"].astype(np.float64) / scale), -128, 127).astype(np.int8)
    wanted = designs["options"].simulate(integers)  # compared with the integer reference
    for name in ("inside", "options"):
        design = designs[name]
        core = Core(Idle(design.program), design.folder)
        for source in (folder, given[name], integers):
            for result, other in zip(design.simulate(source), wanted, strict=True):
                np.testing.assert_array_equal(result.logits, other.logits)
                np.testing.assert_array_equal(result.heatmap, other.heatmap)
        packets = [core.packet(integer) for integer in integers]
        assert packets == [core.packet(file) for file in sorted(folder.iterdir())]
        assert packets == [core.packet(values) for values in given[name]]
        module = gradcam.sim.trace.load_quantized(design)
        np.testing.assert_array_equal(np.concatenate([quantize_image(module, v[None]) for v in given[name]]), integers)
    file, out = sorted(folder.iterdir())[3], tmp_path / "run"
    assert simulate_main([str(designs["inside"].folder), "--input", str(file), "--validate", "-o", str(out)]) == 0
    np.testing.assert_array_equal(np.load(out / "logits.npy"), wanted[3].logits)
    assert not np.array_equal(quantize(given["inside"], scale), integers)


def test_the_quality_is_that_of_options(designs):
    inside, options = (designs[name].report().quality for name in ("inside", "options"))
    assert inside.same_class == options.same_class == 8 and inside.pixels_outside == options.pixels_outside < 0.01
    assert inside.logit_error == pytest.approx(options.logit_error, rel=1e-2)


def test_header_and_report(designs):
    header, other = ((designs[n].folder / "gradcam_packets.h").read_text() for n in ("inside", "options"))
    for macro in ("MEAN", "STD"):
        line, same = (next(x for x in t.splitlines() if f"IMAGE_{macro}" in x) for t in (header, other))
        numbers, wanted = (
            [float(v) for v in text[text.index("{") + 1 : text.index("}")].split(",")] for text in (line, same)
        )
        np.testing.assert_array_equal(np.float32(numbers), np.float32(wanted))
    report = (designs["inside"].folder / "report.txt").read_text()
    own = "then the model's own (image - [0.485,0.456,0.406]) / [0.229,0.224,0.225]\n"
    assert f"mean 0, std 1 of pixels from 0 to 1; {own}" in report


@pytest.mark.parametrize("std", ["[1.0, 0.0, 1.0]", "[1.0]"])
def test_an_impossible_normalization_is_refused(designs, tmp_path, std):
    text = (designs["inside"].folder / "program.json").read_text()
    start = text.index('"std"', text.index('"normalization"'))
    damaged = text[:start] + f'"std": {std}' + text[text.index("]", start) + 1 :]
    (tmp_path / "program.json").write_text(damaged)
    with pytest.raises(GradcamError, match="normalization must have a mean and a std, not 0, for each of 3"):
        gradcam.Design.load(tmp_path)


def test_pixels_become_0_to_1_where_the_model_normalizes(folder, caplog):
    def warned(model, **how):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            module = Compilation(model, Settings("act", pe="4x4", calibration=folder, **how)).to("quantized")
        return str(module), [r.getMessage() for r in caplog.records]

    other = "preset (--preset), or mean (--mean) and std (--std)"
    end = "say otherwise"
    own = "the model's own (image - 0.5) / 0.5 is applied to the image before the design"
    assumed = f"pixels become 0 to 1, since the model normalizes them itself, as preset zero-one; {other}, {end}"
    text, said = warned(network(Scalars()))
    assert said == [own, assumed]
    assert warned(network(Scalars()), preset="zero-one") == (text, [f"{own}, after {other}"])
    assert warned(network(Scalars()), preset="imagenet")[0] != text
    assert warned(network(Buffers(), twice=True))[1] == [assumed]
    assert warned(network())[1] == [f"pixels become -1 to 1, as preset minus-one-one; {other}, {end}"]


def test_the_calibration_pass_sees_the_same(folder, tmp_path):
    texts = {}
    for name, model, options in (
        ("inside", network(Buffers()), ""),
        ("options", network(), f"mean={','.join(map(str, MEAN))} std={','.join(map(str, STD))}"),
    ):
        path = tmp_path / f"{name}.mlirbc"
        with path.open("wb") as file:
            level1(model).operation.write_bytecode(file)
        pipeline = f"builtin.module(gradcam-calibrate{{images={folder} {options}}},gradcam-quantize)"
        assert opt_main([str(path), f"--pass-pipeline={pipeline}", "-o", str(tmp_path / name)]) == 0
        texts[name] = (tmp_path / name).read_text()
    start = texts["inside"].index(" {gradcam.normalization")
    end = texts["inside"].index("}}", start) + 2
    assert texts["inside"][:start] + texts["inside"][end:] == texts["options"]
