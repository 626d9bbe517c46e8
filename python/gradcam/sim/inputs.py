"""Images as a design takes them: every form that `gradcam.images` reads, quantized, with a picture of each."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gradcam.images import Source, load_images
from gradcam.numerics import outside, unsaturated
from gradcam.schema.program import Program
from gradcam.verdict import MOST_OUTSIDE, percent
from gradcam.view import displayable

_log = logging.getLogger(__name__)


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
    how, scale = program.preprocessing, program.scale("image")
    for image in load_images(source, (1, channels, height, width), how, scale):
        picture = displayable(image.input[0], how)
        beyond = outside(how.entering(image.input), unsaturated(scale)) / image.input.size
        yield DesignImage(image.name, image.input, program.integers(image.input[0]), picture, beyond)


def warn_of_saturation(images: Sequence[DesignImage]) -> None:
    """Warns, in one line, of images beyond the range that the design was calibrated for."""
    beyond = [image for image in images if image.outside > MOST_OUTSIDE]
    if beyond:
        worst = max(beyond, key=lambda image: image.outside)
        of = f"{len(beyond)} of {len(images)} images leave the calibrated range: " if len(images) > 1 else ""
        _log.warning(f"{of}{percent(worst.outside)} of the pixels of {worst.name} saturate")


def quantized_images(source: Source, program: Program) -> np.ndarray:
    """Images as the design takes them: int8, N x C x H x W; warns of images that saturate.

    Raises:
        GradcamError: see `read_images`.
    """
    images = list(read_images(source, program))
    warn_of_saturation(images)
    return np.stack([image.values for image in images])
