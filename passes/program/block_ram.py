"""The memories that a bank is made of: those that take the fewest block RAMs of an FPGA family.

A block RAM has a few shapes, such as 1024 words of 36 bits or 4096 of 9. A memory puts block RAMs of one shape side by
side. So a bank wastes the words between its number of words and that of the shape, times the bits of its word. It is
therefore made of **parts**, consecutive words that lie

- in one memory of block RAMs,
- in LUTs or registers, where they are few,
- or, of a bank of constants, **in pieces**: a word is cut into as many pieces as there are memories but one. The part
  has as many segments as memories, and segment s leaves out memory s. So three memories of 512 half words hold 768
  words, which would else take two memories of 512 whole words:

      memory 0    memory 1    memory 2
                  A, piece 0  A, piece 1     segment 0, 256 words A
      B, piece 0              B, piece 1     segment 1
      C, piece 0  C, piece 1                 segment 2
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

#: What a memory is made of, as synthesis tools name it.
Style = Literal["block", "distributed", "registers"]

#: Pieces of a word that are tried: powers of two, so that an address is made of bit fields.
PIECES = (2, 4)

#: Inputs of a LUT that chooses: one more memory to choose from takes a LUT per bit for every three.
CHOICES = 3


@dataclass(frozen=True)
class Part:
    """Consecutive words of a bank.

    Attributes:
        words: the number of words.
        pieces: pieces of a word; 1 where the part is one memory.
        style: what its memories are made of.
    """

    words: int
    pieces: int = 1
    style: Style = "block"

    @property
    def segment(self) -> int:
        """Words of a segment, a power of two; those of a part in one piece are all of it, to the next power of two."""
        words = self.words if self.pieces == 1 else -(-self.words // (self.pieces + 1))
        return 1 << (words - 1).bit_length()

    @property
    def memories(self) -> list[int]:
        """Words of each memory."""
        return [self.words] if self.pieces == 1 else [self.segment * self.pieces] * (self.pieces + 1)

    def place(self, memory: int, segment: int) -> tuple[int, int] | None:
        """The piece of the words of a segment that a memory has, and the part of the memory, in segments.

        None where the segment leaves out the memory.
        """
        if self.pieces == 1:
            return 0, 0
        if memory == segment:
            return None
        return memory - (memory > segment), segment - (segment > memory)


@dataclass(frozen=True)
class BlockRam:
    """The block RAMs of a family.

    Attributes:
        shapes: words, bits of a word, and the share of a block RAM, of each shape.
        few: words up to which a memory is made of LUTs, or of registers.
        luts: LUTs that weigh as much as a block RAM.
    """

    shapes: tuple[tuple[int, int, float], ...]
    few: int
    luts: int

    @property
    def depths(self) -> list[int]:
        """The numbers of words of the shapes, in descending order."""
        return sorted({words for words, _, _ in self.shapes}, reverse=True)

    def number(self, words: int, bits: int) -> float | None:
        """The block RAMs of one memory; None where it is deeper than any of them."""
        return min((-(-bits // wide) * share for deep, wide, share in self.shapes if deep >= words), default=None)

    def total(self, parts: tuple[Part, ...], bits: int) -> float:
        """The block RAMs of a bank with words of so many bits."""
        in_blocks = (p for p in parts if p.style == "block")
        return sum(len(p.memories) * (self.number(p.memories[0], bits // p.pieces) or 0) for p in in_blocks)

    def parts(self, words: int, lanes: int, bits: int, in_pieces: bool, registers: bool) -> tuple[Part, ...]:
        """The parts of a bank.

        Args:
            words: its words.
            lanes: lanes of a word.
            bits: bits of a lane.
            in_pieces: whether a word may be in pieces.
            registers: whether LUTs are to be described as registers, as those of constants are.
        """
        return _best(self, words, lanes, bits, in_pieces, "registers" if registers or words == 1 else "distributed")

    def weight(self, parts: tuple[Part, ...], bits: int) -> float:
        """The LUTs that a bank is worth: its block RAMs, its memories in LUTs, and the choice between memories."""
        ways = sum(1 if p.pieces == 1 else 2 for p in parts)
        few = sum(-(-p.words // 64) * bits for p in parts if p.style != "block")
        return self.total(parts, bits) * self.luts + few + self.choice(ways, bits)

    def choice(self, ways: int, bits: int) -> int:
        """The LUTs that choose one of so many words."""
        return -(-(ways - 1) // CHOICES) * bits


@cache
def _best(block: BlockRam, words: int, lanes: int, bits: int, in_pieces: bool, few: Style) -> tuple[Part, ...]:
    """See `BlockRam.parts`; memories of few words are made of `few`."""

    def layouts() -> Iterator[tuple[Part, ...]]:
        if words <= block.few:
            yield (Part(words, style=few),)
            return
        if block.number(words, 1) is not None:
            yield (Part(words),)
        for depth in block.depths:
            for pieces in PIECES if in_pieces and depth < words else ():
                part = Part(words, pieces)
                if lanes % pieces == 0 and part.segment > 1 and part.memories[0] <= depth:
                    yield (part,)
            if depth < words:
                whole, rest = divmod(words, depth)
                yield (Part(depth),) * whole + (_best(block, rest, lanes, bits, in_pieces, few) if rest else ())

    return min(layouts(), key=lambda parts: (block.weight(parts, lanes * bits), len(parts)))
