"""The files of exported models: one for a small model, two for another, and never half of them."""

from __future__ import annotations

import mmap
import os
import signal
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import gradcam
from gradcam import onnx_files
from gradcam.compiler import Compilation
from gradcam.data import load_test_images, to_input
from gradcam.errors import GradcamError
from gradcam.models import tinyml_resnet18
from gradcam.onnx_export import compiled_model
from gradcam.tools import gradcam_compile

MODEL = "gradcam.models:tinyml_resnet18"
FILES = ["a.onnx", "a.onnx.data"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder; the shipped network is a large one here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(onnx_files, "ONE_FILE", 1 << 16)
    return tmp_path


@pytest.fixture(scope="module")
def small():
    """The shipped network without its explanation, as bytes, so that each test has a model of its own."""
    return compiled_model(Compilation(tinyml_resnet18(), gradcam.Settings(None)), "x").SerializeToString()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_two_files_compute_what_one_does(folder, monkeypatch):
    image = to_input(load_test_images().pixels[:1])
    assert gradcam.export_onnx(tinyml_resnet18(), folder / "a.onnx", "layer2") == folder / "a.onnx"
    monkeypatch.setattr(onnx_files, "ONE_FILE", 1 << 30)
    gradcam.export_onnx(tinyml_resnet18(), folder / "one.onnx", "layer2")
    assert names(folder) == [*FILES, "one.onnx"]
    os.chdir("/")  # the path of the model says where its weights are
    sessions = [onnxruntime.InferenceSession(folder / name) for name in ("a.onnx", "one.onnx")]
    found, wanted = (session.run(None, {"image": image, "class": np.array([-1])}) for session in sessions)
    for value, expected in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_large_weights_are_in_pages_of_the_second_file(folder, small):
    assert onnx_files.save_model(onnx.load_from_string(small), "a.onnx") == FILES
    onnx.checker.check_model("a.onnx", full_check=True)
    outside = [x for x in onnx.load("a.onnx", load_external_data=False).graph.initializer if x.external_data]
    places = [{entry.key: entry.value for entry in tensor.external_data} for tensor in outside]
    assert {place["location"] for place in places} == {"a.onnx.data"}
    assert all(int(place["offset"]) % mmap.PAGESIZE == 0 for place in places)
    assert (folder / "a.onnx").stat().st_size < 1 << 16 < sum(int(place["length"]) for place in places)
    found, wanted = (
        {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for model in (onnx.load("a.onnx"), onnx.load_from_string(small))
    )
    assert found.keys() == wanted.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, wanted[name])


def test_the_command_names_its_files(folder, capsys):
    for options in ([], ["--force"]):
        assert gradcam_compile.main([MODEL, "--no-explanation", "--emit", "onnx", "-o", "a.onnx", *options]) == 0
        assert capsys.readouterr().out == "wrote a.onnx and, with its weights, a.onnx.data\n"
        assert names(folder) == FILES


def test_one_file_takes_the_place_of_two(folder, small, monkeypatch, capsys):
    onnx_files.save_model(onnx.load_from_string(small), "a.onnx")
    monkeypatch.setattr(onnx_files, "ONE_FILE", 1 << 30)
    assert gradcam_compile.main([MODEL, "--no-explanation", "--emit", "onnx", "-o", "a.onnx", "--force"]) == 0
    assert capsys.readouterr().out == "wrote a.onnx\n"
    assert names(folder) == ["a.onnx"]


@pytest.mark.parametrize("options", [[], ["--force"]])
def test_weights_of_something_else_are_kept(folder, capsys, options):
    (folder / "a.onnx.data").write_text("mine")
    wanted = "a.onnx.data exists and holds something else; choose another file"
    assert gradcam_compile.main([MODEL, "--emit", "onnx", "-o", "a.onnx", *options]) == 1
    assert capsys.readouterr().err == f"gradcam-compile: error: {wanted}\n"
    with pytest.raises(GradcamError, match=wanted):
        gradcam.export_onnx(tinyml_resnet18(), "a.onnx", "layer4")
    assert names(folder) == ["a.onnx.data"] and (folder / "a.onnx.data").read_text() == "mine"


def test_a_file_of_something_else_is_kept(folder, small):
    """The function replaces what an earlier export left, and nothing else; an empty file is none of these."""
    for content in ("mine", ""):
        (folder / "mine.onnx").write_text(content)
        wanted = "^mine.onnx exists and holds something else; choose another file$"
        with pytest.raises(GradcamError, match=wanted):
            gradcam.export_onnx(tinyml_resnet18(), "mine.onnx", "layer4")
        with pytest.raises(GradcamError, match=wanted):
            onnx_files.save_model(onnx.load_from_string(small), "mine.onnx")
        assert (folder / "mine.onnx").read_text() == content and names(folder) == ["mine.onnx"]
    with pytest.raises(GradcamError, match=r"^cannot write none/a.onnx: there is no folder none$"):
        gradcam.export_onnx(tinyml_resnet18(), "none/a.onnx", "layer4")


def test_a_device_is_written_to(folder):
    """`os.devnull` holds no model and is not replaced by one."""
    assert str(gradcam.export_onnx(tinyml_resnet18(), os.devnull, None)) == os.devnull
    assert Path(os.devnull).is_char_device() and names(folder) == []


def test_weights_without_their_model_need_force_too(folder, small, capsys):
    onnx_files.save_model(onnx.load_from_string(small), "a.onnx")
    (folder / "a.onnx").unlink()
    assert gradcam_compile.main([MODEL, "--emit", "onnx", "-o", "a.onnx"]) == 1
    wanted = "a.onnx.data exists; choose another file, or add --force to replace it"
    assert capsys.readouterr().err == f"gradcam-compile: error: {wanted}\n"


def test_a_link_is_written_through_as_one_file(folder, small):
    """onnxruntime looks for weights beside the name that it is given."""
    (folder / "real").mkdir()
    (folder / "a.onnx").symlink_to("real/b.onnx")
    assert onnx_files.save_model(onnx.load_from_string(small), "a.onnx") == ["a.onnx"]
    assert names(folder / "real") == ["b.onnx"] and (folder / "a.onnx").is_symlink()
    onnxruntime.InferenceSession("a.onnx")


def test_the_weights_of_a_model_behind_a_link_are_removed_with_it(folder, small):
    (folder / "real").mkdir()
    onnx_files.save_model(onnx.load_from_string(small), "real/b.onnx")
    assert names(folder / "real") == ["b.onnx", "b.onnx.data"]
    (folder / "a.onnx").symlink_to("real/b.onnx")
    assert onnx_files.save_model(onnx.load_from_string(small), "a.onnx") == ["a.onnx"]
    assert names(folder / "real") == ["b.onnx"] and (folder / "a.onnx").is_symlink()
    onnxruntime.InferenceSession("a.onnx")
    (folder / "real/b.onnx.data").write_text("mine")
    with pytest.raises(GradcamError, match=r"real/b.onnx.data exists and holds something else"):
        gradcam.export_onnx(tinyml_resnet18(), "a.onnx", "layer4")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(folder, small, monkeypatch, number):
    """While the weights are written; and what was there stays."""

    def interrupted(*_):
        signal.raise_signal(number)

    def export():
        return gradcam_compile.main([MODEL, "--no-explanation", "--emit", "onnx", "-o", "a.onnx", "--force"])

    monkeypatch.setattr(onnx_files, "_move_weights", interrupted)
    assert export() == 128 + number and names(folder) == []
    monkeypatch.undo()
    os.chdir(folder)
    monkeypatch.setattr(onnx_files, "ONE_FILE", 1 << 16)
    onnx_files.save_model(onnx.load_from_string(small), "a.onnx")
    before = [(folder / name).read_bytes() for name in FILES]
    monkeypatch.setattr(onnx_files, "_move_weights", interrupted)
    assert export() == 128 + number and names(folder) == FILES
    assert [(folder / name).read_bytes() for name in FILES] == before


@pytest.mark.parametrize("name", ["/proc/a.onnx", "missing/a.onnx"])
def test_a_folder_that_cannot_be_written(small, name):
    with pytest.raises(GradcamError, match=rf"^cannot write {name}: No such file or directory$"):
        onnx_files.save_model(onnx.load_from_string(small), name)
