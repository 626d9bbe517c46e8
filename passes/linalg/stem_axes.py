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


class Windows(NamedTuple):
    """What gradcam.unfold2d makes of one axis: its windows, which are read as a map."""

    kernel: int
    stride: int
    padding: int
    dilation: int
    out: int

    @staticmethod
    def none(size: int) -> Windows:
        """An axis that stays as it is."""
        return Windows(1, 1, 0, 1, size)

    def behind(self, size: int) -> int:
        """The zeros that the windows reach behind a map of this size."""
        return max(0, (self.out - 1) * self.stride + self.dilation * (self.kernel - 1) + 1 - self.padding - size)


class DenseStem(NamedTuple):
    """All taps of the window of a convolution of an image in the channels, side by side without a gap.

    The load puts `loaded` adjacent columns side by side. Copies put those of a row together, then the rows.
    """

    rows: StemAxis
    columns: StemAxis
    channels: int
    loaded: int

    @property
    def copies(self) -> int:
        """Stores that put the columns of a row together."""
        return -(-self.columns.kernel // self.loaded)

    @property
    def row(self) -> int:
        """The values of a row of a window."""
        return self.columns.kernel * self.channels

    @property
    def lanes(self) -> int:
        """The channels of the unfolded image: behind a single row there may be columns that the kernel lacks."""
        return self.copies * self.loaded * self.channels if self._is_flat else self.rows.kernel * self.row

    @property
    def _is_flat(self) -> bool:
        """Whether a window is a part of a row, and each row has windows."""
        return (self.rows.kernel, self.rows.stride, self.rows.padding, self.rows.behind) == (1, 1, 0, 0)

    @property
    def _across(self) -> StemAxis:
        """The columns as the load lays them out: its windows, from which the copies take those that lie apart."""
        windows = self.columns.out + (self.copies - 1) * self._apart
        return self.columns._replace(kernel=self.loaded, factor=self.loaded, out=windows)

    @property
    def _apart(self) -> int:
        return self.columns.dilation * self.loaded // self.columns.stride if self.copies > 1 else 0

    @property
    def stages(self) -> list[tuple[tuple[Windows, Windows], int]]:
        """Rows and columns of the unfold2d that make it, one of the result of the other, with the channels of a tap."""
        rows, columns, across = self.rows, self.columns, self._across
        whole, single = Windows.none(rows.size), Windows.none(columns.out)
        loaded = Windows(self.loaded, columns.stride, columns.padding, columns.dilation, across.out)
        copied = Windows(self.copies, 1, 0, self._apart, columns.out)
        down = Windows(rows.kernel, rows.stride, rows.padding, rows.dilation, rows.out)
        found = [((whole, loaded), self.channels)]
        if self.copies > 1:
            found.append(((whole, copied), self.loaded * self.channels))
        return found if self._is_flat else [*found, ((down, single), self.row)]

    @property
    def is_possible(self) -> bool:
        """Whether the load can lay out the columns, and the first copies keep up with it, so that little is kept."""
        if self._across.fault or (self.copies > 1 and self.columns.dilation * self.loaded % self.columns.stride):
            return False
        return self.rows.size * self.columns.out * self.copies <= self._load

    @property
    def _load(self) -> int:
        return self.rows.size * self._across.load

    def steps(self, outputs: Sequence[int], pe: PE) -> int:
        """The steps of the longest nest; all run side by side."""
        pixels, tiles = self.rows.out * self.columns.out, sum(-(-n // pe.oc) for n in outputs)
        return max(self._load, pixels * self.rows.kernel, pixels * tiles * -(-self.lanes // pe.ic))


def densest(axes: Sequence[StemAxis], channels: int, outputs: Sequence[int], pe: PE) -> DenseStem | None:
    """All taps side by side with the fewest steps; None where that is impossible. Arguments are those of `cheapest`."""
    rows, columns = axes
    every = (DenseStem(rows, columns, channels, loaded) for loaded in range(1, columns.kernel + 1))
    # A copy moves a row of a window in one step.
    possible = [stem for stem in every if stem.row <= pe.oc and stem.lanes > channels and stem.is_possible]
    return min(possible, key=lambda stem: stem.steps(outputs, pe), default=None)


def longest(axes: Sequence[StemAxis], channels: int, outputs: Sequence[int], pe: PE) -> int:
    """The steps of the convolutions or, if these are more, of the load, which runs beside them."""
    rows, columns = axes
    tiles = sum(-(-n // pe.oc) for n in outputs) * -(-lanes_of(axes, channels) // pe.ic)
    return max(tiles * rows.out * columns.out * rows.groups * columns.groups, rows.load * columns.load)


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
