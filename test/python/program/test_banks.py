"""Text of memory images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcam.passes.program.banks import hex_lines


def plain_line(word, bits):
    """A word as one number, lane 0 in its lowest bits."""
    number = sum((int(v) & ((1 << bits) - 1)) << (bits * lane) for lane, v in enumerate(word))
    return f"{number:0{-(-bits * len(word) // 4)}x}"


@settings(deadline=None)
@given(st.data(), st.sampled_from([1, 8, 16, 32]), st.integers(1, 9), st.integers(1, 4))
def test_hex_lines(data, bits, lanes, count):
    value = st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    words = [data.draw(st.lists(value, min_size=lanes, max_size=lanes)) for _ in range(count)]
    text = hex_lines(np.array(words, np.int64).reshape(count, lanes), bits)
    assert text == "".join(plain_line(word, bits) + "\n" for word in words)


@pytest.mark.parametrize("lane", [0, 2])
def test_a_flipped_bit_shows(lane):
    words = np.array([[1, 2, 3]])
    flipped = words.copy()
    flipped[0, lane] ^= 4
    assert hex_lines(words, 8) != hex_lines(flipped, 8)
