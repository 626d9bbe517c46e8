"""The processing-element array: the numbers of output and input channels that it processes in one step."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gradcam.errors import GradcamError

#: Most multipliers along a side of the array, and in all; the largest FPGAs have some 12,000.
LARGEST_SIDE = 1024
LARGEST_ARRAY = 1 << 14


@dataclass(frozen=True)
class PE:
    """An array of `oc` x `ic` multipliers: `oc` output channels times `ic` input channels per step.

    Attributes:
        oc: output channels, a power of two.
        ic: input channels, a power of two.

    Raises:
        GradcamError: a side is not a power of two, or it is too long, or there are too many multipliers.
    """

    oc: int
    ic: int

    def __post_init__(self) -> None:
        for side in (self.oc, self.ic):
            if side < 1 or side & (side - 1):
                raise GradcamError(f"pe '{self}' needs powers of two for both sides, such as 16x16")
            if side > LARGEST_SIDE:
                raise GradcamError(f"pe '{self}' has a side of more than {LARGEST_SIDE} multipliers")
        if self.oc * self.ic > LARGEST_ARRAY:
            raise GradcamError(f"pe '{self}' has {self.oc * self.ic:,} multipliers; the most are {LARGEST_ARRAY:,}")

    @classmethod
    def parse(cls, text: str) -> PE:
        """Reads `OCxIC`, for example `16x8`.

        Raises:
            GradcamError: the text has another form or a side is not a power of two.
        """
        match = re.fullmatch(r"(\d+)x(\d+)", text, re.ASCII)
        if match is None:
            raise GradcamError(f"pe must be OCxIC, such as 16x16, got '{text}'")
        return cls(*map(int, match.groups()))

    @property
    def lanes(self) -> int:
        """Channels of one memory word: the longer side, so that a word feeds or takes a whole step."""
        return max(self.oc, self.ic)

    def padded(self, channels: int) -> int:
        """`channels` rounded up to whole words."""
        return -(-channels // self.lanes) * self.lanes

    def __str__(self) -> str:
        return f"{self.oc}x{self.ic}"
