"""What a DRAM behind an AXI4 port can be."""

from __future__ import annotations

from gradcam.errors import GradcamError


def check_dram(width: int, outstanding: int, latency: int) -> None:
    """Refuses what no AXI4 memory is.

    Raises:
        GradcamError: the width is no power of two from 8 to 1024, or another number is less than 1.
    """
    if not 8 <= width <= 1024 or width & (width - 1):
        raise GradcamError(f"a DRAM width must be a power of two from 8 to 1024 bits, got {width}")
    if outstanding < 1 or latency < 1:
        raise GradcamError(
            f"a DRAM takes 1 outstanding read or more, and 1 cycle or more; got {outstanding}, {latency}"
        )
