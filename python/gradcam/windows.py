"""Windows at a border: what average pools divide by there, and which taps lie on the map."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from torch_mlir import ir

from gradcam.dialect.verify import ints, shape, sides


class Average(NamedTuple):
    """The means of windows as sums with integer weights: sum * weight / divisor.

    Attributes:
        counts: the number of elements that count in each window: int64, OH x OW, or 1 x 1 where all windows are alike.
    """

    counts: np.ndarray

    @property
    def divisor(self) -> int:
        """The least common multiple of the counts."""
        return math.lcm(*np.unique(self.counts).tolist())

    @property
    def largest(self) -> int:
        """The largest weight: 1 where all counts are equal."""
        return self.divisor // int(self.counts.min())

    @property
    def weights(self) -> np.ndarray | None:
        """The weight of each window, the divisor over its count: int64, OH x OW; None where all are 1."""
        return None if self.largest == 1 else self.divisor // self.counts


def average_of(op: Any) -> Average:
    """The average of an avg_pool2d, or of the pool that an avg_pool2d_adjoint belongs to."""
    return Average(_counts(op))


def _counts(op: Any) -> np.ndarray:
    """See `Average.counts`."""
    kernel, stride = ints(op, "kernel", 2, 1), ints(op, "stride", 2, 1)
    if ir.IntegerAttr(op.attributes["count_include_pad"]).value:
        return np.array([[math.prod(kernel)]])
    map_, out = op.operands[0], op.results[0]
    if op.operation.name.endswith("_adjoint"):
        map_, out = out, map_
    axes = zip(kernel, stride, sides(op)[0], shape(map_)[2:], shape(out)[2:], strict=True)
    return np.outer(*(_on_map(*axis) for axis in axes))


def _on_map(kernel: int, stride: int, padding: int, size: int, out: int) -> np.ndarray:
    """How many elements of each window along an axis lie on the map."""
    first = np.arange(out) * stride - padding
    return np.minimum(first + kernel, size) - np.maximum(first, 0)


def taps_inside(kernel: int, stride: int, padding: int, dilation: int, size: int, out: int) -> int:
    """The taps of all windows along an axis of `size` elements that do not lie in its padding."""
    position = np.arange(out) * stride - padding + np.arange(kernel)[:, None] * dilation
    return int(((position >= 0) & (position < size)).sum())
