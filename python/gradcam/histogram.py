"""A histogram of magnitudes that grows with its data, and how a clipping range is chosen from it."""

from __future__ import annotations

import math

import numpy as np

from gradcam.quant_types import INT8_LEVELS

BINS = 8192
#: Clips tried by `choose("mse")`, as fractions of the largest magnitude.
_FRACTIONS = np.linspace(0.02, 1.0, 99)


class Histogram:
    """Counts magnitudes in bins of equal width up to a power of two.

    When a larger value comes, the width doubles as often as needed and bins merge; so one pass and constant memory are
    enough, and the result does not depend on the order of the data.

    Attributes:
        counts: int64, BINS.
        count: number of values.
        largest: largest magnitude, exact.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.count = 0
        self.largest = 0.0
        self._exponent = -1000  # the bins end at 2^exponent

    def add(self, values: np.ndarray) -> None:
        """Counts the magnitudes of finite values."""
        magnitudes = np.abs(values).astype(np.float64).ravel()
        self.largest = max(self.largest, float(magnitudes.max(initial=0)))
        self._grow(math.frexp(self.largest)[1] if self.largest else self._exponent)
        bins = np.ldexp(magnitudes, -self._exponent) * BINS
        self.counts += np.bincount(bins.astype(np.int64), minlength=BINS)
        self.count += magnitudes.size

    def _grow(self, exponent: int) -> None:
        if exponent <= self._exponent:
            return
        merged = 1 << min(exponent - self._exponent, BINS.bit_length() - 1)
        self._exponent = exponent
        counts = np.zeros(BINS, np.int64)
        counts[: BINS // merged] = self.counts.reshape(-1, merged).sum(1)
        self.counts = counts

    def choose(self, choice: str, percentile: float = 100.0) -> float:
        """The magnitude that the largest int8 value should stand for.

        Args:
            choice: "max", "percentile" (the end of the bin that holds it), or "mse" (the clip with the least squared
                error of rounding and clipping together, the bins' centres standing for their values).
            percentile: for "percentile", above 0 and at most 100.

        Returns:
            At most the largest magnitude; positive when that is.
        """
        if choice == "max" or self.largest == 0:
            return self.largest
        width = math.ldexp(1.0, self._exponent) / BINS
        if choice == "percentile":
            enough = np.searchsorted(np.cumsum(self.counts), percentile / 100 * self.count)
            return min(self.largest, (int(enough) + 1) * width)
        used = np.flatnonzero(self.counts)
        centres = (used + 0.5) * width
        clips = _FRACTIONS * self.largest
        errors = [float((self.counts[used] * _rounding_error(centres, clip) ** 2).sum()) for clip in clips]
        return float(clips[int(np.argmin(errors))])


def _rounding_error(x: np.ndarray, clip: float) -> np.ndarray:
    step = clip / INT8_LEVELS
    return x - step * np.minimum(np.rint(x / step), INT8_LEVELS)
