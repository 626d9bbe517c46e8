"""The choice of the classes to explain: the meaning of `gradcam.select_class` and `gradcam.next_class`."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcam.errors import GradcamError

if TYPE_CHECKING:  # only for its name
    from gradcam.schema.program import Program


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


def requests(cls: Any, count: int, program: Program) -> list[int]:
    """The class that each of `count` images asks to explain; -1 for the predicted one.

    Args:
        cls: an integer for all images, or one for each.
        count: of images.
        program: of the design that explains.

    Raises:
        GradcamError: `cls` is none of these, the design has no such class, or it explains nothing.
    """
    several = isinstance(cls, Iterable) and not isinstance(cls, str | bytes) and getattr(cls, "ndim", 1)
    classes = [class_number(c) for c in (cls if several else [cls] * count)]
    if len(classes) != count:
        raise GradcamError(f"{len(classes)} classes for {count} images")
    logits = program.output("logits")
    for c in classes:
        if c != -1 and not program.ports:
            raise GradcamError("the design explains nothing, so it takes no class")
        if logits is not None and not -1 <= c < math.prod(logits.shape):
            raise GradcamError(f"class {c} does not exist; the model has classes 0 to {math.prod(logits.shape) - 1}")
    return classes


def class_number(value: Any) -> int:
    """The number of a class, an integer of Python, NumPy or PyTorch.

    Raises:
        GradcamError: it is something else.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise GradcamError(f"a class must be an integer, got {value!r}") from None
