"""The meaning of the ops that put channels together and take them apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcam.dialect.channel_ops import order_of
from gradcam.quant_types import part_rescale
from gradcam.reference.results import by_constants, store


def _concat(op: Any, *parts: np.ndarray) -> np.ndarray:
    return np.concatenate([store(op, by_constants(part_rescale(op, n), x)) for n, x in enumerate(parts)], 1)


def _take_channels(op: Any, x: np.ndarray) -> np.ndarray:
    return np.concatenate((x, np.zeros_like(x[:, :1])), 1)[:, order_of(op)]  # -1 is the last channel, which is 0


#: The kernels by op name.
KERNELS: dict[str, Callable[..., np.ndarray]] = {
    "gradcam.concat": _concat,
    "gradcam.take_channels": _take_channels,
}
