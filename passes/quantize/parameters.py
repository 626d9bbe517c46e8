"""Weights and biases as integer constants."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.bits import LEAST
from gradcam.errors import fail
from gradcam.passes.ir.constants import dense_values, integers_attr
from gradcam.passes.quantize.means import corrected_bias
from gradcam.quant_types import (
    largest_magnitude,
    levels,
    per_channel,
    per_tensor,
    quantize_array,
    represented,
    round_scale,
    scale,
    scales,
)

#: The least scale of a channel, as a fraction of the layer's largest. All channels of a layer share one shift, so the
#: multiplier of a channel keeps at least 7 bits.
CHANNEL_FLOOR = 2.0**-8

#: The largest bias: half of the accumulator. A larger one makes the scale of its weights coarser.
BIAS_LIMIT = 2.0**30

#: The largest sum of products and bias: nearly the accumulator's, since scales are rounded to 7 digits.
SUM_LIMIT = 2.0**31 * (1 - 1e-6)


class Parameters:
    """Replaces f32 parameters of convolutions and linears by integers, and keeps them for the backward pass."""

    def __init__(self, bits: int = LEAST) -> None:
        """Takes the bits of weights."""
        self.bits = bits
        self._tables: dict[Any, Any] = {}
        self._weights: dict[Any, Any] = {}
        self._originals: set[Any] = set()  # results, not ops: an op's hash changes with its attributes

    def quantize(self, op: Any, one_scale: bool) -> None:
        """Quantizes weight and bias of a conv2d or linear whose input is quantized already.

        The weight gets the largest magnitude at the largest integer, the bias int32 at the scale of the products, less
        the mean of what the rounded weights add to the output (`gradcam.passes.quantize.means`).

        Args:
            op: the op; its operands are replaced.
            one_scale: whether all output channels share a scale; else each has its own.

        Raises:
            GradcamError: a parameter is not a finite constant.
        """
        weight = _values(op, 1, "weight")
        bias = _values(op, 2, "bias") if len(op.operands) > 2 else np.zeros(len(weight), np.float32)
        x = op.operands[0]
        steps = weight_scales(weight, bias, scale(x), self.bits, largest_magnitude(x))
        original = op.operands[1]
        self._replace(op, 1, weight, steps.max() if one_scale else steps, self.bits)
        if len(op.operands) > 2:
            bias = corrected_bias(op, bias, weight, represented(weight, op.operands[1]))
            self._replace(op, 2, bias, scale(op.operands[0]) * scales(op.operands[1]), 32)
        self._weights[original] = op.operands[1]
        if one_scale:
            self._tables[original] = op.operands[1]

    def quantized(self, original: Any) -> Any:
        """The quantized value of a weight of the forward pass."""
        return self._weights[original]

    def read_by_adjoint(self, op: Any) -> None:
        """Lets a conv2d_adjoint or linear_adjoint read the forward weights.

        Raises:
            GradcamError: its weight is no weight of the forward pass.
        """
        original = op.operands[1]
        if original not in self._weights:
            raise fail(op, f"the weight of '{op.operation.name}' must be that of a layer of the forward pass")
        op.operands[1] = self._weights[original]

    def table(self, op: Any) -> Any:
        """The quantized value of a class row's table: the classifier's own weight, or another constant with one scale.

        Raises:
            GradcamError: the table is not a finite constant.
        """
        original = op.operands[0]
        if original not in self._tables:
            values = _values(op, 0, "table")
            steps = weight_scales(values, np.zeros(len(values)), 1.0, self.bits)
            self._replace(op, 0, values, steps.max(), self.bits)
            self._tables[original] = op.operands[0]
        return self._tables[original]

    def erase_originals(self) -> None:
        """Erases the f32 constants that nothing uses any more."""
        for value in self._originals:
            if not list(value.uses):
                value.owner.erase()

    def _replace(self, op: Any, index: int, values: np.ndarray, steps: np.ndarray, bits: int) -> None:
        """Makes operand `index` a quantized constant of `values`, at the place of the original."""
        original = op.operands[index]
        if np.ndim(steps):
            type_ = per_channel(values.shape, steps, bits)
        else:
            type_ = per_tensor(values.shape, float(steps), bits)
        stored = integers_attr(quantize_array(values, type_), bits)
        with ir.InsertionPoint(original.owner), original.owner.location:
            integers = ir.Operation.create("arith.constant", [stored.type], attributes={"value": stored})
            cast = ir.Operation.create("quant.scast", [type_], [integers.result])
        op.operands[index] = cast.result
        self._originals.add(original)


def weight_scales(
    weight: np.ndarray, bias: np.ndarray, input_scale: float, bits: int = LEAST, largest_input: int = 0
) -> np.ndarray:
    """Scale of each output channel's weights, rounded to 7 digits: float64, O.

    The largest magnitude of a channel stands for the largest integer, except where that would leave a negligible
    channel with too few bits in its rescale multiplier, or a bias with too many in the accumulator. Of more than 8 bits
    as many are used as the sums of products have room for.

    Args:
        weight: O x ...
        bias: O.
        input_scale: scale of the layer's input.
        bits: of the weights.
        largest_input: the largest magnitude of the integers of the layer's input.
    """
    flat, biases = np.abs(weight.reshape(len(weight), -1).astype(np.float64)), np.abs(bias.astype(np.float64))
    magnitudes, terms = flat.max(1, initial=0), flat.shape[1]
    # Each weight may be rounded up by half an integer, and the bias takes back the mean of what that adds.
    room = max(SUM_LIMIT - largest_input * terms, 1.0)
    fitting = (largest_input * flat.sum(1) + biases / input_scale) / room
    chosen = np.clip(fitting, magnitudes / levels(bits), magnitudes / levels(LEAST))
    wanted = np.maximum(chosen, biases / (input_scale * BIAS_LIMIT))
    if not wanted.any():
        return np.ones(len(weight))  # a layer of zeros: any scale will do
    return np.array([round_scale(s) for s in np.maximum(wanted, wanted.max() * CHANNEL_FLOOR)])


def _values(op: Any, index: int, what: str) -> np.ndarray:
    owner = op.operands[index].owner
    if not isinstance(owner, ir.OpView) or owner.operation.name != "arith.constant":
        raise fail(op, f"the {what} of '{op.operation.name}' must be a constant")
    values = dense_values(owner)
    if not np.isfinite(values).all():
        raise fail(op, f"the {what} of '{op.operation.name}' has values that are not finite")
    return values
