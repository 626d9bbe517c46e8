"""Which kernel positions of a convolution of an image go into the channels, and what that costs; see UnfoldStem."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from gradcam.dialect.layout_ops import channels_per_tap
from gradcam.pe import PE


class StemAxis(NamedTuple):
    """A convolution along height or width, of which `factor` adjacent kernel positions go into the channels.

    `padding` is that before the map, `behind` that behind it.
    """

    size: int
    kernel: int
    stride: int
    padding: int
    behind: int
    dilation: int
    out: int
    factor: int = 1

    @property
    def groups(self) -> int:
        """Kernel positions that remain in the convolution."""
        return -(-self.kernel // self.factor)

    @property
    def distance(self) -> int:
        """Windows of the unfolded image from one remaining kernel position to the next."""
        return self.dilation * self.factor // self.stride if self.groups > 1 else 1

    @property
    def windows(self) -> int:
        """The number of windows that the outputs read; the number of pixels of an axis that is not unfolded."""
        return self.size if self.factor == 1 else self.out + (self.groups - 1) * self.distance

    @property
    def unfolding(self) -> tuple[int, int, int, int, int]:
        """Kernel, stride, zeros before and behind, and dilation of the windows."""
        if self.factor == 1:
            return 1, 1, 0, 0, 1
        reach = (self.windows - 1) * self.stride + self.dilation * (self.factor - 1) + 1
        high = max(0, reach - self.size - self.padding)
        return self.factor, self.stride, self.padding, high, self.dilation

    @property
    def left(self) -> tuple[int, int, int, int]:
        """Stride, padding before and behind, and dilation of the convolution of the unfolded image."""
        return (self.stride, self.padding, self.behind, self.dilation) if self.factor == 1 else (1, 0, 0, self.distance)

    @property
    def load(self) -> int:
        """Steps of the load, in which each pixel is stored once per window (gradcam-stream-inputs)."""
        if self.factor == 1:
            return self.size
        held = -(-self.factor // self.stride)
        pixels = max(self.windows + self.dilation * (held - 1), -(-(self.size + self.padding) // self.stride))
        return pixels * self.stride * held

    @property
    def fault(self) -> str | None:
        """The reason why the factor is impossible; None when it is possible."""
        apart = self.dilation * self.factor
        if self.factor > self.kernel:
            return f"the kernel has {self.kernel} positions"
        if self.factor > 1 and 1 not in (self.stride, self.dilation):
            order = "strided and dilated windows take them in another order"
            return f"it violates a dependence, from each pixel of the stream to the next one: {order}"
        if self.factor > 1 and self.groups > 1 and apart % self.stride:
            return f"what is left would lie {apart} pixels apart, no whole windows of stride {self.stride}"
        return None

    def choices(self) -> list[StemAxis]:
        """The axis with every possible factor."""
        return [a for a in (self._replace(factor=f) for f in range(1, self.kernel + 1)) if a.fault is None]


def cheapest(
    axes: Sequence[StemAxis], channels: int, outputs: Sequence[int], pe: PE
) -> tuple[tuple[StemAxis, ...], int]:
    """The axes with the factors that take the fewest steps, and these steps.

    Args:
        axes: height and width of the convolutions of an image, which have the same window.
        channels: of the image.
        outputs: the output channels of each convolution.
        pe: the array.
    """
    most = max(pe.ic, channels)
    fitting = (pair for pair in product(*(a.choices() for a in axes)) if lanes_of(pair, channels) <= most)
    tiles = sum(-(-n // pe.oc) for n in outputs) * -(-channels // pe.ic)
    chosen = min(fitting, key=lambda pair: _steps(pair, tiles))
    return chosen, _steps(chosen, tiles)[0]


def lanes_of(axes: Sequence[StemAxis], channels: int) -> int:
    """The channels of the unfolded image."""
    taps = axes[0].factor * axes[1].factor
    return taps * channels_per_tap(channels) if taps > 1 else channels


def _steps(axes: tuple[StemAxis, ...], tiles: int) -> tuple[int, int]:
    """The cost of the axes' factors: steps of the convolutions and of the load, then the number of taps to store.

    `tiles` are the tiles of weights per kernel position. Of equal choices, rows are not unfolded.
    """
    rows, columns = axes
    convolution = tiles * rows.out * columns.out * rows.groups * columns.groups
    return convolution + rows.load * columns.load, rows.windows * rows.factor * columns.windows * columns.factor
