"""Heatmap post-processing against PyTorch's resize and pytorch-grad-cam's published steps."""

import numpy as np
import pytest
import torch
from PIL import Image

from gradcam.errors import GradcamError
from gradcam.view import bounding_box, displayable, heatmap_maps, normalize, resize, write_overlay


@pytest.mark.parametrize(
    ("source", "target"), [((8, 8), (64, 64)), ((3, 5), (32, 17)), ((9, 9), (4, 6)), ((1, 1), (4, 4))]
)
def test_resize_equals_torch(source, target):
    x = np.random.default_rng(0).normal(size=source)
    expected = torch.nn.functional.interpolate(torch.from_numpy(x)[None, None], target, mode="bilinear")[0, 0]
    np.testing.assert_allclose(resize(x, target), expected.numpy(), atol=1e-12)


def test_maps_follow_pytorch_grad_cam():
    heatmap = np.random.default_rng(1).integers(-1000, 1000, (8, 8)).astype(np.int32)

    def scale_cam_image(x):
        x = x - x.min()
        return x / (1e-7 + x.max())

    cam = torch.from_numpy(scale_cam_image(np.maximum(heatmap * 0.01, 0)))
    resized = torch.nn.functional.interpolate(cam[None, None], (64, 64), mode="bilinear")[0, 0].numpy()
    maps = heatmap_maps(heatmap, 0.01, (64, 64))
    np.testing.assert_allclose(maps.raw, heatmap * 0.01)
    np.testing.assert_allclose(maps.low, cam.numpy())
    np.testing.assert_allclose(maps.final, scale_cam_image(resized))
    assert maps.diagnostic == ""


def test_conventions_are_those_of_the_compile():
    heatmap = np.array([[-4, 4], [0, 2]], np.int32)
    signed = heatmap_maps(heatmap, 0.5, (2, 2), relu=False, normalized=False)
    np.testing.assert_array_equal(signed.final, [[-2, 2], [0, 1]])
    coarse = heatmap_maps(heatmap, 0.5, (2, 2), eps=2.0)
    np.testing.assert_array_equal(coarse.low, [[0, 0.5], [0, 0.25]])


@pytest.mark.parametrize(
    ("value", "diagnostic"), [(0, "0 everywhere"), (-5, "zero everywhere: no place speaks for"), (7, "7 everywhere")]
)
def test_constant_maps_are_zeros_with_a_diagnostic(value, diagnostic):
    maps = heatmap_maps(np.full((4, 4), value, np.int32), 1.0, (8, 8))
    assert not maps.low.any()
    assert not maps.final.any()
    assert diagnostic in maps.diagnostic
    assert bounding_box(maps.final) is None


def test_bounding_box():
    final = np.zeros((6, 8))
    final[2:4, 5] = 1.0
    final[0, 0] = 0.4
    assert bounding_box(final) == (5, 2, 6, 4)
    assert bounding_box(final, 0.4) == (0, 0, 6, 4)


def test_displayable():
    image = np.random.default_rng(0).integers(-128, 128, (3, 4, 5)).astype(np.int8)
    picture = displayable(image)
    assert (picture.shape, picture.dtype, picture.min(), picture.max()) == ((4, 5, 3), np.uint8, 0, 255)
    assert displayable(image[:1]).shape == displayable(np.zeros((7, 4, 5), np.float32)).shape == (4, 5, 3)
    assert normalize(np.zeros(3)).tolist() == [0, 0, 0]


def test_overlay_is_a_picture_that_shows_the_map(tmp_path):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pictures = []
    for corner in ((0, 0), (1, 1)):
        heatmap = np.zeros((2, 2), np.int32)
        heatmap[corner] = 9
        path = tmp_path / "overlay.png"
        write_overlay(path, pixels, heatmap_maps(heatmap, 1.0, (16, 16)), "title", (2, 2, 8, 8))
        with Image.open(path) as picture:
            pictures.append(np.asarray(picture))
    assert pictures[0].shape == pictures[1].shape
    assert (pictures[0] != pictures[1]).any()
    with pytest.raises(GradcamError, match=r"image is \(16, 16\), the heatmap \(8, 8\)"):
        write_overlay(path, pixels, heatmap_maps(np.ones((2, 2), np.int32), 1.0, (8, 8)))
