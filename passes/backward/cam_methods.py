"""The class activation methods as ops: from the gradient at the target to the map, one builder per method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_mlir import ir

from gradcam.dialect import cam_ops, ops, product_ops
from gradcam.dialect.adjoints import part_location
from gradcam.dialect.verify import shape
from gradcam.passes.backward.rewrites import like

#: builder(explain, g, a): the map, from the gradient `g` at the feature map `a`.
_Builder = Callable[[Any, ir.Value, ir.Value], ir.Value]


def build_map(explain: Any, g: ir.Value, a: ir.Value) -> ir.Value:
    """Builds the map that `explain` asks for, at the current insertion point.

    The ops are located at "NAME.weights", "NAME.map" and the like, with the explanation's NAME.

    Args:
        explain: a verified `gradcam.explain`.
        g: gradient of the class score at the target, 1xCxHxW.
        a: the target feature map, 1xCxHxW.

    Returns:
        The raw map, 1xHxW.
    """
    return METHODS[ir.StringAttr(explain.method).value](explain, g, a)


def _weighted(weights: _Builder) -> _Builder:
    """The map of a method that multiplies the feature map by `weights` and sums over the channels."""

    def build(explain: Any, g: ir.Value, a: ir.Value) -> ir.Value:
        with part_location(explain, "weights"):
            w = weights(explain, g, a)
        with part_location(explain, "map"):
            return cam_ops.WeightedSumOp(w, a, explain.map.type).result

    return build


def _gradcam(explain: Any, g: ir.Value, a: ir.Value) -> ir.Value:
    """The spatial mean of the gradient."""
    return cam_ops.ChannelWeightsOp(g, _vector(g)).result


def _hirescam(explain: Any, g: ir.Value, a: ir.Value) -> ir.Value:
    """The gradient itself."""
    return g


def _xgradcam(explain: Any, g: ir.Value, a: ir.Value) -> ir.Value:
    """The mean of the gradient, weighted by the feature map."""
    return cam_ops.XGradCamWeightsOp(g, a, explain.eps, _vector(g)).result


def _layercam(explain: Any, g: ir.Value, a: ir.Value) -> ir.Value:
    """The positive part of the gradient."""
    return ops.ReluOp(g, g.type).result


def _gradcam_plus_plus(explain: Any, g: ir.Value, a: ir.Value) -> ir.Value:
    """The sum of the gradient's positive part, weighted by alpha."""
    return cam_ops.GradCamPlusPlusWeightsOp(g, a, explain.eps, _vector(g)).result


def _elementwise(explain: Any, g: ir.Value, a: ir.Value) -> ir.Value:
    """The positive part of each product of gradient and feature map, summed over the channels."""
    with part_location(explain, "products"):
        products = product_ops.MulOp(g, a, a.type).result
    with part_location(explain, "weights"):
        positive = ops.ReluOp(products, a.type).result
    with part_location(explain, "map"):
        return cam_ops.ChannelSumOp(positive, explain.map.type).result


def _vector(g: ir.Value) -> ir.Type:
    return like(g, shape(g)[:2])


#: The builders by method.
METHODS: dict[str, _Builder] = {
    "gradcam": _weighted(_gradcam),
    "hirescam": _weighted(_hirescam),
    "xgradcam": _weighted(_xgradcam),
    "layercam": _weighted(_layercam),
    "gradcam-elementwise": _elementwise,
    "gradcam++": _weighted(_gradcam_plus_plus),
}
