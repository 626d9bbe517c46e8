"""Helpers of the lowerings of gradcam ops to linalg: values lowered so far, constants, sums of products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.dialect.adjoints import part_location
from gradcam.dialect.ops import groups_of
from gradcam.dialect.traits import Gradient, has
from gradcam.dialect.verify import shape as type_shape
from gradcam.errors import GradcamError, fail
from gradcam.numerics import (
    ALIGNED_MULTIPLIER_BITS,
    PAIR_BITS,
    READ_BIAS_BITS,
    READ_MULTIPLIER_BITS,
    aligned_form,
    read_form,
)
from gradcam.passes.ir.constants import elements_of
from gradcam.passes.linalg.builders import (
    clipped,
    const_tensor,
    elementwise,
    empty,
    extract_slice,
    generic,
    integer,
    rescaled,
    rescaled_by,
    shape,
    widened,
    width,
)
from gradcam.passes.linalg.gathers import gathered, plan
from gradcam.passes.linalg.packing import pack_channels, pack_groups, pack_weights
from gradcam.passes.linalg.products import Factors
from gradcam.passes.linalg.values import Halves, Layout, Parities, Placed, Row, joined
from gradcam.passes.linalg.words import Words
from gradcam.pe import PE
from gradcam.quant_types import (
    ACCUMULATOR_BITS,
    is_narrow,
    is_unsigned,
    operand_rescale,
    result_rescale,
    storage_bits,
    storage_limits,
)


@dataclass
class Lowering:
    """The state of the lowering of a function, which all lowerings share.

    Attributes:
        pe: the array.
        factors: the bits of what it multiplies.
        resident: whether what follows from weights and ranges is read from memory, and no part of the hardware.
        values: the lowered form of each gradcam value: a tensor, or one of the forms of `gradcam.passes.linalg.values`.
        weights: the packed constant of each weight and kernel size, so that all readers share one constant.
        others: the logits without those of chosen classes, by the logits and the classes.
        gradients: the values that depend on the class that is explained.
        layouts: the places of the input channels of a weight that does not have them in order.
        ordered: the packed constants of such weights with their channels in order, as in `weights`.
        dense: the values with their channels in order, of those whose form has them in other places.
        halves: the values that are multiplied in two halves.
    """

    pe: PE
    factors: Factors
    resident: bool = False
    values: dict[ir.Value, Any] = field(default_factory=dict)
    weights: dict[tuple[ir.Value, int, int], ir.Value] = field(default_factory=dict)
    others: dict[tuple[ir.Value, ...], ir.Value] = field(default_factory=dict)
    gradients: set[ir.Value] = field(default_factory=set)
    layouts: dict[ir.Value, Layout] = field(default_factory=dict)
    ordered: dict[tuple[ir.Value, int, int], ir.Value] = field(default_factory=dict)
    dense: dict[ir.Value, ir.Value] = field(default_factory=dict)
    halves: dict[ir.Value, Halves] = field(default_factory=dict)

    def tensor(self, value: ir.Value) -> ir.Value:
        """The lowered form of `value` as one tensor: H x W x C, or 1 x 1 x C for a vector."""
        lowered = self.values[value]
        if isinstance(lowered, Row):
            with value.owner.location:
                lowered = self.values[value] = copied(self, lowered)
        if isinstance(lowered, Placed):
            if value not in self.dense:
                self.dense[value] = in_order(self, value, lowered)
            return self.dense[value]
        return joined(lowered)

    def factor(self, value: ir.Value) -> ir.Value | Halves:
        """The lowered form of a gradient for the multipliers: one tensor where it fits them, else two halves."""
        lowered = self.values[value]
        if isinstance(lowered, Halves):
            return lowered
        x = self.tensor(value)
        if self.factors.takes(value):
            return x
        if value not in self.halves:
            with part_location(value.owner, "halves"):
                self.halves[value] = Halves.of(x)
        return self.halves[value]

    def multiplied(self, op: Any) -> ir.Value:
        """Operand 0 of a convolution or linear layer as one tensor, in whose lanes `packed` puts the weights.

        Where the channels are not in order, the weights follow them, if that takes no more steps than to move them.
        """
        x, w = op.operands[:2]
        lowered = self.values[x]
        if not isinstance(lowered, Placed) or x in self.dense or groups_of(op) > 1 or is_in_order(self, x, lowered):
            return self.tensor(x)
        layout = lowered.selected(self.pe.lanes)
        only_reader = not any(use.owner.operation != op and not has(use.owner, Gradient) for use in w.uses)
        if not only_reader or users_named(w, "gradcam.class_row") or not self._is_cheaper(op, lowered, layout.lanes):
            return self.tensor(x)
        self.layouts[w] = layout
        return lowered.packed

    def tiles_read(self, w: ir.Value) -> Words | None:
        """The tiles of the map that weights `w` are multiplied with, where these are not all."""
        words = self.layouts[w].words if w in self.layouts else None
        return words and words.in_tiles(self.pe.lanes // self.pe.ic)

    def _is_cheaper(self, op: Any, x: Placed, lanes: int) -> bool:
        """Whether a layer takes no more steps with weights that follow the channels than after a copy."""
        out, *kernel = type_shape(op.operands[1])
        (height, width_, _), channels = shape(x.packed), len(x.places)
        taps = math.prod(kernel[1:]) if len(kernel) > 1 else height * width_
        outputs = math.prod(type_shape(op.results[0])[2:])
        rows, words, ordered = -(-out // self.pe.oc), lanes // self.pe.ic, -(-channels // self.pe.ic)
        copy = sum(walk.steps for walk in plan(x, channels, self.pe)) * height * width_
        return rows * words * taps * outputs <= rows * ordered * taps * outputs + copy

    def packed(self, op: Any, w: ir.Value, kernel: tuple[int, int], in_order: bool = False) -> ir.Value:
        """Weights `w` (O x C/groups x KH x KW, or O x C*KH*KW) of `op` in tiles, input channels in their places.

        With `in_order` the input channels are in order: where they are not, this is a second constant.
        """
        layout = None if in_order else self.layouts.get(w)
        known, key = self.ordered if in_order and w in self.layouts else self.weights, (w, *kernel)
        if key not in known:
            array = stored_constant(op, w)
            array = array.reshape(len(array), -1, *kernel)
            array, groups = array if layout is None else layout.spread(array), groups_of(op)
            tiles = pack_weights(array, self.pe) if groups == 1 else pack_groups(array, groups, self.pe)
            known[key] = const_tensor(tiles, storage_bits(w))
        return known[key]


def in_order(lowering: Lowering, value: ir.Value, placed: Placed) -> ir.Value:
    """The channels of a value in order, from lane 0 on: a view where they are so from a whole word on, else a copy.

    The copy is a product with zeros and ones, on the array of the convolutions.
    """
    height, width_, lanes = shape(placed.packed)
    size = [height, width_, lowering.pe.padded(len(placed.places))]
    if is_in_order(lowering, value, placed):
        is_whole = size[2] == lanes
        return placed.packed if is_whole else extract_slice(placed.packed, [0, 0, placed.places[0]], size, size)
    if width(placed.packed) == ACCUMULATOR_BITS:
        raise fail(value.owner, f"'{value.owner.name}' moves channels of 32 bits, which the array does not multiply")
    # A product of lanes reads whole words of a gradient, so that the lanes behind its channels are written, too.
    channels = size[2] if value in lowering.gradients else len(placed.places)
    with value.owner.location:
        if lowering.factors.takes(value):
            return gathered(placed, channels, lowering.pe, lowering.factors)
        parts = Halves.of(placed.packed)
        high, low = (gathered(placed._replace(packed=part), channels, lowering.pe, lowering.factors) for part in parts)
        return Halves(high, low).joined(width(placed.packed))


def is_in_order(lowering: Lowering, value: ir.Value, placed: Placed) -> bool:
    """Whether the channels of a value lie in order from a whole word on.

    Lanes behind the channels may hold other channels, but not in a gradient: where it is multiplied with a map, its
    lanes without a channel are zeros.
    """
    start, count = placed.places[0], len(placed.places)
    end = start + lowering.pe.padded(count)
    if (
        start % lowering.pe.lanes
        or placed.places != tuple(range(start, start + count))
        or end > shape(placed.packed)[2]
    ):
        return False
    return value not in lowering.gradients or placed.used.isdisjoint(range(start + count, end))


def copied(lowering: Lowering, row: Row) -> ir.Value:
    """Copies a row of a table to a map or vector (H x W x C)."""
    lanes = row.lanes()
    ict, kh, kw, ic = shape(lanes)
    d = [ir.AffineDimExpr.get(n) for n in range(4)]
    maps = [ir.AffineMap.get_identity(4), ir.AffineMap.get(4, 0, [d[1], d[2], d[0] * ic + d[3]])]
    out = empty([kh, kw, lowering.pe.padded(ict * ic)], width(lanes))
    return generic([lanes], [out], maps, "pppp", lambda x, _: x)


def fixed(op: Any, compute: Callable[..., Any], *args: Any) -> Any:
    """Computes rescale constants for `op` as `compute(*args)`; an error gets the location of `op`."""
    try:
        return compute(*args)
    except GradcamError as error:
        raise fail(op, error.message) from error


def factor_vector(lowering: Lowering, m: np.ndarray, channels: int) -> ir.Value:
    """Rescale multipliers of `channels` channels as a constant vector over the packed channels."""
    return channel_vector(lowering, np.broadcast_to(m, channels), 1, ALIGNED_MULTIPLIER_BITS + 1)


#: Rescales a scalar, with one scalar of each of some vectors.
Rescaling = Callable[[ir.Value, Sequence[ir.Value]], ir.Value]


def rescaling(
    lowering: Lowering,
    op: Any,
    constants: tuple[np.ndarray, int],
    channels: int,
    vectors: list[ir.Value],
    unsigned: bool = False,
) -> Rescaling:
    """A function that rescales a scalar, to i32, by multipliers and a shift.

    Args:
        lowering: the lowering of the function, which has the lanes.
        op: the op that rescales.
        constants: one multiplier, or one for each channel, and the shift.
        channels: the number of channels.
        vectors: what the function gets a scalar of each of; it gets what differs by channel, and where weights are
            resident, multipliers and shift in any case.
        unsigned: whether the scalar is.
    """
    m, s = constants if lowering.resident else aligned_form(*constants)
    if not m.ndim and not lowering.resident:
        return lambda value, _: rescaled(value, int(m), s, unsigned)
    position = len(vectors)
    if not lowering.resident:
        vectors.append(factor_vector(lowering, m, channels))
        return lambda value, scalars: rescaled(value, scalars[position], s, unsigned)
    factors, pairs = fixed(op, read_form, m, s)
    vectors.append(channel_vector(lowering, np.broadcast_to(factors, channels), 1, READ_MULTIPLIER_BITS))
    vectors.append(channel_vector(lowering, np.full(channels, pairs, np.int8), bits=PAIR_BITS))
    return lambda value, scalars: rescaled_by(value, scalars[position], scalars[position + 1], unsigned)


def channel_vector(lowering: Lowering, values: np.ndarray, fill: int = 0, bits: int | None = None) -> ir.Value:
    """One integer per channel as a constant vector over the packed channels, with `fill` behind the last one.

    Without `bits` it has those of the values' type.
    """
    return const_tensor(pack_channels(values, lowering.pe.padded(len(values)), fill), bits)


def bias_vector(lowering: Lowering, op: Any, bias: np.ndarray) -> ir.Value:
    """The biases of a layer as a constant vector over the packed channels, of i32; of fewer bits where they are loaded.

    Raises:
        GradcamError: one that is loaded has too many bits.
    """
    if not lowering.resident:
        return channel_vector(lowering, bias)
    if (largest := int(np.abs(bias.astype(np.int64)).max())) >= 1 << (READ_BIAS_BITS - 1):
        bits = f"a resident one has {READ_BIAS_BITS} bits; compile with --weights onchip or dram"
        raise fail(op, f"'{op.name}' has a bias of {largest} in magnitude, and {bits}")
    return channel_vector(lowering, bias, bits=READ_BIAS_BITS)


def require_fits(op: Any, bound: Any, m: Any, s: int) -> None:
    """Checks that a rescaled accumulator, at most `bound` in magnitude, fits the i32 that is then saturated."""
    if ((np.asarray(bound, np.int64) * m + (1 << (s - 1))) >> s).max() >= 1 << 31:
        raise fail(op, f"'{op.name}' leaves the 32-bit range when rescaled: its result's scale is too small")


def require_narrow(op: Any, x: ir.Value) -> None:
    """Checks that an operand of a multiplication is no accumulator."""
    if not is_narrow(x):
        raise fail(op, f"'{op.name}' multiplies integers of fewer than {ACCUMULATOR_BITS} bits, got {x.type}")


def stored_constant(op: Any, value: ir.Value) -> np.ndarray:
    """The integers of a quantized constant, `quant.scast` of `arith.constant`."""
    cast = value.owner
    source = cast.operands[0].owner if getattr(cast, "name", "") == "quant.scast" else None
    if source is None or getattr(source, "name", "") != "arith.constant":
        raise fail(op, f"'{op.name}' needs constant weights and bias (quant.scast of arith.constant)")
    return elements_of(source.attributes["value"])


def ints(op: Any, name: str) -> list[int]:
    """An integer array attribute."""
    return [ir.IntegerAttr(a).value for a in ir.ArrayAttr(op.attributes[name])]


def scale_term(lowering: Lowering, op: Any, x: ir.Value, vectors: list[ir.Value], factor: float = 1.0) -> Rescaling:
    """A function that brings a scalar of `x`, times `factor`, to the scale of the op's result, as i32.

    The function takes a scalar of `x` and one of each of `vectors`, see `rescaling`.
    """
    constants, unsigned = fixed(op, operand_rescale, x, op.results[0], factor), is_unsigned(x)
    if constants is None:
        return lambda value, _: widened(value, 32, unsigned)
    return rescaling(lowering, op, constants, type_shape(x)[1], vectors, unsigned)


def whole_or_parts(lowering: Lowering, value: ir.Value) -> Any:
    """The lowered form of `value` as a tensor or as parities."""
    lowered = lowering.values[value]
    return lowered if isinstance(lowered, Parities) else lowering.tensor(value)


def users_named(x: ir.Value, name: str) -> list[Any]:
    """The ops called `name` that read `x`."""
    return [use.owner for use in x.uses if use.owner.operation.name == name]


def together(*ops: Any) -> ir.Location:
    """The location of a linalg op that computes the results of several ops."""
    return ir.Location.fused([op.location for op in ops])


def rescaled_result(lowering: Lowering, op: Any, acc: ir.Value) -> ir.Value:
    """Exact i32 results of `op` at the scale and in the storage of its result's type."""
    constants = fixed(op, result_rescale, op)
    return rescaled_elements(lowering, op, acc, constants, type_shape(op.results[0])[1], op.results[0])


def rescaled_elements(
    lowering: Lowering,
    op: Any,
    x: ir.Value,
    constants: tuple[np.ndarray, int],
    channels: int,
    like: ir.Value,
    unsigned: bool = False,
) -> ir.Value:
    """The elements of x times one multiplier or one per channel, shifted and stored.

    Args:
        lowering: the lowering of the function, which has the lanes.
        op: the op that rescales.
        x: H x W x C in lanes.
        constants: multipliers and shift.
        channels: the channels of x.
        like: a value in whose storage the results are.
        unsigned: whether x is.
    """
    vectors = list[ir.Value]()
    rescale = rescaling(lowering, op, constants, channels, vectors, unsigned)
    return elementwise(x, vectors, storage_bits(like), lambda a, *scalars: stored(rescale(a, scalars), like))


def stored(x: ir.Value, like: ir.Value) -> ir.Value:
    """Signed scalar `x` saturated to the storage of `like`, or at full width where that has 32 bits.

    An x of its bits is in the storage of `like` already.
    """
    bits = storage_bits(like)
    if width(x) == bits:
        return x
    return arith.trunci(integer(bits), clipped(x, *storage_limits(like))) if is_narrow(like) else widened(x, bits)


def add_up(acc: ir.Value, value: ir.Value, unsigned: bool = False) -> ir.Value:
    """acc + value, in the width of the accumulator; the value may be unsigned."""
    return arith.addi(acc, widened(value, width(acc), unsigned))


def is_greater(x: ir.Value, y: ir.Value, unsigned: bool) -> ir.Value:
    """i1: x > y, both signed or both unsigned."""
    return arith.cmpi(arith.CmpIPredicate.ugt if unsigned else arith.CmpIPredicate.sgt, x, y)
