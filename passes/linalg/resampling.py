"""The lowering of the ops that change the size of a feature map by a ratio."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from torch_mlir import ir

from gradcam.adaptive import axes_of, largest_sum_of
from gradcam.dialect.adjoints import part_location
from gradcam.dialect.traits import Gradient, has
from gradcam.dialect.verify import shape as type_shape
from gradcam.passes.linalg.builders import const_tensor, empty, filled, generic, shape, width
from gradcam.passes.linalg.lowering import Lowering, add_up, fixed, ints, require_fits, rescaled_result
from gradcam.passes.linalg.windows import Window, reaching, reduce_window, weighted
from gradcam.quant_types import is_accumulator, is_unsigned, largest_magnitude, result_rescale


def _lower_upsample2d(lowering: Lowering, op: Any) -> list[Any]:
    """Copies each word of the map to all places of its block: loops h, w, i, j, c."""
    x, kernel = lowering.tensor(op.operands[0]), ints(op, "kernel")
    h, w, i, j, c = (ir.AffineDimExpr.get(n) for n in range(5))
    maps = [[h, w, c], [i, j, c], [h * kernel[0] + i, w * kernel[1] + j, c]]
    lanes = shape(x)[2]
    # linalg takes loop extents from operands indexed by plain loops: this one only tells the extents.
    extents, y = empty([*kernel, lanes], 8), empty([*type_shape(op.results[0])[2:], lanes], width(x))
    return [generic([x, extents], [y], [ir.AffineMap.get(5, 0, m) for m in maps], "ppppp", lambda a, *_: a)]


def _lower_upsample2d_adjoint(lowering: Lowering, op: Any) -> list[Any]:
    kernel = ints(op, "kernel")
    with part_location(op, "sums"):
        sums = reduce_window(lowering, op, Window(kernel, kernel, [0, 0], [1, 1]), 0, 32, add_up)
    return [rescaled_result(lowering, op, sums)]


class Blocks(NamedTuple):
    """The windows along one axis as those of `number` equal blocks: output `size * q + i` is in block q.

    It adds up `weights[i, k]` times the element `reach * q + stride * i + base + k` over all k; where that is none of
    its window, the weight is 0.
    """

    number: int
    reach: int
    stride: int
    base: int
    weights: np.ndarray

    @staticmethod
    def of(matrix: np.ndarray) -> Blocks:
        """The windows of a matrix of weights, outputs x elements, whose blocks of equal ratio are equal."""
        number = math.gcd(*matrix.shape)
        size, reach = (n // number for n in matrix.shape)
        block = matrix[:size, :reach]
        start, stop, place = (block != 0).argmax(1), reach - (block != 0)[:, ::-1].argmax(1), np.arange(size)
        hulls = [((start - s * place).min(), (stop - s * place).max(), s) for s in range(reach + 1)]
        base, end, stride = min(hulls, key=lambda hull: hull[1] - hull[0])
        taps = stride * place[:, None] + base + np.arange(end - base)
        inside = (taps >= 0) & (taps < reach)
        weights = np.where(inside, np.take_along_axis(block, np.clip(taps, 0, reach - 1), 1), 0)
        return Blocks(number, reach, int(stride), int(base), weights)

    @property
    def places(self) -> range:
        """The places of all elements that are read, of which some may lie outside of the map."""
        size, taps = self.weights.shape
        return range(self.base, self.reach * (self.number - 1) + self.stride * (size - 1) + self.base + taps)


@dataclass
class _Loops:
    """The loops of a `linalg.generic`, in order; a loop of one iteration is none, unless it is to stay."""

    extents: list[int] = field(default_factory=list)
    kinds: str = ""

    def add(self, extent: int, kind: str = "p", stays: bool = False) -> ir.AffineExpr:
        if extent == 1 and not stays:
            return ir.AffineConstantExpr.get(0)
        self.extents.append(extent)
        self.kinds += kind
        return ir.AffineDimExpr.get(len(self.extents) - 1)

    def maps(self, *indices: list[ir.AffineExpr]) -> list[ir.AffineMap]:
        return [ir.AffineMap.get(len(self.extents), 0, index) for index in indices]


def _lower_adaptive(lowering: Lowering, op: Any) -> list[Any]:
    """An adaptive average pool, or its adjoint."""
    blocks = [Blocks.of(axis.weights) for axis in axes_of(op)]
    if is_accumulator(op):
        return [_weighted_sums(lowering, op, blocks)]
    with part_location(op, "sums"):
        sums = _weighted_sums(lowering, op, blocks)
    require_fits(op, largest_sum_of(op) * largest_magnitude(op.operands[0]), *fixed(op, result_rescale, op))
    return [rescaled_result(lowering, op, sums)]


def _weighted_sums(lowering: Lowering, op: Any, axes: list[Blocks]) -> ir.Value:
    """The weighted sums in i32: loops ct, q and i for height and width, kh, kw, lane."""
    _, channels, *out = type_shape(op.results[0])
    lanes, padded = lowering.pe.oc, lowering.pe.padded(channels)
    # Whole words of a gradient are read again: the lanes behind the channels become the sums of their zeros.
    words = (padded if has(op, Gradient) else channels + lanes - 1) // lanes
    # A channel that is one loop alone has to walk all lanes, at most a word: else it is a sum of two loops.
    stays = 1 < words * lanes != lowering.pe.lanes
    loops = _Loops()
    ct, outer = loops.add(words, stays=stays), [(loops.add(a.number), loops.add(len(a.weights))) for a in axes]
    taps = [loops.add(a.weights.shape[1], "r") for a in axes]
    channel = ct * lanes + loops.add(lanes, stays=stays)
    x = reaching(lowering.tensor(op.operands[0]), [a.places for a in axes])
    read = [q * a.reach + i * a.stride + k for a, (q, i), k in zip(axes, outer, taps, strict=True)]
    stored = [q * len(a.weights) + i for a, (q, i) in zip(axes, outer, strict=True)]
    weights = np.einsum("ik,jl->ijkl", *(a.weights for a in axes))[..., None]  # no loop of a sum walks a last dimension
    unsigned = is_unsigned(op.operands[0])
    ins = [x, const_tensor(weights.astype(np.int8 if weights.max() < 1 << 7 else np.int16))]
    index = [[*read, channel], [*(i for _, i in outer), *taps, ir.AffineConstantExpr.get(0)]]
    # linalg takes loop extents from operands indexed by plain loops: the last one only tells the extents.
    ins.append(empty(loops.extents, 8))
    index += [[ir.AffineDimExpr.get(n) for n in range(len(loops.extents))], [*stored, channel]]

    def add_share(value: ir.Value, weight: ir.Value, _: ir.Value, acc: ir.Value) -> ir.Value:
        return add_up(acc, weighted(value, weight, unsigned))

    return generic(ins, [filled([*out, padded], 32, 0)], loops.maps(*index), loops.kinds, add_share)


#: The lowering of each op: a function that returns the values for the op's results.
LOWERINGS: dict[str, Callable[[Lowering, Any], list[Any]]] = {
    "gradcam.upsample2d": _lower_upsample2d,
    "gradcam.upsample2d_adjoint": _lower_upsample2d_adjoint,
    "gradcam.adaptive_avg_pool2d": _lower_adaptive,
    "gradcam.adaptive_avg_pool2d_adjoint": _lower_adaptive,
}
