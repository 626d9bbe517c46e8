"""Ops that change the size of a feature map by a ratio, in f32."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gradcam.adaptive import axes_of
from gradcam.dialect import resample_ops
from gradcam.dialect.verify import ints, shape


def _upsample2d(op: Any, x: Tensor) -> Tensor:
    height, width = ints(op, "kernel", 2, 1)
    return x.repeat_interleave(height, 2).repeat_interleave(width, 3)


def _upsample2d_adjoint(op: Any, g: Tensor) -> Tensor:
    height, width = ints(op, "kernel", 2, 1)
    return g.unflatten(3, (-1, width)).unflatten(2, (-1, height)).sum((3, 5))


def _adaptive_avg_pool2d(op: Any, x: Tensor) -> Tensor:
    height, width = shape(op.results[0])[2:]
    return F.adaptive_avg_pool2d(x, (height, width))


def _adaptive_avg_pool2d_adjoint(op: Any, g: Tensor) -> Tensor:
    rows, columns = (torch.from_numpy(axis.weights / axis.divisor).to(g.dtype) for axis in axes_of(op))
    return torch.cat([torch.einsum("hi,ncij,wj->nchw", rows, image, columns) for image in g.split(1)])


#: f32 kernels by op class.
KERNELS: dict[Any, Any] = {
    resample_ops.Upsample2dOp: _upsample2d,
    resample_ops.Upsample2dAdjointOp: _upsample2d_adjoint,
    resample_ops.AdaptiveAvgPool2dOp: _adaptive_avg_pool2d,
    resample_ops.AdaptiveAvgPool2dAdjointOp: _adaptive_avg_pool2d_adjoint,
}
