"""Pictures that show the heatmaps of software and device side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gradcam.view import blended, normalize, resize

GAP = 4  # pixels between panels
LINE = 20  # pixels, height of a line of text
INK, PAPER, BOX = (40, 40, 40), (255, 255, 255), (255, 255, 255)
OPACITY = 0.5  # of a heatmap over its image


@dataclass(frozen=True)
class Compared:
    """An image with the heatmaps of two implementations.

    Attributes:
        pixels: uint8, H x W x 3.
        maps: after ReLU, h x w each, in the order in which they are shown.
        box: x0, y0, x1, y1 in pixels, x1 and y1 exclusive; None draws none.
        caption: a line above; of a grid below.
    """

    pixels: np.ndarray
    maps: Sequence[np.ndarray]
    box: Sequence[int] | None = None
    caption: str = ""


def overlay(item: Compared, titles: Sequence[str], scale: int = 4) -> Image.Image:
    """The image and its maps, each with the box, enlarged `scale` times; one title per panel."""
    panels = _panels(item, scale)
    picture = _strip(panels)
    labelled = Image.new("RGB", (picture.width + 2 * GAP, picture.height + 2 * LINE + GAP), PAPER)
    labelled.paste(picture, (GAP, 2 * LINE))
    draw = ImageDraw.Draw(labelled)
    draw.text((GAP, 3), item.caption, INK, _font())
    for i, title in enumerate(titles):
        draw.text((GAP + i * (panels[0].width + GAP), LINE + 2), title, INK, _font())
    return labelled


def sheet(items: Sequence[Compared], columns: int, title: str, scale: int = 1) -> Image.Image:
    """Every image with its maps, `columns` images to a row, and a title above."""
    cells = [_strip(_panels(item, scale)) for item in items]
    width, height = cells[0].width + 4 * GAP, cells[0].height + GAP
    rows = -(-len(cells) // columns)
    picture = Image.new("RGB", (columns * width - 2 * GAP, LINE + rows * height + GAP), PAPER)
    ImageDraw.Draw(picture).text((GAP, LINE // 2), title, INK, _font(), anchor="lm")
    for i, cell in enumerate(cells):
        picture.paste(cell, (GAP + i % columns * width, LINE + GAP + i // columns * height))
    return picture


def grid(items: Sequence[Compared], titles: Sequence[str], scale: int = 1) -> Image.Image:
    """One image per column, below it its maps and its caption; a title in front of every row."""
    columns = [_panels(item, scale) for item in items]
    width, height = columns[0][0].size
    font = _font(scale)
    left = GAP + max(int(font.getlength(line)) for title in titles for line in title.split("\n")) + 2 * GAP
    bottom = GAP + len(titles) * (height + GAP)
    below = LINE * scale if any(item.caption for item in items) else 0
    picture = Image.new("RGB", (left + len(columns) * (width + GAP), bottom + below), PAPER)
    draw = ImageDraw.Draw(picture)
    for row, title in enumerate(titles):
        top = GAP + row * (height + GAP)
        draw.text((GAP, top + height // 2), title, INK, font, anchor="lm")
        for column, panels in enumerate(columns):
            picture.paste(panels[row], (left + column * (width + GAP), top))
    for column, item in enumerate(items):
        draw.text((left + column * (width + GAP), bottom), item.caption, INK, font)
    return picture


def _font(scale: int = 1) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(13 * scale)


def _panels(item: Compared, scale: int) -> list[Image.Image]:
    layers = [item.pixels, *(_blend(item.pixels, heatmap) for heatmap in item.maps)]
    return [_boxed(Image.fromarray(layer), item.box, scale) for layer in layers]


def _blend(pixels: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    return blended(pixels, normalize(resize(np.asarray(heatmap, np.float64), pixels.shape[:2])), OPACITY)


def _boxed(panel: Image.Image, box: Sequence[int] | None, scale: int) -> Image.Image:
    panel = panel.resize((panel.width * scale, panel.height * scale), Image.Resampling.NEAREST)
    if box is None:
        return panel
    x0, y0, x1, y1 = (int(edge) * scale for edge in box)
    ImageDraw.Draw(panel).rectangle((x0, y0, x1 - 1, y1 - 1), outline=BOX, width=max(1, scale // 2))
    return panel


def _strip(panels: Sequence[Image.Image]) -> Image.Image:
    width, height = panels[0].size
    strip = Image.new("RGB", (len(panels) * (width + GAP) - GAP, height), PAPER)
    for i, panel in enumerate(panels):
        strip.paste(panel, (i * (width + GAP), 0))
    return strip
