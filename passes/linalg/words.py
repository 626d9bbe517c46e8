"""Sets of words of a map that the loops of a nest walk."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import NamedTuple


class Words(NamedTuple):
    """The words first + segment * apart + place, of `segments` segments of `width` words."""

    first: int
    segments: int
    apart: int
    width: int

    @property
    def number(self) -> int:
        """How many words these are."""
        return self.segments * self.width

    @property
    def last(self) -> int:
        """The last one."""
        return self.first + (self.segments - 1) * self.apart + self.width - 1

    def numbered(self, word: int) -> int:
        """The number of a word of the set among its words."""
        segment, place = divmod(word - self.first, self.apart) if self.apart else (0, word - self.first)
        return segment * self.width + place

    def in_tiles(self, tiles: int) -> Words:
        """The set in tiles, of which a word has `tiles`."""
        first, segments, apart, width = self
        return Words(first * tiles, segments, apart * tiles, width * tiles)


@cache
def covers(mask: int, origin: int = 0) -> list[Words]:
    """The words from the first to the last one of a mask, and, where these are fewer, those of segments that are alike.

    Args:
        mask: the words, a bit each. Segments may have others, also before the first and behind the last one.
        origin: the bit of word 0.
    """
    members = [n - origin for n in range(mask.bit_length()) if mask >> n & 1] or [0]
    low, span = members[0], members[-1] - members[0] + 1
    whole = best = Words(low, 1, 0, span)
    for apart in range(2, span) if span > len(members) else ():
        residues = sorted({(n - low) % apart for n in members})
        gap, begin = max((b - a, b % apart) for a, b in pairwise([*residues, apart]))
        first = low - (-begin) % apart
        found = Words(first, (members[-1] - first) // apart + 1, apart, apart - gap + 1)
        best = min(best, found, key=lambda w: w.number)
    return [whole] if best is whole else [whole, best]
