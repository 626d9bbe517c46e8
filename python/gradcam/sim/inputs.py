"""Reads the input of `gradcam-sim`, a PNG or a .npy file, as the int8 image that a design takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gradcam.data import read_image, to_input
from gradcam.errors import GradcamError
from gradcam.numerics import quantize
from gradcam.schema.program import Program
from gradcam.view import displayable


def read_input(path: Path, program: Program) -> tuple[np.ndarray, np.ndarray]:
    """Reads an input of the design.

    Args:
        path: an RGB image file of exactly the model's size, or a .npy file with int8 or float32, C x H x W.
        program: the design.

    Returns:
        The quantized image (int8, C x H x W) and a picture of it (uint8, H x W x 3).

    Raises:
        GradcamError: the file cannot be read, or has another size or type.
    """
    height, width, channels = program.inputs[0].shape
    scale = program.scale("image")
    if path.suffix == ".npy":
        values = _read_npy(path)
        if values.dtype not in (np.int8, np.float32) or values.shape != (channels, height, width):
            expected = f"int8 or float32 {channels} x {height} x {width}"
            raise GradcamError(f"{path} must hold {expected}, got {values.dtype} {_size(values.shape)}")
        return quantize(values, scale), displayable(values)
    pixels = read_image(path)
    if pixels.shape != (height, width, channels):
        expected = f"{width} x {height} pixels with {channels} channels"
        raise GradcamError(f"{path} must have {expected}, got {_size((pixels.shape[1], pixels.shape[0]))} RGB")
    return quantize(to_input(pixels)[0], scale), pixels


def quantized_images(images: np.ndarray, program: Program) -> np.ndarray:
    """Images as the design takes them.

    Args:
        images: the model's inputs, float32, or int8 as they are: N x C x H x W, or one C x H x W.
        program: the design.

    Returns:
        int8, N x C x H x W.

    Raises:
        GradcamError: they have another size or type, or are not finite.
    """
    height, width, channels = program.inputs[0].shape
    batch = images[None] if images.ndim == 3 else images
    if batch.dtype not in (np.int8, np.float32) or batch.shape[1:] != (channels, height, width):
        expected = f"int8 or float32, N x {channels} x {height} x {width}"
        raise GradcamError(f"images must be {expected}, got {images.dtype} {_size(images.shape)}")
    return quantize(batch, program.scale("image"))


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except OSError as error:
        raise GradcamError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, EOFError) as error:
        raise GradcamError(f"{path} is not a .npy file of numbers: {error}") from error


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single value"
