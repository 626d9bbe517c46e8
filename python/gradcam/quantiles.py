"""Quantiles of a stream of arrays, element by element, in memory that hardly grows with its length."""

from __future__ import annotations

import numpy as np

#: Arrays of one weight that are kept.
KEPT = 256


class Quantiles:
    """Keeps arrays of a stream: all of fewer than `KEPT`, then fewer and fewer of those that came before.

    Whenever there are `KEPT` arrays of one weight, each element of them is sorted for itself, and every second one of
    the sorted arrays goes on with twice the weight (J. I. Munro and M. S. Paterson, Selection and sorting with limited
    storage, 1980). Of N arrays at most `KEPT * (1 + log2(N / KEPT))` are kept. The sorts of each weight move a rank by
    at most N / KEPT in all, so that it is off by at most N / KEPT * (1 + log2(N / KEPT)); each sort keeps the larger
    ones of its pairs, so that a quantile is rather too large.
    """

    def __init__(self) -> None:
        self._levels: list[list[np.ndarray]] = []  # those at place k stand for 2^k arrays each

    def add(self, values: np.ndarray, level: int = 0) -> None:
        """Adds an array of numbers; all arrays have one shape."""
        if level == len(self._levels):
            self._levels.append([])
        kept = self._levels[level]
        kept.append(values.astype(np.float32))
        if len(kept) == KEPT:
            self._levels[level] = []
            for larger in np.sort(kept, 0)[1::2]:
                self.add(larger, level + 1)

    def at(self, share: float) -> np.ndarray:
        """The quantile of each element for a `share` from 0 to 1, interpolated as `np.quantile` does: float64.

        It is exact for fewer than `KEPT` arrays, of which there must be at least one.
        """
        kept = np.concatenate([np.stack(arrays) for arrays in self._levels if arrays]).astype(np.float64)
        weights = np.concatenate([np.full(len(arrays), 1 << level) for level, arrays in enumerate(self._levels)])
        flat = kept.reshape(len(kept), -1)
        order = np.argsort(flat, 0)
        ordered, weight = np.take_along_axis(flat, order, 0), weights[order]
        places = np.cumsum(weight, 0) - (weight + 1) / 2  # the middle of the ranks that an array stands for
        rank = share * (weights.sum() - 1)
        found = [np.interp(rank, places[:, n], ordered[:, n]) for n in range(flat.shape[1])]
        return np.array(found).reshape(kept.shape[1:])
