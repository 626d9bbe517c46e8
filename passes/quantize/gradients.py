"""Scales of gradients: by channel, the inverse of the scales of the weights that a gradient is multiplied with.

The weights of a convolution have one scale s_w[o] per output channel, and its adjoint sums over output channels. If the
gradient has the scale S / s_w[o], every product has the scale S, so the adjoint reads the forward weights as they are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.dialect import adjoint_ops, cam_ops, ops
from gradcam.dialect.traits import ChoosesScale, ExactProduct, KeepsScale, Product, ProductOfBoth, has
from gradcam.errors import fail
from gradcam.passes.ir.constants import dense_values
from gradcam.passes.ir.explanations import class_dependents
from gradcam.passes.ir.queries import only_user, users
from gradcam.passes.quantize.calibrate import RANGE
from gradcam.passes.quantize.parameters import Parameters
from gradcam.quant_types import FRACTION_BITS, INT8_LEVELS, quantized_like, scales, storage_bits

#: Bits of sums that are multiplied in two halves of 8 bits, both of which are signed.
WIDE_BITS = 15

#: Widest range of accumulators.
ACCUMULATOR_BITS = 32


class Gradients:
    """Chooses the types of a function's gradients, before any op but the weights is changed."""

    def __init__(self, main: Any, parameters: Parameters) -> None:
        """Inserts `gradcam.requantize` where one gradient is read at two scales.

        Args:
            main: a calibrated function.
            parameters: the quantized weights of the forward pass, which are read when a type is asked for.
        """
        self.parameters = parameters
        self.values = class_dependents(main)
        self.order = {op.results[0]: n for n, op in enumerate(main.entry_block.operations) if op.results}
        for op in list(main.entry_block.operations):
            if has(op, Product, ExactProduct, ProductOfBoth) and op.operands[0] in self.values:
                self._match(op)
        self.values = class_dependents(main)
        self._sums = self._residual_sums(main)

    # The readers of a gradient, and the origin of its scales.

    def _match(self, op: Any) -> None:
        """Makes operand 0 of `op` have the scales that `op` needs, by a `gradcam.requantize` where necessary."""
        g = op.operands[0]
        origin = self._origin(g)
        chosen = self._demand(origin) if has(origin.owner, ChoosesScale) else None
        takes_any = has(op, ProductOfBoth)
        if (takes_any or _same(chosen, _need(op))) and not is_wide_sum(origin.owner):
            return
        if isinstance(origin.owner, cam_ops.ClassRowOp) and _need(op) is None:
            return
        for user in users(g):  # an earlier reader with the same need has made it
            if isinstance(user, adjoint_ops.RequantizeOp) and _same(self._demand(user.y), _need(op)):
                op.operands[0] = user.y
                return
        with ir.InsertionPoint(op), g.owner.location:
            copy = adjoint_ops.RequantizeOp(g, g.type)
        if isinstance(g.owner, cam_ops.ClassRowOp):
            largest = np.abs(dense_values(g.owner.operands[0].owner).astype(np.float64)).max(0)
            copy.attributes[RANGE] = ir.DenseF64ArrayAttr.get((largest if largest.any() else largest + 1).tolist())
        elif RANGE in g.owner.attributes:
            copy.attributes[RANGE] = g.owner.attributes[RANGE]
        op.operands[0] = copy.y

    def _origin(self, g: ir.Value) -> ir.Value:
        """The value that `g` takes its scale from."""
        while has(op := g.owner, KeepsScale) and op.operands[0] in self.values and not _moves_channels(op):
            g = op.operands[0]
        return g

    def _demand(self, g: ir.Value) -> ir.Value | None:
        """The weight that the first reader of `g` multiplies it with; None where `g` needs one scale."""
        reader = self._reader(g)
        return None if reader is None else _need(reader)

    def _reader(self, g: ir.Value) -> Any:
        """The first op that multiplies `g` with weights; None where `g` needs one scale."""
        for user in sorted(users(g), key=lambda op: self.order.get(op.results[0], 0) if op.results else 0):
            if has(user, Product):
                return user
            if has(user, ExactProduct):
                return None
            if isinstance(user, adjoint_ops.TapSumsOp) or (has(user, KeepsScale) and not _moves_channels(user)):
                found = self._reader(user.results[0])
                if found is not None:
                    return found
        return None

    def _residual_sums(self, main: Any) -> dict[ir.Value, tuple[Any, float]]:
        """The values that feed a sum with 32 bits, each with the sum and the ratio of their scales.

        Of two convolutions only the later one has 32 bits. Of two vectors both have, since they take no memory.
        """
        found: dict[Any, list[tuple[ir.Value, Any, float]]] = {}
        for op in main.entry_block.operations:
            is_sum = has(op, Product) or isinstance(op, cam_ops.ChannelWeightsOp)
            if is_sum and op.results[0] in self.values:
                user, factor = only_user(op), 1.0
                while isinstance(user, ops.FlattenOp | cam_ops.ScaleOp):
                    factor *= user.factor.value if isinstance(user, cam_ops.ScaleOp) else 1.0
                    user = only_user(user)
                if isinstance(user, ops.AddOp):
                    found.setdefault(user.results[0], []).append((op.results[0], user, factor))
        chosen = [feeds if is_wide_sum(feeds[0][1]) else feeds[-1:] for feeds in found.values()]
        return {value: (sum_, factor) for feeds in chosen for value, sum_, factor in feeds}

    # Types.

    def result_type(self, op: Any) -> ir.Type:
        """The quantized type of the result of a gradient op, whose operands are quantized already."""
        value = op.results[0]
        if has(op, KeepsScale):
            element = ir.RankedTensorType(op.operands[0].type).element_type
            if isinstance(op, cam_ops.ScaleOp):
                return quantized_like(value, scales(op.operands[0]) * op.factor.value, storage_bits(op.operands[0]))
            return ir.RankedTensorType.get(ir.RankedTensorType(value.type).shape, element)
        if value in self._sums:
            sum_, factor = self._sums[value]
            return quantized_like(value, self._steps(sum_) / factor, ACCUMULATOR_BITS)
        if isinstance(op, adjoint_ops.TapSumsOp):
            bits = self._wide_bits(value)
            return quantized_like(value, self._steps(op) * INT8_LEVELS / ((1 << (bits - 1)) - 1), bits)
        return quantized_like(value, self._steps(op), ACCUMULATOR_BITS if is_wide_sum(op) else 8)

    def _steps(self, op: Any) -> np.ndarray:
        """Scales of the int8 result of `op` (of its finer i32 one for a sum of vectors): float64, () or (C,)."""
        largest = _channel_maxima(_masked(op))
        weight = self._demand(op.results[0])
        if weight is None:
            steps = largest.max() / INT8_LEVELS
        else:
            carried = scales(self.parameters.quantized(weight))
            steps = (largest * carried).max() / INT8_LEVELS / carried
        return np.asarray(steps / (1 << FRACTION_BITS) if is_wide_sum(op) else steps)

    def _wide_bits(self, value: ir.Value) -> int:
        """The most bits of tap sums with which their products with the weights cannot overflow."""
        reader = self._reader(value)
        if reader is None:
            return WIDE_BITS
        weight = self.parameters.quantized(_need(reader))
        integers = np.abs(dense_values(weight.owner.operands[0].owner).astype(np.int64))
        by_group = integers.reshape(ops.groups_of(reader), -1, *integers.shape[1:])
        total = int(by_group.sum((1, *range(3, by_group.ndim))).max())
        return min(WIDE_BITS, ACCUMULATOR_BITS - max(1, total).bit_length())


def _need(op: Any) -> ir.Value | None:
    """The weight whose inverse scales the gradient that `op` reads must have; None if it needs one scale."""
    return op.operands[1] if has(op, Product) else None


def _same(a: ir.Value | None, b: ir.Value | None) -> bool:
    """Equality of two values, either of which may be None; the bindings' own equality does not accept None."""
    return a == b if a is not None and b is not None else a is b


def is_wide_sum(op: Any) -> bool:
    """Whether `op` adds vectors; these have 32 bits until they are multiplied."""
    return isinstance(op, ops.AddOp) and math.prod(ir.RankedTensorType(op.z.type).shape[2:]) == 1


def _moves_channels(op: Any) -> bool:
    """Whether a flatten or unflatten mixes channels and positions, so that scales per channel are impossible."""
    shapes = [ir.RankedTensorType(v.type).shape for v in (op.operands[0], op.results[0])]
    return shapes[0][1] != shapes[1][1]


def _masked(op: Any) -> Any:
    """The last op of the chain of masks and clips behind `op`: values that they remove need no range.

    Each op of the chain is the only reader of the op before it.
    """
    while _removes(user := only_user(op)):
        op = user
    return op


def _removes(op: Any) -> bool:
    """Whether an op passes each element of a gradient unchanged or replaces it by 0."""
    return isinstance(op, ops.ReluOp) or (isinstance(op, adjoint_ops.ApplyMaskOp) and op.slope.value == 0)


def _channel_maxima(op: Any) -> np.ndarray:
    if RANGE not in op.attributes:
        raise fail(op, f"'{op.operation.name}' has no {RANGE}; run gradcam-calibrate first")
    found = np.array(list(ir.DenseF64ArrayAttr(op.attributes[RANGE])))
    channels = ir.RankedTensorType(op.results[0].type).shape[1]
    if found.shape != (channels,) or not (np.isfinite(found).all() and (found >= 0).all() and found.any()):
        raise fail(op, f"{RANGE} of a gradient must hold {channels} magnitudes, one of them positive")
    return found
