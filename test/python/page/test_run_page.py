"""report.html of a run: its pictures, tables and figures, from the files of the folder alone."""

import base64
import io
import json
import shutil

import numpy as np
import pytest
from page_network import Net
from pages import Page
from PIL import Image

from gradcam.compiler import Settings
from gradcam.design import Design
from gradcam.output import compile_to_folder
from gradcam.page import run as run_module
from gradcam.reference.integer import run_integer
from gradcam.sim.inputs import read_images
from gradcam.sim.output import Run, simulation_report, write_output
from gradcam.sim.quality import compare_with_float
from gradcam.sim.simulator import Result
from gradcam.sim.trace import load_quantized
from gradcam.tools import gradcam_report

EVIL = '"><img src=x onerror=alert(1)>'


def compiled(folder, **settings):
    compile_to_folder(Net(), "net", Settings(settings.pop("target", "second"), pe="4x4", **settings), folder)
    return Design.load(folder)


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("run") / "design", top_k=2)


def written(design, target, count, compare=True):
    """A run of the first images, with what the RTL equals: the results of the integer reference."""
    program, module = design.program, load_quantized(design)
    images = list(read_images(Net.calibration_images.numpy()[:count], program))
    names = [stream.name for stream in program.outputs]
    results = [
        Result(
            dict(zip(names, (x[0] for x in run_integer(module, image.values[None])), strict=True)),
            [nest.end - nest.start for nest in program.nests],
            program.cycles,
            0.5,
        )
        for image in images
    ]
    compared, quality = compare_with_float(design, images, results) if compare else ([None] * count, None)
    runs = [Run(image, result, -1, c) for image, result, c in zip(images, results, compared, strict=True)]
    write_output(target, program, runs, simulation_report(design, runs, True, quality))
    return target


@pytest.fixture(scope="module")
def single(design, tmp_path_factory):
    return written(design, tmp_path_factory.mktemp("single") / "run", 1)


@pytest.fixture(scope="module")
def several(design, tmp_path_factory):
    return written(design, tmp_path_factory.mktemp("several") / "run", 3)


def parsed(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def decoded(source):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2]))).convert("RGB"))


def jet(values):
    """Matplotlib's colours of a map that is stretched from 0 to 1."""
    from matplotlib import colormaps

    stretched = values - values.min()
    return colormaps["jet"](stretched / (1e-7 + stretched.max()))[..., :3]


def normalized(raw):
    clipped = np.maximum(raw.astype(np.float64), 0)
    return (clipped - clipped.min()) / (1e-7 + (clipped - clipped.min()).max())


def test_an_image_has_the_map_of_the_rtl_that_of_float_and_the_difference(single):
    sources = parsed(single).pictures
    image = np.load(single / "image.npy")
    assert np.array_equal(decoded(sources[0][0]), image)
    report = json.loads((single / "report.json").read_text())
    scale = report["scales"]["heatmap0"]
    rtl, of_float = (np.load(single / f"heatmap0{kind}.npy") for kind in ("", "_float"))
    device, software = normalized(rtl * scale), normalized(of_float)
    captions = [caption for _, caption in sources]
    cells = {caption: decoded(source) for source, caption in sources}
    where = f"Class {report['explained_class'][0]} at second: "
    assert np.abs(cells[f"{where}the RTL's map, 8 x 8"] / 255 - jet(device)).max() < 0.01
    worst = np.abs(device - software).max()
    assert f"{where}the RTL less float, at most {worst:.2g} of 1" in captions
    red_less_blue = cells[f"{where}the RTL less float, at most {worst:.2g} of 1"].astype(int) @ [1, 0, -1]
    assert (np.sign(red_less_blue) == np.sign(device - software))[np.abs(device - software) > 0.01 * worst].all()


def test_the_logits_stand_beside_those_of_float(single):
    report, text = json.loads((single / "report.json").read_text()), parsed(single).text
    for value in [*np.load(single / "logits.npy") * report["scales"]["logits"], *np.load(single / "logits_float.npy")]:
        assert f"{value:.4f}" in text


def test_several_images_are_a_sheet_and_a_table(several):
    found = parsed(several)
    report = json.loads((several / "report.json").read_text())
    names = [image["image"] for image in report["images"]]
    tiles = [caption for _, caption in found.pictures if caption in names]
    assert tiles == names and len(names) == 3
    assert found.tags.count("details") == 3 and "Pearson heatmap1" in found.text


def test_pictures_that_do_not_fit_are_left_out_with_a_note(several, monkeypatch):
    whole = run_module.run_page(several)
    monkeypatch.setattr(run_module, "MOST_PICTURES", 1)
    found = Page(run_module.run_page(several))
    assert "The pictures of the first 1 of 3 images fill the page" in found.text
    assert "fill the page" not in Page(whole).text
    assert found.tags.count("details") == 1


def test_a_run_without_float_says_how_to_get_it(design, tmp_path):
    found = parsed(written(design, tmp_path / "run", 1, compare=False))
    assert "With --validate a run also has the map of the float network" in found.text
    assert not [caption for _, caption in found.pictures if "float" in caption]


def test_a_design_without_maps_shows_its_image_and_logits(tmp_path):
    design = compiled(tmp_path / "design", target=None)
    found = parsed(written(design, tmp_path / "run", 2))
    assert len(found.pictures) == 4 and "softmax" in found.text and "explained" not in found.text


def test_a_map_of_another_class_of_float_is_not_shown(single, tmp_path):
    folder = shutil.copytree(single, tmp_path / "run")
    np.save(folder / "heatmap1_float.npy", np.full((8, 8), np.nan, np.float32))
    assert gradcam_report.main([str(folder)]) == 0
    assert len([c for _, c in parsed(folder).pictures if "less float" in c]) == 1


def test_the_page_is_made_again_loads_nothing_and_escapes_names(single, tmp_path, capsys):
    folder = shutil.copytree(single, tmp_path / "run")
    before = (folder / "report.html").read_bytes()
    assert gradcam_report.main([str(folder)]) == 0
    assert (folder / "report.html").read_bytes() == before
    tags, report = parsed(folder).tags, json.loads((folder / "report.json").read_text())
    report["image"] = report["model"] = EVIL
    (folder / "report.json").write_text(json.dumps(report))
    assert gradcam_report.main([str(folder)]) == 0
    found = parsed(folder)
    assert found.tags == tags and EVIL in found.text
    assert found.loads == found.handlers == []


def change(**members):
    def damage(folder):
        report = json.loads((folder / "report.json").read_text())
        (folder / "report.json").write_text(json.dumps({k: v for k, v in (report | members).items() if v != "gone"}))

    return damage


def array(name, value):
    return lambda folder: np.save(folder / f"{name}.npy", value, allow_pickle=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change(format=1), "report.json: $.format must be 4"),
        (change(explains="gone"), "report.json: $.explains is missing; simulate again"),
        (change(predicted_class="x"), "$.images[0].predicted_class must be an integer"),
        (lambda folder: (folder / "image.npy").unlink(), "image.npy: No such file or directory; simulate again"),
        (lambda folder: (folder / "image.npy").write_text("no"), "image.npy is no array; simulate again"),
        (array("heatmap0", np.array([{}])), "heatmap0.npy is no array; simulate again"),
        (array("heatmap0", np.zeros((8, 8))), "heatmap0.npy is float64 of shape (8, 8), not int32, of 1 image"),
        (array("logits_float", np.zeros((2, 3), np.float32)), "logits_float.npy is float32 of shape (2, 3), not"),
        (array("logits_float", np.zeros(7, np.float32)), "7 logits of the float network, but 3 of the design"),
        (array("image", np.zeros((16, 16, 1), np.uint8)), "image.npy has 1 channels, not 3; simulate again"),
        (array("heatmap1_float", np.zeros((4, 8), np.float32)), "other sizes of heatmap1.npy and heatmap1_float.npy"),
        (change(pixels_outside=-0.1), "report.json: $.images[0].pixels_outside must be"),
        (change(logit_error=-1.0), "report.json: $.images[0].logit_error must be"),
        (change(pearson={"heatmap0": 1.5, "heatmap1": 0.5}), "$.images[0].pearson.heatmap0 must be"),
        (change(predicted_class=3), "has 3 logits and a class of a larger number; simulate again"),
        (change(explained_class=[1, 3]), "has 3 logits and a class of a larger number; simulate again"),
        (change(explained_class=1), "has 1 explained classes, but there are 2 maps; simulate again"),
        (change(explained_class=[1, 0.5]), "$.images[0].explained_class[1] must be an integer of at least 0, got 0.5"),
        (change(scales={"image": 1.0}), "report.json: logits has no scale; simulate again"),
        (change(pearson={}), "is not compared with the float network, but there is a quality; simulate again"),
        (lambda folder: (folder / "logits.npy").unlink(), "it has neither program.json nor logits.npy"),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(single, tmp_path, capsys, damage, message):
    folder = shutil.copytree(single, tmp_path / "run")
    damage(folder)
    assert gradcam_report.main([str(folder)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]


def test_a_run_of_no_image_is_refused(several, tmp_path, capsys):
    folder = shutil.copytree(several, tmp_path / "run")
    change(images=[])(folder)
    assert gradcam_report.main([str(folder)]) == 1
    assert "$.images must be a list of at least one image, got []; simulate again" in capsys.readouterr().err


def test_nests_that_wait_for_dram_stand_in_a_table(several, tmp_path):
    folder = shutil.copytree(several, tmp_path / "run")
    report = json.loads((folder / "report.json").read_text())
    for number, image in enumerate(report["images"]):
        waits = [("waits", 5, 70 - number), ("waits here only", 0, 9), ("never", 0, 0)]
        image["dram"] = [
            {"nest": n, "name": name, "stall_cycles": predicted, "simulated_stall_cycles": simulated}
            for n, (name, predicted, simulated) in enumerate(waits)
        ]
    (folder / "report.json").write_text(json.dumps(report))
    assert gradcam_report.main([str(folder)]) == 0
    found = parsed(folder)
    assert ["waits", "5", "68", "70"] in found.rows and ["waits here only", "0", "9", "9"] in found.rows
    assert not [row for row in found.rows if row[0] == "never"]
    assert "Of 3 nests that read weights from DRAM, these wait:" in found.text
