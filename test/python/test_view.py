"""Heatmap post-processing against PyTorch's resize and pytorch-grad-cam's published steps."""

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from gradcam.errors import GradcamError
from gradcam.view import (
    GAP,
    LINE,
    blended,
    bounding_box,
    displayable,
    heatmap_maps,
    jet,
    normalize,
    overlay,
    resize,
    sheet,
    write_overlay,
)


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


def test_jet_is_matplotlibs():
    x = np.linspace(0, 1, 10_001)
    np.testing.assert_allclose(jet(x), matplotlib.colormaps["jet"](x)[:, :3], atol=1e-12)
    assert np.abs(jet(x) - matplotlib.colormaps["turbo"](x)[:, :3]).max() > 0.1


def test_an_overlay_has_the_colours_of_its_map_and_a_box_at_its_peak():
    pixels = np.full((4, 4, 3), 100, np.uint8)
    heatmap = np.zeros((4, 4), np.int32)
    heatmap[2, 1] = 9
    maps = heatmap_maps(heatmap, 1.0, (4, 4))
    np.testing.assert_array_equal(
        blended(pixels, maps.final),
        np.rint(0.45 * 255 * matplotlib.colormaps["jet"](maps.final)[..., :3] + 55).astype(np.uint8),
    )
    picture = np.asarray(overlay(pixels, maps, side=40))
    assert picture.shape == (40, 40, 3)
    white = np.argwhere((picture == 255).all(2))
    assert white.min(0).tolist() == [20, 10] and white.max(0).tolist() == [29, 19]
    assert (picture[25, 15] == blended(pixels, maps.final)[2, 1]).all()


def test_a_sheet_has_a_place_for_every_picture():
    panels = [(Image.new("RGB", (30, 20), (50 * i, 0, 0)), f"a rather long name {i}") for i in range(1, 6)]
    whole = np.asarray(sheet(panels, 3, ["a title"]))
    rows, columns = 2, 3
    assert whole.shape == (LINE + GAP + rows * (20 + LINE + GAP), columns * (30 + GAP) + GAP, 3)
    for i in range(5):
        x, y = GAP + i % 3 * (30 + GAP), LINE + GAP + i // 3 * (20 + LINE + GAP)
        assert (whole[y : y + 20, x : x + 30] == [50 * (i + 1), 0, 0]).all()
    assert (whole[-20 - LINE - GAP : -LINE - GAP, -30 - GAP :] == 255).all()  # no sixth one


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
