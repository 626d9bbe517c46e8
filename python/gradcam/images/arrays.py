"""Arrays of images: `.npy` and `.npz` files and arrays in memory, in whatever layout their shape tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradcam.errors import GradcamError
from gradcam.outside import reading

#: Types of pixels, and the value of a white one; True becomes it.
WHITE = {np.dtype(np.bool_): 255, np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}

#: Bytes of the largest array of an `.npz` file, which is unpacked whole; an `.npy` file is read image by image.
LARGEST_MEMBER = 1 << 32

#: The orders of axes that an array can have, by its number of dimensions.
LAYOUTS = {4: ("NCHW", "NHWC"), 3: ("CHW", "HWC", "NHW"), 2: ("HW",)}


def read_array(path: Path, member: str = "") -> np.ndarray:
    """Reads an `.npy` file, or an array of an `.npz` file, without unpickling anything.

    Args:
        path: the file.
        member: name of the array in an `.npz` file; "" where there is only one.

    Raises:
        GradcamError: the file is damaged, is of the other kind, or which array is meant is not clear.
    """
    with reading(str(path)):
        with path.open("rb") as file:
            if file.read(2) not in (b"\x93N", b"PK", b""):  # NumPy takes anything else for a pickled object
                raise GradcamError(f"cannot read {path}: it is no file of NumPy")
        loaded: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray) != (path.suffix.lower() == ".npy"):
            kind = ".npy file" if isinstance(loaded, np.ndarray) else ".npz archive"
            raise GradcamError(f"{path} is an {kind}; rename it")
        if isinstance(loaded, np.ndarray):
            return _whole(loaded, path)
        with loaded:
            return _member(loaded, path, member)


def _whole(array: np.ndarray, path: Path) -> np.ndarray:
    """The array of an `.npy` file, if the file ends where the array does."""
    if isinstance(array, np.memmap) and array.size:
        behind = path.stat().st_size - array.offset - array.nbytes
        if behind:
            raise GradcamError(f"{path} holds {behind} bytes behind its array; write it again")
    return array


def _member(archive: Any, path: Path, member: str) -> np.ndarray:
    names = list(archive.files)
    if member and member not in names:
        raise GradcamError(f"{path} has no array '{member}'; it has {', '.join(map(repr, names)) or 'none'}")
    if not member and len(names) != 1:
        held = f"{len(names)} arrays: {', '.join(map(repr, names))}" if names else "no arrays"
        raise GradcamError(f"{path} holds {held}; name one, {path}:NAME")
    name = member or names[0]
    entry = next(e for e in archive.zip.infolist() if e.filename in (name, f"{name}.npy"))
    if entry.file_size > LARGEST_MEMBER:
        raise GradcamError(f"{path}: array '{name}' has {entry.file_size:,} bytes; save it as an .npy file")
    array = archive[name]
    if not isinstance(array, np.ndarray):
        raise GradcamError(f"{path}: '{name}' is no array of NumPy")
    return array


def images_of(array: np.ndarray, name: str, model: Sequence[int]) -> Iterator[tuple[str, np.ndarray]]:
    """The images of an array.

    Args:
        array: pixels, or inputs of the network, in one of `LAYOUTS`.
        name: of the array, for messages.
        model: the model's input shape, (1, C, H, W).

    Yields:
        The name of an image and its values, H x W x C: of pixels, with any H and W. The name of several ends in a
        number.

    Raises:
        GradcamError: the shape fits no layout, or several that differ.
    """
    order = _order(array, name, model)
    moved = array.transpose([axis for axis in order if axis is not None])
    for place, axis in enumerate(order):
        if axis is None:
            moved = np.expand_dims(moved, place)
    for i, image in enumerate(moved):
        yield (f"{name}, image {i}" if order[0] is not None else name), image


#: The axes of N, H, W and C in an array, None where it lacks one.
Order = tuple[int | None, ...]


def _order(array: np.ndarray, name: str, model: Sequence[int]) -> Order:
    """The order of an array's axes that its shape tells."""
    shape, is_pixels = array.shape, array.dtype.newbyteorder("=") in WHITE
    any_size = is_pixels and not _readings(shape, model, any_size=False)
    readings = _readings(shape, model, any_size)
    colours = _colours(shape, model, any_size) if readings else []
    if len(readings) > 1 and len(shape) == 4 and not is_pixels:
        readings = readings[:1]  # an input as the network takes it: NCHW
    if len(readings) + len(colours) > 1:
        texts = [f"{layout} ({_reading(shape, layout)})" for layout in (*dict(readings), *colours)]
        remedy = "save it as image files, such as PNG" if is_pixels else "save it as NCHW, with four axes"
        if colours:
            remedy = "save grey images as Nx1xHxW, with four axes, and colours as image files, such as PNG"
        raise GradcamError(f"{name} of shape {shape_text(shape)} is {' or '.join(texts)}; {remedy}")
    if not readings:
        size = "" if is_pixels else f", {model[2]}x{model[3]} (height x width)"
        takes = f"the model takes {model[1]} channel{'s' * (model[1] > 1)}{size}"
        layouts = "NCHW, NHWC, CHW or HWC" if model[1] > 1 else "NCHW, NHWC, CHW, HWC, NHW or HW"
        raise GradcamError(f"{name} has shape {shape_text(shape)} ({array.dtype}); {takes}, in an array {layouts}")
    return readings[0][1]


def _readings(shape: Sequence[int], model: Sequence[int], any_size: bool) -> list[tuple[str, Order]]:
    """The layouts that fit a shape, the first of those that mean the same."""
    found: dict[Order, tuple[str, Order]] = {}
    for layout in LAYOUTS.get(len(shape), ()):
        order = tuple(layout.index(letter) if letter in layout else None for letter in "NHWC")
        _, height, width, channels = (1 if axis is None else shape[axis] for axis in order)
        if channels == model[1] and (any_size or (height, width) == tuple(model[2:])):
            # Layouts differ in the places of axes with more than one element.
            found.setdefault(tuple(None if a is None or shape[a] == 1 else a for a in order), (layout, order))
    return list(found.values())


def _colours(shape: Sequence[int], model: Sequence[int], any_size: bool) -> list[str]:
    """The layouts by which a shape that fits a network of one channel could be one image of red, green and blue."""
    if model[1] != 1 or len(shape) != 3:
        return []
    fitting = [_readings(shape, (1, channels, *model[2:]), any_size) for channels in (3, 4)]
    three, four = ([layout for layout, _ in readings] for readings in fitting)
    return three + [layout for layout in four if layout == "HWC"]  # with alpha; 4 planes are 4 grey images


def _reading(shape: Sequence[int], layout: str) -> str:
    """A shape in words, by its layout."""
    words = {"N": "{} images", "C": "{} channels", "H": "height {}", "W": "width {}"}
    return ", ".join(words[letter].format(size) for letter, size in zip(layout, shape, strict=True))


def shape_text(shape: Sequence[int]) -> str:
    """A shape for a message."""
    return "x".join(map(str, shape)) or "of a single value"
