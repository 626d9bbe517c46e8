"""How each quantized gradcam op becomes linalg: one function per op, and the table that holds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith, func, linalg, tensor

from gradcam.dialect.verify import shape as type_shape
from gradcam.errors import GradcamError, fail
from gradcam.passes.linalg_builders import (
    clipped,
    const,
    const_tensor,
    elementwise,
    empty,
    extract_slice,
    filled,
    generic,
    integer,
    pad,
    rescaled,
    shape,
    stored,
    widened,
)
from gradcam.passes.packing import pack_channels, pack_weights
from gradcam.pe import PE
from gradcam.quant_types import (
    clamp_bounds,
    element_type,
    is_accumulator,
    operand_rescale,
    result_rescale,
    storage_bits,
    window_size,
)


class Row(NamedTuple):
    """One class's weights: the tile of packed weights (1 x ict x 1 x 1 x OC x IC) that holds them, and the lane."""

    tile: ir.Value
    lane: ir.Value


class LaneMap(NamedTuple):
    """A map (h x w) as one lane of a packed tensor (h x w x OC)."""

    packed: ir.Value
    lane: ir.Value


@dataclass
class Lowering:
    """What the lowerings share.

    Attributes:
        pe: the array.
        values: what each lowered gradcam value became: a tensor, a `Row` or a `LaneMap`.
        weights: packed constant of each weight and kernel size, so that all readers share one.
    """

    pe: PE
    values: dict[ir.Value, Any] = field(default_factory=dict)
    weights: dict[tuple[ir.Value, int, int], ir.Value] = field(default_factory=dict)

    def packed(self, op: Any, w: ir.Value, kernel: tuple[int, int]) -> ir.Value:
        """Weights `w` (O x C x KH x KW, or O x C*KH*KW) of `op` in tiles."""
        key = (w, *kernel)
        if key not in self.weights:
            array = stored_constant(op, w)
            array = array.reshape(len(array), -1, *kernel)
            self.weights[key] = const_tensor(pack_weights(array, self.pe))
        return self.weights[key]


class Window(NamedTuple):
    """A sliding window: entries for height and width."""

    kernel: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]

    def extent(self, out: list[int]) -> list[int]:
        """Padded height and width that outputs of size `out` read."""
        each = zip(out, self.kernel, self.stride, self.dilation, strict=True)
        return [(n - 1) * s + d * (k - 1) + 1 for n, k, s, d in each]

    def pad(self, x: ir.Value, out: list[int], value: int) -> ir.Value:
        """`x` (HxWxC) with the border that the windows of `out` outputs reach."""
        high = [max(0, e - n - p) for e, n, p in zip(self.extent(out), shape(x)[:2], self.padding, strict=True)]
        return pad(x, [*self.padding, 0], [*high, 0], value)

    def reads(self, out: list[ir.AffineExpr], tap: list[ir.AffineExpr]) -> list[ir.AffineExpr]:
        """Row and column that output `out` reads at kernel position `tap`."""
        return [o * s + k * d for o, k, s, d in zip(out, tap, self.stride, self.dilation, strict=True)]


POINTWISE = Window([1, 1], [1, 1], [0, 0], [1, 1])


def fixed(op: Any, compute: Callable[..., Any], *args: Any) -> Any:
    """`compute(*args)`, rescale constants from the types of `op`, with the op's location in its error."""
    try:
        return compute(*args)
    except GradcamError as error:
        raise fail(op, error.message) from error


def require_fits(op: Any, bound: Any, m: Any, s: int) -> None:
    """A rescaled accumulator, at most `bound` in magnitude, must fit the i32 that is then saturated."""
    if ((np.asarray(bound, np.int64) * m) >> s).max() >= 1 << 31:
        raise fail(op, f"'{op.name}' leaves the 32-bit range when rescaled: its result's scale is too small")


def require_int8(op: Any, x: ir.Value) -> None:
    """Multiplications take 8-bit operands."""
    if storage_bits(x) != 8:
        raise fail(op, f"'{op.name}' multiplies 8-bit integers, got {x.type}")


def stored_constant(op: Any, value: ir.Value) -> np.ndarray:
    """The integers of a quantized constant, `quant.scast` of `arith.constant`."""
    cast = value.owner
    source = cast.operands[0].owner if getattr(cast, "name", "") == "quant.scast" else None
    if source is None or getattr(source, "name", "") != "arith.constant":
        raise fail(op, f"'{op.name}' needs constant weights and bias (quant.scast of arith.constant)")
    return np.array(ir.DenseElementsAttr(source.attributes["value"]))


def ints(op: Any, name: str) -> list[int]:
    """An integer array attribute."""
    return [ir.IntegerAttr(a).value for a in ir.ArrayAttr(op.attributes[name])]


# --- convolutions ---


def accumulate(x: ir.Value, w: ir.Value, window: Window, out: list[int]) -> ir.Value:
    """Sums of products in i32: x (H x W x Cp, padded) with tiles w to `out` (OH x OW x channels)."""
    oc, ic = shape(w)[4:]
    oct_, oh, ow, ict, kh, kw, o, i = (ir.AffineDimExpr.get(n) for n in range(8))
    maps = [[*window.reads([oh, ow], [kh, kw]), ict * ic + i], [oct_, ict, kh, kw, o, i], [oh, ow, oct_ * oc + o]]

    def multiply_add(x: ir.Value, w: ir.Value, acc: ir.Value) -> ir.Value:
        return arith.addi(acc, widened(arith.muli(widened(x, 16), widened(w, 16)), 32))

    maps = [ir.AffineMap.get(8, 0, m) for m in maps]
    return generic([x, w], [filled(out, 32, 0)], maps, "ppprrrpr", multiply_add)


def conv(lowering: Lowering, op: Any, x: ir.Value, window: Window, out: list[int]) -> ir.Value:
    """A convolution with its epilogue, to a map of size `out` (OH x OW)."""
    require_int8(op, op.operands[0])
    y, channels = op.results[0], type_shape(op.operands[1])[0]
    padded = lowering.pe.padded(channels)
    w = lowering.packed(op, op.operands[1], (window.kernel[0], window.kernel[1]))
    acc = accumulate(window.pad(x, out, 0), w, window, [*out, padded])
    bias = stored_constant(op, op.operands[2]) if len(op.operands) == 3 else np.zeros(channels, np.int32)
    packed_bias = const_tensor(pack_channels(bias, padded, 0, np.int32))
    if is_accumulator(op):
        return elementwise(acc, [packed_bias], 32, arith.addi)
    factors, s = fixed(op, result_rescale, op)
    products = np.abs(stored_constant(op, op.operands[1]).astype(np.int64)).reshape(channels, -1).sum(1)
    require_fits(op, 128 * products + np.abs(bias.astype(np.int64)), factors, s)
    m = const_tensor(pack_channels(np.broadcast_to(factors, channels), padded, 1, np.int16))
    bits = storage_bits(y)
    return elementwise(
        acc, [packed_bias, m], bits, lambda acc, bias, m: stored(rescaled(arith.addi(acc, bias), m, s), bits)
    )


def _lower_conv2d(lowering: Lowering, op: Any) -> list[Any]:
    kernel = type_shape(op.operands[1])[2:]
    window = Window(kernel, ints(op, "stride"), ints(op, "padding"), ints(op, "dilation"))
    if ir.IntegerAttr(op.attributes["groups"]).value != 1:
        raise fail(op, "'gradcam.conv2d' with groups has no lowering to linalg")
    return [conv(lowering, op, lowering.values[op.operands[0]], window, type_shape(op.results[0])[2:])]


def _lower_linear(lowering: Lowering, op: Any) -> list[Any]:
    """A linear layer is a convolution whose kernel is as large as the map that was flattened."""
    x = lowering.values[op.operands[0]]
    return [conv(lowering, op, x, POINTWISE._replace(kernel=shape(x)[:2]), [1, 1])]


# --- elementwise ---


def _lower_add(lowering: Lowering, op: Any) -> list[Any]:
    z, bits = op.results[0], storage_bits(op.results[0])
    first, second = (fixed(op, operand_rescale, v, z) for v in op.operands)

    def term(value: ir.Value, constants: tuple[int, int] | None) -> ir.Value:
        return widened(value, 32) if constants is None else rescaled(value, *constants)

    x, y = (lowering.values[v] for v in op.operands)
    return [elementwise(x, [y], bits, lambda x, y: stored(arith.addi(term(x, first), term(y, second)), bits))]


def require_same_type(op: Any) -> None:
    """The op works on stored integers: its input and result must have equal element types."""
    if element_type(op.operands[0]) != element_type(op.results[0]):
        types = f"{op.operands[0].type} and {op.results[0].type}"
        raise fail(op, f"'{op.name}' needs equal element types of input and result, got {types}")


def _lower_relu(lowering: Lowering, op: Any) -> list[Any]:
    require_same_type(op)
    bits = storage_bits(op.results[0])
    return [elementwise(lowering.values[op.operands[0]], [], bits, lambda a: arith.maxsi(a, const(bits, 0)))]


def _lower_clamp(lowering: Lowering, op: Any) -> list[Any]:
    require_same_type(op)
    lo, hi = clamp_bounds(op)
    return [elementwise(lowering.values[op.operands[0]], [], storage_bits(op.results[0]), lambda x: clipped(x, lo, hi))]


# --- pools ---


def reduce_window(lowering: Lowering, op: Any, border: int, bits: int, combine: Callable[..., Any]) -> ir.Value:
    """Combines the elements of each window in a `bits`-wide accumulator that starts with `border`."""
    window = Window(*(ints(op, name) for name in Window._fields))
    x, lanes = lowering.values[op.operands[0]], lowering.pe.oc
    _, channels, *out = type_shape(op.results[0])
    tiles = -(-channels // lanes)
    ct, oh, ow, kh, kw, lane = (ir.AffineDimExpr.get(n) for n in range(6))
    maps = [
        [*window.reads([oh, ow], [kh, kw]), ct * lanes + lane],
        [ct, kh, kw, lane],
        [oh, ow, ct * lanes + lane],
    ]
    # linalg takes loop extents from operands indexed by plain loops: this one only tells the extents.
    extents = empty([tiles, *window.kernel, lanes], 8)
    padded = window.pad(x, out, border)
    acc = filled([*out, shape(x)[2]], bits, border)
    maps = [ir.AffineMap.get(6, 0, m) for m in maps]
    return generic([padded, extents], [acc], maps, "ppprrp", lambda value, _, acc: combine(acc, value))


def _lower_max_pool2d(lowering: Lowering, op: Any) -> list[Any]:
    require_same_type(op)
    bits = storage_bits(op.results[0])
    return [reduce_window(lowering, op, -(1 << (bits - 1)), bits, arith.maxsi)]


def _lower_avg_pool2d(lowering: Lowering, op: Any) -> list[Any]:
    if any(ints(op, "padding")) and not ir.IntegerAttr(op.attributes["count_include_pad"]).value:
        raise fail(op, "'gradcam.avg_pool2d' with padding that does not count has no constant divisor and no lowering")
    bits = storage_bits(op.results[0])
    m, s = fixed(op, result_rescale, op)
    require_fits(op, window_size(op) << (storage_bits(op.operands[0]) - 1), m, s)
    total = reduce_window(lowering, op, 0, 32, lambda acc, value: arith.addi(acc, widened(value, 32)))
    return [elementwise(total, [], bits, lambda a: stored(rescaled(a, int(m), s), bits))]


# --- the explanation ---


def logits_vector(lowering: Lowering, value: ir.Value) -> ir.Value:
    """Features 1xK, packed as 1x1xKp, as a tensor of K."""
    k = type_shape(value)[1]
    return extract_slice(lowering.values[value], [0, 0, 0], [1, 1, k], [k])


def _lower_select_class(lowering: Lowering, op: Any) -> list[Any]:
    """The running maximum and its index, then the request where there is one."""
    logits = logits_vector(lowering, op.operands[0])
    request = lowering.values[op.operands[1]]
    k, first = ir.AffineMap.get_identity(1), ir.AffineMap.get(1, 0, [ir.AffineConstantExpr.get(0)])

    def keep_larger(value: ir.Value, best: ir.Value, at: ir.Value) -> list[ir.Value]:
        index = arith.index_cast(integer(32), linalg.IndexOp(0).result)
        wins = arith.cmpi(arith.CmpIPredicate.sgt, value, best)
        return [arith.select(wins, value, best), arith.select(wins, index, at)]

    start = [filled([1], 32, -(1 << 31)), filled([1], 32, 0)]
    _, best = generic([logits], start, [k, first, first], "r", keep_larger)

    def choose(best: ir.Value, request: ir.Value) -> ir.Value:
        asked = arith.cmpi(arith.CmpIPredicate.sge, request, const(32, 0))
        return arith.select(asked, request, best)

    return [generic([best, request], [empty([1], 32)], [k, k, k], "p", lambda b, r, _: choose(b, r))]


def _lower_class_row(lowering: Lowering, op: Any) -> list[Any]:
    """The tile of the classifier's packed weights that holds the row, and the row's lane in it."""
    w, cls = op.operands
    pe, index = lowering.pe, ir.IndexType.get()
    packed = lowering.packed(op, w, (1, 1))
    at = arith.index_cast(index, tensor.extract(lowering.values[cls], [arith.constant(index, 0)]))
    lanes = arith.constant(index, pe.oc)
    # With one tile of classes there is nothing to choose but the lane.
    tile = arith.floordivsi(at, lanes) if shape(packed)[0] > 1 else 0
    lane = arith.remsi(at, lanes)
    dims = [1, *shape(packed)[1:]]
    return [Row(extract_slice(packed, [tile, 0, 0, 0, 0, 0], dims, dims), lane)]


def _lower_weighted_sum(lowering: Lowering, op: Any) -> list[Any]:
    """A convolution of the feature map with the tile of the class's row; one of its lanes is the map."""
    row, x = (lowering.values[v] for v in op.operands)
    if not isinstance(row, Row):
        raise fail(op, "'gradcam.weighted_sum' has a lowering only for weights from gradcam.class_row")
    require_int8(op, op.operands[1])
    return [LaneMap(accumulate(x, row.tile, POINTWISE, [*shape(x)[:2], lowering.pe.oc]), row.lane)]


def _lower_return(lowering: Lowering, op: Any) -> list[Any]:
    func.return_([unpacked(lowering, op, v) for v in op.operands])
    return []


def unpacked(lowering: Lowering, op: Any, value: ir.Value) -> ir.Value:
    """A returned value without its padding lanes: 1xK as K, a map 1xhxw as hxw, 1xCxHxW as HxWxC."""
    lowered = lowering.values[value]
    if isinstance(lowered, LaneMap):
        h, w, _ = shape(lowered.packed)
        return extract_slice(lowered.packed, [0, 0, lowered.lane], [h, w, 1], [h, w])
    dims = type_shape(value)
    if isinstance(lowered, Row) or (len(dims) == 2 and shape(lowered)[:2] != [1, 1]):
        raise fail(op, f"a value of type {value.type} has no lowering as a result")
    if len(dims) == 2:
        return logits_vector(lowering, value)
    if len(dims) == 4:
        _, c, h, w = dims
        return extract_slice(lowered, [0, 0, 0], [h, w, c], [h, w, c])
    return lowered


def _same_value(lowering: Lowering, op: Any) -> list[Any]:
    return [lowering.values[op.operands[0]]]


#: What to do with each op; a lowering returns what the op's results become.
LOWERINGS: dict[str, Callable[[Lowering, Any], list[Any]]] = {
    "func.return": _lower_return,
    "gradcam.add": _lower_add,
    "gradcam.avg_pool2d": _lower_avg_pool2d,
    "gradcam.clamp": _lower_clamp,
    "gradcam.class_row": _lower_class_row,
    "gradcam.conv2d": _lower_conv2d,
    "gradcam.flatten": _same_value,
    "gradcam.linear": _lower_linear,
    "gradcam.max_pool2d": _lower_max_pool2d,
    "gradcam.relu": _lower_relu,
    "gradcam.scale": _same_value,
    "gradcam.select_class": _lower_select_class,
    "gradcam.weighted_sum": _lower_weighted_sum,
}
