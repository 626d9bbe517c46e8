"""What `import gradcam` gives: a model becomes a design, which is simulated and read back."""

import inspect
import re
import subprocess
import sys

import numpy as np
import pytest
import rtl_networks
import torch

import gradcam


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api") / "design"
    return gradcam.compile(rtl_networks.sums(), folder, "layers.1", pe="4x4", range_choice="max")


def test_a_compile_gives_a_design_that_simulates(design):
    images = rtl_networks.sums().calibration_images[:2]
    results = design.simulate(images, cls=[-1, 0])
    assert [r.cycles for r in results] == [design.report().cycles] * 2
    integers = gradcam.Simulator(design.folder).run(quantized(images, design))
    np.testing.assert_array_equal(integers[0].logits, results[0].logits)


def test_a_class_is_an_integer_of_any_kind(design):
    images = rtl_networks.sums().calibration_images[:2]
    heatmaps = [result.heatmap for result in design.simulate(images, cls=1)]
    for classes in (np.int64(1), np.array(1), np.array([1, 1]), (1, np.uint8(1)), torch.tensor(1)):
        np.testing.assert_array_equal([r.heatmap for r in design.simulate(images, cls=classes)], heatmaps)


@pytest.mark.parametrize("cls", [None, 1.0, "a", "11", True, [[0], [1]], [0, None], [0, 1.0], np.array([True, False])])
def test_a_class_that_is_no_integer_is_refused_before_the_simulation(design, cls, monkeypatch):
    monkeypatch.setattr("gradcam.sim.simulator.build", lambda _: pytest.fail("a simulator is built"))
    with pytest.raises(gradcam.GradcamError, match="a class must be an integer, got"):
        design.simulate(rtl_networks.sums().calibration_images[:2], cls=cls)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": "2"}, "jobs must be an integer, got '2'"),
        ({"jobs": 0}, "the number of simulators must be at least 1, got 0"),
        ({"stall_seed": "a"}, "stall_seed must be an integer or None, got 'a'"),
        ({"stall": 0.5}, "stall must be two probabilities, of the inputs and of the outputs, got 0.5"),
        ({"stall": (0.5,)}, "stall must be two probabilities"),
        ({"stall": ("a", 0.5)}, "a stall probability must be a number, got 'a'"),
        ({"stall": (0, 1)}, "stall probabilities must be from 0 to less than 1"),
        ({"dram": 5}, "dram must be a DramModel, got 5"),
        ({"cls": None}, "a class must be an integer, got None"),
    ],
)
def test_an_argument_of_a_simulation_that_cannot_be_is_refused(design, options, message):
    images = quantized(rtl_networks.sums().calibration_images[:1], design)
    with pytest.raises(gradcam.GradcamError, match=re.escape(message)):
        gradcam.Simulator(design.folder).run(images, **options)


def test_what_is_no_folder_no_schedule_and_no_module_is_refused(tmp_path):
    for read in (gradcam.Simulator, gradcam.Design.load):
        with pytest.raises(gradcam.GradcamError, match="the folder of a design must be a text or a path, got 5"):
            read(5)
    with pytest.raises(gradcam.GradcamError, match="the folder of a design must be a text or a path, got 5"):
        gradcam.compile(rtl_networks.sums(), 5, "layers.1", pe="4x4")
    for schedule in (5, {}):
        with pytest.raises(gradcam.GradcamError, match=r"schedule .* must be a text or a path or None, got"):
            gradcam.Settings("layer4", schedule=schedule)
    for module in (None, "x"):
        with pytest.raises(gradcam.GradcamError, match="expected an MLIR module, got"):
            gradcam.PassManager.parse("canonicalize").run(module)


def quantized(images, design):
    scale = design.program.scale("image")
    return np.clip(np.rint(images.astype(np.float64) / scale), -128, 127).astype(np.int8)


def test_a_design_is_read_back(design):
    again = gradcam.Design.load(design.folder)
    assert again == design and again.rtl_files and all(path.exists() for path in again.rtl_files)


def test_an_output_that_differs_is_an_error(design, tmp_path, monkeypatch):
    from gradcam.sim import check

    real = check.run_integer
    monkeypatch.setattr(check, "run_integer", lambda *args: [value + 1 for value in real(*args)])
    with pytest.raises(gradcam.GradcamError, match="in the integer reference"):
        design.simulate(rtl_networks.sums().calibration_images[0])


@pytest.mark.parametrize("images", [np.zeros((1, 9, 9, 9), "f4"), np.zeros((2, 2)), np.zeros((5, 4, 6), "u1")])
def test_images_of_another_kind_are_refused(design, images):
    with pytest.raises(gradcam.GradcamError, match=r"the model takes (1 channel, )?9x7"):
        design.simulate(images)


def test_a_compile_replaces_its_own_folder_only(design, tmp_path):
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(gradcam.GradcamError, match="holds 'letter', which gradcam-compile did not write"):
        gradcam.compile(rtl_networks.sums(), tmp_path, "layers.1", pe="4x4")
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]


def test_a_setting_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(gradcam.GradcamError, match="powers of two"):
        gradcam.compile(rtl_networks.sums(), tmp_path / "design", "layers.1", pe="3x4")
    assert not (tmp_path / "design").exists()


def test_all_that_is_exported_is_there_and_nothing_is_imported_before_it_is_used():
    for name in gradcam.__all__:
        assert getattr(gradcam, name)
    assert set(gradcam.__all__) == set(dir(gradcam))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gradcam.nothing
    code = "import sys, gradcam; assert not {'torch', 'torch_mlir', 'pycde', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_names_the_settings():
    names = list(inspect.signature(gradcam.compile).parameters)
    assert names[:3] == ["model", "folder", "target_layer"]
    assert set(names[2:]) == set(inspect.signature(gradcam.Settings).parameters)
