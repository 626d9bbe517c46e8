"""`gradcam-compile --emit onnx`: every mistake is one line, and nothing is written."""

from __future__ import annotations

import sys

import onnx
import pytest

from gradcam.tools import gradcam_compile

MODEL = "gradcam.models:tinyml_resnet18"
TOO_EARLY = "has no effect: --emit onnx stops before level"

MISTAKES = [
    (["-o", "there.onnx"], "there.onnx exists and holds something else; choose another file"),
    (["-o", "there.onnx", "--force"], "there.onnx exists and holds something else; choose another file"),
    (["-o", "folder"], "folder is a folder; name a file"),
    (["-o", "none/a.onnx"], "cannot write none/a.onnx: there is no folder none"),
    (["-o", "-"], "--emit onnx writes a file, not to stdout; name it with -o"),
    (["--calibration", "folder"], f"calibration (--calibration) {TOO_EARLY} quantized, where it acts first"),
    (["--crop", "8"], f"crop (--crop) {TOO_EARLY} quantized, where it acts first"),
    (["--weights", "dram"], f"weights (--weights) {TOO_EARLY} linalg, where it acts first"),
    (["--no-validate"], "--validate and --no-validate are for the end of a compile, which --emit verilog reaches"),
    (["--print-ir"], "--print-ir writes into the output folder, which only --emit verilog has"),
    (["--std", "1"], "std without mean; give both, for pixels from 0 to 1"),
    (["--mean", "0,1", "--std", "1,1"], "mean has 2 numbers, the model 3 channels; give one number or 3"),
    (["--target-layer", "nothing"], "target layer 'nothing' is not a module"),
    (["--emit", "onnx-int8", "--target-layer", "layer3", "--method", "gradcam++"], "gradcam++"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, in which there are a file and a folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.onnx").write_text("mine")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_a_mistake_is_one_line(options, message, folder, capsys):
    chosen = [*([] if "-o" in options else ["-o", "new.onnx"]), *([] if "--emit" in options else ["--emit", "onnx"])]
    assert gradcam_compile.main([MODEL, *chosen, *options]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(errors) == 1 and message in errors[0] and errors[0].startswith("gradcam-compile: error: ")
    assert sorted(path.name for path in folder.iterdir()) == ["folder", "there.onnx"]
    assert (folder / "there.onnx").read_text() == "mine"


def test_a_level_that_is_none_lists_the_others(folder, capsys):
    with pytest.raises(SystemExit) as caught:
        gradcam_compile.main([MODEL, "--emit", "onx", "-o", "new.onnx"])
    assert caught.value.code == 2 and "'onnx', 'onnx-int8'" in capsys.readouterr().err


def test_a_missing_package_is_one_line(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert gradcam_compile.main([MODEL, "--emit", "onnx", "-o", "new.onnx"]) == 1
    wanted = "--emit onnx needs the package onnx; install it by pip install 'gradcam-mlir[onnx]'"
    assert capsys.readouterr().err == f"gradcam-compile: error: {wanted}\n"


def test_force_replaces_a_file(folder):
    for emitted, more in (("onnx-int8", []), ("onnx", ["--force"])):
        assert gradcam_compile.main([MODEL, "--emit", emitted, "-o", "new.onnx", *more]) == 0
    onnx.checker.check_model(onnx.load(folder / "new.onnx"))
