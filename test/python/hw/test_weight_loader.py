"""The weight loader's checksum and layout, and the form in which rescales are read from memory."""

import zlib

import numpy as np
import pytest

from gradcam.dram import Dram
from gradcam.errors import GradcamError
from gradcam.numerics import LEAST_SHIFT, READ_MULTIPLIER_BITS, fixed_point, read_form, rescale
from gradcam.passes.hw.weight_loader import crc_rows
from gradcam.passes.program.banks import Bank
from gradcam.passes.program.weight_load import WeightLoad


def checksum(data: bytes, width: int) -> int:
    """The CRC-32 of whole beats, as the hardware computes it."""
    rows, state = np.array(crc_rows(width)), np.ones(32, bool)
    for beat in np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").reshape(-1, width):
        state = (rows & np.concatenate([state, beat.astype(bool)])).sum(1) % 2 == 1
    return int((~state * (1 << np.arange(32, dtype=np.int64))).sum())


@pytest.mark.parametrize("width", [8, 32, 64, 512])
def test_the_checksum_is_crc32(width):
    data = np.random.default_rng(width).bytes(width * 3)
    assert checksum(data, width) == zlib.crc32(data)
    assert checksum(bytes([data[0] ^ 1]) + data[1:], width) != zlib.crc32(data)


def test_the_contents_are_words_of_whole_beats():
    banks = [Bank("a", 3, 5, 2, constant=True, loaded=True), Bank("b", 2, 32, 1, constant=True, loaded=True)]
    load = WeightLoad(banks, Dram(width=8, outstanding=1, latency=10))
    assert [load.word_beats(bank) for bank in banks] == [2, 8] and load.beats == 12
    words = {"a": np.array([[1, -1, 2], [3, 0, -16]]), "b": np.array([[5, -2]])}
    a = [1 | 31 << 5 | 2 << 10, 3 | 0 << 5 | 16 << 10]
    expected = (
        b"".join(n.to_bytes(2, "little") for n in a) + (5).to_bytes(4, "little") + (2**32 - 2).to_bytes(4, "little")
    )
    assert load.contents(words) == expected


@pytest.mark.parametrize(
    ("latency", "outstanding", "cycles"),
    [
        (10, 8, 10 + 600),  # the request in cycle 0, then a beat per cycle
        (10, 1, 3 * 10 + 600),  # each of 3 bursts waits for the one before
    ],
)
def test_the_cycles_of_a_load(latency, outstanding, cycles):
    load = WeightLoad([Bank("a", 8, 8, 600, constant=True, loaded=True)], Dram(64, outstanding, latency))
    assert load.burst == 256 and load.cycles == cycles


@pytest.mark.parametrize("shift", range(1, 33))
def test_a_rescale_that_is_read_is_the_same(shift):
    ratio = 1.7 * 2.0 ** (14 - shift)
    m, s = fixed_point([ratio, ratio / 3])
    assert s == shift
    factors, pairs = read_form(m, s)
    assert 0 <= pairs < 16 and factors.max() < 1 << (READ_MULTIPLIER_BITS - 1)
    acc = np.random.default_rng(shift).integers(-(1 << 26), 1 << 26, (100, 2))
    products = acc.astype(np.int64) * factors
    read = ((products >> (LEAST_SHIFT - 1) >> 2 * pairs) + 1) >> 1
    np.testing.assert_array_equal(read, rescale(acc, m, s))


def test_a_shift_out_of_reach_is_refused():
    with pytest.raises(GradcamError, match="a rescale shifts by 33 bits; read from memory, it can be 2 to 32"):
        read_form(np.array(1 << 14), 33)
