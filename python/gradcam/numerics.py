"""The integer arithmetic of a quantized network, defined once: the integer reference and every lowering follow it.

A rescale multiplies an accumulator by a positive 16-bit integer and shifts the product right, rounding to nearest with
ties towards plus infinity:

    rescale(acc, m, s) = (acc * m + (1 << (s - 1))) >> s        1 <= m < 2^15, 1 <= s <= 46

With a 32-bit accumulator the sum has at most 47 bits with sign. Hardware may shift by up to two more bits and multiply
by as much more (`aligned_form`), which takes 49, and 50 where it shifts by more than 33.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from gradcam.errors import GradcamError

#: Bits of a multiplier without its sign, and the largest shift that a 48-bit product can use.
MULTIPLIER_BITS = 15
MAX_SHIFT = 46

#: Shifts of rescales in hardware are multiples of this one; and the bits of their multipliers without a sign, which
#: with it are those of a factor of a DSP slice.
SHIFT_STEP = 3
ALIGNED_MULTIPLIER_BITS = MULTIPLIER_BITS + SHIFT_STEP - 1
LARGEST_ALIGNED_MULTIPLIER = ((1 << MULTIPLIER_BITS) - 1) << SHIFT_STEP - 1

#: Of a rescale that is read from memory: bits of its multiplier, the shift that is always there, and bits, with a sign,
#: of the number of further pairs of bits that are shifted out; and the bits of a bias.
READ_MULTIPLIER_BITS, LEAST_SHIFT, PAIR_BITS, READ_BIAS_BITS = 17, 2, 5, 25

#: A ratio that a multiplier and a shift can express is below this one.
LARGEST_RATIO = 2.0**14


def fixed_point(ratios: ArrayLike) -> tuple[np.ndarray, int]:
    """Writes real scale ratios as `m * 2^-s`, with one shift for all of them.

    `s` is the largest shift for which the largest ratio's multiplier still has 15 bits, so that ratio keeps the most
    precision (a relative error of at most 2^-15, unless the shift is capped).

    Args:
        ratios: float64, a scalar or an array (one ratio per channel), each between 0 and 2^14, both exclusive.

    Returns:
        The multipliers (int32, shape of `ratios`, 1 <= m < 2^15) and the shift (1 <= s <= 46).

    Raises:
        GradcamError: a ratio is not positive, not finite or too large.
    """
    values = np.asarray(ratios, np.float64)
    if values.size == 0 or not (np.isfinite(values) & (values > 0)).all():
        raise GradcamError(f"a rescale factor must be a positive number, got {_first_bad(values)}")
    largest = float(values.max())
    shift = min(MULTIPLIER_BITS - math.frexp(largest)[1], MAX_SHIFT)
    if np.rint(math.ldexp(largest, shift)) >= 1 << MULTIPLIER_BITS:  # rounded up to the next power of two
        shift -= 1
    if shift < 1:
        raise GradcamError(f"a rescale factor must be less than 2^14, got {largest:g}")
    return np.asarray(np.maximum(1, np.rint(np.ldexp(values, shift))), np.int32), shift


def aligned_form(m: np.ndarray, s: int) -> tuple[np.ndarray, int]:
    """A rescale in the form that hardware has of it: its shift is a multiple of SHIFT_STEP.

    Where it is another one, it is up to two more, and the multipliers are 2 or 4 times as large: the same is computed.
    So rescales with different shifts share a shifter of few amounts.

    Args:
        m: multipliers, each less than 2^15.
        s: the shift.

    Returns:
        The multipliers (int32, each less than 2^17) and the shift.
    """
    further = -s % SHIFT_STEP
    return np.asarray(m, np.int32) << further, s + further


def read_form(m: np.ndarray, s: int) -> tuple[np.ndarray, int]:
    """A rescale in the form in which hardware reads it from memory: multipliers, and j of the shift LEAST_SHIFT + 2 j.

    Where the shift is another one, it is one more, and the multipliers are doubled, which computes the same. A shifter
    of pairs of bits is two thirds of one of bits.

    Raises:
        GradcamError: the shift is out of reach.
    """
    pairs, most = -(-(s - LEAST_SHIFT) // 2), (1 << (PAIR_BITS - 1)) - 1
    if not 0 <= pairs <= most:
        last = LEAST_SHIFT + 2 * most
        raise GradcamError(f"a rescale shifts by {s} bits; read from memory, it can be {LEAST_SHIFT} to {last}")
    return m << (LEAST_SHIFT + 2 * pairs - s), pairs


def _first_bad(values: np.ndarray) -> str:
    bad = values[~(np.isfinite(values) & (values > 0))]
    return f"{bad.flat[0]:g}" if bad.size else "none"


def rescale(acc: ArrayLike, m: ArrayLike, s: int) -> np.ndarray:
    """(acc * m + (1 << (s - 1))) >> s with an arithmetic shift.

    Args:
        acc: integers that fit int32.
        m: multipliers from `fixed_point`, of a shape that broadcasts against `acc`.
        s: shift from `fixed_point`.

    Returns:
        int64, the broadcast shape.
    """
    return (np.asarray(acc, np.int64) * np.asarray(m, np.int64) + (1 << (s - 1))) >> s


def affine_fixed_point(factors: ArrayLike, offsets: ArrayLike, largest: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Writes x * factor + offset, rounded half up, as `(x * m + b) >> s`, with one shift for all channels.

    `s` is the largest shift for which every multiplier has 15 bits and a sign, and x * m + b fits the accumulator:
    32 bits for an x of up to 16 bits, else 48.

    Args:
        factors: float64, one per channel, of any sign.
        offsets: float64, one per channel.
        largest: the largest magnitude of x, such as 2^7, 2^8 - 1 or 2^31.

    Returns:
        m (int32, |m| < 2^15), b (int64) with the half that rounds, and s (1 <= s <= 46).

    Raises:
        GradcamError: a number is not finite or too large.
    """
    f, o = np.asarray(factors, np.float64), np.asarray(offsets, np.float64)
    if not (np.isfinite(f) & np.isfinite(o)).all():
        raise GradcamError("a factor or an offset of a channel is not finite")
    limit = 1 << (31 if largest <= 1 << 16 else 47)
    for s in range(MAX_SHIFT, 0, -1):
        m, b = np.rint(np.ldexp(f, s)), np.rint(np.ldexp(o, s)) + (1 << (s - 1))
        reach = (largest * np.abs(m) + np.abs(b)).max()
        if np.abs(m).max() < 1 << MULTIPLIER_BITS and reach < min(limit, 1 << (31 + s)):
            return m.astype(np.int32), b.astype(np.int64), s
    raise GradcamError(f"a factor must be less than 2^14, and its offset less than 2^30, got {_first(f, o)}")


def _first(factors: np.ndarray, offsets: np.ndarray) -> str:
    worst = int(np.argmax(np.abs(factors) + np.abs(offsets)))
    return f"{factors[worst]:g} and {offsets[worst]:g}"


def quantize(values: np.ndarray, scale: float) -> np.ndarray:
    """Nearest multiples of `scale`, saturated to int8; int8 values pass as they are.

    Raises:
        GradcamError: a value is not finite.
    """
    if values.dtype == np.int8:
        return values
    if not np.isfinite(values).all():
        raise GradcamError("the input has values that are not finite")
    return np.clip(np.rint(values.astype(np.float64) / scale), -128, 127).astype(np.int8)


#: One scale, or an array of them.
Scales = TypeVar("Scales", float, np.ndarray)


def unsaturated(scale: Scales, low: int = -128, high: int = 127) -> tuple[Scales, Scales]:
    """The real values between which `quantize` rounds to integers of `low` to `high` without saturation."""
    return (low - 0.5) * scale, (high + 0.5) * scale


def outside(values: np.ndarray, limits: tuple[ArrayLike, ArrayLike]) -> int:
    """Number of values below the first limit or above the second one; arrays of limits broadcast."""
    return int(np.count_nonzero(values < limits[0])) + int(np.count_nonzero(values > limits[1]))
