"""Cluttered digits: real handwriting placed on cluttered colour images, with the bounding box of each digit.

The handwriting is that of scikit-learn's `load_digits`: 1797 samples of 8x8 pixels, the test part of UCI's optdigits
(E. Alpaydin, C. Kaynak, 1998, CC BY 4.0), written by 13 people. `gradcam.tools.write_digits` made the copy that ships
with the package. The labels show that the samples are in the order of filled-in forms: the same sequence of about 130
digits (0..9 three times, then 9 5 5 6 5 0 ..., a few missing here and there) comes 14 times. The split cuts at such
a start and never shuffles, so no sample and no form is in both parts. Which writer filled in which form is not
recorded (there is one form more than writers), so a writer on both sides of the cut cannot be excluded.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gradcam.errors import GradcamError
from gradcam.images import Preprocessing
from gradcam.images.files import read_pixels
from gradcam.images.planes import to_channels

CLASSES = 10
SIZE = 64  # pixels, height and width of an image
MIN_DIGIT, MAX_DIGIT = 20, 40  # pixels, side of the square in which a digit is drawn
TEST_IMAGES = Path(__file__).parent / "assets" / "images"
DIGITS = Path(__file__).parent / "assets" / "digits.npz"

# Where each form starts (0 1 2 3 ...), and the end of the last one.
FORMS = (0, 130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415, 1545, 1667, 1797)

_FIRST_TEST_SAMPLE = FORMS[11]  # eleven forms for training, three for testing


class Images(NamedTuple):
    """Composed images.

    Attributes:
        pixels: uint8, N x 64 x 64 x 3, RGB.
        labels: int64, N.
        boxes: int64, N x 4; x0, y0, x1, y1 in pixels, tight around the ink, x1 and y1 exclusive.
    """

    pixels: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns ink (float32, 1797 x 8 x 8, 0 to 1) and labels (int64, 1797)."""
    with np.load(DIGITS) as digits:
        return digits["ink"].astype(np.float32) / 16, digits["labels"].astype(np.int64)


def split_indices(split: str) -> np.ndarray:
    """Returns the indices of a split's samples, "train" or "test" (int64, ascending).

    Raises:
        GradcamError: there is no such split.
    """
    if split not in ("train", "test"):
        raise GradcamError(f"split must be 'train' or 'test', got {split!r}")
    indices = np.arange(len(_digits()[1]))
    return indices[indices < _FIRST_TEST_SAMPLE] if split == "train" else indices[indices >= _FIRST_TEST_SAMPLE]


@functools.cache
def _resize_matrix(source: int, side: int) -> np.ndarray:
    """Returns the float32 side x source matrix of bilinear interpolation, pixel centres at half integers."""
    position = np.clip((np.arange(side) + 0.5) * source / side - 0.5, 0, source - 1)
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(source))).astype(np.float32)


def _warp(ink: np.ndarray, side: int, matrix: np.ndarray) -> np.ndarray:
    """Draws 8x8 ink on side x side pixels after the 2x2 linear map `matrix` about the centre, bilinear."""
    centre = (np.arange(side, dtype=np.float32) + 0.5) * 8 / side - 4
    y, x = np.meshgrid(centre, centre, indexing="ij")
    # A border of one blank pixel stands for the paper around the digit.
    padded = np.pad(ink, 1)
    sy = np.clip(matrix[0, 0] * y + matrix[0, 1] * x + 4.5, 0, 8.999)
    sx = np.clip(matrix[1, 0] * y + matrix[1, 1] * x + 4.5, 0, 8.999)
    iy, ix = sy.astype(np.int64), sx.astype(np.int64)
    fy, fx = sy - iy, sx - ix
    top = padded[iy, ix] * (1 - fx) + padded[iy, ix + 1] * fx
    bottom = padded[iy + 1, ix] * (1 - fx) + padded[iy + 1, ix + 1] * fx
    return top * (1 - fy) + bottom * fy


def _colour(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Draws an RGB colour (float32) with channels from `low` to `high`."""
    return (low + (high - low) * rng.random(3)).astype(np.float32)


def _blend(canvas: np.ndarray, alpha: np.ndarray, colour: np.ndarray, y: int, x: int) -> None:
    side = alpha.shape[0]
    patch = canvas[y : y + side, x : x + side]
    patch += alpha[:, :, None] * (colour - patch)


def compose(split: str, count: int, seed: int, labels: np.ndarray | None = None, augment: bool = False) -> Images:
    """Composes images, each with one whole digit over fragments of other digits of the same split.

    The digit has a random place, size (20 to 40 pixels) and bright colour; the background and the fragments have
    random colours that are darker on average. (With arbitrary colours for all three, a training run of 375 steps
    did not get past guessing.)

    Args:
        split: "train" or "test".
        count: number of images.
        seed: seed of numpy's default generator; the same arguments give the same images.
        labels: int, count; the digit of each image. None draws the samples of the split uniformly.
        augment: also rotates, shears and stretches each digit a little. Meant for training.

    Raises:
        GradcamError: there is no such split, or the split has no sample of a label.
    """
    rng = np.random.default_rng(seed)
    ink, classes = _digits()
    members = split_indices(split)
    if labels is None:
        samples = rng.choice(members, count)
    else:
        by_class = [members[classes[members] == c] for c in range(CLASSES)]
        if len(labels) != count or not all(0 <= c < CLASSES for c in labels):
            raise GradcamError(f"labels must be {count} integers from 0 to {CLASSES - 1}")
        samples = np.array([rng.choice(by_class[c]) for c in labels], np.int64)
    pixels = np.empty((count, SIZE, SIZE, 3), np.uint8)
    boxes = np.empty((count, 4), np.int64)
    for i, sample in enumerate(samples):
        canvas = np.empty((SIZE, SIZE, 3), np.float32)
        canvas[:] = _colour(rng, 0, 0.4)
        for _ in range(rng.integers(5, 11)):
            source = int(rng.integers(3, 5))
            y, x = rng.integers(0, 9 - source, 2)
            side = source * int(rng.integers(2, 6))
            resize = _resize_matrix(source, side)
            fragment = resize @ ink[rng.choice(members), y : y + source, x : x + source] @ resize.T
            y, x = rng.integers(0, SIZE - side + 1, 2)
            _blend(canvas, fragment, _colour(rng, 0, 0.65), y, x)

        matrix = np.eye(2, dtype=np.float32)
        if augment:
            angle, shear = rng.uniform(-0.3, 0.3, 2)
            c, s = np.cos(angle), np.sin(angle)
            stretch = np.array([[1, 0], [shear, 1]]) * rng.uniform(0.95, 1.3, (2, 1))
            matrix = np.array([[c, -s], [s, c]]) @ stretch
        side = int(rng.integers(MIN_DIGIT, MAX_DIGIT + 1))
        alpha = np.minimum(1, 1.25 * _warp(ink[sample], side, matrix.astype(np.float32)))
        y, x = rng.integers(0, SIZE - side + 1, 2)
        _blend(canvas, alpha, _colour(rng, 0.55, 1), y, x)
        rows, columns = np.flatnonzero((alpha > 0.2).any(1)), np.flatnonzero((alpha > 0.2).any(0))
        boxes[i] = x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1
        pixels[i] = np.rint(canvas * 255)
    return Images(pixels, classes[samples], boxes)


def to_input(pixels: np.ndarray) -> np.ndarray:
    """Turns pixels into a model's input: (pixel / 255 - 0.5) / 0.5, which lies in -1 to 1.

    Args:
        pixels: uint8, H x W x 3 or N x H x W x 3, RGB.

    Returns:
        float32, N x 3 x H x W (N = 1 for a single image).

    Raises:
        GradcamError: the array has another shape or type.
    """
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or pixels.shape[-1] != 3:
        raise GradcamError(f"pixels must be uint8 [N x] H x W x 3, got {pixels.dtype} {pixels.shape}")
    return Preprocessing.of().normalized(pixels if pixels.ndim == 4 else pixels[None], 255)


def calibration_images(count: int = 64) -> np.ndarray:
    """Composes model inputs from the training split, cycling through the classes; float32, count x 3 x 64 x 64."""
    return to_input(compose("train", count, seed=2024, labels=np.arange(count) % CLASSES).pixels)


def read_image(path: str | Path) -> np.ndarray:
    """Reads an image file as RGB; uint8, H x W x 3.

    Raises:
        GradcamError: the file is missing or not an image.
    """
    return to_channels(read_pixels(Path(path)), 3)


def test_image_paths(directory: Path = TEST_IMAGES) -> list[Path]:
    """Returns the paths of the shipped test images, in the order of `load_test_images`."""
    return [directory / entry["file"] for entry in _index(directory)]


def load_test_images(directory: Path = TEST_IMAGES) -> Images:
    """Loads the shipped test images: 50 from the test split, five of each class in turn."""
    index = _index(directory)
    return Images(
        np.stack([read_image(directory / entry["file"]) for entry in index]),
        np.array([entry["label"] for entry in index], np.int64),
        np.array([entry["box"] for entry in index], np.int64),
    )


def _index(directory: Path) -> list[dict]:
    return json.loads((directory / "images.json").read_text(encoding="utf-8"))


def write_test_images(directory: Path) -> None:
    """Composes the images that ship with the package and writes them as PNG, with `images.json` beside them.

    `images.json` is a list of {"file": name, "label": 0..9, "box": [x0, y0, x1, y1]}; see `Images` for the box.
    """
    from PIL import Image

    directory.mkdir(parents=True, exist_ok=True)
    images = compose("test", 50, seed=7, labels=np.arange(50) // 5)
    index = []
    for i, (pixels, label, box) in enumerate(zip(*images, strict=True)):
        name = f"digit_{label}_{i % 5}.png"
        Image.fromarray(pixels).save(directory / name, optimize=True)
        index.append({"file": name, "label": int(label), "box": box.tolist()})
    lines = ",\n".join(f"  {json.dumps(entry)}" for entry in index)
    (directory / "images.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
