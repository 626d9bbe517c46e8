"""The taps of a kernel that reach a position of a map: what the adjoint of a convolution or pool sums there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch_mlir import ir

from gradcam.dialect.verify import shape as type_shape
from gradcam.dialect.verify import sides
from gradcam.passes.linalg.builders import filled, insert_slice, shape, width
from gradcam.passes.linalg.lowering import ints
from gradcam.passes.linalg.values import Parities, parities
from gradcam.passes.linalg.windows import reaching, within


@dataclass(frozen=True)
class Taps:
    """The taps of a kernel, along one axis, that reach the outputs of one parity: an arithmetic progression.

    Output s * q + a of a transposed convolution is the sum over t of w[first + t * step] g[q + base - t * reach].

    A tap brings a window to one output. So where there is one window, g[0], an output has at most one tap, given by its
    place: output q is w[first + q - start] g[0]. Then there is no loop over taps. With q counted from `start`, the sum
    above holds as well.

    Attributes:
        first: the first tap.
        step: from tap to tap.
        count: the number of taps.
        base: the window that the first tap brings to output 0.
        reach: windows from tap to tap.
        start: the first output that has a tap, where there is one window.
        is_single: there is one window.
    """

    first: int
    step: int
    count: int
    base: int
    reach: int
    start: int = 0
    is_single: bool = False

    @property
    def last(self) -> int:
        """The last tap of the kernel in the progression."""
        return self.first + (self.count - 1) * self.step

    @property
    def trips(self) -> int:
        """The trip count of the loop over taps."""
        return 1 if self.is_single else self.count

    def outputs(self, count: int) -> range:
        """Those of `count` outputs that are computed; the others are 0."""
        return range(self.start, self.start + self.count) if self.is_single else range(count)

    def windows(self, count: int) -> range:
        """The windows that `count` outputs read; some of them may not exist."""
        return range(1) if self.is_single else range(self.base - (self.count - 1) * self.reach, self.base + count)

    def tap(self, at: ir.AffineExpr, tap: ir.AffineExpr) -> ir.AffineExpr:
        """The number of the tap that output `at` reads in iteration `tap` of the loop over taps."""
        return at if self.is_single else tap

    def window(self, at: ir.AffineExpr, tap: ir.AffineExpr) -> ir.AffineExpr:
        """The window that output `at` reads in iteration `tap`, as its number in `windows`."""
        return tap if self.is_single else at + (self.count - 1) * self.reach - tap * self.reach


class WindowAxis(NamedTuple):
    """One axis of a map that windows cover: size of the kernel, stride, padding before the map, and dilation.

    Attributes:
        windows: how many windows there are.
    """

    kernel: int
    stride: int
    padding: int
    dilation: int
    windows: int

    @property
    def is_single(self) -> bool:
        """Whether one window covers the map, with more than one tap: its stride then means nothing."""
        return self.windows == 1 and self.kernel > 1

    @property
    def period(self) -> int:
        """Positions of the map this far apart have the same parity, and the same taps if there are several windows."""
        return self.dilation if self.is_single else self.stride

    def taps(self, parity: int, count: int) -> Taps | None:
        """The taps for the `count` outputs of a parity; None where no tap brings a window to any of them."""
        reached = [parity + self.padding - i * self.dilation for i in range(self.kernel)]
        hits = [i for i, place in enumerate(reached) if place % self.period == 0]
        if not hits:
            return None
        base = reached[hits[0]] // self.period
        if self.is_single:
            there = within(range(base, base + count), self.kernel)
            return Taps(there.start, 1, len(there), 0, 1, there.start - base, is_single=True) if there else None
        step = hits[1] - hits[0] if len(hits) > 1 else 1
        found = Taps(hits[0], step, len(hits), base, step * self.dilation // self.stride)
        return found if len(within(found.windows(count), self.windows)) else None


def axes_of(op: Any, kernel: list[int]) -> list[WindowAxis]:
    """Height and width of the map whose gradient an adjoint computes from its operand 0."""
    each = zip(
        kernel, ints(op, "stride"), sides(op)[0], ints(op, "dilation"), type_shape(op.operands[0])[2:], strict=True
    )
    return [WindowAxis(*numbers) for numbers in each]


def windows_over(
    g: ir.Value, taps: list[Taps], out: list[int], at: list[ir.AffineExpr], tap: list[ir.AffineExpr]
) -> tuple[ir.Value, list[ir.AffineExpr]]:
    """The operand from which an adjoint reads the windows that cover a position of its result.

    Args:
        g: H x W x C, one element for each window.
        taps: the taps under which windows cover the position, along height and width.
        out: height and width of the part of the result with the taps' parities.
        at: the position in that part, as index expressions.
        tap: the iteration of the loops over taps, as index expressions.

    Returns:
        `g` padded with zeros where there are no windows, and its row and column to read.
    """
    needed = [t.windows(n) for t, n in zip(taps, out, strict=False)]
    return reaching(g, needed), [t.window(n, k) for n, k, t in zip(at, tap, taps, strict=True)]


def by_parity(
    axes: list[WindowAxis], size: list[int], part: Callable[[list[Taps], list[int]], ir.Value]
) -> ir.Value | Parities:
    """A map of `size` computed parity by parity, so that no product meets a zero that the stride would insert.

    Args:
        axes: height and width.
        size: height and width.
        part: builds the part with the given taps and size.

    Returns:
        A tensor where there is one parity, else parities.
    """
    stride = (axes[0].period, axes[1].period)
    whole = Parities((size[0], size[1]), stride, {})
    for parity in parities(size, stride):
        out = whole.extent(parity)
        found = [axis.taps(a, n) for a, n, axis in zip(parity, out, axes, strict=True)]
        taps = [t for t in found if t is not None]
        whole.parts[parity] = None if len(taps) < 2 else _among_zeros(taps, out, part)
    return whole.parts[0, 0] if stride == (1, 1) else whole


def _among_zeros(taps: list[Taps], out: list[int], part: Callable[[list[Taps], list[int]], ir.Value]) -> ir.Value:
    """A part of a map, of size `out`, zeros where no tap brings a window."""
    computed = [t.outputs(n) for t, n in zip(taps, out, strict=True)]
    values = part(taps, [len(c) for c in computed])
    if shape(values)[:2] == out:
        return values
    zeros = filled([*out, shape(values)[2]], width(values), 0)
    return insert_slice(values, zeros, [*(c.start for c in computed), 0], [1, 1, 1])
