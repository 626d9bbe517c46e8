"""What is done to the pixels of an image before they are normalized: background, grey, resize, crop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradcam.errors import GradcamError
from gradcam.images.files import Pixels
from gradcam.images.preprocessing import size_text

#: Weights of red, green and blue in grey, in 1/65536 (ITU-R BT.601, as Pillow rounds them for its mode "L").
LUMA = (19595, 38470, 7471)

#: Pixels of the largest image that resizing makes.
LARGEST = 1 << 26


def composed(pixels: Pixels, background: Sequence[int]) -> Pixels:
    """A transparent image on an opaque colour: alpha * pixel + (1 - alpha) * colour, integers rounded to nearest.

    Args:
        pixels: with an alpha.
        background: red, green and blue, 0 to 255.
    """
    if pixels.alpha is None:
        return pixels
    grey = pixels.values.shape[2] == 1 and len(set(background)) == 1
    colour = np.array(background[:1] if grey else background) * (pixels.white / 255)
    alpha = pixels.alpha[:, :, None]
    return Pixels(_as_type(alpha * pixels.values + (1 - alpha) * colour, pixels.values.dtype), pixels.white)


def to_channels(pixels: Pixels, channels: int) -> np.ndarray:
    """The pixels with the channels of a network.

    Args:
        pixels: grey or RGB. An alpha is kept for 4 channels only.
        channels: 1 (colours become grey as Pillow's mode "L"), 3 (grey is repeated), or 4 (with alpha).

    Returns:
        The type of the pixels, H x W x channels.
    """
    values = pixels.values
    if channels == 1:
        return values if values.shape[2] == 1 else _luma(values)
    rgb = np.broadcast_to(values, (*values.shape[:2], 3))
    if channels == 3:
        return rgb
    alpha = np.ones(values.shape[:2]) if pixels.alpha is None else pixels.alpha
    return np.dstack([rgb, _as_type(alpha * pixels.white, values.dtype)])


def _luma(values: np.ndarray) -> np.ndarray:
    """Grey from RGB, H x W x 1. The sum of 16-bit products has 32 bits."""
    if values.dtype.kind == "f":
        return (values.astype(np.float64) @ (np.array(LUMA) / 65536))[:, :, None].astype(values.dtype)
    total = values.astype(np.uint64) @ np.array(LUMA, np.uint64)
    return ((total + 0x8000) >> 16)[:, :, None].astype(values.dtype)


def _as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return (np.rint(values) if dtype.kind == "u" else values).astype(dtype)


def resized(values: np.ndarray, resize: Sequence[int] | None, crop: Sequence[int] | None, name: str) -> np.ndarray:
    """Resizes and crops an image as torchvision's Resize and CenterCrop do with an image of Pillow.

    Args:
        values: H x W x C.
        resize: pixels of the shorter side, or height and width; None leaves the size.
        crop: pixels of a square, or height and width, from the centre; None for all of the image.
        name: of the image, for messages.

    Returns:
        uint8 for uint8, else float32.

    Raises:
        GradcamError: the image is smaller than the crop.
    """
    if resize is not None:
        values = _scaled(values, _target(values.shape[:2], resize))
    if crop is None:
        return values
    size = (crop[0], crop[-1])
    if min(a - b for a, b in zip(values.shape[:2], size, strict=True)) < 0:
        found = size_text(values.shape[:2])
        raise GradcamError(f"{name} has {found} pixels (height x width), less than the crop {size_text(size)}")
    top, left = (round((a - b) / 2) for a, b in zip(values.shape[:2], size, strict=True))
    return values[top : top + size[0], left : left + size[1]]


def _target(size: Sequence[int], resize: Sequence[int]) -> tuple[int, int]:
    """Height and width after resizing: the longer side keeps the ratio, rounded down."""
    short = min(size)
    height, width = resize if len(resize) == 2 else (resize[0] * side // short for side in size)
    if height * width > LARGEST:
        raise GradcamError(
            f"resize {size_text(resize)} makes {height}x{width} pixels of an image, too many to be meant"
        )
    return height, width


def _scaled(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes every channel by itself: uint8 as Pillow does pixels, other types as floats."""
    from PIL import Image

    planes = values if values.dtype == np.uint8 else values.astype(np.float32)
    images = [Image.fromarray(np.ascontiguousarray(planes[:, :, c])) for c in range(planes.shape[2])]
    height, width = size
    return np.stack([np.asarray(i.resize((width, height), Image.Resampling.BILINEAR)) for i in images], 2)
