"""Attributes of ops as numbers, and windows as ONNX has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch_mlir import ir

from gradcam.dialect.verify import ints, sides


def real(op: Any, name: str) -> float:
    """A number."""
    return ir.FloatAttr(op.attributes[name]).value


def flag(op: Any, name: str) -> bool:
    """A bit."""
    return bool(ir.IntegerAttr(op.attributes[name]).value)


def window(op: Any, kernel: Sequence[int]) -> dict[str, list[int]]:
    """The attributes of an ONNX operator with a window."""
    low, high = sides(op)
    stride, dilation = (ints(op, name, 2, 1) for name in ("stride", "dilation"))
    return {"kernel_shape": list(kernel), "strides": stride, "dilations": dilation, "pads": [*low, *high]}
