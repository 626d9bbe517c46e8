"""Display of heatmaps: pytorch-grad-cam's normalization and resizing, and a picture of the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcam.errors import GradcamError
from gradcam.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

Box = tuple[float, float, float, float]

#: Pixels: the least side of a picture, the gap between pictures, the height of a line of text.
SIDE, GAP, LINE = 256, 8, 20

#: Of a heatmap over its image.
OPACITY = 0.45

#: The colour map "jet": points (value, level) of red, green and blue, with straight lines between them.
_JET = (
    ((0, 0), (0.35, 0), (0.66, 1), (0.89, 1), (1, 0.5)),
    ((0, 0), (0.125, 0), (0.375, 1), (0.64, 1), (0.91, 0), (1, 0)),
    ((0, 0.5), (0.11, 1), (0.34, 1), (0.65, 0), (1, 0)),
)

#: What an int8 image may lie outside of black and white by rounding.
STEP = 1 / 64


@dataclass(frozen=True)
class Maps:
    """A heatmap in three states.

    Attributes:
        raw: the weighted sum, signed, in real units; float64, h x w.
        low: after ReLU and normalization; float64, h x w.
        final: in image size; float64, H x W.
        diagnostic: a note for the reader on an unusual map; "" for an ordinary one.
    """

    raw: np.ndarray
    low: np.ndarray
    final: np.ndarray
    diagnostic: str = ""


def normalize(x: np.ndarray, eps: float = 1e-7) -> np.ndarray:
    """Subtracts the minimum and divides by eps + maximum; a constant map becomes zeros.

    This is `scale_cam_image` of pytorch-grad-cam 1.5.
    """
    x = x - x.min()
    return x / (eps + x.max())


def resize(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation of an h x w map to `size` (H, W): pixel centres at half integers, edges repeated.

    The convention of OpenCV's and PyTorch's bilinear resize (align_corners=False, no antialiasing).
    """
    rows, columns = (_weights(n, m) for n, m in zip(x.shape, size, strict=True))
    return rows @ x @ columns.T


def _weights(source: int, target: int) -> np.ndarray:
    """The target x source interpolation matrix of one axis."""
    position = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(source)))


def heatmap_maps(
    heatmap: np.ndarray,
    scale: float,
    size: tuple[int, int],
    relu: bool = True,
    normalized: bool = True,
    eps: float = 1e-7,
) -> Maps:
    """Converts an integer heatmap of the device to the form that software shows.

    Like pytorch-grad-cam: ReLU, normalize, resize, normalize again (its layer average ends so, for one layer too).

    Args:
        heatmap: int32, h x w.
        scale: real value of one step of the heatmap.
        size: height and width of the image.
        relu: clip below 0.
        normalized: subtract the minimum, divide by `eps` + maximum.
        eps: see `normalized`.
    """
    raw = heatmap.astype(np.float64) * scale
    low = np.maximum(raw, 0) if relu else raw
    diagnostic = _diagnose(raw, low)
    if normalized:
        low = normalize(low, eps)
    final = resize(low, size)
    return Maps(raw, low, normalize(final, eps) if normalized else final, diagnostic)


def _diagnose(raw: np.ndarray, low: np.ndarray) -> str:
    if low.min() != low.max():
        return ""
    if not low.any() and raw.any():
        return "the heatmap is zero everywhere: no place speaks for this class, only against it"
    return f"the heatmap is {low.flat[0]:g} everywhere: no place stands out"


def bounding_box(final: np.ndarray, threshold: float = 0.5) -> Box | None:
    """The box around everything of at least `threshold` times the maximum.

    Returns:
        x0, y0, x1, y1 in pixels, x1 and y1 exclusive; None when no value is positive.
    """
    peak = final.max()
    if peak <= 0:
        return None
    inside = final >= threshold * peak
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def displayable(image: np.ndarray, preprocessing: Preprocessing | None = None) -> np.ndarray:
    """A model's input as a picture: its pixels, or its range from black to white where no pixels make such an input.

    Args:
        image: float, C x H x W. Unless C is 3 or 4 (with alpha), the mean of the channels is shown.
        preprocessing: what makes inputs of pixels; None where that is not known.

    Returns:
        uint8, H x W x 3.
    """
    planes = np.moveaxis(image.astype(np.float64), 0, -1)
    pixels = planes if preprocessing is None else preprocessing.pixels(image)
    if preprocessing is None or pixels.min() < -STEP or pixels.max() > 1 + STEP:
        pixels = normalize(planes)
    colour = pixels[:, :, :3] if pixels.shape[2] in (3, 4) else pixels.mean(2, keepdims=True)
    return np.rint(255 * np.clip(np.broadcast_to(colour, (*colour.shape[:2], 3)), 0, 1)).astype(np.uint8)


def jet(x: np.ndarray) -> np.ndarray:
    """Matplotlib's colour map "jet", from blue to red: RGB from 0 to 1 (... x 3) of values from 0 to 1."""
    levels = np.linspace(0, 1, 256)
    table = np.stack([np.interp(levels, [x for x, _ in points], [y for _, y in points]) for points in _JET], axis=1)
    return table[np.clip(np.asarray(x) * 256, 0, 255).astype(np.intp)]


def blended(pixels: np.ndarray, final: np.ndarray, opacity: float = OPACITY) -> np.ndarray:
    """The colours of a heatmap over an image: uint8, H x W x 3.

    Args:
        pixels: uint8, H x W x 3, RGB.
        final: from 0 to 1, H x W.
        opacity: of the heatmap.

    Raises:
        GradcamError: the image and the heatmap have different sizes.
    """
    if pixels.shape[:2] != final.shape:
        raise GradcamError(f"the image is {pixels.shape[:2]}, the heatmap {final.shape}")
    return np.rint(opacity * 255 * jet(final) + (1 - opacity) * pixels).astype(np.uint8)


def overlay(pixels: np.ndarray, maps: Maps, box: Box | None = None, side: int = SIDE) -> Image:
    """A heatmap over its image, with a box: at least `side` pixels wide and high, by a whole factor.

    Args:
        pixels: uint8, H x W x 3, RGB.
        maps: of the same H x W.
        box: x0, y0, x1, y1 in pixels, such as an annotation; None draws the box around the heatmap's peak.
        side: pixels.

    Raises:
        GradcamError: the image and the heatmap have different sizes.
    """
    from PIL import ImageDraw

    picture = _enlarged(blended(pixels, normalize(maps.final)), side)
    box = box or bounding_box(maps.final)
    if box is not None:
        factor = picture.width // pixels.shape[1]
        x0, y0, x1, y1 = (round(edge * factor) for edge in box)
        ImageDraw.Draw(picture).rectangle((x0, y0, x1 - 1, y1 - 1), outline="white", width=2)
    return picture


def write_overlay(path: Path | str, pixels: np.ndarray, maps: Maps, title: str = "", box: Box | None = None) -> None:
    """Writes a PNG: the image, the low-resolution heatmap, and the final heatmap over the image with a box.

    Args:
        path: the PNG file.
        pixels: uint8, H x W x 3, RGB.
        maps: of the same H x W.
        title: a line above.
        box: see `overlay`.

    Raises:
        GradcamError: the image and the heatmap have different sizes.
    """
    image, over = _enlarged(pixels, SIDE), overlay(pixels, maps, box)
    low = _enlarged(np.rint(255 * jet(normalize(maps.low))).astype(np.uint8), 1).resize(image.size, 0)
    height, width = maps.low.shape
    panels = [(image, "image"), (low, f"heatmap {height} x {width}"), (over, "overlay")]
    lines = [line for line in (title, maps.diagnostic) if line]
    sheet(panels, 3, lines).save(path, format="PNG")


def sheet(panels: Sequence[tuple[Image, str]], columns: int, lines: Sequence[str] = ()) -> Image:
    """Pictures side by side, each with a caption below, and lines of text above.

    Args:
        panels: pictures with captions; one picture or more.
        columns: pictures to a row.
        lines: text.
    """
    from PIL import Image as pillow
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(LINE - 6)
    width = max(picture.width for picture, _ in panels) + GAP
    height = max(picture.height for picture, _ in panels) + LINE + GAP
    rows, top = -(-len(panels) // columns), LINE * len(lines) + GAP
    whole = pillow.new("RGB", (min(columns, len(panels)) * width + GAP, top + rows * height), "white")
    draw = ImageDraw.Draw(whole)
    for number, line in enumerate(lines):
        draw.text((GAP, number * LINE + GAP // 2), line, "black", font)
    for number, (picture, caption) in enumerate(panels):
        x, y = GAP + number % columns * width, top + number // columns * height
        whole.paste(picture, (x, y))
        draw.text((x, y + picture.height + 2), _fitting(caption, width - GAP, font), "black", font)
    return whole


def _fitting(text: str, width: int, font: Any) -> str:
    """The text, or its end behind an ellipsis where it is wider than `width` pixels."""
    while font.getlength(text) > width and len(text) > 1:
        text = "…" + text.lstrip("…")[1:]
    return text


def _enlarged(pixels: np.ndarray, side: int) -> Image:
    """A picture of uint8, H x W x 3, each pixel enlarged by a whole factor to at least `side` pixels of both sides."""
    from PIL import Image as pillow

    factor = -(-side // min(pixels.shape[:2]))
    return pillow.fromarray(np.repeat(np.repeat(pixels, factor, 0), factor, 1))
