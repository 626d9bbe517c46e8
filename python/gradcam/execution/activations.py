"""Activations and products of two values in f32; see `gradcam.execution.float32`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_mlir import ir

from gradcam.dialect import activation_ops, product_ops
from gradcam.dialect.activation_ops import BEND
from gradcam.dialect.verify import shape
from gradcam.functions import FUNCTIONS

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "mish": F.mish,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "tanh": torch.tanh,
}


def _prelu(op: Any, x: Tensor, slopes: Tensor) -> Tensor:
    return F.prelu(x, slopes)


def _prelu_slope(op: Any, x: Tensor, slopes: Tensor) -> Tensor:
    return torch.where(x > 0, 1.0, slopes.reshape(-1, *[1] * (x.ndim - 2))).to(x.dtype)


def _hard_sigmoid(op: Any, x: Tensor) -> Tensor:
    return F.hardsigmoid(x)


def _hard_swish(op: Any, x: Tensor) -> Tensor:
    return F.hardswish(x)


def _hard_swish_slope(op: Any, x: Tensor) -> Tensor:
    inside = (2 * x + BEND) / (2 * BEND)
    return torch.where(x <= -BEND, 0.0, torch.where(x >= BEND, 1.0, inside)).to(x.dtype)


def _function(op: Any, x: Tensor) -> Tensor:
    return _FUNCTIONS[ir.StringAttr(op.attributes["function"]).value](x)


def _function_slope(op: Any, x: Tensor) -> Tensor:
    slope = FUNCTIONS[ir.StringAttr(op.attributes["function"]).value].slope
    return torch.from_numpy(slope(x.double().numpy())).to(x.dtype)


def _mul(op: Any, x: Tensor, y: Tensor) -> Tensor:
    return x * y.reshape(*y.shape, *[1] * (x.ndim - y.ndim))


def _product_sums(op: Any, x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum((2, 3)).reshape(-1, *shape(op.results[0])[1:])


#: f32 kernels by op class.
KERNELS: dict[type, Callable[..., Tensor]] = {
    activation_ops.PReluOp: _prelu,
    activation_ops.PReluSlopeOp: _prelu_slope,
    activation_ops.HardSigmoidOp: _hard_sigmoid,
    activation_ops.HardSwishOp: _hard_swish,
    activation_ops.HardSwishSlopeOp: _hard_swish_slope,
    activation_ops.FunctionOp: _function,
    activation_ops.FunctionSlopeOp: _function_slope,
    product_ops.MulOp: _mul,
    product_ops.ProductSumsOp: _product_sums,
}
