"""The arguments of `gradcam.evaluate`: brought to the form in which metrics compute with them, or refused in a line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradcam.checks import check_type
from gradcam.classes import class_number
from gradcam.errors import GradcamError
from gradcam.images.arrays import shape_text
from gradcam.outside import outside

#: Images per forward pass.
BATCH = 250


def image_of(image: Any, layout: str = "C x H x W") -> np.ndarray:
    """An image, or several, as a model takes them; of other widths, strides and owners a copy: float32, contiguous.

    Raises:
        GradcamError: it is none: it has another rank or no element, its numbers are integers, as pixels are, or not
            finite.
    """
    array = _array(image, "an image")
    if array.dtype.kind != "f":
        remedy = "gradcam.images.load_images makes inputs of pixels"
        raise GradcamError(f"an image must be float32, as the model takes it, got {array.dtype}; {remedy}")
    with np.errstate(over="ignore"):
        rounded = np.require(array, np.float32, ["C", "W"])
    return _checked(rounded, "an image", layout)


def map_of(heatmap: Any, layout: str = "h x w") -> np.ndarray:
    """A map in float64.

    Args:
        heatmap: numbers.
        layout: of the map; "" for any.

    Raises:
        GradcamError: it has another rank or no element, or holds other than finite numbers.
    """
    array = _array(heatmap, "a map")
    if array.dtype.kind not in "fiub":
        raise GradcamError(f"a map must hold numbers, got {array.dtype}")
    return _checked(array, "a map", layout).astype(np.float64)


def _array(value: Any, what: str) -> np.ndarray:
    with outside(f"{what} must be an array"):
        return np.asarray(value)


def _checked(array: np.ndarray, what: str, layout: str) -> np.ndarray:
    if (layout and array.ndim != len(layout.split(" x "))) or not array.size:
        raise GradcamError(f"{what} must be {layout or 'an array with elements'}, got {shape_text(array.shape)}")
    if not np.isfinite(array).all():
        raise GradcamError(f"{what} has values that are not finite")
    return array


def number_of(value: Any, what: str, least: float = -math.inf) -> float:
    """A finite number of at least `least`.

    Raises:
        GradcamError: it is none.
    """
    check_type(what, value, "float")
    if not (math.isfinite(value) and value >= least):
        raise GradcamError(
            f"{what} must be a finite number{f' of at least {least:g}' * (least > -math.inf)}, got {value}"
        )
    return float(value)


def box_of(box: Any) -> tuple[float, ...]:
    """The sides x0, y0, x1, y1 of a box.

    Raises:
        GradcamError: they are no such numbers, or nothing is within.
    """
    sides = map_of(box, "sides").tolist() if np.size(box) == 4 else []
    if not (sides and sides[0] < sides[2] and sides[1] < sides[3]):
        raise GradcamError(f"a box must be x0, y0, x1, y1 with x0 < x1 and y0 < y1, got {np.asarray(box).tolist()}")
    return tuple(sides)


def size_of(size: Any) -> tuple[int, int]:
    """The height and width of an image.

    Raises:
        GradcamError: it is something else.
    """
    sides = list(size) if isinstance(size, Sequence | np.ndarray) and not isinstance(size, str) else []
    for side in sides:
        check_type("a side of an image", side, "int")
    if len(sides) != 2 or min(sides) < 1:
        raise GradcamError(f"the size of an image must be its height and width, got {size!r}")
    return int(sides[0]), int(sides[1])


def shares_of(shares: Any) -> np.ndarray:
    """Shares of removed pixels: float64, n.

    Raises:
        GradcamError: they do not ascend from 0 on and stay below 1, or there are fewer than two.
    """
    found = map_of(shares, "").ravel() if np.size(shares) > 1 else np.zeros(0)
    if not found.size or not (np.diff(found) > 0).all() or not 0 <= found[0] <= found[-1] < 1:
        got = np.asarray(shares).tolist()
        raise GradcamError(f"the shares of removed pixels must ascend from 0 on and stay below 1, got {got}")
    return found


def scores_of(score: Any, images: np.ndarray) -> np.ndarray:
    """What a score says of N images: float64, N.

    Raises:
        GradcamError: it is no finite number for each.
    """
    found = np.asarray(score(images), np.float64)
    if found.shape != (len(images),):
        raise GradcamError(f"the score of {len(images)} images must be as many numbers, got {shape_text(found.shape)}")
    if not np.isfinite(found).all():
        raise GradcamError("the score has values that are not finite")
    return found


def batched_logits(model: nn.Module, images: np.ndarray) -> Iterator[Tensor]:
    """The logits of N images (float32, N x C x H x W) in batches of `BATCH`, each n x K.

    Raises:
        GradcamError: the model fails on them, or yields something else.
    """
    for first in range(0, len(images), BATCH):
        part = torch.from_numpy(images[first : first + BATCH].copy())  # which an in-place op of the model may change
        with outside(f"the model fails on an image of {shape_text(images.shape[1:])}"), torch.inference_mode():
            yield checked_logits(model(part))


def checked_logits(logits: Any) -> Tensor:
    """Logits, N x K.

    Raises:
        GradcamError: they are something else.
    """
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = shape_text(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise GradcamError(f"the logits of a model must be N x K, got {got}")
    return logits


def class_of(cls: Any, count: int | None = None) -> int:
    """The number of a class, of which there are `count`.

    Raises:
        GradcamError: there is no such class.
    """
    number = class_number(cls)
    if number < 0:
        raise GradcamError(f"class {number} does not exist; the predicted one is the largest of the logits")
    if count is not None and number >= count:
        raise GradcamError(f"class {number} does not exist; the model has classes 0 to {count - 1}")
    return number
