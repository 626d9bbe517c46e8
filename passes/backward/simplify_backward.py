"""Simplifies the derived backward pass, most of which is known at compile time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch_mlir import ir

from gradcam.dialect import GradCAM, adjoint_ops, cam_ops, channel_ops, ops, resample_ops
from gradcam.dialect.traits import LinearInFirst, Rowwise, has
from gradcam.dialect.verify import ints, shape
from gradcam.passes.backward import cam_patterns, channel_patterns, spatial_mean
from gradcam.passes.backward.rewrites import (
    Pattern,
    apply_patterns,
    integers,
    is_point,
    like,
    merge_duplicates,
    rebuilt,
    scaled,
)
from gradcam.passes.backward.tables import FORMULAS, diagonal, tap_counts
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.constants import make_constant, read_constant


@dataclass(frozen=True)
class SimplifyBackward(Pass):
    """Applies algebraic patterns to the backward pass until none matches; removes duplicates and unused ops.

    For a target behind which only a global average pool and a linear head follow, no op of the backward pass is left:
    the channel weights are a row of the classifier's own weight, and their factor moves out to the map.

    This pass turns:

        %seed = "gradcam.one_hot"(%cls)
        %gf = "gradcam.linear_adjoint"(%seed, %w)
        %gp = "gradcam.unflatten"(%gf)
        %gx = "gradcam.avg_pool2d_adjoint"(%gp) {kernel = [7, 7], ...}
        %weights = "gradcam.channel_weights"(%gx)
        %map = "gradcam.weighted_sum"(%weights, %x)

    into:

        %row = "gradcam.class_row"(%w, %cls)
        %sum = "gradcam.weighted_sum"(%row, %x)
        %map = "gradcam.scale"(%sum) {factor = 0.020408163265306121 : f64}
    """

    name: ClassVar[str] = "gradcam-simplify-backward"

    def run(self, module: ir.Module) -> None:
        """Transforms `module` in place."""
        with module.context:
            merge_duplicates(module)
            apply_patterns(module, PATTERNS)
            merge_duplicates(module)
            # After merging, so that methods that want the positive part of one row share its table.
            apply_patterns(module, {ops.ReluOp: [fold_table]})


# The seed and pairs that cancel.


def read_class_row(op: Any) -> ir.Value | None:
    """linear_adjoint(one_hot(c), w) -> class_row(w, c)."""
    seed = op.g.owner
    return cam_ops.ClassRowOp(op.w, seed.cls, op.gx.type).result if isinstance(seed, cam_ops.OneHotOp) else None


def cancel_flatten(op: Any) -> ir.Value | None:
    """flatten(unflatten(g)) -> g."""
    inner = op.x.owner
    return inner.g if isinstance(inner, adjoint_ops.UnflattenOp) else None


def cancel_unflatten(op: Any) -> ir.Value | None:
    """unflatten(flatten(x)) -> x where the shapes agree."""
    inner = op.g.owner
    return inner.x if isinstance(inner, ops.FlattenOp) and inner.x.type == op.gx.type else None


def cancel_unit_pool(op: Any) -> ir.Value | None:
    """avg_pool2d_adjoint(g) -> g for a 1x1 window, such as the global pool of a 1x1 map."""
    return op.g if ints(op, "kernel", 2, 1) == [1, 1] and op.g.type == op.gx.type else None


def sum_of_equal_shares(op: Any) -> ir.Value | None:
    """upsample2d_adjoint(avg_pool2d_adjoint(g)) -> avg_pool2d_adjoint(g) of the smaller map, for a global pool."""
    pool = op.g.owner
    if not isinstance(pool, adjoint_ops.AvgPool2dAdjointOp) or not pool.is_global:
        return None
    size = integers(*shape(op.gx)[2:])
    return adjoint_ops.AvgPool2dAdjointOp(
        pool.g, size, size, pool.padding, pool.dilation, ir.IntegerAttr(pool.count_include_pad), op.gx.type
    ).result


# Scales move outwards, to the map, and merge.


def pull_scale(op: Any) -> ir.Value | None:
    """f(scale(g)) -> scale(f(g)) for f linear in g."""
    inner = op.operands[0].owner
    if not isinstance(inner, cam_ops.ScaleOp):
        return None
    return scaled(rebuilt(op, inner.x), inner.factor.value)


def pull_common_scale(op: Any) -> ir.Value | None:
    """add(scale(x), scale(y)) -> scale(add(x, y)) for equal factors."""
    x, y = op.x.owner, op.y.owner
    if not all(isinstance(inner, cam_ops.ScaleOp) for inner in (x, y)) or x.factor.value != y.factor.value:
        return None
    return scaled(ops.AddOp(x.x, y.x, op.z.type).result, x.factor.value)


def merge_scales(op: Any) -> ir.Value | None:
    """scale(scale(x)) -> scale(x), the factors multiplied; a factor of 1 disappears."""
    if op.factor.value == 1:
        return op.x
    inner = op.x.owner
    return scaled(inner.x, inner.factor.value * op.factor.value) if isinstance(inner, cam_ops.ScaleOp) else None


# Maps of a row of a constant table are computed for all rows now.


def channelwise_before_avg_pool(op: Any) -> ir.Value | None:
    """f(avg_pool2d_adjoint(g)) -> avg_pool2d_adjoint(f(g)) for an f that is the same at all positions, per channel."""
    pool, result = op.operands[0].owner, op.results[0]
    if not isinstance(pool, adjoint_ops.AvgPool2dAdjointOp):
        return None
    small = rebuilt(op, pool.g, like(pool.g, [1, shape(result)[1], *shape(pool.g)[2:]]))
    return rebuilt(pool, small, result.type)


def fold_table(op: Any) -> ir.Value | None:
    """f(class_row(w, c)) -> class_row(f(w), c), unless the new table would be larger than `w`.

    The mean of a 1x1 map is left to `mean_of_point`, which reads the classifier's own weight and stores no table.
    """
    g, *parameters = op.operands
    is_mean_of_point = isinstance(op, cam_ops.ChannelWeightsOp) and is_point(g)
    if is_mean_of_point or math.prod(shape(op.results[0])) > math.prod(shape(g)):
        return None
    table, cls = _table(g)
    constants = [read_constant(p) for p in parameters]
    if table is None or any(c is None for c in constants):
        return None
    folded = FORMULAS[type(op)](op, *(np.asarray(c, np.float64) for c in (table, *constants)))
    result = op.results[0]
    if folded.ndim == 4 and is_point(result):  # a vector per class, as of a linear layer
        vector = like(result, shape(result)[:2])
        row = cam_ops.ClassRowOp(make_constant(folded.reshape(len(folded), -1)), cls, vector).result
        return adjoint_ops.UnflattenOp(row, result.type).result
    return cam_ops.ClassRowOp(make_constant(folded), cls, result.type).result


def mean_of_class_row_by_conv(op: Any) -> ir.Value | None:
    """channel_weights(conv2d_adjoint(g, w)) -> class_row(table, c) for a g that is one row of a table at all positions.

    The mean is linear in the row. The table of the means of all classes replaces the products with `w`, unless it would
    be larger than `w`.
    """
    conv = op.g.owner
    if not isinstance(conv, adjoint_ops.Conv2dAdjointOp) or len(list(conv.gx.uses)) > 1:
        return None
    weight, gradient = read_constant(conv.w), conv.g.owner
    is_global = isinstance(gradient, adjoint_ops.AvgPool2dAdjointOp) and gradient.is_global
    if weight is None or not is_global:
        return None
    means = diagonal(np.einsum("ocyx,yx->oc", weight.astype(np.float64), tap_counts(conv)), conv.groups.value)
    means /= math.prod(shape(conv.gx)[2:]) * math.prod(shape(conv.g)[2:])
    seed = gradient.g.owner.g.owner if isinstance(gradient.g.owner, adjoint_ops.UnflattenOp) else None
    table, cls = (means, seed.cls) if isinstance(seed, cam_ops.OneHotOp) else _table(gradient.g)
    if table is None or len(table) * means.shape[1] > weight.size:
        return None
    if table is not means:
        table = table.reshape(len(table), -1).astype(np.float64) @ means
    return cam_ops.ClassRowOp(make_constant(table), cls, op.y.type).result


def flatten_table(op: Any) -> ir.Value | None:
    """flatten(class_row(w, c)) -> class_row(w as one vector per class, c); `cancel_flatten` has the unflattened row."""
    table, cls = _table(op.x)
    if table is None or isinstance(op.x.owner, adjoint_ops.UnflattenOp):
        return None
    return cam_ops.ClassRowOp(make_constant(table.reshape(len(table), -1)), cls, op.y.type).result


def _table(g: ir.Value) -> tuple[np.ndarray | None, ir.Value | None]:
    """The table (K x the shape of `g`) and the class when `g` is a row of a constant, perhaps unflattened."""
    row = g.owner.g.owner if isinstance(g.owner, adjoint_ops.UnflattenOp) else g.owner
    if not isinstance(row, cam_ops.ClassRowOp):
        return None, None
    table = read_constant(row.w)
    return (None, None) if table is None else (table.reshape(-1, *shape(g)[1:]), row.cls)


def _patterns() -> dict[type, list[Pattern]]:
    """All patterns, by the op they start from."""
    patterns: dict[type, list[Pattern]] = {
        adjoint_ops.LinearAdjointOp: [read_class_row],
        adjoint_ops.UnflattenOp: [cancel_unflatten],
        adjoint_ops.AvgPool2dAdjointOp: [cancel_unit_pool],
        resample_ops.Upsample2dAdjointOp: [sum_of_equal_shares],
        channel_ops.TakeChannelsOp: [channelwise_before_avg_pool],
        adjoint_ops.BatchNormAdjointOp: [channelwise_before_avg_pool],
        ops.FlattenOp: [cancel_flatten, flatten_table],
        ops.AddOp: [pull_common_scale],
        cam_ops.ScaleOp: [merge_scales],
        cam_ops.ChannelWeightsOp: [mean_of_class_row_by_conv, *spatial_mean.PATTERNS],
        cam_ops.XGradCamWeightsOp: [cam_patterns.xgradcam_of_constant_gradient],
        cam_ops.ChannelSumOp: [cam_patterns.sum_of_products, cam_patterns.sum_of_positive_products],
        cam_ops.WeightedSumOp: [cam_patterns.sum_of_constant_gradient],
        ops.ReluOp: [
            cam_patterns.relu_before_unflatten,
            cam_patterns.relu_before_global_pool,
            cam_patterns.relu_before_scale,
        ],
    }
    for kind, more in channel_patterns.PATTERNS.items():
        patterns.setdefault(kind, []).extend(more)
    for kind in GradCAM.operations:
        if has(kind, LinearInFirst) and kind is not cam_ops.ScaleOp:  # two scales merge
            patterns.setdefault(kind, []).append(pull_scale)
        if has(kind, Rowwise):
            patterns.setdefault(kind, []).append(fold_table)
    return patterns


PATTERNS = _patterns()
