"""The lowering of ops that move channels: to layouts where that is possible, else to a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.dialect.adjoints import part_location
from gradcam.dialect.channel_ops import order_of
from gradcam.dialect.verify import by
from gradcam.dialect.verify import shape as type_shape
from gradcam.errors import fail
from gradcam.passes.linalg.builders import empty, insert_slice, shape
from gradcam.passes.linalg.lowering import Lowering, fixed, rescaled_elements
from gradcam.passes.linalg.values import Placed
from gradcam.quant_types import is_unsigned, part_rescale, storage_bits


def _lower_concat(lowering: Lowering, op: Any) -> list[Any]:
    """Parts side by side in one tensor, each from a whole word on, into which the ops that compute them store.

    Where a part does not end with a word, the words of the result have lanes without a channel.
    """
    parts = [_part(lowering, op, index) for index in (0, 1)]
    sizes = [shape(part.packed)[:2] for part in parts]
    if sizes[0] != sizes[1]:
        raise fail(op, f"'{op.name}' of vectors that are maps of {by(sizes[0])} and {by(sizes[1])} has no lowering")
    lanes = [shape(part.packed)[2] for part in parts]
    first, second = parts[0], parts[1].shifted(lanes[0])
    places, used = first.places + second.places, first.used | second.used
    is_dense = places == tuple(range(len(places))) and sum(lanes) == lowering.pe.padded(len(places))
    whole = empty([*sizes[0], sum(lanes)], storage_bits(op.results[0]))
    with op.location if is_dense else part_location(op, "parts"):  # the name of the buffer
        for part, start in zip(parts, (0, lanes[0]), strict=True):
            whole = insert_slice(part.packed, whole, [0, 0, start], [1, 1, 1])
    return [whole if is_dense else Placed(whole, places, used)]


def _part(lowering: Lowering, op: Any, index: int) -> Placed:
    """An operand of a concatenation, at the scale that the result has for it."""
    value, constants = op.operands[index], fixed(op, part_rescale, op, index)
    lowered = lowering.values[value]
    if constants is None and isinstance(lowered, Placed) and lowered.is_full:
        return lowered
    x = lowering.tensor(value)
    channels = _channels(value, x)
    if constants is not None:
        x = rescaled_elements(lowering, op, x, constants, channels, op.results[0], is_unsigned(value))
    return Placed(x, tuple(range(channels)), frozenset(range(channels)))


def _channels(value: ir.Value, packed: ir.Value) -> int:
    """Channels of a map, or of the map that a vector has been flattened from."""
    height, width_, _ = shape(packed)
    return type_shape(value)[1] if len(type_shape(value)) == 4 else type_shape(value)[1] // (height * width_)


def _lower_take_channels(lowering: Lowering, op: Any) -> list[Any]:
    """The same tensor with the channels in other places; who reads it moves them where necessary."""
    lowered = lowering.values[op.operands[0]]
    if not isinstance(lowered, Placed):
        x = lowering.tensor(op.operands[0])
        channels = range(_channels(op.operands[0], x))
        lowered = Placed(x, tuple(channels), frozenset(channels))
    order = np.array(order_of(op))
    size = int(np.prod(shape(lowered.packed)[:2])) if len(type_shape(op.results[0])) == 2 else 1
    order = order.reshape(-1, size) if len(order) % size == 0 else order[:, None]
    first = order[:, 0] // size
    if order.shape[1] != size or (order != np.where(first < 0, -1, first * size)[:, None] + _inner(first, size)).any():
        raise fail(op, f"'{op.name}' of a flattened map must move whole channels")
    return [lowered._replace(places=tuple(-1 if c < 0 else lowered.places[c] for c in first.tolist()))]


def _inner(first: np.ndarray, size: int) -> np.ndarray:
    """The numbers of the elements within each channel; 0 for a channel of zeros."""
    return np.where(first < 0, 0, 1)[:, None] * np.arange(size)


#: The lowering of each op: a function that returns the values for the op's results.
LOWERINGS: dict[str, Callable[[Lowering, Any], list[Any]]] = {
    "gradcam.concat": _lower_concat,
    "gradcam.take_channels": _lower_take_channels,
}
