"""Images as a design takes them: every form that `gradcam.images` reads, quantized, with a picture of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gradcam.images import Source, load_images
from gradcam.numerics import int8_limits, outside, quantize
from gradcam.schema.program import Program
from gradcam.view import displayable


@dataclass(frozen=True)
class DesignImage:
    """An image for a design.

    Attributes:
        name: the file, with a number where it holds several images.
        input: as the float network takes it; float32, 1 x C x H x W.
        values: as the design takes it; int8, C x H x W.
        picture: for people; uint8, H x W x 3.
        outside: share of the input's elements that are beyond the range of int8, and saturate.
    """

    name: str
    input: np.ndarray
    values: np.ndarray
    picture: np.ndarray
    outside: float


def read_images(source: Source, program: Program) -> Iterator[DesignImage]:
    """Reads images for a design, one by one.

    Args:
        source: see `gradcam.images.load_images`; also int8, as the design takes images.
        program: the design, which says how pixels become inputs.

    Raises:
        GradcamError: a file cannot be read, or an image has another size or type.
    """
    height, width, channels = program.inputs[0].shape
    scale = program.scale("image")
    for image in load_images(source, (1, channels, height, width), program.preprocessing, scale):
        picture = displayable(image.input[0], program.preprocessing)
        beyond = outside(image.input, int8_limits(scale)) / image.input.size
        yield DesignImage(image.name, image.input, quantize(image.input[0], scale), picture, beyond)


def quantized_images(source: Source, program: Program) -> np.ndarray:
    """Images as the design takes them: int8, N x C x H x W.

    Raises:
        GradcamError: see `read_images`.
    """
    return np.stack([image.values for image in read_images(source, program)])
