"""The lowering of quantized layers, pools and the explanation to linalg: one function per op, their table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith, func, linalg, tensor

from gradcam.dialect import cam_ops
from gradcam.dialect.adjoints import part_location
from gradcam.dialect.layout_ops import channels_per_tap, lanes_of_tap
from gradcam.dialect.ops import is_depthwise
from gradcam.dialect.verify import shape as type_shape
from gradcam.dialect.verify import sides
from gradcam.errors import fail
from gradcam.passes.ir.queries import only_user
from gradcam.passes.linalg import (
    activations,
    adjoints,
    channel_affine,
    channels,
    elementwise_ops,
    pool_adjoints,
    resampling,
)
from gradcam.passes.linalg.builders import (
    const,
    elementwise,
    empty,
    extract_slice,
    filled,
    generic,
    insert_slice,
    integer,
    one_lane,
    shape,
    width,
)
from gradcam.passes.linalg.depthwise import Axis, correlate
from gradcam.passes.linalg.lowering import (
    Lowering,
    add_up,
    bias_vector,
    fixed,
    ints,
    is_greater,
    require_fits,
    require_narrow,
    rescaled_result,
    rescaling,
    stored,
    stored_constant,
    together,
    users_named,
)
from gradcam.passes.linalg.products import accumulate, multiply_channels
from gradcam.passes.linalg.values import Halves, Parities, Placed, Row
from gradcam.passes.linalg.windows import (
    POINTWISE,
    Window,
    reduce_window,
    reduce_windows,
    tap_numbers,
    weighted,
    window_loops,
    window_of,
    window_weights,
)
from gradcam.quant_types import (
    element_type,
    is_accumulator,
    is_unsigned,
    largest_magnitude,
    largest_sum,
    result_rescale,
    storage_bits,
    storage_limits,
)

#: A value below every logit, since an accumulator's magnitude is less than 2^31.
LEAST = -(1 << 31)


def conv(lowering: Lowering, op: Any, x: ir.Value, window: Window, out: list[int]) -> ir.Value:
    """A convolution with its epilogue, to a map of size `out` (OH x OW)."""
    require_narrow(op, op.operands[0])
    y, channels = op.results[0], type_shape(op.operands[1])[0]
    padded = lowering.pe.padded(channels)
    with part_location(op, "sums"):  # a buffer only where the epilogue is set apart
        acc = sums_of_products(lowering, op, x, window, [*out, padded])
    bias = stored_constant(op, op.operands[2]) if len(op.operands) == 3 else np.zeros(channels, np.int32)
    packed_bias = bias_vector(lowering, op, bias)
    if is_accumulator(op):
        return elementwise(acc, [packed_bias], 32, add_up)
    factors, s = fixed(op, result_rescale, op)
    products = np.abs(stored_constant(op, op.operands[1]).astype(np.int64)).reshape(channels, -1).sum(1)
    require_fits(op, largest_magnitude(op.operands[0]) * products + np.abs(bias.astype(np.int64)), factors, s)
    vectors = [packed_bias]
    rescale = rescaling(lowering, op, (np.broadcast_to(factors, channels), s), channels, vectors)

    def body(acc: ir.Value, *scalars: ir.Value) -> ir.Value:
        return stored(rescale(add_up(acc, scalars[0]), scalars), y)

    return elementwise(acc, vectors, storage_bits(y), body)


def sums_of_products(lowering: Lowering, op: Any, x: ir.Value, window: Window, out: list[int]) -> ir.Value:
    """The sums of products in i32 of a convolution of x (H x W x C in lanes) to `out`, OH x OW x channels in lanes."""
    unsigned = is_unsigned(op.operands[0])
    if is_depthwise(op):
        down, across = (Axis(window.stride[n], window.dilation[n], -window.padding[n]) for n in range(2))
        return correlate(lowering, x, stored_constant(op, op.operands[1])[:, 0], down, across, out, unsigned)
    w = lowering.packed(op, op.operands[1], (window.kernel[0], window.kernel[1]))
    read = lowering.tiles_read(op.operands[1])
    return accumulate(window.pad(x, out[:2], 0), w, window, out, lowering.factors, unsigned, read)


def _lower_conv2d(lowering: Lowering, op: Any) -> list[Any]:
    window = window_of(op, type_shape(op.operands[1])[2:])
    return [conv(lowering, op, lowering.multiplied(op), window, type_shape(op.results[0])[2:])]


def _lower_linear(lowering: Lowering, op: Any) -> list[Any]:
    """A linear layer is a convolution whose kernel is as large as the flattened map."""
    x = lowering.multiplied(op)
    return [conv(lowering, op, x, POINTWISE._replace(kernel=shape(x)[:2]), [1, 1])]


def _lower_unfold2d(lowering: Lowering, op: Any) -> list[Any]:
    """Copies each tap of a window to lanes of its own; lanes behind the last tap stay undefined."""
    x, (_, lanes, *out) = lowering.tensor(op.operands[0]), type_shape(op.results[0])
    kernel, stride, low, dilation = (ints(op, name) for name in ("kernel", "stride", "low", "dilation"))
    window, channels = Window(kernel, stride, low, dilation), lanes_of_tap(op)
    oh, ow, kh, kw, c = (ir.AffineDimExpr.get(n) for n in range(5))
    maps = [
        [*window.reads([oh, ow], [kh, kw]), c],
        [kh, kw, c],
        [oh, ow, kh * (kernel[1] * channels) + kw * channels + c],
    ]
    # linalg takes loop extents from operands indexed by plain loops: this one only tells the extents.
    extents, y = empty([*kernel, channels], 8), empty([*out, lowering.pe.padded(lanes)], width(x))
    pixels = [*shape(x)[:2], channels]
    padded = window.pad(extract_slice(x, [0, 0, 0], pixels, pixels), out, 0)
    affine_maps = [ir.AffineMap.get(5, 0, m) for m in maps]
    return [generic([padded, extents], [y], affine_maps, "ppppp", lambda pixel, *_: pixel)]


def _lower_fold2d(lowering: Lowering, op: Any) -> list[Any]:
    """Moves the lanes of each pixel to a word of its own; of a gradient, lanes behind the channels become 0."""
    x, (_, channels, *out) = lowering.tensor(op.operands[0]), type_shape(op.results[0])
    (rows, columns), taken = ints(op, "kernel"), channels_per_tap(channels)
    row, i, column, j, c = (ir.AffineDimExpr.get(n) for n in range(5))
    pixel = [row * rows + i, column * columns + j, c]
    maps = [[row, column, i * (columns * taken) + j * taken + c], [row, i, column, j, c], pixel]
    # linalg takes loop extents from operands indexed by plain loops: this one only tells the extents.
    extents = empty([out[0] // rows, rows, out[1] // columns, columns, taken], 8)
    lanes, bits = lowering.pe.padded(channels), width(x)
    y, affine_maps = empty([*out, taken], bits), [ir.AffineMap.get(5, 0, m) for m in maps]
    pixels = generic([x, extents], [y], affine_maps, "ppppp", lambda value, *_: value)
    if taken == lanes:
        return [pixels]
    whole = filled([*out, lanes], bits, 0) if op.results[0] in lowering.gradients else empty([*out, lanes], bits)
    return [insert_slice(pixels, whole, [0, 0, 0], [1, 1, 1])]


# --- pools ---


def require_same_type(op: Any) -> None:
    """The op works on stored integers: its input and result must have equal element types."""
    if element_type(op.operands[0]) != element_type(op.results[0]):
        types = f"{op.operands[0].type} and {op.results[0].type}"
        raise fail(op, f"'{op.name}' needs equal element types of input and result, got {types}")


def _lower_max_pool2d(lowering: Lowering, op: Any) -> list[Any]:
    require_same_type(op)
    indices = users_named(op.operands[0], "gradcam.max_pool2d_index")
    index = next((u for u in indices if window_of(u) == window_of(op) and sides(u) == sides(op)), None)
    if index is None:
        maximum = arith.maxui if is_unsigned(op.results[0]) else arith.maxsi
        return [reduce_window(lowering, op, window_of(op), _least(op), storage_bits(op.results[0]), maximum)]
    with together(op, index):
        maxima, lowering.values[index.results[0]] = _maxima(lowering, op)
    return [maxima]


def _lower_max_pool2d_index(lowering: Lowering, op: Any) -> list[Any]:
    if op.results[0] in lowering.values:  # made beside the pool
        return [lowering.values[op.results[0]]]
    return [_maxima(lowering, op)[1]]


def _maxima(lowering: Lowering, op: Any) -> list[ir.Value]:
    """The maximum of each window of operand 0 and the number of the first tap that holds it."""
    window, (_, channels, *out), bits = window_of(op), type_shape(op.results[0]), storage_bits(op.operands[0])
    least, keep = _least(op), partial(keep_larger, unsigned=is_unsigned(op.operands[0]))
    at, tap = window_loops()
    x = window.pad(lowering.tensor(op.operands[0]), out, least)
    ins = [(x, window.reads(at, tap)), (tap_numbers(window.kernel), tap)]
    return reduce_windows(lowering, channels, ins, window.kernel, out, [(bits, least), (8, 0)], keep)


def _least(op: Any) -> int:
    """The least stored integer of operand 0, signless: no element of a window is smaller."""
    return storage_limits(op.operands[0])[0]


def _lower_avg_pool2d(lowering: Lowering, op: Any) -> list[Any]:
    if is_accumulator(op):
        return [_weighted_sums(lowering, op)]
    with part_location(op, "sums"):
        sums = _weighted_sums(lowering, op)
    m, s = fixed(op, result_rescale, op)
    require_fits(op, largest_sum(op) * largest_magnitude(op.operands[0]), m, s)
    return [rescaled_result(lowering, op, sums)]


def _weighted_sums(lowering: Lowering, op: Any) -> ir.Value:
    """The sum of each window of an average pool in i32, times the window's weight where they differ."""
    window, (_, channels, *out) = window_of(op), type_shape(op.results[0])
    weights, unsigned = window_weights(op), is_unsigned(op.operands[0])
    if weights is None:
        return reduce_window(lowering, op, window, 0, 32, partial(add_up, unsigned=unsigned))
    at, tap = window_loops()
    x = window.pad(lowering.tensor(op.operands[0]), out, 0)
    ins = [(x, window.reads(at, tap)), (weights, at)]

    def add_share(value: ir.Value, weight: ir.Value, acc: ir.Value) -> ir.Value:
        return add_up(acc, weighted(value, weight, unsigned))

    return reduce_windows(lowering, channels, ins, window.kernel, out, [(32, 0)], add_share)


def keep_larger(
    value: ir.Value, place: ir.Value, best: ir.Value, at: ir.Value, unsigned: bool = False
) -> list[ir.Value]:
    """The larger of a value and the largest one so far, with its place; of equal values the first one stays."""
    wins = is_greater(value, best, unsigned)
    return [arith.select(wins, value, best), arith.select(wins, place, at)]


# --- the explanation ---


def logits_vector(lowering: Lowering, value: ir.Value) -> ir.Value:
    """Features 1xK, packed as 1x1xKp, as a tensor of K."""
    k = type_shape(value)[1]
    return extract_slice(lowering.tensor(value), [0, 0, 0], [1, 1, k], [k])


def _first_maximum(logits: ir.Value) -> ir.Value:
    """The index of the first maximum of K logits, which are all above the least i32: tensor<1xi32>."""
    k, first = ir.AffineMap.get_identity(1), ir.AffineMap.get(1, 0, [ir.AffineConstantExpr.get(0)])

    def keep_first(value: ir.Value, best: ir.Value, at: ir.Value) -> list[ir.Value]:
        return keep_larger(value, _index(), best, at)

    start = [filled([1], 32, LEAST), filled([1], 32, 0)]
    return generic([logits], start, [k, first, first], "r", keep_first)[1]


def _index() -> ir.Value:
    """The induction variable in the body of a one-dimensional op: i32."""
    return arith.index_cast(integer(32), linalg.IndexOp(0).result)


def _lower_select_class(lowering: Lowering, op: Any) -> list[Any]:
    """Selects the first maximum of the logits, or the requested class where there is a request."""
    logits = logits_vector(lowering, op.operands[0])
    best, request = _first_maximum(logits), lowering.values[op.operands[1]]
    k, bits = ir.AffineMap.get_identity(1), max(1, (shape(logits)[0] - 1).bit_length())

    def choose(best: ir.Value, request: ir.Value) -> ir.Value:
        asked = arith.cmpi(arith.CmpIPredicate.sge, request, const(32, 0))
        # Only the bits of a class: hardware then chooses between no others.
        cls = arith.extui(integer(32), arith.trunci(integer(bits), request))
        return arith.select(asked, cls, best)

    return [generic([best, request], [empty([1], 32)], [k, k, k], "p", lambda b, r, _: choose(b, r))]


def _lower_next_class(lowering: Lowering, op: Any) -> list[Any]:
    """Selects the first maximum among classes not chosen yet; all ranks share the scan of `select_class`."""
    logits, *chosen = op.operands
    with part_location(op, "others"):
        others = _without(lowering, logits, chosen)
    return [_first_maximum(others)]


def _without(lowering: Lowering, logits: ir.Value, chosen: list[ir.Value]) -> ir.Value:
    """The logits with those of chosen classes replaced by the least i32; a longer list extends a shorter one."""
    if not chosen:
        return logits_vector(lowering, logits)
    key = (logits, *chosen)
    if key not in lowering.others:
        before, cls = _without(lowering, logits, chosen[:-1]), lowering.values[chosen[-1]]
        k, first = ir.AffineMap.get_identity(1), ir.AffineMap.get(1, 0, [ir.AffineConstantExpr.get(0)])

        def strike_out(value: ir.Value, cls: ir.Value, _: ir.Value) -> ir.Value:
            here = arith.cmpi(arith.CmpIPredicate.eq, _index(), cls)
            return arith.select(here, const(32, LEAST), value)

        lowering.others[key] = generic([before, cls], [empty(shape(before), 32)], [k, first, k], "p", strike_out)
    return lowering.others[key]


def _lower_one_hot(lowering: Lowering, op: Any) -> list[Any]:
    """Compares the number of each lane with the class; lanes behind the last class become 0."""
    bits, (_, most), zero = storage_bits(op.results[0]), storage_limits(op.results[0]), ir.AffineConstantExpr.get(0)
    out = empty([1, 1, lowering.pe.padded(type_shape(op.results[0])[1])], bits)
    maps = [ir.AffineMap.get(1, 0, m) for m in ([zero], [zero, zero, ir.AffineDimExpr.get(0)])]

    def one(cls: ir.Value, _: ir.Value) -> ir.Value:
        here = arith.cmpi(arith.CmpIPredicate.eq, _index(), cls)
        return arith.select(here, const(bits, most), const(bits, 0))

    return [generic([lowering.values[op.operands[0]]], [out], maps, "p", one)]


def _lower_class_row(lowering: Lowering, op: Any) -> list[Any]:
    """Looks up the tile of the table's packed weights that holds the row, and the row's lane in the tile."""
    w, cls = op.operands
    pe, index = lowering.pe, ir.IndexType.get()
    packed = lowering.packed(op, w, _row_size(op))
    at = arith.index_cast(index, tensor.extract(lowering.values[cls], [arith.constant(index, 0)]))
    lanes = arith.constant(index, pe.oc)
    # With one tile of classes there is nothing to choose but the lane.
    tile = arith.floordivsi(at, lanes) if shape(packed)[0] > 1 else 0
    return [Row(packed, tile, arith.remsi(at, lanes))]


def _row_size(op: Any) -> tuple[int, int]:
    """Height and width of the map that a row of the table represents, taken from the unflatten that reads it."""
    sizes = {tuple(type_shape(u.results[0])[2:]) for u in (use.owner for use in op.results[0].uses) if _unflattens(u)}
    if len(sizes) > 1:
        raise fail(op, f"a class row is read as maps of different sizes: {sorted(sizes)}")
    height, width_ = sizes.pop() if sizes else (1, 1)
    return height, width_


def _unflattens(op: Any) -> bool:
    return op.operation.name == "gradcam.unflatten"


def _lower_weighted_sum(lowering: Lowering, op: Any) -> list[Any]:
    """The map of every position; of a map that is pooled, nothing: `_lower_pool_map` makes the sums of its blocks."""
    return [None if _is_pooled(op) else _summed(lowering, op, 1)]


def _is_pooled(op: Any) -> bool:
    return isinstance(only_user(op.opview), cam_ops.PoolMapOp)


def _lower_pool_map(lowering: Lowering, op: Any) -> list[Any]:
    """Sums over the channels and the blocks at once."""
    if (inner := op.operands[0].owner).name != "gradcam.weighted_sum" or not _is_pooled(inner):
        raise fail(op, f"'{op.name}' must be the only reader of a gradcam.weighted_sum; simplify the module first")
    return [_summed(lowering, inner, ir.IntegerAttr(op.attributes["size"]).value)]


def _summed(lowering: Lowering, op: Any, size: int) -> ir.Value:
    """A convolution of the feature map with the tile of the class's row; one lane of its result is the heatmap.

    Other weights, a vector or a map, such as a row of a classifier behind a flattened map, are no tile; see
    `multiply_channels`. The sums are over blocks of size x size, too.

    Returns:
        The heatmap as a tensor of one lane.
    """
    weights, a = op.operands
    row, x = lowering.values[weights], lowering.tensor(a)
    for operand in (weights, a):
        require_narrow(op, operand)
    window = Window([size, size], [size, size], POINTWISE.padding, POINTWISE.dilation)
    out, unsigned = [n // size for n in shape(x)[:2]], is_unsigned(a)
    if isinstance(row, Row) and row.is_vector:
        out.append(lowering.pe.oc)
        return one_lane(accumulate(x, row.tiles(), window, out, lowering.factors, unsigned), row.lane)
    w = row if isinstance(row, Halves) else lowering.tensor(weights)
    return multiply_channels(lowering.pe, type_shape(a)[1], x, w, window, out, unsigned)


def _lower_return(lowering: Lowering, op: Any) -> list[Any]:
    func.return_([unpacked(lowering, op, v) for v in op.operands])
    return []


def unpacked(lowering: Lowering, op: Any, value: ir.Value) -> ir.Value:
    """A returned value without its padding lanes: 1xK as K, a map 1xhxw as hxw, 1xCxHxW as HxWxC."""
    lowered = lowering.values[value]
    if isinstance(lowered, Parities | Placed):
        lowered = lowering.tensor(value)
    dims = type_shape(value)
    if isinstance(lowered, Row) or (len(dims) == 2 and shape(lowered)[:2] != [1, 1]):
        raise fail(op, f"a value of type {value.type} has no lowering as a result")
    if len(dims) == 2:
        return logits_vector(lowering, value)
    if len(dims) == 3:
        return extract_slice(lowered, [0, 0, 0], [*dims[1:], 1], dims[1:])
    if len(dims) == 4:
        _, c, h, w = dims
        return extract_slice(lowered, [0, 0, 0], [h, w, c], [h, w, c])
    return lowered


def _same_value(lowering: Lowering, op: Any) -> list[Any]:
    return [lowering.values[op.operands[0]]]


#: The lowering of each op: a function that returns the values for the op's results.
LOWERINGS: dict[str, Callable[[Lowering, Any], list[Any]]] = (
    adjoints.LOWERINGS
    | elementwise_ops.LOWERINGS
    | activations.LOWERINGS
    | channel_affine.LOWERINGS
    | channels.LOWERINGS
    | pool_adjoints.LOWERINGS
    | resampling.LOWERINGS
    | {
        "func.return": _lower_return,
        "gradcam.avg_pool2d": _lower_avg_pool2d,
        "gradcam.class_row": _lower_class_row,
        "gradcam.conv2d": _lower_conv2d,
        "gradcam.flatten": _same_value,
        "gradcam.fold2d": _lower_fold2d,
        "gradcam.linear": _lower_linear,
        "gradcam.max_pool2d": _lower_max_pool2d,
        "gradcam.max_pool2d_index": _lower_max_pool2d_index,
        "gradcam.next_class": _lower_next_class,
        "gradcam.one_hot": _lower_one_hot,
        "gradcam.pool_map": _lower_pool_map,
        "gradcam.scale": _same_value,
        "gradcam.select_class": _lower_select_class,
        "gradcam.unfold2d": _lower_unfold2d,
        "gradcam.weighted_sum": _lower_weighted_sum,
    }
)
