"""`gradcam-sim` and `Simulator.run` on many images: simulators side by side, tables, pictures, the float network."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from sim_design import random_images, random_weights, write_design
from torch import nn

from gradcam.compiler import Settings
from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.output import compile_to_folder
from gradcam.sim import Simulator, build
from gradcam.sim.inputs import read_images
from gradcam.sim.output import table_text
from gradcam.sim.quality import compare_with_float
from gradcam.tools import gradcam_sim
from gradcam.view import heatmap_maps

IMAGES = random_images(7)


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    folder = write_design(tmp_path_factory.mktemp("sim") / "design", random_weights())
    build(folder)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Five images: a folder with two, a file, and two in an .npz file."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "inner").mkdir()
    np.save(folder / "inner" / "a.npy", IMAGES[0])
    np.save(folder / "inner" / "b c.npy", IMAGES[1])
    np.save(folder / "single.npy", IMAGES[2])
    np.savez(folder / "two.npz", images=IMAGES[3:5])
    return [str(folder / name) for name in ("inner", "single.npy", "two.npz")]


def simulate(design, out, *arguments):
    return gradcam_sim.main([str(design), "-o", str(out), *map(str, arguments)])


@pytest.mark.parametrize("jobs", [1, 2, 3, 20])
def test_simulators_side_by_side_give_the_same_in_order(design, jobs):
    simulator, told = Simulator(design), []
    expected = simulator.run(IMAGES, [-1, 0, 1, 2, 0, 1, 2])
    found = simulator.run(IMAGES, [-1, 0, 1, 2, 0, 1, 2], buffers=True, jobs=jobs, told=told.append)
    for a, b in zip(expected, found, strict=True):
        assert a.outputs.keys() == b.outputs.keys() and a.nest_cycles == b.nest_cycles and b.buffers
        assert all(np.array_equal(a.outputs[name], b.outputs[name]) for name in a.outputs)
    assert all(0 <= done <= 7 for done in told) and told == sorted(told)


def test_a_simulator_that_fails_ends_the_others(design, monkeypatch):
    simulator = Simulator(design)
    monkeypatch.setattr(Simulator, "_limit", lambda *_: 3)
    with pytest.raises(GradcamError, match=r"simulation of .* failed: no end after 3 cycles"):
        simulator.run(IMAGES, jobs=3)


@pytest.mark.parametrize("jobs", [0, -2])
def test_less_than_one_simulator_is_refused(design, files, tmp_path, capsys, jobs):
    assert simulate(design, tmp_path / "out", "--input", *files, "--jobs", jobs) == 1
    assert capsys.readouterr().err == f"gradcam-sim: error: --jobs must be at least 1, got {jobs}\n"
    with pytest.raises(GradcamError, match=f"the number of simulators must be at least 1, got {jobs}"):
        Simulator(design).run(IMAGES, jobs=jobs)


def test_files_folders_and_arrays_become_one_table(design, files, tmp_path, capsys):
    out = tmp_path / "out"
    assert simulate(design, out, "--input", *files, "--jobs", 2) == 0
    printed = capsys.readouterr().out
    results = Simulator(design).run(IMAGES[:5])
    np.testing.assert_array_equal(np.load(out / "logits.npy"), [r.logits for r in results])
    raw = np.load(out / "heatmap.npy")
    np.testing.assert_array_equal(raw, [r.heatmap for r in results])
    scale = Design.load(design).program.scale("heatmap")
    expected = [heatmap_maps(heatmap, scale, (2, 2)) for heatmap in raw]
    np.testing.assert_allclose(np.load(out / "heatmap_normalized.npy"), [m.low for m in expected], atol=1e-6)
    np.testing.assert_allclose(np.load(out / "heatmap_image.npy"), [m.final for m in expected], atol=1e-6)
    with (out / "table.csv").open(encoding="utf-8", newline="") as file:
        heading, *lines = csv.reader(file)
    assert heading == ["image", "class", "logit", "cycles", "pixels outside"]
    assert [line[1] for line in lines] == [str(r.logits.argmax()) for r in results]
    assert {line[3] for line in lines} == {"25"}
    logit_scale = Design.load(design).program.scale("logits")
    assert [float(line[2]) for line in lines] == pytest.approx(
        [r.logits.max() * logit_scale for r in results], rel=1e-3
    )
    assert re.search(r"^b c\.npy +\d", printed, re.M) and printed.endswith(f"wrote {out}\n")
    names = sorted(path.name for path in (out / "overlays").iterdir())
    assert [name[:2] for name in names] == ["0-", "1-", "2-", "3-", "4-"] and names[1] == "1-b_c.png"
    assert (out / "sheet.png").exists() and not (out / "overlay.png").exists()
    report = json.loads((out / "report.json").read_text())
    assert report["reference_equal"] is True and len(report["images"]) == 5
    assert [image["predicted_class"] for image in report["images"]] == [int(r.logits.argmax()) for r in results]


def test_a_run_of_many_images_can_be_replaced_and_others_files_cannot(design, files, tmp_path, capsys):
    out = tmp_path / "out"
    assert simulate(design, out, "--input", *files) == 0
    assert simulate(design, out, "--input", files[1], "--force") == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "heatmap.npy",
        "heatmap_image.npy",
        "heatmap_normalized.npy",
        "image.npy",
        "logits.npy",
        "overlay.png",
        "report.html",
        "report.json",
        "table.csv",
    ]
    (out / "overlays").mkdir()
    (out / "overlays" / "letter.txt").write_text("mine")
    assert simulate(design, out, "--input", files[1], "--force") == 1
    assert "letter.txt" in capsys.readouterr().err


def test_an_image_that_differs_from_the_reference_is_named(design, files, tmp_path, capsys, monkeypatch):
    run = Simulator.run

    def wrong(*arguments, **options):
        results = run(*arguments, **options)
        results[3].outputs["logits"][1] += 1
        return results

    monkeypatch.setattr(Simulator, "run", wrong)
    assert simulate(design, tmp_path / "out", "--input", *files) == 1
    assert re.search(r"error: .*two\.npz.*: logits\[1\] = ", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_pixels_beyond_the_range_are_counted_and_warned_of(design, tmp_path, caplog):
    program = Design.load(design).program
    scale = program.scale("image")
    values = np.zeros((2, *IMAGES.shape[1:]), np.float32)
    values[1].flat[:3] = 127.4 * scale, 127.6 * scale, -129 * scale  # the first one rounds to 127
    np.save(tmp_path / "x.npy", values)
    first, second = read_images([str(tmp_path / "x.npy")], program)
    assert first.outside == 0 and second.outside == 2 / values[1].size
    assert simulate(design, tmp_path / "out", "--input", tmp_path / "x.npy") == 0
    assert f"1 of 2 images leave the calibrated range: {100 * second.outside:.2g} % of the pixels" in caplog.text
    caplog.clear()
    Design.load(design).simulate(values[1])
    assert f"{100 * second.outside:.2g} % of the pixels of " in caplog.text and "images leave" not in caplog.text
    caplog.clear()
    np.save(tmp_path / "x.npy", values[0])
    assert simulate(design, tmp_path / "other", "--input", tmp_path / "x.npy") == 0
    assert caplog.text == ""


def test_a_table_is_aligned():
    lines = [["image", "class"], ["folder/long name.png", "1"], ["a", "10"]]
    assert table_text(lines) == "image          class\nlong name.png  1\na              10"


class Net(nn.Module):
    input_shape = (1, 3, 6, 6)

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.act, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Linear(4, 3)
        self.eval()

    def calibration_images(self):
        return np.random.default_rng(0).standard_normal((12, 3, 6, 6)).astype(np.float32)

    def forward(self, x):
        return self.fc(self.act(self.conv(x)).mean((2, 3)))


def test_the_rtl_is_warned_of_as_the_compile_is(tmp_path, caplog, monkeypatch):
    np.save(tmp_path / "images.npy", np.random.default_rng(5).standard_normal((6, 3, 6, 6)).astype(np.float32))
    images = "--input", tmp_path / "images.npy"
    settings = Settings("act", pe="4x4", validate=images[1])
    monkeypatch.setattr("gradcam.verdict.MOST_LOGIT_ERROR", 0)
    compile_to_folder(Net(), "net", settings, tmp_path / "design")
    (compiled,) = [text for text in caplog.messages if "logits of int8" in text]
    for limit, expected in [(0, [compiled]), (1, [])]:
        monkeypatch.setattr("gradcam.verdict.MOST_LOGIT_ERROR", limit)
        caplog.clear()
        assert simulate(tmp_path / "design", tmp_path / str(limit), *images, "--validate") == 0
        assert [text for text in caplog.messages if "logits of int8" in text] == expected


def test_the_rtl_compared_with_float_is_as_good_as_the_compile_said(tmp_path, capsys):
    images = 1.5 * np.random.default_rng(5).standard_normal((6, 3, 6, 6)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    settings = Settings("act", pe="4x4", validate=tmp_path / "images.npy")
    report = compile_to_folder(Net(), "net", settings, tmp_path / "design")
    assert simulate(tmp_path / "design", tmp_path / "out", "--input", tmp_path / "images.npy", "--validate") == 0
    assert "quality: the class of float in " in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    simulated, compiled = found["simulated_quality"], found["quality"]
    pixels = compiled.pop("pixels_outside")
    assert simulated.pop("pixels_outside") == pytest.approx(pixels) and pixels > 0
    assert simulated == compiled
    assert compiled["images"] == report.quality.images == 6
    assert all(image["pearson"]["heatmap"] > 0.95 for image in found["images"])
    # A map that is wrong is told.
    design = Design.load(tmp_path / "design")
    read = list(read_images(str(tmp_path / "images.npy"), design.program))
    results = Simulator(design.folder).run(np.stack([image.values for image in read]))
    results[0].outputs["heatmap"][:] = results[0].outputs["heatmap"][::-1, ::-1].copy()
    each, quality = compare_with_float(design, read, results)
    assert quality.maps["heatmap"].least == each[0].correlations[0] < 0.9
    (tmp_path / "design" / "ir" / "float.mlirbc").unlink()
    with pytest.raises(GradcamError, match=r"cannot read .*float\.mlirbc"):
        compare_with_float(design, read, results)
