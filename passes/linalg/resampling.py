"""The lowering of the ops that change the size of a feature map by a ratio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_mlir import ir

from gradcam.dialect.verify import shape as type_shape
from gradcam.passes.linalg.builders import empty, generic, shape, width
from gradcam.passes.linalg.lowering import Lowering, Window, add_up, ints, reduce_window, rescaled_result


def _lower_upsample2d(lowering: Lowering, op: Any) -> list[Any]:
    """Copies each word of the map to all places of its block: loops h, w, i, j, c."""
    x, kernel = lowering.tensor(op.operands[0]), ints(op, "kernel")
    h, w, i, j, c = (ir.AffineDimExpr.get(n) for n in range(5))
    maps = [[h, w, c], [i, j, c], [h * kernel[0] + i, w * kernel[1] + j, c]]
    lanes = shape(x)[2]
    # linalg takes loop extents from operands indexed by plain loops: this one only tells the extents.
    extents, y = empty([*kernel, lanes], 8), empty([*type_shape(op.results[0])[2:], lanes], width(x))
    return [generic([x, extents], [y], [ir.AffineMap.get(5, 0, m) for m in maps], "ppppp", lambda a, *_: a)]


def _lower_upsample2d_adjoint(lowering: Lowering, op: Any) -> list[Any]:
    kernel = ints(op, "kernel")
    sums = reduce_window(lowering, op, Window(kernel, kernel, [0, 0], [1, 1]), 0, 32, add_up)
    return [rescaled_result(lowering, op, sums)]


#: The lowering of each op: a function that returns the values for the op's results.
LOWERINGS: dict[str, Callable[[Lowering, Any], list[Any]]] = {
    "gradcam.upsample2d": _lower_upsample2d,
    "gradcam.upsample2d_adjoint": _lower_upsample2d_adjoint,
}
