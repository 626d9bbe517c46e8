"""Making and reading `!quant.uniform` types, and the rescale constants that follow from the types of an op.

All types here are symmetric: zero point 0, signed storage, f32 expressed. MLIR prints a scale with 7 significant
digits, so every scale is rounded to 7 when a type is made: the printed module means exactly the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import quant

from gradcam.numerics import fixed_point

#: Magnitudes of int8 that both signs have; a range of r has the scale r / 127.
INT8_LEVELS = 127


def round_scale(scale: float) -> float:
    """The scale with 7 significant digits."""
    return float(f"{scale:.6e}")


def _limits(bits: int) -> tuple[int, int]:
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def per_tensor(shape: Sequence[int], scale: float, bits: int = 8) -> ir.RankedTensorType:
    """Tensor type with one scale and `bits` of storage; needs an MLIR context and location to be entered."""
    storage, signed = ir.IntegerType.get_signless(bits), quant.QuantizedType.FLAG_SIGNED
    element = quant.UniformQuantizedType.get(signed, storage, ir.F32Type.get(), round_scale(scale), 0, *_limits(bits))
    return ir.RankedTensorType.get(list(shape), element)


def per_channel(shape: Sequence[int], scales: Iterable[float], bits: int = 8) -> ir.RankedTensorType:
    """Tensor type with one scale per index of the first dimension (the output channels of a weight or bias)."""
    values = [round_scale(s) for s in scales]
    storage, signed = ir.IntegerType.get_signless(bits), quant.QuantizedType.FLAG_SIGNED
    element = quant.UniformQuantizedPerAxisType.get(
        signed, storage, ir.F32Type.get(), values, [0] * len(values), 0, *_limits(bits)
    )
    return ir.RankedTensorType.get(list(shape), element)


def element_type(value: Any) -> Any:
    """Element type of a tensor value or type."""
    return ir.RankedTensorType(getattr(value, "type", value)).element_type


def is_quantized(value: Any) -> bool:
    """Whether the elements of a tensor value or type are quantized."""
    return isinstance(element_type(value), quant.QuantizedType)


def storage_bits(value: Any) -> int:
    """Width of the integers that stand for the elements of a quantized tensor value or type."""
    return element_type(value).storage_type_integral_width


def scales(value: Any) -> np.ndarray:
    """Scale of a quantized tensor value or type: float64, shape () per tensor, (C,) per channel."""
    element = element_type(value)
    if isinstance(element, quant.UniformQuantizedPerAxisType):
        return np.array(element.scales, np.float64)
    return np.array(element.scale, np.float64)


def scale(value: Any) -> float:
    """The one scale of a tensor value or type quantized per tensor."""
    return float(element_type(value).scale)


def quantize_array(x: np.ndarray, like: Any) -> np.ndarray:
    """Nearest representable integers of real values, saturated.

    Args:
        x: real numbers; for a per-channel type the first dimension is the channel.
        like: the quantized tensor value or type.

    Returns:
        int8 or int32, the shape of `x`.
    """
    bits, step = storage_bits(like), scales(like)
    step = step.reshape(-1, *[1] * (np.ndim(x) - 1)) if step.ndim else step
    low, high = _limits(bits)
    return np.clip(np.rint(np.asarray(x, np.float64) / step), low, high).astype(f"int{bits}")


def is_accumulator(op: Any) -> bool:
    """Whether a quantized conv2d or linear yields its raw accumulator: 32 bits at the scale of its products."""
    x, w, y = op.operands[0], op.operands[1], op.results[0]
    return storage_bits(y) == 32 and not scales(w).ndim and scale(y) == round_scale(scale(x) * scale(w))


def result_rescale(op: Any) -> tuple[np.ndarray, int]:
    """Multipliers (int32, () or (O,)) and shift from the accumulator of a conv2d, linear or avg_pool2d to its result.

    Raises:
        GradcamError: the ratio of the scales is not between 0 and 2^14.
    """
    return fixed_point(result_ratio(op))


def result_ratio(op: Any) -> np.ndarray:
    """The real factor that `result_rescale` writes in fixed point: float64, () or (O,)."""
    x, y = scales(op.operands[0]), scales(op.results[0])
    if op.name == "gradcam.avg_pool2d":
        return x / (window_size(op) * y)
    return x * scales(op.operands[1]) / y


def operand_rescale(x: Any, z: Any) -> tuple[int, int] | None:
    """Multiplier and shift that bring operand `x` of an addition to the scale of its result `z`; None when equal."""
    if scale(x) == scale(z):
        return None
    m, s = fixed_point(scale(x) / scale(z))
    return int(m), s


def window_size(op: Any) -> int:
    """Elements in the window of a pooling op."""
    return math.prod(ir.IntegerAttr(a).value for a in ir.ArrayAttr(op.attributes["kernel"]))


def clamp_bounds(op: Any) -> tuple[int, int]:
    """Integer bounds of a quantized clamp: its real bounds at its scale, saturated to its storage."""
    low, high = _limits(storage_bits(op.results[0]))
    bounds = (ir.FloatAttr(op.attributes[name]).value / scale(op.results[0]) for name in ("lo", "hi"))
    lo, hi = (round(min(max(b, low), high)) for b in bounds)
    return lo, hi
