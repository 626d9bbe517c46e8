"""Preprocessing: what it makes of pixels, how it is described, and what it refuses."""

import msgspec
import numpy as np
import pytest
from PIL import Image as PillowImage

from gradcam import Settings
from gradcam.errors import GradcamError
from gradcam.images import PRESETS, Preprocessing, load_images


@pytest.fixture
def photograph():
    """37 x 53 pixels with edges and gradients."""
    y, x = np.mgrid[:37, :53]
    return np.dstack([x * 4 % 256, y * 6 % 256, (x // 5 + y // 7) % 2 * 255]).astype(np.uint8)


def sized(path, size, **options):
    (image,) = load_images(path, (1, 3, *size), Preprocessing.of(preset="zero-one", **options))
    return np.rint(image.input[0] * 255).astype(np.uint8).transpose(1, 2, 0)


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    """The numbers that torchvision's, Keras's and timm's documents give."""
    known = {
        "imagenet": lambda p: (p - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        "tf": lambda p: p * 255 / 127.5 - 1,
        "zero-one": lambda p: p,
        "minus-one-one": lambda p: 2 * p - 1,
    }
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    (image,) = load_images(pixels, (1, 3, 4, 5), Preprocessing.of(preset=name))
    np.testing.assert_allclose(image.input[0].transpose(1, 2, 0), known[name](pixels / 255), atol=1e-6)
    assert image.preprocessed


def test_mean_and_std_per_channel_and_for_all():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    for mean, std in (([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]), (0.25, 0.75), ((0.25,), (0.5, 0.6, 0.7))):
        (image,) = load_images(pixels, (1, 3, 4, 5), Preprocessing.of(mean, std))
        want = (pixels / 255 - np.array(mean)) / np.array(std)
        np.testing.assert_allclose(image.input[0].transpose(1, 2, 0), want, atol=1e-6)


def test_resize_and_crop_are_those_of_pillow(photograph, tmp_path):
    """As torchvision's Resize and CenterCrop use it: the longer side rounds down, the crop's corner to even."""
    source = PillowImage.fromarray(photograph)
    source.save(tmp_path / "x.png")
    bilinear = PillowImage.Resampling.BILINEAR
    whole = np.asarray(source.resize((18, 11), bilinear))
    np.testing.assert_array_equal(sized(tmp_path / "x.png", (11, 18), resize=(11, 18)), whole)
    shorter = np.asarray(source.resize((int(16 * 53 / 37), 16), bilinear))  # 22 x 16
    np.testing.assert_array_equal(sized(tmp_path / "x.png", (16, 22), resize=16), shorter)
    np.testing.assert_array_equal(sized(tmp_path / "x.png", (13, 13), resize=16, crop=13), shorter[2:15, 4:17])
    np.testing.assert_array_equal(sized(tmp_path / "x.png", (7, 9), crop=(7, 9)), photograph[15:22, 22:31])
    np.testing.assert_array_equal(sized(photograph[None], (13, 13), resize=16, crop=13), shorter[2:15, 4:17])


def test_resize_keeps_the_depth(tmp_path):
    """Between 1000 and 2000 of 65535 nearly all of an 8-bit image would be 5 or 6."""
    ramp = np.linspace(1000, 2000, 64 * 64).reshape(64, 64).astype(np.uint16)
    PillowImage.fromarray(ramp).save(tmp_path / "x.png")
    (image,) = load_images(tmp_path / "x.png", (1, 1, 32, 32), Preprocessing.of(preset="zero-one", resize=32))
    found = image.input[0, 0, 4:-4, 4:-4] * 65535
    np.testing.assert_allclose(found, ramp.reshape(32, 2, 32, 2).mean((1, 3))[4:-4, 4:-4], atol=1)


def test_float_arrays_are_not_resized(photograph):
    floats = np.zeros((3, 37, 53), np.float32)
    with pytest.raises(GradcamError, match=r"has shape 3x37x53 .float32.; the model takes 3 channels, 16x16"):
        list(load_images(floats, (1, 3, 16, 16), Preprocessing.of(resize=(16, 16))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "has 37x53 pixels .*, the model takes 32x32; compile with --resize 32x32 or --crop 32x32$"),
        ({"resize": 32}, "has 32x45 pixels .* after resize and crop, .*; compile with --resize 32x32 or --crop 32x32$"),
    ],
)
def test_other_sizes_are_refused(photograph, options, message):
    with pytest.raises(GradcamError, match=message):
        sized(photograph, (32, 32), **options)


def test_sizes_that_an_image_does_not_give(photograph):
    with pytest.raises(GradcamError, match=r"has 37x53 pixels .*, less than the crop 64x64$"):
        sized(photograph, (64, 64), crop=64)
    too_many = "resize 1048576 makes 1048576x1502014 pixels of an image, too many to be meant"
    with pytest.raises(GradcamError, match=too_many):
        sized(photograph, (1 << 20, 1 << 20), resize=1 << 20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 9999}, r"crop 9999 never gives the 32x48 pixels \(height x width\) that .*; give crop 32x48$"),
        ({"crop": 20}, "crop 20 never gives the 32x48 pixels"),
        ({"crop": (48, 32)}, "crop 48x32 never gives the 32x48 pixels"),
        ({"resize": 48, "crop": 32}, "crop 32 never gives the 32x48 pixels"),
        ({"resize": 20}, "resize 20 never gives the 32x48 pixels .*; give resize 32x48$"),
        ({"resize": (32, 32)}, "resize 32x32 never gives the 32x48 pixels"),
        ({"resize": 31, "crop": (32, 48)}, "resize 31 leaves less than the crop 32x48 of every image; give a larger"),
        ({"resize": (64, 47), "crop": (32, 48)}, "resize 64x47 leaves less than the crop 32x48"),
    ],
)
def test_sizes_that_no_image_has_are_refused_without_pixels(options, message):
    """The inputs are the model's own, and would be taken as they are."""
    floats = np.zeros((1, 3, 32, 48), np.float32)
    with pytest.raises(GradcamError, match=message):
        list(load_images(floats, floats.shape, Preprocessing.of(**options)))


@pytest.mark.parametrize(
    "options",
    [
        {"resize": 32},
        {"resize": (32, 48)},
        {"crop": (32, 48)},
        {"resize": 32, "crop": (32, 48)},
        {"resize": (32, 48), "crop": (32, 48)},
        {"resize": 64, "crop": (32, 48)},
    ],
)
def test_sizes_that_some_image_has(options):
    pixels = np.zeros((64, 96, 3), np.uint8)
    (image,) = load_images(pixels, (1, 3, 32, 48), Preprocessing.of(**options))
    assert image.input.shape == (1, 3, 32, 48)


def test_a_background_that_nothing_lies_on():
    shape, white = (1, 4, 5, 6), Preprocessing.of(background="white")
    with pytest.raises(GradcamError, match="background has no effect: a model of 4 channels composes no transparent"):
        list(load_images(np.zeros(shape, np.float32), shape, white))
    assert len(list(load_images(np.zeros(shape, np.float32), shape, Preprocessing.of()))) == 1


@pytest.mark.parametrize(
    ("colour", "levels"),
    [("black", (0, 0, 0)), ("white", (255, 255, 255)), ("#ff8000", (255, 128, 0)), ([1, 2, 3],) * 2],
)
def test_transparent_images_lie_on_the_background(colour, levels, tmp_path):
    values, alpha = np.full((4, 5, 3), 200, np.uint8), np.arange(0, 200, 10, np.uint8).reshape(4, 5)
    PillowImage.fromarray(np.dstack([values, alpha])).save(tmp_path / "x.png")
    weight = alpha[:, :, None] / 255
    want = np.rint(weight * 200 + (1 - weight) * np.array(levels))
    np.testing.assert_array_equal(sized(tmp_path / "x.png", (4, 5), background=colour), want)
    PillowImage.fromarray(np.dstack([values[:, :, 0], alpha])).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(sized(tmp_path / "grey.png", (4, 5), background=colour), want)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "imagenet", "mean": 0.5}, "preset imagenet has a mean and a std; leave out"),
        ({"preset": "imagenets"}, "there is no preset 'imagenets'; did you mean 'imagenet'"),
        ({"preset": "caffe"}, "there is no preset 'caffe'; there are imagenet, tf, zero-one, minus-one-one"),
        ({"mean": 0.5}, "mean without std; give both"),
        ({"std": 0.5}, "std without mean; give both"),
        ({"mean": 0.5, "std": 0}, "std must be positive, got 0"),
        ({"mean": 0.5, "std": (0.5, -1, 1)}, "std must be positive, got 0.5,-1,1"),
        ({"mean": "half", "std": 1}, "mean must be a number, or one per channel, got half"),
        ({"mean": float("nan"), "std": 1}, "mean must be a number, or one per channel, got nan"),
        ({"mean": (), "std": 1}, "mean must be a number, or one per channel"),
        ({"mean": True, "std": 1}, "mean must be a number, or one per channel, got True"),
        (
            {"mean": (123.675, 116.28, 103.53), "std": (58.4, 57.1, 57.4)},
            "mean 123.675,116.28,103.53 is far .* by 255$",
        ),
        ({"mean": 128, "std": 1}, "mean 128 is far from pixels, which are 0 to 1; divide"),
        ({"mean": -2.1, "std": 1}, "mean -2.1 is far from pixels"),
        ({"mean": 1e39, "std": 1}, r"mean 1e\+39 is far from pixels"),
        ({"mean": 0, "std": 255}, "std 255 is far from pixels"),
        ({"mean": 0, "std": 1e-46}, "std must be at least 5.96046e-08, for pixels from 0 to 1, got 1e-46"),
        ({"mean": 0, "std": (1, 1e-40, 1)}, "std must be at least 5.96046e-08, .* got 1,1e-40,1"),
        ({"resize": True}, "resize must be a number of pixels, or height and width such as 224x160, got True"),
        ({"resize": (True, 16)}, "resize must be a number of pixels"),
        ({"resize": np.array([16.0, 16.0])}, "resize must be a number of pixels"),
        ({"resize": 0}, "resize must be a number of pixels, or height and width such as 224x160, got 0"),
        ({"resize": (1, 2, 3)}, "resize must be a number of pixels"),
        ({"crop": 2.5}, "crop must be a number of pixels"),
        ({"crop": "224"}, "crop must be a number of pixels"),
        ({"background": "blackish"}, "background must be a colour such as white or #ff8000, got 'blackish'"),
        ({"background": (0, 0, 256)}, "background must be red, green and blue from 0 to 255"),
        ({"background": None}, "background must be red, green and blue from 0 to 255, got None"),
        ({"background": (True, 0, 0)}, "background must be red, green and blue from 0 to 255"),
        ({"background": "#00000000"}, "background must be red, green and blue from 0 to 255"),
    ],
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(GradcamError, match=message) as error:
        Settings("layer4", **options)
    assert "\n" not in error.value.message


def test_numbers_of_numpy():
    """Integers and arrays mean what those of Python mean, and go to JSON."""
    given = {"mean": np.float32(0.5), "std": np.array([0.5, 0.25, 0.125]).reshape(3, 1, 1), "resize": np.int64(16)}
    how = Preprocessing.of(**given, crop=np.array([8, 16], np.uint8), background=np.array([1, 2, 3]))
    assert how == Preprocessing.of(0.5, (0.5, 0.25, 0.125), None, 16, (8, 16), (1, 2, 3))
    assert msgspec.json.decode(msgspec.json.encode(how), type=Preprocessing) == how


@pytest.mark.parametrize(
    ("mean", "std", "meant"),
    [
        (0, 1 / 255, lambda p: p * 255),
        (0, 1 / 65535, lambda p: p * 65535),
        (-1, 1, lambda p: p + 1),
        (128 / 255, 1 / 255, lambda p: p * 255 - 128),
        (0.5, 2, lambda p: (p - 0.5) / 2),
    ],
)
def test_unusual_statistics_of_pixels_from_0_to_1(mean, std, meant):
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    (image,) = load_images(pixels, (1, 3, 4, 5), Preprocessing.of(mean, std))
    np.testing.assert_allclose(image.input[0].transpose(1, 2, 0), meant(pixels / 255), rtol=1e-4, atol=1e-4)


def test_text_and_json_round_trip():
    how = Preprocessing.of(preset="imagenet", resize=256, crop=(224, 224), background="white").of_channels(3)
    assert str(how) == (
        "transparent images on #ffffff; resize to 256 on the shorter side; crop 224x224; "
        "mean 0.485,0.456,0.406, std 0.229,0.224,0.225 of pixels from 0 to 1"
    )
    assert msgspec.json.decode(msgspec.json.encode(how), type=Preprocessing) == how
    assert str(Preprocessing.of()) == "mean 0.5, std 0.5 of pixels from 0 to 1"
