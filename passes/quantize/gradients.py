"""Scales of gradients: by channel, the inverse of the scales of the weights that a gradient is multiplied with.

The weights of a convolution have one scale s_w[o] per output channel, and its adjoint sums over output channels. If the
gradient has the scale S / s_w[o], every product has the scale S, so the adjoint reads the forward weights as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.bits import LEAST
from gradcam.dialect import adjoint_ops, cam_ops, ops
from gradcam.dialect.adjoints import part_location
from gradcam.dialect.channel_ops import channel_ranges, inverse, order_of
from gradcam.dialect.traits import (
    AlignsParts,
    ChannelAffine,
    ChoosesScale,
    ExactProduct,
    KeepsScale,
    MovesChannels,
    Product,
    ProductOfBoth,
    Rescales,
    has,
)
from gradcam.numerics import LARGEST_RATIO
from gradcam.passes.ir.constants import dense_values
from gradcam.passes.ir.explanations import class_dependents
from gradcam.passes.ir.queries import only_user, users
from gradcam.passes.quantize.calibrate import RANGE
from gradcam.passes.quantize.checks import RESULT_LIMIT, accumulator_bound
from gradcam.passes.quantize.gradient_queries import (
    channel_maxima,
    for_formula,
    is_vector,
    masked,
    mixes_channels,
    moves_channels,
    reads_wide,
)
from gradcam.passes.quantize.parameters import Parameters
from gradcam.quant_types import (
    ACCUMULATOR_BITS,
    FRACTION_BITS,
    is_quantized,
    largest_magnitude,
    levels,
    quantized_like,
    scales,
    storage_bits,
    storage_limits,
    sum_scale,
    summands,
)

#: The largest integer of 16 bits of which two halves of 8 bits have a sign each.
MOST_IN_HALVES = 127 * 256 + 127

#: Bits of sums that are multiplied in two halves of 8 bits, both of which are signed.
WIDE_BITS = 15

#: Bits of the fraction of a wide map, at most. They are rounded away, ties towards plus infinity; with 10 of them the
#: mean over a map does not show that 1 of 2^10 values is a tie, with 6 bits it does.
MAP_FRACTION_BITS = 10

#: What the formula of a method reads is this often as large as the range that was measured, before it saturates.
HEADROOM = 2

#: For each channel of a gradient the number of the weight, and of its output channel, that it is multiplied with; None
#: for a channel that is multiplied with none. None for a gradient that needs one scale.
Demand = tuple[tuple[int, int] | None, ...] | None


class Gradients:
    """Chooses the types of a function's gradients, before any op but the weights is changed.

    A gradient that is read at one scale is stored so in 8 bits. Three kinds are **wide**: residual sums, whose summands
    shall not be rounded before they meet; what is read at several scales; and what the formula of a method multiplies
    with the feature map. These have 32 bits with a fraction, and who reads one gets what it needs by a
    `gradcam.requantize`: 8 bits at the scales of its weights, or up to 15 bits for the formula. In hardware all of this
    is the epilogue of the layer that computes the gradient, and no map of 32 bits is stored.
    """

    def __init__(self, main: Any, parameters: Parameters, bits: int = LEAST) -> None:
        """Inserts `gradcam.requantize` where a gradient is wide, or two readers of another one differ.

        Args:
            main: a calibrated function.
            parameters: the quantized weights of the forward pass, which are read when a type is asked for.
            bits: of a gradient.
        """
        self.parameters, self.bits = parameters, bits
        #: Of the bits beyond 8 every second one lets fewer gradients saturate, the others make steps finer.
        self.reserve = 1 << (bits - LEAST) // 2
        self.weights: dict[ir.Value, int] = {}
        self.groups: dict[int, int] = {}
        self.values = class_dependents(main)
        body = list(main.entry_block.operations)
        self.order: dict[ir.Value, float] = {op.results[0]: n for n, op in enumerate(body) if op.results}
        self.wide = self._wide_values(body)
        for op in body:
            self._read(op)
        self.values = class_dependents(main)
        self._sums = self._residual_sums(main)
        self._fractions: dict[ir.Value, int] = {}

    # The readers of a gradient, and the origin of its scales.

    def _wide_values(self, body: Iterable[Any]) -> set[ir.Value]:
        """The results of ops that choose the scales of a wide gradient."""
        found = {op.results[0] for op in body if isinstance(op, ops.AddOp) and op.results[0] in self.values}
        for op in body:
            if not has(op, Product, ExactProduct) or (g := op.operands[0]) not in self.values:
                continue
            layer = self._origin(g).owner
            can_be = has(layer, Rescales, ChannelAffine) and not isinstance(layer, adjoint_ops.TapSumsOp)
            if can_be and (has(op, ExactProduct) or self._chosen(g) != self._need(op)):
                found.add(layer.results[0])
        return found

    def _read(self, op: Any) -> None:
        """Makes the gradients that `op` reads such as it needs them."""
        for index, g in enumerate(op.operands):
            if g not in self.values:
                continue
            if self._origin(g) in self.wide:
                if not reads_wide(op, g):
                    op.operands[index] = self._requantized(g, op)
            elif index == 0 and has(op, Product, ExactProduct, ProductOfBoth):
                self._match(op)

    def _match(self, op: Any) -> None:
        """Makes operand 0 of `op`, which is not wide, have the scales that `op` needs."""
        g, need = op.operands[0], self._need(op)
        is_row = isinstance(self._origin(g).owner, cam_ops.ClassRowOp) and need is None
        if not (has(op, ProductOfBoth) or is_row or self._chosen(g) == need):
            op.operands[0] = self._requantized(g, op)

    def _requantized(self, g: ir.Value, op: Any) -> ir.Value:
        """What `op` gets of `g`: what a `gradcam.requantize` before it makes, or one before an earlier reader."""
        need = self._need(op)
        earlier = [user for user in users(g) if isinstance(user, adjoint_ops.RequantizeOp)]
        for copy in sorted(earlier, key=lambda user: self.order[user.y]):
            is_any = not has(op, Product, ExactProduct) or self._demand(copy.y) == need
            if is_any and for_formula(copy) == has(op, ExactProduct):
                return copy.y
        y = _requantized(g, op, f"requantized{len(earlier) or ''}")
        self.values.add(y)
        self.order[y] = self.order[op.results[0]] - 0.5
        return y

    def _origin(self, g: ir.Value) -> ir.Value:
        """The value that `g` takes the scales of its channels from, in their order."""
        while has(op := g.owner, KeepsScale) and op.operands[0] in self.values and not moves_channels(op):
            g = op.operands[0]
        return g

    def _chosen(self, g: ir.Value) -> Demand:
        """The weights whose inverse scales `g` gets; None where it gets one scale."""
        op = g.owner
        if has(op, KeepsScale) and op.operands[0] in self.values and not mixes_channels(op):
            found = self._chosen(op.operands[0])
            return _moved(found, order_of(op)) if found is not None and has(op, MovesChannels) else found
        return self._demand(g) if has(op, ChoosesScale) else None

    def _need(self, op: Any) -> Demand:
        """The weights whose inverse scales the gradient that `op` reads must have; None if it needs one scale."""
        if not has(op, Product):
            return None
        number = self.weights.setdefault(op.operands[1], len(self.weights))
        self.groups[number] = ops.groups_of(op)
        return tuple((number, channel) for channel in range(ir.RankedTensorType(op.operands[0].type).shape[1]))

    def _demand(self, g: ir.Value) -> Demand:
        """The weights that the first readers of `g` multiply its channels with; None where `g` needs one scale."""
        channels = ir.RankedTensorType(g.type).shape[1]
        found: list[tuple[int, int] | None] = [None] * channels
        for user in sorted(users(g), key=lambda op: self.order.get(op.results[0], 0) if op.results else 0):
            if has(user, ExactProduct) and None in found:
                return None
            asked = self._asked(user, g)
            found = [a if a is not None else b for a, b in zip(found, asked or [None] * channels, strict=True)]
            if None not in found:
                break
        return tuple(found) if any(found) else None

    def _asked(self, user: Any, g: ir.Value) -> Demand:
        """What one reader of `g` asks of it."""
        if has(user, Product):
            return self._need(user)
        if has(user, AlignsParts):
            whole, channels = self._demand(user.results[0]), channel_ranges(user)[list(user.operands).index(g)]
            return None if whole is None else whole[channels.start : channels.stop]
        takes_scales = isinstance(user, adjoint_ops.TapSumsOp | adjoint_ops.RequantizeOp)
        if takes_scales or (has(user, KeepsScale) and not mixes_channels(user)):
            found = self._demand(user.results[0])
            if found is not None and has(user, MovesChannels):
                return _moved(found, inverse(order_of(user), ir.RankedTensorType(g.type).shape[1]))
            return found
        return None

    def _residual_sums(self, main: Any) -> dict[ir.Value, tuple[Any, float]]:
        """The values that feed a sum with 32 bits, each with the sum and the ratio of their scales.

        Of two maps only the later one has 32 bits. Of two vectors both have, since they take no memory.
        """
        found: dict[Any, list[tuple[ir.Value, Any, float]]] = {}
        for op in main.entry_block.operations:
            is_sum = has(op, Product, ProductOfBoth, ChannelAffine) or isinstance(op, cam_ops.ChannelWeightsOp)
            if is_sum and op.results[0] in self.values:
                user, factor = only_user(op), 1.0
                while isinstance(user, ops.FlattenOp | cam_ops.ScaleOp):
                    factor *= user.factor.value if isinstance(user, cam_ops.ScaleOp) else 1.0
                    user = only_user(user)
                if isinstance(user, ops.AddOp):
                    found.setdefault(user.results[0], []).append((op.results[0], user, factor))
        chosen = [feeds if is_vector(feeds[0][0]) else feeds[-1:] for feeds in found.values()]
        return {value: (sum_, factor) for feeds in chosen for value, sum_, factor in feeds}

    # Types.

    def result_type(self, op: Any) -> ir.Type:
        """The quantized type of the result of a gradient op, whose operands are quantized already."""
        value = op.results[0]
        if has(op, MovesChannels):
            return self._moved_type(op)
        if has(op, KeepsScale):
            element = ir.RankedTensorType(op.operands[0].type).element_type
            if isinstance(op, cam_ops.ScaleOp):
                return _stored_as(op.operands[0], value, scales(op.operands[0]) * op.factor.value)
            return ir.RankedTensorType.get(ir.RankedTensorType(value.type).shape, element)
        if value in self._sums:
            sum_, factor = self._sums[value]
            return quantized_like(value, self._steps(sum_) / factor, ACCUMULATOR_BITS)
        if isinstance(op, adjoint_ops.TapSumsOp):
            bits = self._wide_bits(value)
            return quantized_like(value, self._steps(op) * self._largest(op) / levels(bits), bits)
        if value in self.wide:
            return quantized_like(value, self._steps(op), ACCUMULATOR_BITS)
        most = self._largest(op)
        if isinstance(op, adjoint_ops.RequantizeOp) and for_formula(op):
            bits = max(WIDE_BITS, self.bits)
            reach = self._room(value, bits)
            finer = math.floor(math.log2(reach / (most * HEADROOM)))
            return quantized_like(value, self._steps(op) * 2.0**-finer, bits, (-reach, reach))
        return quantized_like(value, self._steps(op), self.bits, None if self.bits == LEAST else (-most, most))

    def _moved_type(self, op: Any) -> ir.Type:
        """The type of the result of an op that moves channels; a channel of zeros has the scale of another one."""
        given, order = scales(op.operands[0]), np.array(order_of(op))
        moved = given[np.where(order < 0, order.max(), order)] if given.ndim else given
        return _stored_as(op.operands[0], op.results[0], moved)

    def _steps(self, op: Any) -> np.ndarray:
        """Scales of the narrow result of `op`, or of its finer one of 32 bits where it is wide: float64, () or (C,)."""
        last = masked(op)
        whole = only_user(last)
        if has(whole, AlignsParts):  # stored at the scales of the whole at once
            steps, channels = self._steps(whole), channel_ranges(whole)[list(whole.operands).index(last.results[0])]
            return steps[channels] if steps.ndim else steps
        largest, levels_ = self.reserve * channel_maxima(last), self._largest(op)
        demand = self._demand(op.results[0])
        if demand is None:
            steps = np.asarray(largest.max() / levels_)
        else:
            carried = self._carried(demand)
            steps = np.empty_like(carried)
            owners = np.array([-1 if d is None else d[0] for d in demand])
            for owner in set(owners.tolist()):  # products with one weight have one scale
                own = owners == owner
                steps[own] = ((largest * carried)[own].max() or 1.0) / levels_ / carried[own]
        return steps / (1 << self._fraction(op, steps)) if op.results[0] in self.wide else steps

    def _fraction(self, op: Any, steps: np.ndarray) -> int:
        """The bits of the fraction of a wide result: as many as leave room for the largest values that it can have.

        Args:
            op: the op.
            steps: the scales of its narrow result.
        """
        value = op.results[0]
        if is_vector(value):
            return FRACTION_BITS
        if value not in self._fractions:
            feeds = [v for v, (sum_, _) in self._sums.items() if sum_.results[0] == value]
            rescaled = [v.owner for v in feeds or [value] if has(v.owner, Rescales)]
            ratios = [(sum_scale(layer) / steps, accumulator_bound(layer)) for layer in rescaled]
            if isinstance(op, ops.AddOp):
                others = [v for v in op.operands if v not in feeds and is_quantized(v)]
                ratios += [(scales(v) / steps, np.array(0.0)) for v in others]
            largest = [r * np.maximum(2 / LARGEST_RATIO, bound * 2 / RESULT_LIMIT) for r, bound in ratios]
            room = -math.log2(max((float(np.max(x)) for x in largest), default=0.0) or 1.0)
            self._fractions[value] = max(0, min(MAP_FRACTION_BITS, math.floor(room)))
        return self._fractions[value]

    def _carried(self, demand: tuple[tuple[int, int] | None, ...]) -> np.ndarray:
        """The scale of the weights that each channel is multiplied with, 1 where there are none: float64, (C,)."""
        carried = np.ones(len(demand))
        for weight, number in self.weights.items():
            own = [(channel, d[1]) for channel, d in enumerate(demand) if d is not None and d[0] == number]
            if own:
                channels, outputs = map(list, zip(*own, strict=True))
                known = scales(self.parameters.quantized(weight))
                carried[channels] = known[outputs] if known.ndim else known
        return carried

    def _largest(self, op: Any) -> int:
        """The largest integer of the narrow result of `op`: of more than 8 bits as much as products have room for."""
        whole = only_user(masked(op))
        if has(whole, AlignsParts):
            return self._largest(whole)
        return self._room(op.results[0], self.bits)

    def _room(self, g: ir.Value, bits: int) -> int:
        """The largest integer of `bits` for `g`, but 127 at least, with which no sum of its products overflows."""
        fitting = (((1 << (ACCUMULATOR_BITS - 1)) - 1) // total for total in self._factors(g))
        return max(levels(LEAST), min(levels(bits), MOST_IN_HALVES, *fitting))

    def _factors(self, g: ir.Value) -> Iterator[int]:
        """The largest sum of magnitudes that integers of `g` are multiplied with, for each product that reads them."""
        for user in users(g):
            if has(user, Product) and user.operands[0] == g:
                yield max(1, self._largest_sum(self.weights[user.operands[1]]))
            elif has(user, ExactProduct) and user.operands[0] == g:
                pooled = only_user(user)
                block = pooled.size.value**2 if isinstance(pooled, cam_ops.PoolMapOp) else 1
                yield block * ir.RankedTensorType(g.type).shape[1] * largest_magnitude(user.operands[1])
            elif has(user, ProductOfBoth) and user.operands[0] == g:
                yield summands(user) * largest_magnitude(user.operands[1])
            elif has(user, KeepsScale) and user.results[0] in self.values:
                yield from self._factors(user.results[0])

    def _wide_bits(self, value: ir.Value) -> int:
        """The most bits of tap sums with which their products with the weights cannot overflow."""
        asked = {d[0] for d in self._demand(value) or () if d is not None}
        total = max(map(self._largest_sum, asked), default=1)
        return min(WIDE_BITS, ACCUMULATOR_BITS - max(1, total).bit_length())

    def _largest_sum(self, number: int) -> int:
        """The largest sum of magnitudes of the weights that an adjoint adds up for one element."""
        weight = next(w for w, n in self.weights.items() if n == number)
        stored = dense_values(self.parameters.quantized(weight).owner.operands[0].owner)
        integers = np.abs(stored.astype(np.int64))
        by_group = integers.reshape(self.groups[number], -1, *integers.shape[1:])
        return int(by_group.sum((1, *range(3, by_group.ndim))).max())


def _stored_as(g: ir.Value, like: ir.Value, steps: np.ndarray) -> ir.Type:
    """The type of a gradient of the shape of `like` with the integers of `g` and other scales."""
    return quantized_like(like, steps, storage_bits(g), storage_limits(g))


def _requantized(g: ir.Value, op: Any, name: str) -> ir.Value:
    """A `gradcam.requantize` of `g` before `op`, by the name of `g` and another one behind it."""
    with ir.InsertionPoint(op), part_location(g.owner, name):
        copy = adjoint_ops.RequantizeOp(g, g.type)
    if isinstance(g.owner, cam_ops.ClassRowOp):
        largest = np.abs(dense_values(g.owner.operands[0].owner).astype(np.float64)).max(0)
        copy.attributes[RANGE] = ir.DenseF64ArrayAttr.get((largest if largest.any() else largest + 1).tolist())
    elif RANGE in g.owner.attributes:
        copy.attributes[RANGE] = g.owner.attributes[RANGE]
    return copy.y


def _moved(demand: tuple[tuple[int, int] | None, ...], order: list[int]) -> Demand:
    """What is asked of channels in another order; nothing of those that are 0."""
    moved = tuple(None if c < 0 else demand[c] for c in order)
    return moved if any(moved) else None
