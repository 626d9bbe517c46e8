"""The parameters of a DRAM behind an AXI4 port."""

from __future__ import annotations

from dataclasses import dataclass

from gradcam.errors import GradcamError

#: Limits that no memory behind AXI4 comes near.
MOST_OUTSTANDING, MOST_LATENCY = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Dram:
    """A DRAM and the way it is read.

    Attributes:
        width: bits of a beat, a power of two from 8 to 1024.
        outstanding: the most bursts that may be under way.
        latency: cycles from a request to its first beat that the predicted cycles assume.

    Raises:
        GradcamError: a parameter is impossible for an AXI4 memory.
    """

    width: int = 64
    outstanding: int = 8
    latency: int = 64

    def __post_init__(self) -> None:
        if not 8 <= self.width <= 1024 or self.width & (self.width - 1):
            raise GradcamError(f"a DRAM width must be a power of two from 8 to 1024 bits, got {self.width}")
        if not (1 <= self.outstanding <= MOST_OUTSTANDING and 1 <= self.latency <= MOST_LATENCY):
            raise GradcamError(
                f"a DRAM takes 1 to {MOST_OUTSTANDING} outstanding reads and 1 to {MOST_LATENCY} cycles of latency; "
                f"got {self.outstanding}, {self.latency}"
            )
