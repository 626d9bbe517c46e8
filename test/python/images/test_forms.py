"""Every form of image of docs/images.md: the pixels that the file means, to calibration and to a compiled design."""

import itertools

import msgspec
import numpy as np
import pytest
from folders import ROOT
from image_files import RGB, save
from image_forms import FORMS, LUMA
from sim_design import random_weights, write_design

from gradcam.design import Design
from gradcam.images import Preprocessing, load_images
from gradcam.schema.program import Stream
from gradcam.sim.inputs import read_images

SCALE = 2.0**-9
IMAGENET = Preprocessing.of(preset="imagenet")


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    return Design.load(write_design(tmp_path_factory.mktemp("forms") / "design", random_weights())).program


def program(design, shape, preprocessing):
    """A design that takes images of a shape, (1, C, H, W)."""
    image = Stream("image", "in", (*shape[2:], shape[1]), 8, shape[1], SCALE, None)
    return msgspec.structs.replace(design, streams=(image,), preprocessing=preprocessing)


def written(form, folder):
    """The source of a form, and its pixels, H x W x 3."""
    source, pixels = FORMS[form](folder / form[1])
    return source, np.broadcast_to(pixels if pixels.ndim == 3 else pixels[:, :, None], (*pixels.shape[:2], 3))


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_calibration_and_simulation_read_the_same(form, tmp_path, design):
    source, pixels = written(form, tmp_path)
    shape = (1, 3, *pixels.shape[:2])
    (calibrated,) = load_images(source, shape, IMAGENET)
    want = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(calibrated.input[0], want.transpose(2, 0, 1), rtol=0, atol=2e-5)
    (simulated,) = read_images(source, program(design, shape, IMAGENET))
    steps = np.clip(np.rint(calibrated.input[0].astype(np.float64) / SCALE), -128, 127)
    np.testing.assert_array_equal(simulated.values, steps)
    assert np.abs(simulated.picture - 255 * pixels).max() <= 0.51


@pytest.mark.parametrize("form", [form for form in FORMS if "npy" not in form[0] and "npz" not in form[0]], ids=str)
def test_a_network_of_one_channel(form, tmp_path):
    """Grey as it is; a colour's grey is rounded to the depth of the file."""
    source, pixels = written(form, tmp_path)
    (image,) = load_images(source, (1, 1, *pixels.shape[:2]), Preprocessing.of(preset="zero-one"))
    np.testing.assert_allclose(image.input[0, 0], pixels @ LUMA, rtol=0, atol=0.51 / 255)
    if np.ptp(pixels, axis=2).max() == 0:
        np.testing.assert_allclose(image.input[0, 0], pixels[:, :, 0], rtol=0, atol=2e-5)


def test_the_comparison_can_fail(tmp_path):
    save(tmp_path / "x.png", RGB)
    (image,) = load_images(tmp_path / "x.png", (1, 3, 4, 5), Preprocessing.of())
    want = (RGB / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.abs(image.input[0] - want.transpose(2, 0, 1)).max() > 0.1


def test_the_document_has_a_row_for_every_form():
    lines = (ROOT / "docs" / "images.md").read_text(encoding="utf-8").partition("| form | ")[2].splitlines()
    table = itertools.takewhile(lambda line: line.startswith("|"), lines[2:])
    listed = [line.split("|")[1].strip() for line in table]
    assert listed == [*dict.fromkeys(name for name, _ in FORMS), "`.npy`, float", "`.npy`, int8"]
