"""A histogram of magnitudes that grows with its data, and the choice of a clipping range from it."""

from __future__ import annotations

import math

import numpy as np
import torch

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

    def add(self, values: np.ndarray) -> bool:
        """Counts the magnitudes of f32 or f64 values; returns False, and counts none, when one is not finite."""
        flat = torch.from_numpy(values).reshape(-1)
        largest = max(-float(flat.min()), float(flat.max()))  # NaN when a value is
        if not math.isfinite(largest):
            return False
        self.largest = max(self.largest, largest)
        self._grow(math.frexp(self.largest)[1] if self.largest else self._exponent)
        self.counts += _bins(flat, BINS.bit_length() - 1 - self._exponent)
        self.count += len(flat)
        return True

    def _grow(self, exponent: int) -> None:
        if exponent <= self._exponent:
            return
        merged = 1 << min(exponent - self._exponent, BINS.bit_length() - 1)
        self._exponent = exponent
        counts = np.zeros(BINS, np.int64)
        counts[: BINS // merged] = self.counts.reshape(-1, merged).sum(1)
        self.counts = counts

    def choose(self, choice: str, percentile: float = 100.0, levels: int = INT8_LEVELS) -> float:
        """The magnitude that the largest integer is to represent.

        Args:
            choice: "max", "percentile" (the end of the bin that holds it), or "mse" (the clip with the least squared
                error of rounding and clipping together, the bins' centres standing for their values).
            percentile: for "percentile", above 0 and at most 100.
            levels: the largest integer.

        Returns:
            At most the largest magnitude, and positive if the largest magnitude is.
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
        errors = [_rounding_error(centres, clip, levels) for clip in clips]
        squares = [float((self.counts[used] * error**2).sum()) for error in errors]
        return float(clips[int(np.argmin(squares))])


def _bins(values: torch.Tensor, shift: int) -> np.ndarray:
    """Counts, for each number below BINS, the values for which it is the integer part of |value| * 2^shift: int64.

    Scaling by a power of two is exact where it matters: a product too small for the type is below 1 either way.
    """
    if shift > 126:  # 2^shift, and the values that it brings into range, are no normal f32
        values = values.double()
    bins = values.abs().mul_(2.0**shift).to(torch.int32)
    return torch.bincount(bins, minlength=BINS).numpy()


def _rounding_error(x: np.ndarray, clip: float, levels: int) -> np.ndarray:
    step = clip / levels
    return x - step * np.minimum(np.rint(x / step), levels)
