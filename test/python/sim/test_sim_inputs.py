"""What `gradcam-sim` makes of its input files."""

import msgspec
import numpy as np
import pytest
from PIL import Image
from sim_design import random_images, random_weights, write_design

from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.numerics import quantize
from gradcam.schema.program import Stream
from gradcam.sim.inputs import read_images


def read_input(path, program):
    """The values and the picture of the only image in a file."""
    (image,) = read_images(path, program)
    return image.values, image.picture


@pytest.fixture
def program(tmp_path):
    """Takes 3 x 2 pixels of RGB in steps of 0.5."""
    program = Design.load(write_design(tmp_path / "design", random_weights())).program
    return msgspec.structs.replace(program, streams=(Stream("image", "in", (2, 3, 3), 8, 3, 0.5, None),))


def test_png_is_normalized_and_quantized(program, tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 1] = 255, 128, 64  # 1, 0.004 and -0.498 as a model sees them
    Image.fromarray(pixels).save(tmp_path / "x.png")
    image, shown = read_input(tmp_path / "x.png", program)
    assert (image.dtype, image.shape) == (np.int8, (3, 2, 3))
    assert image[:, 0, 1].tolist() == [2, 0, -1]
    assert (image == -2).sum() == 15
    np.testing.assert_array_equal(shown, pixels)


def test_npy_is_taken_as_it_is(program, tmp_path):
    image = random_images(1)[0, :3, :, [0, 1, 1]].transpose(1, 2, 0).copy()
    np.save(tmp_path / "x.npy", image)
    np.testing.assert_array_equal(read_input(tmp_path / "x.npy", program)[0], image)


def test_quantize_rounds_to_even_and_saturates():
    values = np.array([0.25, 0.75, -0.25, 1e9, -1e9], np.float32)
    assert quantize(values, 0.5).tolist() == [0, 2, 0, 127, -128]
    with pytest.raises(GradcamError, match="not finite"):
        quantize(np.array([np.nan], np.float32), 0.5)


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_damaged_files_are_named(program, tmp_path, content):
    for name in ("x.npy", "x.png"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(GradcamError, match=name):
            read_input(tmp_path / name, program)


def test_pickles_are_not_loaded(program, tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(GradcamError, match=r"cannot read .*x.npy: .*Python objects"):
        read_input(tmp_path / "x.npy", program)
