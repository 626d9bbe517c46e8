"""What maps of int8 and of float say of the network, by the metrics of `gradcam.evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from overheads import aligned

from gradcam.evaluate import class_probability, deletion, insertion, pointing_hit, road, top_iou

#: Steps of insertion and deletion; images above have 50,000 pixels.
STEPS = 32

#: A map of int8 and one of float, before ReLU.
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Metrics:
    """The metrics of one design on one set of images, each as a pair of int8's and float's mean.

    Attributes:
        where: target layer, method and set.
        deletion: area under the curve; small is good.
        insertion: area under the curve; large is good.
        road: half of the area with the least important pixels removed first minus that with the most important ones.
        hits: share of the maxima within the box of the object; None without boxes.
        iou: of the 5 % of positions with the largest values, int8 and float.
    """

    where: tuple[str, str, str]
    deletion: tuple[float, float]
    insertion: tuple[float, float]
    road: tuple[float, float]
    hits: tuple[float, float] | None
    iou: float


def measure(
    where: tuple[str, str, str],
    model: Any,
    images: np.ndarray,
    pairs: Sequence[Pair],
    classes: Sequence[int],
    boxes: np.ndarray | None,
) -> Metrics:
    """The metrics of maps.

    Args:
        where: see `Metrics`.
        model: the float network, whose scores are asked.
        images: float32, N x C x H x W.
        pairs: the maps of each image.
        classes: that they explain.
        boxes: of the objects, see `pointing_hit`; None where there are none.
    """
    found: dict[str, list[Any]] = {"deletion": [], "insertion": [], "road": [], "hits": []}
    for n, (image, pair, cls) in enumerate(zip(images, pairs, classes, strict=True)):
        score, maps = class_probability(model, cls), [np.maximum(m, 0) for m in pair]
        found["deletion"].append([deletion(score, image, m, STEPS).auc for m in maps])
        found["insertion"].append([insertion(score, image, m, STEPS).auc for m in maps])
        areas = [[road(score, image, m, first).auc for first in ("least", "most")] for m in maps]
        found["road"].append([(least - most) / 2 for least, most in areas])
        if boxes is not None:
            found["hits"].append([pointing_hit(m, boxes[n], image.shape[1:]) for m in maps])
    means = {name: tuple(np.mean(values, 0).tolist()) if values else None for name, values in found.items()}
    return Metrics(where, **means, iou=float(np.mean([top_iou(*pair) for pair in pairs])))


def table(rows: Sequence[Metrics]) -> str:
    """A Markdown table that is aligned for reading, too."""
    lines = [["target layer", "method", "images", "deletion", "insertion", "ROAD", "pointing game", "top-5 % IoU"]]
    for row in rows:
        pairs = [f"{a:.4f} / {b:.4f}" for a, b in (row.deletion, row.insertion, row.road)]
        hits = "-" if row.hits is None else "{:.2f} / {:.2f}".format(*row.hits)
        lines.append([*row.where, *pairs, hits, f"{row.iou:.3f}"])
    return "\n".join(aligned(lines)) + "\n"
