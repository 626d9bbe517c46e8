"""The meaning of the ops that put channels together and take them apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcam.dialect.channel_ops import order_of
from gradcam.numerics import rescale
from gradcam.quant_types import part_rescale
from gradcam.reference.results import along_channels, store


def _concat(op: Any, *parts: np.ndarray) -> np.ndarray:
    return np.concatenate([store(op, _at_scale(op, index, x)) for index, x in enumerate(parts)], 1)


def _at_scale(op: Any, index: int, x: np.ndarray) -> np.ndarray:
    """Operand `index` at the scales of its channels of the result."""
    constants = part_rescale(op, index)
    if constants is None:
        return x
    m, s = constants
    return rescale(x, along_channels(m, x.ndim), s)


def _take_channels(op: Any, x: np.ndarray) -> np.ndarray:
    return np.concatenate((x, np.zeros_like(x[:, :1])), 1)[:, order_of(op)]  # -1 is the last channel, which is 0


#: The kernels by op name.
KERNELS: dict[str, Callable[..., np.ndarray]] = {
    "gradcam.concat": _concat,
    "gradcam.take_channels": _take_channels,
}
