"""Making and reading `!quant.uniform` types, and the rescale constants that follow from the types of an op.

All types here have the zero point 0 and express f32. Integers are signed, but for feature maps that are never negative,
which are unsigned. A type stores integers of exactly the bits that it names, `i9` or `u12` as well as `i8`; nothing
else says how wide memories, products and adders are. MLIR prints a scale with 7 significant digits, so every scale is
rounded to 7 when a type is made: the printed module means exactly the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import quant

from gradcam.adaptive import divisor_of, is_adaptive, largest_sum_of
from gradcam.bits import whole_bits
from gradcam.dialect.activation_ops import BEND, HardSwishOp
from gradcam.dialect.channel_ops import channel_ranges
from gradcam.dialect.traits import Forward, Product, ProductOfBoth, Sum, has, trait
from gradcam.errors import GradcamError
from gradcam.numerics import fixed_point
from gradcam.windows import average_of

#: The largest magnitude that int8 has with both signs; a range of r gets the scale r / 127.
INT8_LEVELS = 127

#: Bits of accumulators, and of what is not saturated to fewer bits.
ACCUMULATOR_BITS = 32

#: The factor by which the scale of a 32-bit sum with a fraction is finer than that of its int8 result.
FRACTION_BITS = 6

#: The range of what a hard swish multiplies.
INT16_LIMITS = -(1 << 15), (1 << 15) - 1

#: The relative tolerance for products of two scales, which have 7 digits each.
SCALE_TOLERANCE = 1e-5


def round_scale(scale: float) -> float:
    """The scale with 7 significant digits."""
    return float(f"{scale:.6e}")


def _limits(bits: int, unsigned: bool = False) -> tuple[int, int]:
    return 0 if unsigned else -levels(bits) - 1, levels(bits, unsigned)


def levels(bits: int, unsigned: bool = False) -> int:
    """The largest integer of so many bits: the one that a range stands for."""
    return (1 << bits) - 1 if unsigned else (1 << (bits - 1)) - 1


def _storage(bits: int) -> ir.Type:
    return ir.IntegerType.get_signless(bits)


def per_tensor(
    shape: Sequence[int],
    scale: float,
    bits: int = 8,
    unsigned: bool = False,
    limits: tuple[int, int] | None = None,
) -> ir.RankedTensorType:
    """Tensor type with one scale and integers of `bits`; needs an MLIR context and location to be entered.

    `limits` are the least and the largest integer, where these are not those of the bits.
    """
    flags = 0 if unsigned else quant.QuantizedType.FLAG_SIGNED
    limits = limits or _limits(bits, unsigned)
    element = quant.UniformQuantizedType.get(flags, _storage(bits), ir.F32Type.get(), round_scale(scale), 0, *limits)
    return ir.RankedTensorType.get(list(shape), element)


def per_channel(
    shape: Sequence[int],
    scales: Iterable[float],
    bits: int = 8,
    axis: int = 0,
    limits: tuple[int, int] | None = None,
) -> ir.RankedTensorType:
    """Tensor type with one scale per index of dimension `axis`: 0 in weights and biases, 1 in gradients.

    `limits` are the least and the largest integer, where these are not those of the bits.
    """
    values = [round_scale(s) for s in scales]
    signed, zeros = quant.QuantizedType.FLAG_SIGNED, [0] * len(values)
    element = quant.UniformQuantizedPerAxisType.get(
        signed, _storage(bits), ir.F32Type.get(), values, zeros, axis, *(limits or _limits(bits))
    )
    return ir.RankedTensorType.get(list(shape), element)


def quantized_like(
    value: Any, scales: np.ndarray, bits: int, limits: tuple[int, int] | None = None
) -> ir.RankedTensorType:
    """The type of a feature map or vector of the shape of `value` with one scale, or one for each channel.

    `limits` are the least and the largest integer, where these are not those of the bits.
    """
    shape = ir.RankedTensorType(value.type).shape
    if np.ndim(scales) and len(set(scales.tolist())) > 1:
        return per_channel(shape, scales, bits, 1, limits)
    return per_tensor(shape, float(np.max(scales)), bits, limits=limits)


def element_type(value: Any) -> Any:
    """Element type of a tensor value or type."""
    return ir.RankedTensorType(getattr(value, "type", value)).element_type


def is_quantized(value: Any) -> bool:
    """Whether the elements of a tensor value or type are quantized."""
    return isinstance(element_type(value), quant.QuantizedType)


def storage_bits(value: Any) -> int:
    """Width of the stored integers of a quantized tensor value or type."""
    return element_type(value).storage_type_integral_width


def storage_limits(value: Any) -> tuple[int, int]:
    """The smallest and the largest stored integer of a quantized tensor value or type."""
    element = element_type(value)
    return element.storage_type_min, element.storage_type_max


def is_unsigned(value: Any) -> bool:
    """Whether a tensor value or type is quantized to integers without a sign."""
    return is_quantized(value) and not element_type(value).is_signed


def largest_magnitude(value: Any) -> int:
    """The largest magnitude of a stored integer of a quantized tensor value or type."""
    low, high = storage_limits(value)
    return max(-low, high)


def storage_type(value: Any) -> np.dtype:
    """The narrowest NumPy type that holds the stored integers of a quantized tensor value or type."""
    return np.dtype(f"{'u' if is_unsigned(value) else ''}int{whole_bits(storage_bits(value))}")


def is_narrow(value: Any) -> bool:
    """Whether a quantized tensor value or type is saturated to fewer bits than an accumulator has."""
    return storage_bits(value) < ACCUMULATOR_BITS


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
        Integers of the type's `storage_type`, the shape of `x`.
    """
    low, high = storage_limits(like)
    return np.clip(np.rint(np.asarray(x, np.float64) / _steps(x, like)), low, high).astype(storage_type(like))


def represented(x: np.ndarray, like: Any) -> np.ndarray:
    """The representable real numbers that `quantize_array` chooses: float64, the shape of `x`.

    Args:
        x: real numbers; for a per-channel type the first dimension is the channel.
        like: the quantized tensor value or type.
    """
    return quantize_array(x, like) * _steps(x, like)


def _steps(x: np.ndarray, like: Any) -> np.ndarray:
    """The scales of a type, in a shape that broadcasts over `x`."""
    step = scales(like)
    return step.reshape(-1, *[1] * (np.ndim(x) - 1)) if step.ndim else step


def is_accumulator(op: Any) -> bool:
    """Whether a quantized conv2d, linear or avg_pool2d yields its raw accumulator: 32 bits at the scale of its sums."""
    if not (has(op, Forward) and has(op, Product, Sum)) or is_narrow(op.results[0]):
        return False
    read = list(op.operands)[: 2 if has(op, Product) else 1]
    return not any(scales(v).ndim for v in read) and scale(op.results[0]) == accumulator_scale(op)


def accumulator_scale(op: Any) -> float:
    """The scale of the exact sums of a quantized conv2d, linear or avg_pool2d that has one scale per operand."""
    if has(op, Product):
        return round_scale(scale(op.operands[0]) * scale(op.operands[1]))
    return round_scale(scale(op.operands[0]) / _divisor(op))


def result_rescale(op: Any) -> tuple[np.ndarray, int]:
    """The rescale of an op's exact integer result to its stored result: multipliers (int32, () or (C,)) and shift.

    Raises:
        GradcamError: the ratio of the scales is not between 0 and 2^14.
    """
    return fixed_point(result_ratio(op))


def result_ratio(op: Any) -> np.ndarray:
    """The real factor that `result_rescale` approximates in fixed point: float64, () or one per result channel."""
    return sum_scale(op) / scales(op.results[0])


def sum_scale(op: Any) -> np.ndarray:
    """The scale of the exact integer result of an op before it is rescaled: float64, () or one per result channel."""
    x, product, total = scales(op.operands[0]), trait(op, Product), trait(op, Sum)
    if has(op, ProductOfBoth):
        return x * scale(op.operands[1])
    if product is not None:
        return np.asarray(product_scale(op)) if product.transposed else x * scales(op.operands[1])
    return x / _divisor(op) if total is not None and total.mean else x


def _divisor(op: Any) -> int:
    """The number by which a mean divides its sum."""
    if is_adaptive(op):
        return divisor_of(op)
    return average_of(op).divisor if "count_include_pad" in op.attributes else summands(op)


def product_scale(op: Any) -> float:
    """The common scale of all products of a conv2d_adjoint or linear_adjoint.

    Raises:
        GradcamError: the products of different channels have different scales.
    """
    products = np.atleast_1d(scales(op.operands[0]) * scales(op.operands[1]))
    if (np.abs(products / products[0] - 1) > SCALE_TOLERANCE).any():
        raise GradcamError("the gradient's scales and its weights' do not multiply to one scale; see gradcam-quantize")
    return float(products.mean())


def has_same_scale(x: Any, z: Any) -> bool:
    """Whether two quantized tensors have equal scales, so that equal integers stand for equal values."""
    return bool(np.array_equal(scales(x), scales(z)))


def operand_rescale(x: Any, z: Any, factor: float = 1.0) -> tuple[np.ndarray, int] | None:
    """Multipliers and shift that bring `factor * x` to the scale of `z`; None where no rescale is needed.

    Raises:
        GradcamError: the ratio of the scales, times the positive `factor`, is not between 0 and 2^14.
    """
    if has_same_scale(x, z):
        return None if factor == 1 else fixed_point(factor)
    m, s = fixed_point(factor * scales(x) / scales(z))
    return (m if m.ndim == 0 or (m != m[0]).any() else m[0]), s  # alike in all channels, as between two of one pattern


def part_rescale(concat: Any, index: int) -> tuple[np.ndarray, int] | None:
    """Multipliers and shift that bring an operand of a concatenation to the scales that the result has for it.

    Returns:
        None where no rescale is needed.

    Raises:
        GradcamError: the ratio of the scales is not between 0 and 2^14.
    """
    part, whole = concat.operands[index], concat.results[0]
    have, wanted = scales(part), scales(whole)
    wanted = wanted[channel_ranges(concat)[index]] if wanted.ndim else wanted
    is_alike = bool((have == wanted).all()) and storage_limits(part) == storage_limits(whole)
    return None if is_alike else fixed_point(have / wanted)


def signed_rescale(x: Any, z: Any, factors: np.ndarray) -> tuple[np.ndarray, int]:
    """Multipliers and shift that bring x times one factor per channel, of any sign, to the scale of `z`.

    A factor of 0 has the multiplier 0, a negative one minus that of its magnitude.

    Raises:
        GradcamError: as `fixed_point`.
    """
    magnitudes = np.abs(np.asarray(factors, np.float64)) * scale(x) / scale(z)
    m, s = fixed_point(np.where(magnitudes > 0, magnitudes, magnitudes.max(initial=0) or 1.0))
    return np.where(magnitudes > 0, np.sign(factors) * m, 0).astype(np.int32), s


def hard_bend(op: Any) -> int:
    """The integer that stands for the bend of a hard sigmoid or hard swish, at the scale of its input."""
    return round(BEND / scale(op.operands[0]))


def hard_rescale(op: Any) -> tuple[np.ndarray, int]:
    """The rescale of the exact integers of a hard sigmoid, a hard swish or its slope, which are divided by 6.

    A hard swish multiplies two integers at the scale of its input.

    Raises:
        GradcamError: as `fixed_point`.
    """
    x, y = scale(op.operands[0]), scale(op.results[0])
    return fixed_point((x * x if isinstance(op.operation.opview, HardSwishOp) else x) / (2 * BEND * y))


def largest_sum(op: Any) -> int:
    """The largest sum of an op with the trait `Sum` or `ProductOfBoth` over operand 0 by its largest element."""
    if is_adaptive(op):
        return largest_sum_of(op)
    return summands(op) * (average_of(op).largest if "count_include_pad" in op.attributes else 1)


def summands(op: Any) -> int:
    """The number of terms of each sum of an op with the trait `Sum` or `ProductOfBoth`, padding included."""
    total, product = trait(op, Sum), trait(op, ProductOfBoth)
    if product is not None and product.over == "element":
        return 1
    if total is not None and total.over == "window":
        return math.prod(ir.IntegerAttr(a).value for a in ir.ArrayAttr(op.attributes["kernel"]))
    return math.prod(ir.RankedTensorType(op.operands[0].type).shape[2:])


def table(function: Callable[[np.ndarray], np.ndarray], x: Any, y: Any) -> np.ndarray:
    """The table of a function from the integers of `x` to those of `y`, the least input first.

    Each entry is the integer nearest to f(i * scale of x) / scale of y, saturated; ties round to even.
    """
    low, high = storage_limits(x)
    return quantize_array(function(np.arange(low, high + 1) * scale(x)), y)


def clamp_bounds(op: Any) -> tuple[int, int]:
    """Integer bounds of a quantized clamp: its real bounds at the scale of its input, saturated to the input's type."""
    low, high = storage_limits(op.operands[0])
    bounds = (ir.FloatAttr(op.attributes[name]).value / scale(op.operands[0]) for name in ("lo", "hi"))
    lo, hi = (round(min(max(b, low), high)) for b in bounds)
    return lo, hi


def mask_bounds(op: Any) -> tuple[int, int]:
    """The integer bounds of a mask, which is 1 where its input lies between them, both excluded.

    A closed mask is 1 for the integers that the quantized clamp leaves as they are. An open one is 0 for the integers
    that its bounds round to, so that it does not depend on how a scale has been rounded.
    """
    if ir.IntegerAttr(op.attributes["closed"]).value:
        lo, hi = clamp_bounds(op)
        return lo - 1, hi + 1
    low, high = storage_limits(op.operands[0])
    lo, hi = (ir.FloatAttr(op.attributes[name]).value / scale(op.operands[0]) for name in ("lo", "hi"))
    return round(max(lo, low - 1)), round(min(hi, high + 1))
