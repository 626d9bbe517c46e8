"""gradcam-simplify-head: heads of pools and convolutions in the form of a pool and linear layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch_mlir import ir

from gradcam.dialect import channel_ops, ops, resample_ops
from gradcam.dialect.channel_ops import order_of
from gradcam.dialect.traits import Activation, Curve, has
from gradcam.dialect.verify import ints, is_padded, shape
from gradcam.passes.backward.rewrites import Pattern, apply_patterns, flat, integers, is_point, like, rebuilt
from gradcam.passes.backward.tables import in_order
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.constants import make_constant, read_constant
from gradcam.passes.ir.queries import only_user


@dataclass(frozen=True)
class SimplifyHead(Pass):
    """Moves a global average pool before a 1x1 convolution, and makes linear layers of convolutions of whole maps.

    Equal functions get one form, whichever layers a model is written with. A pool before the convolution leaves it a
    single position, and the gradient of a linear layer's class score is a row of its weights. A value that anything
    else reads, such as a target feature map, stays. Average pools in a row become one, and a pool of single elements is
    left out. Channels of a layer that are taken in another order, or only some of them, such as some of the logits, are
    rows of its weights in that order.

    This pass turns:

        %c = "gradcam.conv2d"(%x, %w, %b) {...} : (tensor<1x16x7x7xf32>, tensor<10x16x1x1xf32>, tensor<10xf32>) -> ...
        %p = "gradcam.avg_pool2d"(%c) {kernel = [7, 7], ...} : (tensor<1x10x7x7xf32>) -> tensor<1x10x1x1xf32>
        %logits = "gradcam.flatten"(%p) : (tensor<1x10x1x1xf32>) -> tensor<1x10xf32>

    into:

        %p = "gradcam.avg_pool2d"(%x) {kernel = [7, 7], ...} : (tensor<1x16x7x7xf32>) -> tensor<1x16x1x1xf32>
        %f = "gradcam.flatten"(%p) : (tensor<1x16x1x1xf32>) -> tensor<1x16xf32>
        %logits = "gradcam.linear"(%f, %v, %b) : (tensor<1x16xf32>, tensor<10x16xf32>, tensor<10xf32>) -> ...
    """

    name: ClassVar[str] = "gradcam-simplify-head"

    def run(self, module: ir.Module) -> None:
        """Transforms `module` in place."""
        with module.context:
            apply_patterns(module, PATTERNS)


def drop_unit_pool(op: Any) -> ir.Value | None:
    """pool(x) -> x for a window of one element and a stride that leaves no element out."""
    return op.x if ints(op, "kernel", 2, 1) == [1, 1] and op.x.type == op.y.type else None


def merge_pools(op: Any) -> ir.Value | None:
    """avg_pool2d(avg_pool2d(x)) -> avg_pool2d(x) where windows neither overlap nor leave elements out."""
    inner = op.x.owner
    if not isinstance(inner, ops.AvgPool2dOp) or only_user(inner) is None or not (_tiles(op) and _tiles(inner)):
        return None
    kernel = [m * n for m, n in zip(ints(op, "kernel", 2, 1), ints(inner, "kernel", 2, 1), strict=True)]
    return _pool(op, inner.x, kernel, op.y.type)


def pool_before_upsampling(op: Any) -> ir.Value | None:
    """avg_pool2d(upsample2d(x)) -> avg_pool2d(x) for a global pool: all elements occur equally often."""
    inner = op.x.owner
    if not isinstance(inner, resample_ops.Upsample2dOp) or only_user(inner) is None:
        return None
    if not (is_point(op.y) and _tiles(op)):
        return None
    return _pool(op, inner.x, shape(inner.x)[2:], op.y.type)


def pool_before_conv(op: Any) -> ir.Value | None:
    """avg_pool2d(conv2d(x)) -> conv2d(avg_pool2d(x)) for a global pool and a 1x1 convolution of every position."""
    conv = op.x.owner
    if not isinstance(conv, ops.Conv2dOp) or only_user(conv) is None or not (is_point(op.y) and _tiles(op)):
        return None
    if shape(conv.w)[2:] != [1, 1] or shape(conv.x)[2:] != shape(conv.y)[2:] or is_padded(conv):
        return None
    small = _pool(op, conv.x, ints(op, "kernel", 2, 1), like(conv.x, [*shape(conv.x)[:2], 1, 1]))
    with conv.location:
        return rebuilt(conv, small, op.y.type)


def linear_of_whole_map(op: Any) -> ir.Value | None:
    """flatten(conv2d(x, w)) -> linear(flatten(x), w) for a kernel as large as the map."""
    conv = op.x.owner
    if not isinstance(conv, ops.Conv2dOp) or only_user(conv) is None or not is_point(conv.y):
        return None
    weight = read_constant(conv.w)
    if weight is None or shape(conv.w)[2:] != shape(conv.x)[2:] or is_padded(conv) or conv.groups.value != 1:
        return None
    with conv.w.owner.location:
        matrix = make_constant(weight.reshape(len(weight), -1))
    vector = ops.FlattenOp(conv.x, like(conv.x, [1, weight[0].size])).result
    with conv.location:
        return ops.LinearOp(vector, matrix, conv.bias, op.y.type).result


def flatten_before_activation(op: Any) -> ir.Value | None:
    """flatten(f(x)) -> f(flatten(x)) for an activation of a 1x1 map."""
    inner = op.x.owner
    if not has(inner, Activation, Curve) or only_user(inner) is None or not is_point(op.x):
        return None
    vector = flat(inner.x)
    with inner.location:
        return rebuilt(inner, vector, op.y.type)


def rows_in_order(op: Any) -> ir.Value | None:
    """take_channels(linear(x, w, b)) -> linear(x, w', b') with the rows of w and b in that order; alike for conv2d."""
    inner, order = op.x.owner, order_of(op)
    if not isinstance(inner, ops.Conv2dOp | ops.LinearOp) or only_user(inner) is None or ops.groups_of(inner) != 1:
        return None
    parameters = list(inner.operands)[1:]
    values = [v for v in map(read_constant, parameters) if v is not None]
    if len(values) < len(parameters):
        return None
    with inner.location:
        layer = rebuilt(inner, inner.x, op.y.type)
    for index, value in enumerate(values, 1):
        with ir.InsertionPoint(layer.owner), inner.operands[index].owner.location:
            layer.owner.operands[index] = make_constant(in_order(value, order, 0))
    return layer


def _pool(op: Any, x: ir.Value, kernel: list[int], type_: ir.Type) -> ir.Value:
    """The pool `op` of another input, with windows of `kernel` side by side."""
    attributes = {name: op.attributes[name] for name in op.attributes} | dict.fromkeys(
        ("kernel", "stride"), integers(*kernel)
    )
    return ir.Operation.create(op.operation.name, [type_], [x], attributes).result


def _tiles(op: Any) -> bool:
    """Whether the windows of a pool are side by side, without padding, and cover the map."""
    kernel, out = ints(op, "kernel", 2, 1), shape(op.y)[2:]
    side_by_side = ints(op, "stride", 2, 1) == kernel or out == [1, 1]
    covered = [k * n for k, n in zip(kernel, out, strict=True)] == shape(op.x)[2:]
    return side_by_side and covered and not is_padded(op) and ints(op, "dilation", 2, 1) == [1, 1]


PATTERNS: dict[type, list[Pattern]] = {
    ops.AvgPool2dOp: [drop_unit_pool, merge_pools, pool_before_upsampling, pool_before_conv],
    ops.MaxPool2dOp: [drop_unit_pool],
    ops.FlattenOp: [linear_of_whole_map, flatten_before_activation],
    channel_ops.TakeChannelsOp: [rows_in_order],
}
