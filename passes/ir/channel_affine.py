"""The numbers of a batch norm and its adjoint: a factor and an offset per channel, in real units and as integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.errors import fail
from gradcam.numerics import affine_fixed_point
from gradcam.passes.ir.constants import read_constant
from gradcam.quant_types import largest_magnitude, scales


def affine(op: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Factor and offset per channel of a batch_norm, or of a batch_norm_adjoint, whose offset is 0: float64, (C,) each.

    Returns:
        None where a parameter is no constant.

    Raises:
        GradcamError: a channel's var + eps is not positive.
    """
    parameters = [p.astype(np.float64) for p in map(read_constant, list(op.operands)[1:]) if p is not None]
    if len(parameters) < len(op.operands) - 1:
        return None
    gamma, *shift, var = parameters
    check_variance(op, var)
    factor = gamma / np.sqrt(var + ir.FloatAttr(op.attributes["eps"]).value)
    beta, mean = shift or (np.zeros_like(factor),) * 2
    return factor, beta - mean * factor


def check_variance(norm: Any, var: np.ndarray) -> None:
    """Demands that every channel's var + eps is positive.

    Raises:
        GradcamError: naming the first channel where it is not.
    """
    denominator = var.astype(np.float64) + ir.FloatAttr(norm.attributes["eps"]).value
    bad = np.flatnonzero(~(denominator > 0))
    if bad.size:
        raise fail(norm, f"batch norm has var + eps = {denominator[bad[0]]:g} in channel {bad[0]}; it must be positive")


def affine_rescale(op: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """The integers of a quantized op with the trait `ChannelAffine`: y = (x * m[c] + b[c]) >> s.

    Returns:
        m, int32, and b, int64, of shape (C,), and s; see `affine_fixed_point`.

    Raises:
        GradcamError: a parameter is no constant or not finite, or a factor is too large for the scales.
    """
    numbers = affine(op)
    if numbers is None:
        raise fail(op, f"the parameters of '{op.name}' must be constants")
    factor, offset = numbers
    step = scales(op.results[0])
    return affine_fixed_point(factor * scales(op.operands[0]) / step, offset / step, largest_magnitude(op.operands[0]))
