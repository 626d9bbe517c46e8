"""Ops that change the size of a feature map by a ratio, in f32."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gradcam.dialect import resample_ops
from gradcam.dialect.verify import ints


def _upsample2d(op: Any, x: Tensor) -> Tensor:
    height, width = ints(op, "kernel", 2, 1)
    return x.repeat_interleave(height, 2).repeat_interleave(width, 3)


def _upsample2d_adjoint(op: Any, g: Tensor) -> Tensor:
    height, width = ints(op, "kernel", 2, 1)
    return g.unflatten(3, (-1, width)).unflatten(2, (-1, height)).sum((3, 5))


#: f32 kernels by op class.
KERNELS: dict[Any, Any] = {
    resample_ops.Upsample2dOp: _upsample2d,
    resample_ops.Upsample2dAdjointOp: _upsample2d_adjoint,
}
