"""The float network of a design, and the comparison of what a device makes of an image with what float does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.classes import best_class, explained_classes
from gradcam.evaluate import pearson
from gradcam.execution.float32 import run_float
from gradcam.numerics import outside
from gradcam.passes.ir.explanations import explanations
from gradcam.passes.ir.queries import main_function


@dataclass(frozen=True)
class Outputs:
    """The outputs of an int8 network for an image, in real units.

    Attributes:
        logits: float64, K.
        maps: float64, h x w each.
        request: the class that it was asked to explain, -1 for the predicted one.
    """

    logits: np.ndarray
    maps: Sequence[np.ndarray]
    request: int = -1

    @classmethod
    def of(cls, integers: Sequence[np.ndarray], scales: Sequence[float], request: int = -1) -> Outputs:
        """From the integers of the logits and of every map, and the scale of each."""
        logits, *maps = (x.astype(np.float64) * step for x, step in zip(integers, scales, strict=True))
        return cls(logits, maps, request)

    @property
    def first(self) -> int:
        """The class that it explains first."""
        return explained_classes(self.logits, self.request, 1)[0]


@dataclass(frozen=True)
class ImageQuality:
    """The int8 network compared with the float network on one image.

    Attributes:
        same_class: whether both predict the same class.
        logit_error: largest difference of a logit.
        largest_logit: largest magnitude of a logit of the float network.
        correlations: of each map, Pearson's with the float network's map of the same class, both after their ReLU where
            the explanation has one; NaN where the two networks chose different classes, or the float map is constant.
            A constant int8 map of a float map that varies counts as 0.
        logits: of the float network; float32, K.
        maps: of the float network, h x w each, in the order of `correlations`; NaN where it chose another class.
    """

    same_class: bool
    logit_error: float
    largest_logit: float
    correlations: tuple[float, ...]
    logits: np.ndarray
    maps: tuple[np.ndarray, ...]


@dataclass
class FloatNetwork:
    """The float network of a design, to compare with.

    Attributes:
        module: level 1.
        limits: the smallest and the largest real value that int8 stores, by result of an op of `module`; of a gradient
            arrays that broadcast over 1xC or 1xCxHxW.
        saturated: for each of them, values seen beyond these limits, and values seen.
    """

    module: Any
    limits: Mapping[ir.Value, tuple[Any, Any]] = field(default_factory=dict)
    saturated: dict[ir.Value, tuple[int, int]] = field(default_factory=dict)

    @property
    def explanations(self) -> list[ir.DictAttr]:
        """What each map explains."""
        return explanations(main_function(self.module))

    def compare(self, images: np.ndarray, outputs: Sequence[Outputs]) -> list[ImageQuality]:
        """Runs images and compares what an int8 network made of them, explaining the classes that that one explained.

        Args:
            images: float32, N x C x H x W.
            outputs: of the int8 network, one for each image.
        """
        classes = [output.first for output in outputs]
        logits, *maps = run_float(self.module, images, classes, self._count)
        found = []
        for n, (output, first) in enumerate(zip(outputs, classes, strict=True)):
            alike = self.alike(output.logits, logits[n], first)
            of_float = tuple(m[n] if a else np.full_like(m[n], np.nan) for m, a in zip(maps, alike, strict=True))
            correlations = tuple(
                correlation(self.shown(i, output.maps[i]), self.shown(i, of_float[i])) for i in range(len(maps))
            )
            error, largest = np.abs(output.logits - logits[n]).max(), np.abs(logits[n]).max()
            same = best_class(output.logits) == best_class(logits[n])
            found.append(ImageQuality(same, float(error), float(largest), correlations, logits[n], of_float))
        return found

    def alike(self, logits: np.ndarray, others: np.ndarray, first: int) -> list[bool]:
        """Of each map, whether two runs with these logits explain the same class, where `first` is the first one."""
        ranks = [ir.IntegerAttr(e["rank"]).value for e in self.explanations]
        some, more = (explained_classes(x, first, max(ranks, default=0) + 1) for x in (logits, others))
        return [some[rank] == more[rank] for rank in ranks]

    def shown(self, index: int, map_: np.ndarray) -> np.ndarray:
        """A map after its ReLU, where its explanation has one."""
        return np.maximum(map_, 0) if ir.BoolAttr(self.explanations[index]["relu"]).value else map_

    def _count(self, op: Any, _index: int, value: np.ndarray) -> None:
        if (limits := self.limits.get(op.results[0])) is not None:
            beyond, seen = self.saturated.get(op.results[0], (0, 0))
            self.saturated[op.results[0]] = beyond + outside(value, limits), seen + value.size


def correlation(map_: np.ndarray, of_float: np.ndarray) -> float:
    """Pearson of a map with one of float; NaN where that is empty, constant or not finite. A constant map counts as 0.

    Args:
        map_: h x w.
        of_float: h x w.
    """
    if not of_float.size or not np.isfinite(of_float).all():
        return float("nan")
    return 0.0 if np.ptp(of_float) and not np.ptp(map_) else pearson(map_, of_float)
