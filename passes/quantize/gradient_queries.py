"""Questions about the ops of a backward pass that decide the types of its gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.dialect import adjoint_ops, ops
from gradcam.dialect.traits import AlignsParts, ChannelAffine, ExactProduct, KeepsScale, MovesChannels, has
from gradcam.errors import fail
from gradcam.passes.ir.queries import only_user, users
from gradcam.passes.quantize.calibrate import RANGE


def is_vector(value: ir.Value) -> bool:
    """Whether a gradient has one position; at 32 bits it takes no memory to speak of."""
    return math.prod(ir.RankedTensorType(value.type).shape[2:]) == 1


def reads_wide(op: Any, g: ir.Value) -> bool:
    """Whether `op` reads the wide `g` as it is: element by element, and of a map nothing else does."""
    if moves_channels(op) or has(op, AlignsParts):
        return False
    by_element = has(op, KeepsScale, ChannelAffine)
    return by_element or isinstance(op, ops.AddOp) if is_vector(g) else by_element and len(users(g)) == 1


def for_formula(requantize: Any) -> bool:
    """Whether the formula of a method alone reads a requantized gradient."""
    return all(has(user, ExactProduct) for user in users(requantize.y))


def moves_channels(op: Any) -> bool:
    """Whether an op that keeps scales gives them to other channels."""
    return has(op, MovesChannels) or (has(op, KeepsScale) and mixes_channels(op))


def mixes_channels(op: Any) -> bool:
    """Whether a flatten or unflatten mixes channels and positions, so that scales per channel are impossible."""
    if has(op, MovesChannels):
        return False
    shapes = [ir.RankedTensorType(v.type).shape for v in (op.operands[0], op.results[0])]
    return shapes[0][1] != shapes[1][1]


def masked(op: Any) -> Any:
    """The last op of the chain of masks and clips behind `op`: values that they remove need no range.

    Each op of the chain is the only reader of the op before it.
    """
    while removes(user := only_user(op)):
        op = user
    return op


def removes(op: Any) -> bool:
    """Whether an op passes each element of a gradient unchanged or replaces it by 0."""
    return isinstance(op, ops.ReluOp) or (isinstance(op, adjoint_ops.ApplyMaskOp) and op.slope.value == 0)


def channel_maxima(op: Any) -> np.ndarray:
    """The calibrated magnitude of each channel of a gradient: float64, C.

    Raises:
        GradcamError: it has none, or they are no magnitudes.
    """
    if RANGE not in op.attributes:
        raise fail(op, f"'{op.operation.name}' has no {RANGE}; run gradcam-calibrate first")
    found = np.array(list(ir.DenseF64ArrayAttr(op.attributes[RANGE])))
    channels = ir.RankedTensorType(op.results[0].type).shape[1]
    if found.shape != (channels,) or not (np.isfinite(found).all() and (found >= 0).all() and found.any()):
        raise fail(op, f"{RANGE} of a gradient must hold {channels} magnitudes, one of them positive")
    return found
