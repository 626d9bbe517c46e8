"""Groups of pixels in the channels of a map: the types of such maps, and the convolutions between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from torch_mlir import ir

from gradcam.dialect.layout_ops import channels_per_tap
from gradcam.dialect.verify import shape
from gradcam.quant_types import (
    element_type,
    is_quantized,
    is_unsigned,
    per_channel,
    per_tensor,
    scales,
    storage_bits,
    storage_limits,
)


class Group(NamedTuple):
    """Adjacent pixels of a map that lie side by side in its channels, as `gradcam.unfold2d` puts them there."""

    rows: int = 1
    columns: int = 1

    def channels(self, channels: int) -> int:
        """The channels of the map whose pixels have `channels`."""
        return channels if self == SINGLE else self.rows * self.columns * channels_per_tap(channels)

    def spread(self, values: np.ndarray, fill: Any) -> np.ndarray:
        """One value per channel, for each channel of each pixel, with `fill` for the channels that are no pixel's."""
        if self == SINGLE:
            return values
        padded = np.full(channels_per_tap(len(values)), fill, values.dtype)
        padded[: len(values)] = values
        return np.tile(padded, self.rows * self.columns)


#: Of a map whose pixels are apart.
SINGLE = Group()


def grouped_type(map_: ir.Value, group: Group) -> ir.RankedTensorType:
    """The type of a map 1xCxHxW of single pixels with its pixels in groups; its sides must be multiples of those."""
    _, channels, height, width = shape(map_)
    dims = [1, group.channels(channels), height // group.rows, width // group.columns]
    if not is_quantized(map_):
        return ir.RankedTensorType.get(dims, element_type(map_))
    steps, bits, limits = scales(map_), storage_bits(map_), storage_limits(map_)
    if steps.ndim:
        return per_channel(dims, group.spread(steps, steps[0]), bits, 1, limits)
    return per_tensor(dims, float(steps), bits, is_unsigned(map_), limits)


class Window(NamedTuple):
    """A convolution along height or width: numbers of the attributes of `gradcam.conv2d`, `low` before the map."""

    kernel: int
    stride: int
    low: int
    high: int
    dilation: int


class GroupedAxis(NamedTuple):
    """A convolution along height or width of a map with groups of `inputs` to one with groups of `outputs` pixels.

    `size` and `out` are the pixels of the maps, the others are those of the convolution between single pixels.
    """

    size: int
    out: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    inputs: int = 1
    outputs: int = 1

    @property
    def taps(self) -> list[tuple[int, int, int, int]]:
        """Output in its group, kernel position, group that is read, from that of the first output, and input in it."""
        places = ((b, k) for b in range(self.outputs) for k in range(self.kernel))
        return [(b, k, *divmod(self.stride * b + self.dilation * k - self.padding, self.inputs)) for b, k in places]

    def find_window(self) -> Window | None:
        """The convolution of groups; None where there is none, or where the sides are no multiples of the groups.

        From one group of outputs to the next it must move by whole groups of inputs.
        """
        if self.size % self.inputs or self.out % self.outputs or self.stride * self.outputs % self.inputs:
            return None
        read = sorted({group for _, _, group, _ in self.taps})
        dilation = int(np.gcd.reduce([group - read[0] for group in read])) or 1
        stride, size, out = (
            self.stride * self.outputs // self.inputs,
            self.size // self.inputs,
            self.out // self.outputs,
        )
        reach = read[-1] - read[0]
        high = max(0, (out - 1) * stride + read[-1] - (size - 1))
        if (size - read[0] + high - reach - 1) // stride + 1 != out:
            return None
        return Window(reach // dilation + 1, stride, -read[0], high, dilation)

    def positions(self) -> list[tuple[int, int, int, int]]:
        """`taps` with the kernel position of the `window` in place of the group."""
        window = self.window
        return [(b, k, (group + window.low) // window.dilation, place) for b, k, group, place in self.taps]

    @property
    def window(self) -> Window:
        """The convolution of groups that there is."""
        if (window := self.find_window()) is None:
            raise ValueError(f"{self} is no convolution of groups")
        return window

    @property
    def steps(self) -> int:
        """Groups of outputs times kernel positions."""
        return self.out // self.outputs * self.window.kernel

    @property
    def adjoint_steps(self) -> int:
        """Groups of the gradient at the input times the kernel positions that reach each."""
        window, size = self.window, self.size // self.inputs
        places = [k * window.dilation - window.low for k in range(window.kernel)]
        return sum(-(-(size - p % window.stride) // window.stride) for p in places)


def grouped_weights(w: np.ndarray, axes: Sequence[GroupedAxis]) -> np.ndarray:
    """Weights O x C x KH x KW of single pixels as those of the groups of both axes, 0 where a pixel is not read."""
    rows, columns = axes
    (out, channels), size = w.shape[:2], [a.window.kernel for a in axes]
    padded = [n if g == SINGLE else channels_per_tap(n) for n, g in zip((out, channels), groups_of(axes), strict=True)]
    moved = np.zeros((rows.outputs, columns.outputs, padded[0], rows.inputs, columns.inputs, padded[1], *size), w.dtype)
    for to_row, i, row, from_row in rows.positions():
        for to_column, j, column, from_column in columns.positions():
            moved[to_row, to_column, :out, from_row, from_column, :channels, row, column] = w[:, :, i, j]
    outputs, inputs = (int(np.prod(moved.shape[n : n + 3])) for n in (0, 3))
    return moved.reshape(outputs, inputs, *size)


def groups_of(axes: Sequence[GroupedAxis]) -> tuple[Group, Group]:
    """The groups of the outputs and of the inputs."""
    return Group(*(a.outputs for a in axes)), Group(*(a.inputs for a in axes))
