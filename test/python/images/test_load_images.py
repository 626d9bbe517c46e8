"""`load_images`: the same inputs from every source, and what it refuses."""

import io
import logging
import re

import numpy as np
import pytest
import torch
from image_files import tiff
from PIL import Image as PillowImage

from gradcam import images
from gradcam.errors import GradcamError
from gradcam.images import Preprocessing, load_images
from gradcam.images.files import read_pixels

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


def test_what_images_are_called(tmp_path, pixels):
    np.save(tmp_path / "many.npy", pixels)
    np.savez(tmp_path / "many.npz", a=pixels, b=pixels[0])
    PillowImage.fromarray(pixels[0]).save(tmp_path / "one.png")
    many = [f"{tmp_path}/many.npy, image {i}" for i in range(3)]
    assert names(tmp_path / "many.npy") == many
    assert names([tmp_path / "one.png", tmp_path / "many.npy"]) == [f"{tmp_path}/one.png", *many]
    assert names(f"{tmp_path}/many.npz:b") == [f"{tmp_path}/many.npz:b"]
    assert names(pixels) == [f"the array, image {i}" for i in range(3)]
    assert names(pixels[0]) == ["the array"]
    assert names(list(pixels)) == ["image 0", "image 1", "image 2"]


def test_arrays_of_one_channel():
    grey = np.random.default_rng(1).integers(0, 256, (2, 4, 5), np.uint8)
    for array in (grey, grey[:, None], grey[:, :, :, None]):
        assert np.array_equal(inputs(array, (1, 1, 4, 5))[:, 0, 0], inputs(grey[:, None], (1, 1, 4, 5))[:, 0, 0])
    for array in (grey[0], grey[:1], grey[0][:, :, None]):
        np.testing.assert_allclose(inputs(array, (1, 1, 4, 5))[0, 0, 0], grey[0] / 127.5 - 1, atol=1e-6)


def test_int8_is_the_image_of_a_design():
    image = np.arange(-30, 30, dtype=np.int8).reshape(3, 4, 5)
    np.testing.assert_array_equal(inputs(image, scale=0.25)[0, 0], image / 4)
    with pytest.raises(GradcamError, match="is int8, an image as a compiled design takes it; only gradcam-sim reads"):
        inputs(image)


def test_ambiguous_shapes_are_refused_with_both_readings():
    cube = np.random.default_rng(2).random((3, 3, 3), np.float32)
    with pytest.raises(GradcamError) as error:
        inputs(cube, (1, 3, 3, 3))
    assert error.value.message == (
        "the array of shape 3x3x3 is CHW (3 channels, height 3, width 3) or HWC (height 3, width 3, 3 channels); "
        "save it as NCHW, with four axes"
    )
    np.testing.assert_array_equal(inputs(cube[None], (1, 3, 3, 3))[0, 0], cube)  # which is an input as it is
    with pytest.raises(GradcamError, match=r"is NCHW \(.*\) or NHWC \(.*\); save it as image files, such as PNG"):
        inputs((cube[None] * 255).astype(np.uint8), (1, 3, 3, 3))
    one = np.zeros((1, 4, 5), np.float32)  # of a single image and a single channel: both readings are the same
    assert inputs(one, (1, 1, 4, 5)).shape == (1, 1, 1, 4, 5)
    resizing = Preprocessing.of(resize=(4, 5))
    with pytest.raises(GradcamError, match=r"is HWC \(.*\) or NHW \(7 images, height 9, width 1\)"):
        inputs(np.zeros((7, 9, 1), np.uint8), (1, 1, 4, 5), resizing)


@pytest.mark.parametrize(
    ("shape", "model", "layouts"),
    [
        ((20, 24, 3), (16, 16), ("NHW", "HWC")),
        ((20, 24, 4), (16, 16), ("NHW", "HWC")),
        ((20, 24, 3), (20, 24), ("NHW", "HWC")),
        ((3, 5, 7), (16, 16), ("NHW", "CHW")),
        ((3, 5, 7), (5, 7), ("NHW", "CHW")),
    ],
)
def test_colours_are_not_several_grey_images(shape, model, layouts):
    with pytest.raises(GradcamError) as error:
        inputs(np.zeros(shape, np.uint8), (1, 1, *model), Preprocessing.of(resize=model))
    first, second = (f"{layout} \\(.*\\)" for layout in layouts)
    remedy = "save grey images as Nx1xHxW, with four axes, and colours as image files, such as PNG"
    assert re.search(f"is {first} or {second}; {remedy}$", error.value.message)
    grey = np.zeros((shape[0], 1, *shape[1:]), np.uint8)  # which is what the message says to do
    assert len(inputs(grey, (1, 1, *model), Preprocessing.of(resize=model))) == shape[0]


def test_grey_images_that_are_no_colours():
    """Images of the network's size, though 3 or 4 wide, and 4 of any size."""
    assert len(inputs(np.zeros((20, 5, 3), np.uint8), (1, 1, 5, 3))) == 20
    assert len(inputs(np.zeros((4, 5, 7), np.uint8), (1, 1, 8, 8), Preprocessing.of(resize=(8, 8)))) == 4
    with pytest.raises(GradcamError, match=r"is NHW \(3 images, .*\) or CHW \(3 channels, .*\)"):
        inputs(np.zeros((3, 5, 7), np.float32), (1, 1, 5, 7))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            np.zeros((1, 5, 4, 3), np.uint8),
            "image 0 has 5x4 pixels .*; compile with --resize 4x5",
        ),
        (np.zeros((1, 4, 5, 2), np.float32), "has shape 1x4x5x2 .float32.; the model takes 3 channels, 4x5"),
        (np.zeros(3, np.float32), "has shape 3 .float32.; the model takes 3 channels"),
        (np.float32(1), "has shape of a single value"),
        (np.zeros((1, 3, 4, 5), np.int64), "holds int64; pixels are uint8, uint16 or bool, and inputs of"),
        (np.zeros((1, 3, 4, 5), np.complex64), "holds complex64; pixels are"),
        (np.full((1, 3, 4, 5), np.nan, np.float32), "the array, image 0 has values that are not finite"),
        (np.full((3, 4, 5), 1e300), "the array has values that are not finite"),
        (np.zeros((0, 3, 4, 5), np.float32), "no images in what was given"),
        ([], "no images in what was given"),
        ([[[[1, 2], [3]]]], "cannot read image 0: ValueError: setting an array element with a sequence"),
        ([(np.zeros((1, 3, 4, 5), np.float32), np.zeros(1))], "cannot read image 0: "),
        (7, "images must be files, folders or arrays, got int"),
        ("nowhere", "cannot read nowhere: there is no such file or folder"),
        ("nowhere.npz:x", "cannot read nowhere.npz:x: there is no such file or folder"),
        ("x" * 5000, "cannot read x*: File name too long"),
        ("/dev/null", "cannot read /dev/null: it is neither a file nor a folder"),
    ],
)
def test_sources_that_are_refused(source, message):
    with pytest.raises(GradcamError, match=message) as error:
        inputs(source)
    assert "\n" not in error.value.message


def archived(**arrays):
    """The bytes of an .npz file."""
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def stored(array, **options):
    """The bytes of an .npy file."""
    out = io.BytesIO()
    np.save(out, array, **options)
    return out.getvalue()


FLOATS = np.ones((4, 3, 4, 5), np.float32)
#: Contents of files and what is said of them.
DAMAGED = {
    "empty.npy": (b"", "cannot read .*empty.npy: EOFError: No data left in file"),
    "text.npy": (b"not an array", "cannot read .*text.npy: it is no file of NumPy$"),
    "archive.npy": (archived(a=FLOATS), "archive.npy is an .npz archive; rename it"),
    "array.npz": (stored(FLOATS), "array.npz is an .npy file; rename it"),
    "negative.npy": (stored(FLOATS).replace(b"(4, 3, 4, 5)", b"(-4,3, 4, 5)"), "cannot read .*negative.npy: "),
    "twice.npy": (stored(FLOATS).replace(b"(4, 3, 4, 5)", b"(-4,-3,4, 5)"), "cannot read .*twice.npy: "),
    "fewer.npy": (stored(FLOATS).replace(b"(4, 3, 4, 5)", b"(2, 3, 4, 5)"), "holds 480 bytes behind its array"),
    "large.npy": (stored(FLOATS).replace(b"(4, 3, 4, 5), ", b"(4, 3, 99999999)"), "cannot read .*large.npy: "),
    "cut.npy": (stored(FLOATS)[:-9], "cannot read .*cut.npy: "),
    "pickle.npy": (stored(np.array([{}], object), allow_pickle=True), "cannot read .*pickle.npy: "),
    "record.npy": (stored(np.zeros(3, "f4,i4")), "record.npy holds .*; pixels are"),
    "pickle.npz": (archived(a=np.array([{}], object)), "cannot read .*pickle.npz: "),
    "none.npz": (archived(), "none.npz holds no arrays; name one"),
    "two.npz": (archived(a=FLOATS, b=FLOATS), "two.npz holds 2 arrays: 'a', 'b'; name one, .*two.npz:NAME"),
    "cut.npz": (archived(a=FLOATS)[:-30], "cannot read .*cut.npz: "),
    "empty.png": (b"", "cannot read image .*empty.png: Pillow reads no image of the kinds PNG, JPEG, TIFF, BMP, "),
    "text.tif": (b"II*\0 and no more", "cannot read image .*text.tif: "),
    "large.ppm": (
        b"P6 99999 99999 255\n",
        "large.ppm: DecompressionBombError: Image size .* exceeds limit",
    ),
    "largish.ppm": (
        b"P6 10000 10000 255\n",
        "largish.ppm: DecompressionBombWarning: Image size .* exceeds limit",
    ),
    "cut.ppm": (b"P6 5 4 255\n12", "cannot read image .*cut.ppm: OSError: image file is truncated"),
    "deep.ppm": (b"P6 5 4 4095\n12", "deep.ppm is truncated"),
    "few.pgm": (b"P5 5 4 100\n12", "few.pgm is truncated"),
    "over.pgm": (b"P5 5 4 100\n" + b"\x65" * 20, "over.pgm has values above its 100"),
    "over.ppm": (b"P6 5 4 4095\n" + b"\xff" * 120, "over.ppm has values above its 4095"),
    "plain.ppm": (b"P3 1 1 4095\n1 2 3\n", "plain.ppm is a plain PPM of more than 8 bits; save it as a binary one"),
    "size.ppm": (
        b"P6 4 5 255\n" + bytes(60),
        "has 5x4 pixels .height x width., the model takes 4x5; compile with --resize 4x5$",
    ),
    "size.pgm": (
        b"P5 6 5 255\n" + bytes(30),
        "has 5x6 pixels .*, the model takes 4x5; compile with --resize 4x5 or --crop 4x5",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_files_that_are_refused(name, tmp_path, capfd):
    data, message = DAMAGED[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(GradcamError, match=message) as error:
        inputs(tmp_path / name)
    assert "\n" not in error.value.message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("largest", [1, 2, 100, 254, 255, 256, 1000, 4095, 65534, 65535])
@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
def test_portable_maps_of_any_largest_value(kind, largest, tmp_path):
    """Their pixels are read as they are; Pillow alone would round those of a PPM to 8 bits."""
    values = np.random.default_rng(4).integers(0, largest + 1, (4, 5, 3 if kind in ("P3", "P6") else 1))
    values[0, :2, 0] = 0, largest
    header, path = f"{kind}\n5 4\n{largest}\n".encode(), tmp_path / "x.pnm"
    binary = values.astype(">u2" if largest > 255 else "u1").tobytes()
    path.write_bytes(header + (binary if kind in ("P5", "P6") else " ".join(map(str, values.flat)).encode()))
    if kind == "P3" and largest > 255:
        with pytest.raises(GradcamError, match="is a plain PPM of more than 8 bits"):
            read_pixels(path)
        return
    pixels = read_pixels(path)
    assert pixels.white == largest
    np.testing.assert_array_equal(pixels.values, values)


def test_members_of_an_archive(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(archived(a=FLOATS, b=2 * FLOATS))
    assert inputs(f"{path}:b").max() == 2
    with pytest.raises(GradcamError, match=r"x.npz has no array 'c'; it has 'a', 'b'"):
        inputs(f"{path}:c")


def test_an_array_that_is_too_large_for_an_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(images.arrays, "LARGEST_MEMBER", 900)
    (tmp_path / "x.npz").write_bytes(archived(a=FLOATS))
    with pytest.raises(GradcamError, match=r"array 'a' has 1,088 bytes; save it as an .npy file"):
        inputs(tmp_path / "x.npz")


def test_images_whose_white_is_not_known(tmp_path):
    grey = np.arange(20).reshape(4, 5)
    cases = {
        "x has 16-bit signed integers": tiff(tmp_path / "x", grey.astype(np.int16)),
        "y has 32-bit integers": tiff(tmp_path / "y", grey.astype(np.int32)),
        "z has floats from 0 to 19": tiff(tmp_path / "z", grey.astype(np.float32)),
        "w has floats from nan to nan": tiff(tmp_path / "w", np.full((4, 5), np.nan, np.float32)),
        "v has CMYK pixels of 16 bits": tiff(tmp_path / "v", np.zeros((4, 5, 4), np.uint16), photometric=5),
        "u has a plane per channel at 16 bits": tiff(tmp_path / "u", np.zeros((4, 5, 3), np.uint16), planar=2),
        "t: Pillow reads no image": tiff(tmp_path / "t", np.zeros((4, 5, 3), np.float32)),
    }
    for message, path in cases.items():
        with pytest.raises(GradcamError, match=message) as error:
            inputs(path)
        assert "\n" not in error.value.message


def test_several_frames_are_refused(tmp_path, pixels):
    first, *others = [PillowImage.fromarray(image) for image in pixels]
    for name in ("x.tiff", "x.webp", "x.png"):
        first.save(tmp_path / name, save_all=True, append_images=others)
        with pytest.raises(GradcamError, match=rf"{name} has 3 frames; save the one that is meant as a file"):
            inputs(tmp_path / name)
    first.save(tmp_path / "x.mpo", save_all=True, append_images=others)  # a photograph with its previews
    assert len(inputs(tmp_path / "x.mpo")) == 1


def test_networks_of_other_channels(tmp_path, pixels):
    rgba = np.dstack([pixels[0], pixels[1][:, :, 0]])
    PillowImage.fromarray(rgba).save(tmp_path / "x.png")
    zero_one = Preprocessing.of(preset="zero-one")
    np.testing.assert_allclose(inputs(tmp_path / "x.png", (1, 4, 4, 5), zero_one)[0, 0] * 255, rgba.transpose(2, 0, 1))
    PillowImage.fromarray(pixels[0]).save(tmp_path / "opaque.png")
    assert (inputs(tmp_path / "opaque.png", (1, 4, 4, 5), zero_one)[0, 0, 3] == 1).all()
    with pytest.raises(GradcamError, match=r"an image file cannot feed a model with 2 channels; use an .npy file"):
        inputs(tmp_path / "x.png", (1, 2, 4, 5))
    with pytest.raises(GradcamError, match="mean has 3 numbers, the model 1 channels; give one number"):
        inputs(tmp_path / "x.png", (1, 1, 4, 5), Preprocessing.of(preset="imagenet"))


def test_what_is_said(tmp_path, pixels, caplog):
    images._say_composed.cache_clear()
    for name in ("a.png", "b.png"):
        PillowImage.fromarray(np.dstack([pixels[0], pixels[1][:, :, 0]])).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "labels.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert len(inputs(tmp_path, preprocessing=Preprocessing.of(background="#ff8000"))) == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: files that are no images are left out: 2, such as labels.json",
        "transparent images are composed on #ff8000; --background of gradcam-compile sets the colour",
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(GradcamError, match=r"no images in .*empty"):
        inputs(tmp_path / "empty")


def test_an_opaque_alpha_is_not_spoken_of(tmp_path, pixels, caplog):
    images._say_composed.cache_clear()
    PillowImage.fromarray(np.dstack([pixels[0], np.full((4, 5), 255, np.uint8)])).save(tmp_path / "a.png")
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(inputs(tmp_path), expected(pixels[:1])[:, None][:, 0], atol=1e-6)
    assert not caplog.records
