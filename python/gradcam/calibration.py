"""Calibration images from a folder, a NumPy file or any Python iterable, as the model's float inputs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from gradcam.errors import GradcamError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")


def load_images(
    source: str | Path | Iterable[ArrayLike],
    shape: Sequence[int],
    mean: float | Sequence[float] = 0.5,
    std: float | Sequence[float] = 0.5,
) -> Iterator[np.ndarray]:
    """Yields a model's inputs one by one, so that a big set never has to fit in memory.

    Args:
        source: a folder of images, an `.npy` file, or an iterable (also an array) of images. Float images are used as
            they are: float32, CxHxW or 1xCxHxW. Pixels (uint8, HxWxC) become (pixel / 255 - mean) / std.
        shape: the model's input shape, (1, C, H, W).
        mean: mean of the pixels' scaled values, one number or one per channel.
        std: their standard deviation, in the same form.

    Yields:
        float32, 1xCxHxW.

    Raises:
        GradcamError: the source is missing or empty, or an image has another size or type, or is not finite.
    """
    count = 0
    for name, image in _read(source, shape[1]):
        yield _to_input(name, np.asarray(image), tuple(shape), mean, std)
        count += 1
    if count == 0:
        raise GradcamError(f"no calibration images in {source if isinstance(source, str | Path) else 'the iterable'}")


def batches(images: Iterable[np.ndarray], shape: Sequence[int], size: int) -> Iterator[np.ndarray]:
    """Yields the images joined: float32, NxCxHxW with N at most `size`.

    Args:
        images: each of the shape (1, C, H, W).
        shape: that shape.
        size: the largest batch, at least 1.

    Raises:
        GradcamError: an image has another shape.
    """
    iterator = iter(images)
    while batch := list(itertools.islice(iterator, size)):
        for image in batch:
            if image.shape != tuple(shape):
                raise GradcamError(
                    f"a calibration image has shape {_text(image.shape)}, the model takes {_text(shape)}"
                )
        yield np.concatenate(batch)


def _read(source: str | Path | Iterable[ArrayLike], channels: int) -> Iterator[tuple[str, ArrayLike]]:
    """Yields every image with a name for error messages."""
    if not isinstance(source, str | Path):
        yield from ((f"calibration image {i}", image) for i, image in enumerate(source))
        return
    path = Path(source)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        yield from ((str(p), _read_file(p, channels)) for p in files)
    elif path.suffix == ".npy":
        yield from ((f"{path}, image {i}", image) for i, image in enumerate(_read_npy(path)))
    else:
        raise GradcamError(f"calibration images must be a folder or an .npy file, got {path}")


def _read_npy(path: Path) -> np.ndarray:
    try:
        images = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise GradcamError(f"cannot read calibration images {path}: {error}") from error
    if images.ndim != 4:
        raise GradcamError(
            f"{path} must hold float32 NxCxHxW or uint8 NxHxWxC, got {images.dtype} {_text(images.shape)}"
        )
    return images


def _read_file(path: Path, channels: int) -> np.ndarray:
    from PIL import Image  # only a folder of images needs it

    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    if channels not in modes:
        raise GradcamError(f"{path}: an image file cannot feed a model with {channels} channels; use an .npy file")
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert(modes[channels]))
    except (OSError, SyntaxError) as error:  # Pillow reports some damaged files as SyntaxError
        raise GradcamError(f"cannot read image {path}: {error}") from error
    return pixels.reshape(*pixels.shape[:2], channels)


def _to_input(
    name: str,
    image: np.ndarray,
    shape: tuple[int, ...],
    mean: float | Sequence[float],
    std: float | Sequence[float],
) -> np.ndarray:
    _, channels, height, width = shape
    if image.dtype == np.uint8:
        if image.shape != (height, width, channels):
            raise GradcamError(
                f"{name} has shape {_text(image.shape)}, the model takes {_text((height, width, channels))} pixels"
            )
        centre, spread = (_per_channel(v, channels, what) for v, what in ((mean, "mean"), (std, "std")))
        image = ((image.astype(np.float32) / 255 - centre) / spread).transpose(2, 0, 1)
    elif image.dtype != np.float32:
        raise GradcamError(f"{name} must be float32 or uint8, got {image.dtype}")
    if image.shape not in (shape, shape[1:]):
        raise GradcamError(f"{name} has shape {_text(image.shape)}, the model takes {_text(shape[1:])}")
    if not np.isfinite(image).all():
        raise GradcamError(f"{name} has values that are not finite")
    return np.ascontiguousarray(image, np.float32).reshape(shape)


def _per_channel(values: float | Sequence[float], channels: int, what: str) -> np.ndarray:
    array = np.asarray(values, np.float32).reshape(-1)
    if array.size not in (1, channels) or (what == "std" and not (array > 0).all()):
        raise GradcamError(f"{what} must be one number or {channels} numbers, std positive, got {values}")
    return array


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
