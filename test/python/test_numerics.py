"""Fixed-point rescale: properties against exact fractions, and values worked out by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcam.errors import GradcamError
from gradcam.numerics import LARGEST_ALIGNED_MULTIPLIER, MAX_SHIFT, SHIFT_STEP, aligned_form, fixed_point, rescale

INT32 = st.integers(-(2**31), 2**31 - 1)
RATIOS = st.floats(2.0**-60, 16383.0)


@given(RATIOS)
def test_fixed_point_uses_fifteen_bits_or_the_last_shift(ratio):
    m, s = fixed_point(ratio)
    assert m.dtype == np.int32 and 1 <= m < 2**15 and 1 <= s <= MAX_SHIFT
    if s == MAX_SHIFT:
        assert int(m) == max(1, round(Fraction(ratio) * 2**s))
    else:
        assert round(Fraction(ratio) * 2 ** (s + 1)) >= 2**15  # one more bit would not fit
        assert abs(Fraction(int(m), 2**s) / Fraction(ratio) - 1) <= Fraction(1, 2**15)


@given(st.lists(RATIOS, min_size=1, max_size=5))
def test_fixed_point_shares_the_shift_of_the_largest_ratio(ratios):
    m, s = fixed_point(ratios)
    assert s == fixed_point(max(ratios))[1]
    assert m.tolist() == [max(1, round(Fraction(r) * 2**s)) for r in ratios]


@given(INT32, st.integers(1, 2**15 - 1), st.integers(1, MAX_SHIFT))
def test_an_aligned_rescale_is_the_same(acc, m, s):
    factor, shift = aligned_form(np.array(m), s)
    assert shift % SHIFT_STEP == 0 and factor <= LARGEST_ALIGNED_MULTIPLIER < 2**17 and factor.dtype == np.int32
    assert rescale(acc, factor, shift) == rescale(acc, m, s)
    assert abs(acc * int(factor) + (1 << (shift - 1))) < 2 ** (48 + (shift > 33))  # what 49 or 50 bits hold


@given(INT32, st.integers(1, 2**15 - 1), st.integers(1, MAX_SHIFT))
def test_rescale_rounds_to_nearest_with_ties_up(acc, m, s):
    exact = Fraction(acc * m, 2**s)
    assert int(rescale(acc, m, s)) == (exact + Fraction(1, 2)).__floor__()
    assert abs(acc * m + (1 << (s - 1))) < 2**47  # what 48-bit hardware holds


@pytest.mark.parametrize(
    ("ratio", "m", "s"),
    [
        (0.5, 16384, 15),
        (1.0, 16384, 14),
        (0.75, 24576, 15),
        (32767.0 / 65536, 32767, 16),
        (32767.6 / 65536, 16384, 15),  # the multiplier would round to 2^15
        (2.0**-50, 1, 46),
        (16383.5, 32767, 1),
    ],
)
def test_fixed_point_by_hand(ratio, m, s):
    assert fixed_point(ratio) == (m, s)


@pytest.mark.parametrize("bad", [0.0, -0.5, np.nan, np.inf, 16384.0, [0.5, 0.0], []])
def test_fixed_point_refuses(bad):
    with pytest.raises(GradcamError, match="a rescale factor must be"):
        fixed_point(bad)


def test_rescale_of_negatives_by_hand():
    # Halves: -1.5, -0.5, 0.5, 1.5 go up; a truncating or symmetric rounding gives other values.
    assert rescale([-3, -1, 1, 3], 16384, 15).tolist() == [-1, 0, 1, 2]
    assert rescale([-5, -4, -3], 8192, 15).tolist() == [-1, -1, -1]
    assert rescale(-(2**31), 2**15 - 1, 15) == -2147418112


def test_rescale_broadcasts_channels():
    acc = np.full((1, 2, 1, 1), 100)
    assert rescale(acc, np.array([16384, 8192]).reshape(2, 1, 1), 15).ravel().tolist() == [50, 25]
