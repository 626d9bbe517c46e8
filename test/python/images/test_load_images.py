"""`load_images`: the same inputs from every source, and what it refuses."""

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from gradcam.images import Preprocessing, load_images

SHAPE = (1, 3, 4, 5)
DEFAULT = Preprocessing.of()


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)


def expected(pixels, mean=0.5, std=0.5):
    return ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)[:, None]


def inputs(source, shape=SHAPE, preprocessing=DEFAULT, scale=None):
    return np.stack([image.input for image in load_images(source, shape, preprocessing, scale)])


def names(source, shape=SHAPE):
    return [image.name for image in load_images(source, shape, DEFAULT)]


def test_the_same_images_from_every_source(tmp_path, pixels):
    floats = expected(pixels)[:, 0].astype(np.float32)
    np.save(tmp_path / "pixels.npy", pixels)
    np.save(tmp_path / "planes.npy", pixels.transpose(0, 3, 1, 2))
    np.save(tmp_path / "floats.npy", floats)
    np.save(tmp_path / "doubles.npy", floats.astype(np.float64).transpose(0, 2, 3, 1))
    np.savez(tmp_path / "one.npz", pixels)
    np.savez(tmp_path / "two.npz", images=pixels, labels=np.arange(3))
    folder = tmp_path / "folder"
    (folder / "b").mkdir(parents=True)
    files = [folder / "a.png", folder / "b" / "0.bmp", folder / "b" / "1.tiff"]
    for file, image in zip(files, pixels, strict=True):
        PillowImage.fromarray(image).save(file)
    (folder / ".hidden.png").write_text("not an image")
    sources = [
        *(tmp_path / name for name in ("pixels.npy", "planes.npy", "floats.npy", "doubles.npy", "one.npz")),
        str(tmp_path / "two.npz:images"),
        folder,
        str(folder),
        [str(file) for file in files],
        (file for file in files),
        [files[0], folder / "b"],
        pixels,
        list(pixels),
        (image for image in pixels),
        pixels.tolist()[0:0] + [image.transpose(2, 0, 1) for image in pixels],
        floats,
        torch.from_numpy(floats),
        torch.from_numpy(floats).split(2),
        list(torch.from_numpy(floats)),
    ]
    for source in sources:
        loaded = list(load_images(source, SHAPE, DEFAULT))
        assert all(image.input.shape == SHAPE and image.input.dtype == np.float32 for image in loaded)
        np.testing.assert_allclose([image.input for image in loaded], expected(pixels), atol=1e-6)
        assert len({image.name for image in loaded}) == 3
