"""What an adaptive average pool multiplies with: windows of different sizes, in integers."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gradcam.dialect.resample_ops import AdaptiveAvgPool2dAdjointOp, AdaptiveAvgPool2dOp
from gradcam.dialect.verify import shape


class Windows(NamedTuple):
    """The windows of an adaptive pool along one axis: window i has the elements from `start[i]` up to `stop[i]`."""

    start: np.ndarray
    stop: np.ndarray

    @staticmethod
    def of(size: int, out: int) -> Windows:
        """Those of PyTorch's adaptive pools: from floor(i * size / out) up to ceil((i + 1) * size / out)."""
        i = np.arange(out)
        return Windows(i * size // out, -(-(i + 1) * size // out))

    @property
    def regular(self) -> tuple[int, int] | None:
        """Kernel and stride of the ordinary pool that has these windows; None where there is none."""
        kernels = set((self.stop - self.start).tolist())
        strides = set(np.diff(self.start).tolist()) or kernels
        return None if len(kernels) > 1 or len(strides) > 1 or 0 in strides else (min(kernels), min(strides))


class Axis(NamedTuple):
    """What an adaptive average pool, or its adjoint, does along one axis: sums with integer weights, then a division.

    Attributes:
        weights: for each element of the result that of each element of the operand: int64.
        divisor: the least common multiple of the sizes of the windows.
    """

    weights: np.ndarray
    divisor: int


def is_adaptive(op: Any) -> bool:
    """Whether an op is an adaptive average pool or the adjoint of one."""
    return op.operation.name in (AdaptiveAvgPool2dOp.OPERATION_NAME, AdaptiveAvgPool2dAdjointOp.OPERATION_NAME)


def axes_of(op: Any) -> list[Axis]:
    """Height and width of an adaptive average pool or of its adjoint."""
    sizes = zip(shape(op.operands[0])[2:], shape(op.results[0])[2:], strict=True)
    if op.operation.name == AdaptiveAvgPool2dOp.OPERATION_NAME:
        return [_axis(size, out) for size, out in sizes]
    return [axis._replace(weights=axis.weights.T) for axis in (_axis(size, out) for out, size in sizes)]


def _axis(size: int, out: int) -> Axis:
    start, stop = (bound[:, None] for bound in Windows.of(size, out))
    counts, places = stop - start, np.arange(size)
    divisor = math.lcm(*np.unique(counts).tolist())
    return Axis(np.where((start <= places) & (places < stop), divisor // counts, 0), divisor)


def divisor_of(op: Any) -> int:
    """The number that the sums of an adaptive average pool, or of its adjoint, are divided by."""
    return math.prod(axis.divisor for axis in axes_of(op))


def largest_weight(op: Any) -> int:
    """The largest product of the weights of both axes."""
    return math.prod(int(axis.weights.max()) for axis in axes_of(op))


def largest_sum_of(op: Any) -> int:
    """The largest sum of weights."""
    return math.prod(int(axis.weights.sum(1).max()) for axis in axes_of(op))
