"""The meaning of the ops that change the size of a feature map by a ratio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcam.adaptive import axes_of
from gradcam.dialect.verify import ints
from gradcam.reference.results import finish, rescaled


def _upsample2d(op: Any, x: np.ndarray) -> np.ndarray:
    return np.kron(x, np.ones((1, 1, *ints(op, "kernel", 2, 1)), x.dtype))


def _upsample2d_adjoint(op: Any, g: np.ndarray) -> np.ndarray:
    height, width = ints(op, "kernel", 2, 1)
    rows = np.add.reduceat(g.astype(np.int64), range(0, g.shape[2], height), 2)
    return rescaled(op, np.add.reduceat(rows, range(0, g.shape[3], width), 3))


def _adaptive_avg_pool2d(op: Any, x: np.ndarray) -> np.ndarray:
    """The pool and its adjoint alike."""
    rows, columns = (axis.weights for axis in axes_of(op))
    return finish(op, np.einsum("hi,ncij,wj->nchw", rows, x.astype(np.int64), columns), None)


#: The kernels by op name.
KERNELS: dict[str, Callable[..., np.ndarray]] = {
    "gradcam.upsample2d": _upsample2d,
    "gradcam.upsample2d_adjoint": _upsample2d_adjoint,
    "gradcam.adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "gradcam.adaptive_avg_pool2d_adjoint": _adaptive_avg_pool2d,
}
