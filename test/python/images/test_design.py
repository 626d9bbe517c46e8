"""A design knows its preprocessing: program.json, report and C header have it; simulation and driver follow it."""

import re
import subprocess

import numpy as np
import pytest
from idle_core import Idle
from image_files import noise
from image_network import network
from PIL import Image

import gradcam
from gradcam.core.driver import Core
from gradcam.errors import GradcamError
from gradcam.images import Preprocessing
from gradcam.tools.gradcam_compile import main as compile_main
from gradcam.tools.gradcam_sim import main as simulate_main

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """8 images of 8x16 pixels, twice the network's size."""
    return noise(tmp_path_factory.mktemp("images"), 8, 16)


@pytest.fixture(scope="module")
def design(folder, tmp_path_factory):
    settings = {"target_layer": "act", "pe": "4x4", "calibration": folder, "preset": "imagenet", "resize": (4, 8)}
    return gradcam.compile(network(), tmp_path_factory.mktemp("normalized") / "design", **settings)


def wanted(file):
    """The input of a file by Pillow and NumPy: float32, 1 x 3 x 4 x 8."""
    pixels = np.asarray(Image.open(file).resize((8, 4), Image.Resampling.BILINEAR))
    return ((pixels / 255 - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)


def test_every_description_has_it(design, tmp_path):
    assert design.program.preprocessing == Preprocessing.of(MEAN.tolist(), STD.tolist(), resize=(4, 8))
    report = (design.folder / "report.txt").read_text()
    assert "resize to 4x8; mean 0.485,0.456,0.406, std 0.229,0.224,0.225 of pixels from 0 to 1\n" in report
    (tmp_path / "x.c").write_text(
        '#include <stdio.h>\n#include "gradcam_packets.h"\n'
        "int main(void) { float m[] = GRADCAM_IMAGE_MEAN, s[] = GRADCAM_IMAGE_STD;\n"
        '  for (int c = 0; c < GRADCAM_IMAGE_CHANNELS; c++) printf("%.6f %.6f\\n", m[c], s[c]); }\n'
    )
    subprocess.run(["gcc", f"-I{design.folder}", "x.c", "-o", "x"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "x"], capture_output=True, text=True, check=True).stdout
    np.testing.assert_allclose(np.array(printed.split(), float).reshape(3, 2), np.stack([MEAN, STD], 1), atol=1e-6)


def test_calibration_saw_the_same_inputs(design, folder):
    """The largest magnitude of the inputs is that of the files, and of none that were prepared otherwise."""
    how = {"calibration": folder, "preset": "imagenet", "resize": (4, 8)}
    maximum = gradcam.Settings("act", pe="4x4", range_choice="max", **how)
    module = gradcam.compiler.Compilation(network(), maximum).to("quantized")
    largest = max(np.abs(wanted(file)).max() for file in folder.iterdir())
    scale = float(re.search(r"%arg0: tensor<1x3x4x8x!quant.uniform<i8:f32, ([^>]*)>", str(module))[1])
    assert scale == pytest.approx(largest / 127, rel=1e-5)


def test_simulation_and_driver_take_files(design, folder, tmp_path, capsys):
    files = sorted(folder.iterdir())[:2]
    results = design.simulate(files)
    floats = design.simulate(np.concatenate([wanted(file) for file in files]))
    for result, same in zip(results, floats, strict=True):
        np.testing.assert_array_equal(result.logits, same.logits)
        np.testing.assert_array_equal(result.heatmap, same.heatmap)
    assert not np.array_equal(results[0].logits, results[1].logits)
    assert simulate_main([str(design.folder), "--input", str(files[1]), "-o", str(tmp_path / "run")]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "run" / "logits.npy"), results[1].logits)
    assert "error" not in capsys.readouterr().err


def test_packets_of_the_driver(design, folder):
    core, file = Core(Idle(design.program), design.folder), sorted(folder.iterdir())[0]
    steps = np.clip(np.rint(wanted(file)[0].astype(np.float64) / design.program.scale("image")), -128, 127)
    packet = np.frombuffer(core.packet(file), np.int8).reshape(4, 8, 4)
    np.testing.assert_array_equal(packet[:, :, :3], steps.transpose(1, 2, 0))
    for same in (str(file), wanted(file)[0], steps.astype(np.int8), np.asarray(Image.open(file))):
        assert core.packet(same) == packet.tobytes()
    with pytest.raises(GradcamError, match="8 images where one is run; run_many takes several"):
        core.packet(folder)


def test_the_command_line(folder, tmp_path, capfd, caplog):
    command = ["image_network:network", "--target-layer", "act", "--pe", "4x4", "--emit", "quantized"]
    options = ["--calibration", str(folder), "--resize", "4x8"]
    outputs = {}
    for name, more in {
        "preset": ["--preset", "imagenet"],
        "numbers": ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"],
        "assumed": [],
        "said": ["--preset", "minus-one-one"],
    }.items():
        caplog.clear()
        assert compile_main([*command, *options, *more, "-o", str(tmp_path / name)]) == 0
        outputs[name] = (tmp_path / name).read_bytes()
        said = "pixels become -1 to 1, as preset minus-one-one; preset (--preset), or mean (--mean) and std (--std), "
        said += "say otherwise"
        warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert warned == ([said] if name == "assumed" else [])
    assert outputs["preset"] == outputs["numbers"] != outputs["assumed"] == outputs["said"]
    capfd.readouterr()
    for more, message in {
        ("--preset", "imagnet"): "there is no preset 'imagnet'; did you mean 'imagenet'?",
        ("--preset", "tf", "--mean", "0"): "preset tf has a mean and a std; leave out mean and std, or the preset",
        ("--mean", "0.5"): "mean without std; give both, for pixels from 0 to 1",
        ("--background", "blue-ish"): "background must be a colour such as white or #ff8000, got 'blue-ish'",
    }.items():
        assert compile_main([*command, *options, *more, "-o", str(tmp_path / "none")]) == 1
        assert capfd.readouterr().err == f"gradcam-compile: error: {message}\n"
    with pytest.raises(SystemExit):
        compile_main([*command, "--resize", "large", "-o", str(tmp_path / "none")])
    assert "argument --resize: 'large' is not a size such as 224 or 224x160" in capfd.readouterr().err
    assert not (tmp_path / "none").exists()
