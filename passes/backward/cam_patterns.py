"""Patterns for the map: cheaper forms of products of gradient and feature map for special gradients."""

from __future__ import annotations

from typing import Any

from torch_mlir import ir

from gradcam.dialect import adjoint_ops, cam_ops, ops, product_ops
from gradcam.dialect.traits import Activation, KeepsNonnegative, has, trait
from gradcam.dialect.verify import shape
from gradcam.passes.backward.rewrites import flat, is_point, rebuilt, scaled

#: An eps up to this value only keeps a divisor from 0; a larger one is taken as part of the method.
NEGLIGIBLE_EPS = 1e-6


# A gradient that is the same at every position, as behind a global average pool.


def sum_of_constant_gradient(op: Any) -> ir.Value | None:
    """weighted_sum(g, a) -> weighted_sum(g', a) for a g that is the vector g' at every position."""
    if len(shape(op.weights)) == 2 or (vector := constant_gradient(op.weights)) is None:
        return None
    g, factor = vector
    return scaled(rebuilt(op, g), factor)


def xgradcam_of_constant_gradient(op: Any) -> ir.Value | None:
    """xgradcam_weights(g, a) -> g' for a g that is the vector g' at every position, and a >= 0.

    The sums of a cancel but for eps, which takes at most eps * sum over c of |g'[c]| from an element of the map.
    """
    if op.eps.value > NEGLIGIBLE_EPS or not is_nonnegative(op.a) or (vector := constant_gradient(op.g)) is None:
        return None
    return scaled(*vector)


def constant_gradient(g: ir.Value) -> tuple[ir.Value, float] | None:
    """The vector (1xC) and the factor that make up `g` at every position, or None."""
    if is_point(g):
        return flat(g), 1.0
    pool = g.owner
    if not isinstance(pool, adjoint_ops.AvgPool2dAdjointOp) or not pool.is_global:
        return None
    height, width = shape(g)[2:]
    return flat(pool.g), 1 / (height * width)


# The positive part.


def relu_before_unflatten(op: Any) -> ir.Value | None:
    """relu(unflatten(g)) -> unflatten(relu(g))."""
    inner = op.x.owner
    return _swapped(op, inner) if isinstance(inner, adjoint_ops.UnflattenOp) else None


def relu_before_global_pool(op: Any) -> ir.Value | None:
    """relu(avg_pool2d_adjoint(g)) -> avg_pool2d_adjoint(relu(g)) for a global pool, where nothing adds up."""
    inner = op.x.owner
    matches = isinstance(inner, adjoint_ops.AvgPool2dAdjointOp) and inner.is_global
    return _swapped(op, inner) if matches else None


def relu_before_scale(op: Any) -> ir.Value | None:
    """relu(scale(g)) -> scale(relu(g)) for a positive factor."""
    inner = op.x.owner
    return _swapped(op, inner) if isinstance(inner, cam_ops.ScaleOp) and inner.factor.value > 0 else None


def _swapped(relu: Any, inner: Any) -> ir.Value:
    """relu(inner(g)) -> inner(relu(g))."""
    g = inner.operands[0]
    return rebuilt(inner, rebuilt(relu, g, g.type))


# Sums over channels.


def sum_of_products(op: Any) -> ir.Value | None:
    """channel_sum(mul(g, a)) -> weighted_sum(g, a)."""
    inner = op.x.owner
    return cam_ops.WeightedSumOp(inner.x, inner.y, op.y.type).result if isinstance(inner, product_ops.MulOp) else None


def sum_of_positive_products(op: Any) -> ir.Value | None:
    """channel_sum(relu(mul(g, a))) -> weighted_sum(relu(g), a) for a >= 0: LayerCAM."""
    relu = op.x.owner
    product = relu.x.owner if isinstance(relu, ops.ReluOp) else None
    if not isinstance(product, product_ops.MulOp) or not is_nonnegative(product.y):
        return None
    positive = ops.ReluOp(product.x, product.x.type).result
    return cam_ops.WeightedSumOp(positive, product.y, op.y.type).result


def is_nonnegative(value: ir.Value) -> bool:
    """Whether the ops that compute a feature map guarantee that no element is negative."""
    op = value.owner
    kind = trait(op, Activation)
    if kind is not None and kind.clips and kind.pieces(op).lo >= 0:
        return True
    return has(op, KeepsNonnegative) and all(is_nonnegative(x) for x in op.operands)
