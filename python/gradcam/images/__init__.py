"""Images from files, folders and arrays as a network's inputs: one reader for every tool, see docs/images.md."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gradcam.errors import GradcamError
from gradcam.images.arrays import WHITE, images_of, read_array, shape_text
from gradcam.images.files import SUFFIXES, Pixels, read_pixels
from gradcam.images.planes import composed, resized, to_channels
from gradcam.images.preprocessing import (
    ASSUMED,
    ASSUMED_INSIDE,
    PRESETS,
    Normalization,
    Numbers,
    Preprocessing,
    Size,
    colour_text,
    size_text,
)
from gradcam.outside import reading

__all__ = [
    "ASSUMED",
    "ASSUMED_INSIDE",
    "PRESETS",
    "Image",
    "Normalization",
    "Numbers",
    "Preprocessing",
    "Size",
    "Source",
    "batches",
    "load_images",
]

#: Where images come from: a file, a folder, an array, or several of them.
Source = str | Path | ArrayLike | Iterable[str | Path | ArrayLike]

#: Suffixes of arrays.
ARRAYS = (".npy", ".npz")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Image:
    """An image as a model takes it, before the model's own normalization.

    Attributes:
        name: the file, with a number where it holds several images; for messages and tables.
        input: float32, 1 x C x H x W.
        preprocessed: whether it was made from pixels by the preprocessing; otherwise it was given as an input.
    """

    name: str
    input: np.ndarray
    preprocessed: bool


def load_images(
    source: Source, shape: Sequence[int], preprocessing: Preprocessing, scale: float | None = None
) -> Iterator[Image]:
    """Yields images one by one, so that a large set never has to fit in memory.

    Args:
        source: an image file, an `.npy` file, an `.npz` file (`FILE.npz:NAME` for one of several arrays), a folder with
            such files, also in folders inside it, an array, or an iterable of these. Pixels, which image files and
            arrays of uint8, uint16 and bool hold, become inputs by `preprocessing`; arrays of floats are inputs as they
            are. The axes of an array are told by its shape: NCHW, NHWC, CHW, HWC, of one channel also NHW and HW.
        shape: the model's input shape, (1, C, H, W).
        preprocessing: what makes inputs of pixels.
        scale: the real value of the integer 1 of the design, where there is one; arrays of int8, the images that a
            design takes, are then inputs, too.

    Raises:
        GradcamError: the source is missing, empty or damaged, an image has another size or type, or is not finite, or
            the preprocessing cannot be that of the model, even where no image needs it.
    """
    reader = _Reader(tuple(shape), preprocessing.for_model(shape), scale)
    count = 0
    for image in reader.read(source):
        yield image
        count += 1
    if not count:
        raise GradcamError(f"no images in {source if isinstance(source, str | Path) else 'what was given'}")


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
                    f"a calibration image has shape {shape_text(image.shape)}, the model takes {shape_text(shape)}"
                )
        yield np.concatenate(batch)


@dataclass(frozen=True)
class _Reader:
    """Reads images for a model; the attributes are the arguments of `load_images`."""

    shape: tuple[int, ...]
    preprocessing: Preprocessing
    scale: float | None

    def read(self, source: Any, name: str = "the array") -> Iterator[Image]:
        """The images of a source; `name` is that of an array."""
        if isinstance(source, str | os.PathLike):
            yield from self._of_path(Path(source))
        elif hasattr(source, "__array__"):  # of NumPy, PyTorch, ...
            with reading(name):
                array = np.asarray(source)
            yield from self._of_array(array, name)
        elif isinstance(source, Iterable):
            for i, item in enumerate(source):
                yield from self._of_item(item, f"image {i}")
        else:
            raise GradcamError(f"images must be files, folders or arrays, got {type(source).__name__}")

    def _of_item(self, item: Any, name: str) -> Iterator[Image]:
        if isinstance(item, str | os.PathLike) or hasattr(item, "__array__"):
            yield from self.read(item, name)
            return
        with reading(name):
            array = np.asarray(item)  # nested lists of numbers
        yield from self._of_array(array, name)

    def _of_path(self, path: Path) -> Iterator[Image]:
        with reading(str(path)):  # a name may be too long, a folder closed to this user
            path, member = _split(path)
            is_folder, is_file = path.is_dir(), path.is_file()
            files = _files(path) if is_folder else []
        if is_folder:
            _say_left_out(path, files)
            for file in files:
                if _is_image(file):
                    yield from self._of_path(file)
        elif not is_file:
            raise GradcamError(f"cannot read {path}: it is neither a file nor a folder")
        elif path.suffix.lower() in ARRAYS:
            yield from self._of_array(read_array(path, member), f"{path}:{member}" if member else str(path))
        else:
            yield self._of_pixels(str(path), read_pixels(path))

    def _of_array(self, array: np.ndarray, name: str) -> Iterator[Image]:
        kind = array.dtype.newbyteorder("=")
        is_pixels = kind in WHITE
        if kind == np.int8 and self.scale is None:
            raise GradcamError(f"{name} is int8, an image as a compiled design takes it; only gradcam-sim reads it")
        if not is_pixels and kind != np.int8 and kind.kind != "f":
            raise GradcamError(
                f"{name} holds {kind}; pixels are uint8, uint16 or bool, and inputs of the network are floats"
            )
        for each, values in images_of(array, name, self.shape):
            if is_pixels:
                unsigned = values * np.uint8(WHITE[kind]) if kind == np.bool_ else values
                yield self._finished(each, unsigned, WHITE[kind])
            else:
                yield Image(each, self._as_given(each, values), False)

    def _as_given(self, name: str, values: np.ndarray) -> np.ndarray:
        planes = values.transpose(2, 0, 1)
        if planes.dtype == np.int8:
            planes = self.preprocessing.before_entering(planes.astype(np.float64) * (self.scale or 1))
        with np.errstate(over="ignore"):
            given = np.ascontiguousarray(planes, np.float32)[None]
        if not np.isfinite(given).all():
            raise GradcamError(f"{name} has values that are not finite")
        return given

    def _of_pixels(self, name: str, pixels: Pixels) -> Image:
        channels = self.shape[1]
        if channels not in (1, 3, 4):
            raise GradcamError(f"{name}: an image file cannot feed a model with {channels} channels; use an .npy file")
        background = self.preprocessing.background
        if pixels.alpha is not None and channels != 4:
            _say_composed(background)
            pixels = composed(pixels, background)
        return self._finished(name, to_channels(pixels, channels), pixels.white)

    def _finished(self, name: str, values: np.ndarray, white: float) -> Image:
        """The input of pixels, H x W x C, of any size that the preprocessing brings to the model's."""
        resize, crop, size = self.preprocessing.resize, self.preprocessing.crop, self.shape[2:]
        sized = resized(values, resize, crop, name)
        if sized.shape[:2] != size:
            options = ["--resize"]
            if min(a - b for a, b in zip(sized.shape[:2], size, strict=True)) >= 0:
                options.append("--crop")
            fitting = " or ".join(f"{option} {size_text(size)}" for option in options)
            after = " after resize and crop" if resize or crop else ""
            raise GradcamError(
                f"{name} has {size_text(sized.shape[:2])} pixels (height x width){after}, the model takes "
                f"{size_text(size)}; compile with {fitting}"
            )
        return Image(name, self.preprocessing.normalized(sized, white)[None], True)


def _split(path: Path) -> tuple[Path, str]:
    """A path, and the name of an array behind the colon of `FILE.npz:NAME`.

    Raises:
        GradcamError: there is no such file.
    """
    file, _, member = str(path).rpartition(":")
    if path.exists():
        return path, ""
    if file.lower().endswith(".npz") and Path(file).exists():
        return Path(file), member
    raise GradcamError(f"cannot read {path}: there is no such file or folder")


def _files(folder: Path) -> list[Path]:
    """The files of a folder and of those inside it, in alphabetical order; hidden ones are left out."""

    def refuse(error: OSError) -> None:
        raise GradcamError(f"cannot read {error.filename}: {error.strerror}") from error

    found = []
    for path, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(path) / name for name in names if not name.startswith(".")]
    return sorted(found)


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in (*SUFFIXES, *ARRAYS)


def _say_left_out(folder: Path, files: Sequence[Path]) -> None:
    """Says which files of a folder are no images."""
    if others := [file for file in files if not _is_image(file)]:
        _log.warning("%s: files that are no images are left out: %d, such as %s", folder, len(others), others[0].name)


@cache
def _say_composed(background: tuple[int, ...]) -> None:
    """Says once that transparent images are composed."""
    text = "transparent images are composed on %s; --background of gradcam-compile sets the colour"
    _log.warning(text, colour_text(background))
