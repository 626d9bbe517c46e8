"""Depthwise convolutions and their adjoints as `linalg.generic`: lane by lane, a channel never meets another one.

A kernel row is multiplied in groups of `TAPS` taps, which stand side by side in a word of weights, so that a word of
the map is read once for all of them. With a stride, neighbouring columns belong to different taps; the columns of each
phase of the stride are then groups of their own:

    y[o] = sum over phases r, groups g, taps t of x[stride * (o + t) + r + apart * g + start] * w[tap(r, g, t)]

Taps that do not exist have the weight 0. They come first, where a row has no more columns than the others.

With stride 2 and no more than `TAPS` taps, one step multiplies them all: it reads two words, of an even and of an odd
column. The taps are in an order in which those of one parity stand side by side. Tap p in lane t meets column
2 * (o + t) + p - 2 * t, so that lanes of one parity read one word: for p = 0, 2, 1 the columns from 2 * (o + t) on are
0, 0, -3. From lane `split` on, the lanes read the other word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith, linalg

from gradcam.passes.linalg.builders import const_tensor, filled, generic
from gradcam.passes.linalg.lowering import Lowering
from gradcam.passes.linalg.products import multiply_add
from gradcam.passes.linalg.windows import reaching

#: The number of the loop over the taps of a group.
TAP = 6

#: Taps of a kernel row that are multiplied at once, each by lanes of its own.
TAPS = 3


class Axis(NamedTuple):
    """One axis of a correlation: y[o] = sum over k of x[o * stride + k * step + start] * w[k]."""

    stride: int
    step: int
    start: int


@dataclass(frozen=True)
class Groups:
    """The groups of taps of a kernel row; see the top of this file.

    Attributes:
        start: the column of x that the first group multiplies by its first tap for output 0.
        apart: columns from group to group.
        taps: the tap of each phase, group and lane; -1 where there is none.
        split: the first lane that reads the second of two words; None where all lanes read one.
        second: from the column of the first word to that of the second one.
    """

    start: int
    apart: int
    taps: np.ndarray
    split: int | None = None
    second: int = 0

    @staticmethod
    def of(kernel: int, axis: Axis) -> Groups:
        """The fewest groups of a kernel row. With a dilation, a group has one tap: the others would skip columns."""
        stride, step, start = axis
        if step > 1 and kernel > 1:
            taps = np.full((1, kernel, TAPS), -1)
            taps[0, :, -1] = np.arange(kernel)
            return Groups(start - stride * (TAPS - 1), step, taps)
        if stride == 2 and 1 < kernel <= TAPS:
            return Groups._of_both_parities(kernel, start)
        each = -(-kernel // stride)
        missing = -each % TAPS
        phase, place = np.arange(min(stride, kernel)), np.arange(-missing, each)
        taps = phase[:, None] + stride * place
        taps[(taps < 0) | (taps >= kernel)] = -1
        return Groups(start - stride * missing, stride * TAPS, taps.reshape(len(phase), -1, TAPS))

    @staticmethod
    def _of_both_parities(kernel: int, start: int) -> Groups:
        """One group with all taps, for stride 2: the even taps, then the odd one."""
        order = [*range(0, kernel, 2), *range(1, kernel, 2)]
        taps = np.array([-1] * (TAPS - kernel) + order)
        columns = [tap - 2 * lane for lane, tap in enumerate(taps.tolist())]
        split = TAPS - 1
        return Groups(start + columns[split - 1], 0, taps.reshape(1, 1, -1), split, columns[split] - columns[split - 1])

    def packed(self, w: np.ndarray, channels: int, lanes: int) -> np.ndarray:
        """Puts weights into words.

        Args:
            w: C x KH x KW.
            channels: the lanes that a position of the map has; those behind the channels get zeros.
            lanes: the channels of a word.

        Returns:
            channels/lanes x KH x phases x groups x TAPS x lanes of the same type.
        """
        padded = np.zeros((channels, w.shape[1], w.shape[2] + 1), w.dtype)  # tap -1 is the last one
        padded[: len(w), :, :-1] = w
        words = padded[:, :, self.taps].reshape(-1, lanes, w.shape[1], *self.taps.shape)
        return words.transpose(0, 2, 3, 4, 5, 1)


def correlate(
    lowering: Lowering,
    x: ir.Value,
    w: np.ndarray,
    rows: Axis | None,
    columns: Axis,
    out: list[int],
    unsigned: bool = False,
) -> ir.Value:
    """Sums of products of a depthwise correlation in i32, over loops ct, oh, ow, kh, phase, group, tap, lane.

    Args:
        lowering: the lowering of the function, which has the lanes.
        x: H x W x C in lanes; zeros around it.
        w: the weights, C x KH x KW.
        rows: how the kernel walks the rows of `x`; None where `x` has one row, and each row of the result a row of `w`.
        columns: how it walks the columns.
        out: shape of the result, OH x OW x C in lanes.
        unsigned: whether `x` is.
    """
    lanes, (_, kernel_height, kernel_width) = lowering.pe.oc, w.shape
    groups = Groups.of(kernel_width, columns)
    phases, count, _ = groups.taps.shape
    tile, oh, ow, kh, phase, group, tap, lane = (ir.AffineDimExpr.get(n) for n in range(8))
    if rows is None:
        needed, row, kernel_row = range(1), kh, oh
    else:
        needed = range(rows.start, rows.start + rows.stride * (out[0] - 1) + rows.step * (kernel_height - 1) + 1)
        row, kernel_row = oh * rows.stride + kh * rows.step, kh
    reach = columns.stride * (out[1] - 1 + TAPS - 1) + phases - 1 + groups.apart * (count - 1)
    starts = [groups.start] if groups.split is None else [groups.start, groups.start + groups.second]
    reads = [reaching(x, [needed, range(start, start + reach + 1)]) for start in starts]
    column, channel = (ow + tap) * columns.stride, tile * lanes + lane
    if groups.split is None:
        column = column + phase + group * groups.apart
    data = [[row, column, channel]] * len(reads)
    maps = [*data, [tile, kernel_row, phase, group, tap, lane], [oh, ow, channel]]
    words = const_tensor(groups.packed(w, out[2], lanes), lowering.factors.weight)
    affine_maps = [ir.AffineMap.get(8, 0, m) for m in maps]

    def body(*scalars: ir.Value) -> ir.Value:
        *columns, weight, acc = scalars
        if groups.split is not None:
            split = arith.constant(ir.IndexType.get(), groups.split)
            is_first = arith.cmpi(arith.CmpIPredicate.ult, linalg.IndexOp(TAP).result, split)
            columns = [arith.select(is_first, *columns)]
        return multiply_add(columns[0], weight, acc, factors=lowering.factors, unsigned=unsigned)

    return generic([*reads, words], [filled(out, 32, 0)], affine_maps, "ppprrrrp", body)
