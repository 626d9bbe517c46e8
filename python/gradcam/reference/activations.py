"""Activations and products of two values in exact integers; see `gradcam.reference.integer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.functions import FUNCTIONS, Real
from gradcam.numerics import rescale
from gradcam.quant_types import (
    INT16_LIMITS,
    hard_bend,
    hard_rescale,
    quantize_array,
    signed_rescale,
    storage_limits,
    table,
)
from gradcam.reference.results import along_channels, at_scale, rescaled, store


def _prelu(op: Any, x: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    m, s = signed_rescale(op.operands[0], op.results[0], slopes)
    return store(op, np.where(x > 0, at_scale(op, 0, x), rescale(x, along_channels(m, x.ndim), s)))


def _prelu_slope(op: Any, x: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    one, *others = quantize_array(np.array([1.0, *slopes]), op.results[0])
    return np.where(x > 0, one, along_channels(np.array(others), x.ndim))


def _hard_sigmoid(op: Any, x: np.ndarray) -> np.ndarray:
    bend = hard_bend(op)
    return store(op, rescale(np.clip(x.astype(np.int64) + bend, 0, 2 * bend), *hard_rescale(op)))


def _hard_swish(op: Any, x: np.ndarray) -> np.ndarray:
    bend, x = hard_bend(op), np.clip(x.astype(np.int64), *INT16_LIMITS)
    return store(op, rescale(x * np.clip(x + bend, 0, 2 * bend), *hard_rescale(op)))


def _hard_swish_slope(op: Any, x: np.ndarray) -> np.ndarray:
    bend, x = hard_bend(op), np.clip(x.astype(np.int64), *INT16_LIMITS)
    inside = rescale(2 * np.clip(x, -bend, bend) + bend, *hard_rescale(op))
    one = quantize_array(np.array(1.0), op.results[0])
    return store(op, np.where(x <= -bend, 0, np.where(x >= bend, one, inside)))


def _looked_up(choose: Callable[[Any], Real]) -> Callable[[Any, np.ndarray], np.ndarray]:
    def look_up(op: Any, x: np.ndarray) -> np.ndarray:
        function = FUNCTIONS[ir.StringAttr(op.attributes["function"]).value]
        low, _ = storage_limits(op.operands[0])
        return table(choose(function), op.operands[0], op.results[0])[x.astype(np.int64) - low]

    return look_up


def _mul(op: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return rescaled(op, x.astype(np.int64) * y.reshape(*y.shape, *[1] * (x.ndim - y.ndim)))


def _product_sums(op: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    sums = (x.astype(np.int64) * y).sum((2, 3))
    return rescaled(op, sums.reshape(ir.RankedTensorType(op.results[0].type).shape))


#: Kernels by the name of the op.
KERNELS: dict[str, Callable[..., np.ndarray]] = {
    "gradcam.prelu": _prelu,
    "gradcam.prelu_slope": _prelu_slope,
    "gradcam.hard_sigmoid": _hard_sigmoid,
    "gradcam.hard_swish": _hard_swish,
    "gradcam.hard_swish_slope": _hard_swish_slope,
    "gradcam.function": _looked_up(lambda function: function.value),
    "gradcam.function_slope": _looked_up(lambda function: function.slope),
    "gradcam.mul": _mul,
    "gradcam.product_sums": _product_sums,
}
