"""Exact integer results at the scale and in the storage of an op's result."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcam.errors import fail
from gradcam.numerics import rescale
from gradcam.quant_types import (
    is_accumulator,
    is_narrow,
    operand_rescale,
    result_rescale,
    storage_limits,
    storage_type,
)


def store(op: Any, result: np.ndarray) -> np.ndarray:
    """Stores a rescaled value: saturates it to a narrow type, or keeps it as it is in int32."""
    if not is_narrow(op.results[0]):
        return int32(op, result)
    return np.clip(result, *storage_limits(op.results[0])).astype(storage_type(op.results[0]))


def int32(op: Any, value: np.ndarray) -> np.ndarray:
    """The values as int32.

    Raises:
        GradcamError: a value does not fit.
    """
    narrow = value.astype(np.int32)
    if (narrow != value).any():
        raise fail(op, f"'{op.operation.name}' leaves the range of its 32-bit accumulator")
    return narrow


def along_channels(values: np.ndarray, ndim: int) -> np.ndarray:
    """One number, or one per channel, in a shape that broadcasts against 1xCx... of `ndim` dimensions."""
    return values.reshape(-1, *[1] * (ndim - 2)) if np.ndim(values) else values


def rescaled(op: Any, acc: np.ndarray) -> np.ndarray:
    """Brings exact integer results of shape 1xCx... to the scale and the storage of the op's result."""
    m, s = result_rescale(op)
    return store(op, rescale(int32(op, acc), along_channels(m, acc.ndim), s))


def finish(op: Any, acc: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """Adds the bias to accumulators of shape 1xOx... and brings them to the scale of the result."""
    if bias is not None:
        acc = acc + along_channels(bias, acc.ndim)
    return int32(op, acc) if is_accumulator(op) else rescaled(op, acc)


def at_scale(op: Any, index: int, x: np.ndarray, factor: float = 1.0) -> np.ndarray:
    """Operand `index`, times `factor`, as int64 at the scale of the result."""
    return by_constants(operand_rescale(op.operands[index], op.results[0], factor), x)


def by_constants(constants: tuple[np.ndarray, int] | None, x: np.ndarray) -> np.ndarray:
    """1xCx... rescaled by multipliers and a shift, or as it is where there are none: int64."""
    if constants is None:
        return x.astype(np.int64)
    m, s = constants
    return rescale(x, along_channels(m, x.ndim), s)
