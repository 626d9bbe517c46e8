"""Display of heatmaps: pytorch-grad-cam's normalization and resizing, and a picture of the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gradcam.errors import GradcamError
from gradcam.images.preprocessing import Preprocessing

Box = tuple[float, float, float, float]

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


def write_overlay(path: Path | str, pixels: np.ndarray, maps: Maps, title: str = "", box: Box | None = None) -> None:
    """Writes a PNG: the image, the low-resolution heatmap, and the final heatmap over the image with a box.

    Args:
        path: the PNG file.
        pixels: uint8, H x W x 3, RGB.
        maps: of the same H x W.
        title: a line above.
        box: x0, y0, x1, y1 in pixels, such as an annotation; None draws the box around the heatmap's peak.

    Raises:
        GradcamError: the image and the heatmap have different sizes.
    """
    # Without pyplot: no global state, no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    if pixels.shape[:2] != maps.final.shape:
        raise GradcamError(f"the image is {pixels.shape[:2]}, the heatmap {maps.final.shape}")
    figure = Figure(figsize=(9, 3.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    image, low, overlay = figure.subplots(1, 3)
    image.imshow(pixels)
    image.set_title("image")
    low.imshow(maps.low, cmap="jet", interpolation="nearest")
    low.set_title(f"heatmap {maps.low.shape[0]} x {maps.low.shape[1]}")
    overlay.imshow(pixels)
    overlay.imshow(maps.final, cmap="jet", alpha=0.45)
    overlay.set_title("overlay")
    box = box or bounding_box(maps.final)
    if box is not None:
        x0, y0, x1, y1 = box
        # Pixel centres are at integers, so that a pixel's left edge is at x - 0.5.
        overlay.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor="white", linewidth=2))
    for axes in (image, low, overlay):
        axes.set_axis_off()
    figure.suptitle("\n".join(line for line in (title, maps.diagnostic) if line), fontsize=10)
    figure.savefig(path, format="png")
