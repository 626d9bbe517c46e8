"""What `import gradcam` gives: a model becomes a design, which is simulated and read back."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
import rtl_networks

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


@pytest.mark.parametrize("images", [np.zeros((1, 9, 9, 9), "f4"), np.zeros((2, 2)), np.zeros((3, 4, 4), "u1")])
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
