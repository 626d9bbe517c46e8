"""The load of resident weights: what lies in DRAM, in which order it comes, and how long it takes.

Word by word and bank by bank, in the order of the program's banks, the contents of all constant banks lie in the DRAM.
A word takes whole beats, lane 0 in the lowest bits of the first one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gradcam.dram import Dram
from gradcam.passes.program.banks import Bank
from gradcam.passes.program.weight_stream import BLOCK_BYTES, MAX_BEATS


@dataclass(frozen=True)
class WeightLoad:
    """The load of a program's constant banks.

    Attributes:
        banks: the banks in the order in which they are loaded.
        dram: the DRAM that they are loaded from.
    """

    banks: Sequence[Bank]
    dram: Dram

    def word_beats(self, bank: Bank) -> int:
        """Beats of a word."""
        return -(-bank.width // self.dram.width)

    def piece_beats(self, bank: Bank) -> int:
        """Beats that are written at once, at most: those of a word or, where all words are in pieces, of a piece."""
        return self.word_beats(bank) // min(part.pieces for part in bank.parts)

    @property
    def beats(self) -> int:
        """Beats of all words."""
        return sum(bank.words * self.word_beats(bank) for bank in self.banks)

    @property
    def burst(self) -> int:
        """Beats of every burst but the last one, a power of two: a block that no burst may leave, as AXI4 allows."""
        return min(MAX_BEATS, BLOCK_BYTES * 8 // self.dram.width)

    @property
    def cycles(self) -> int:
        """Cycles of the load with an ideal DRAM: its latency, then a beat per cycle, of one read after the other.

        A burst is requested in the cycle after the one before it, or after the end of the burst `outstanding` before.
        """
        ends: list[int] = []
        request = end = -1
        for first in range(0, self.beats, self.burst):
            free = ends[-self.dram.outstanding] if len(ends) >= self.dram.outstanding else -1
            request = max(request, free) + 1
            end = max(request + self.dram.latency, end + 1) + min(self.burst, self.beats - first) - 1
            ends.append(end)
        return end + 1

    def contents(self, words: Mapping[str, np.ndarray]) -> bytes:
        """The contents of the DRAM; `words` has the integers of each bank by its name, of shape (words, lanes)."""
        return b"".join(self._packed(bank, words[bank.name]) for bank in self.banks)

    def _packed(self, bank: Bank, words: np.ndarray) -> bytes:
        bits = (words[:, :, None] >> np.arange(bank.bits) & 1).astype(np.uint8).reshape(len(words), -1)
        padded = np.pad(bits, ((0, 0), (0, self.word_beats(bank) * self.dram.width - bank.width)))
        return np.packbits(padded, axis=1, bitorder="little").tobytes()
