"""The choice of the classes to explain: the meaning of `gradcam.select_class` and `gradcam.next_class`."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np


def best_class(logits: np.ndarray, chosen: Collection[int] = ()) -> int:
    """The first maximum of the logits (K numbers) among the classes that are not in `chosen`."""
    return max((c for c in range(len(logits)) if c not in chosen), key=lambda c: logits[c])


def explained_classes(logits: np.ndarray, request: int, count: int) -> list[int]:
    """The classes of `count` maps: the requested class, or the best one for a negative request, then the best others.

    Args:
        logits: K numbers.
        request: a class, or a negative number.
        count: 1 to K.
    """
    classes = [request if request >= 0 else best_class(logits)]
    while len(classes) < count:
        classes.append(best_class(logits, classes))
    return classes
