"""gradcam-extract-masks: masks of activations and indices of max-pools as values of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch_mlir import ir

from gradcam.dialect import adjoint_ops, ops
from gradcam.dialect.adjoints import part_location
from gradcam.dialect.traits import Activation, has
from gradcam.dialect.verify import ints, shape
from gradcam.errors import fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.queries import users


@dataclass(frozen=True)
class ExtractMasks(Pass):
    """Computes the masks of activations and the indices of max-pools, which adjoints need, in ops of their own.

    The backward pass then keeps one bit per element of a feature map alive, or for each window the number of the tap
    with the maximum, and not the map. A mask is computed from the activation's input. In a quantized network the input
    still distinguishes a small positive value, which the mask passes, from a negative one; the rounded output does not.

    This pass turns:

        %y = "gradcam.relu"(%x)
        %gx = "gradcam.activation_adjoint"(%g, %y) {lo = 0.0 : f64, hi = 0x7FF0000000000000 : f64, slope = 0.0 : f64}
        %z = "gradcam.max_pool2d"(%y) {kernel = [3, 3], ...}
        %gy = "gradcam.max_pool2d_adjoint"(%gz, %y) {kernel = [3, 3], ...}

    into:

        %y = "gradcam.relu"(%x)
        %mask = "gradcam.mask"(%x) {lo = 0.0 : f64, hi = 0x7FF0000000000000 : f64} : (...) -> tensor<1x4x8x8xi1>
        %gx = "gradcam.apply_mask"(%g, %mask) {slope = 0.0 : f64}
        %z = "gradcam.max_pool2d"(%y) {kernel = [3, 3], ...}
        %index = "gradcam.max_pool2d_index"(%y) {kernel = [3, 3], ...} : (...) -> tensor<1x4x4x4xi8>
        %gy = "gradcam.max_unpool2d"(%gz, %index) {kernel = [3, 3], ...}
    """

    name: ClassVar[str] = "gradcam-extract-masks"

    def run(self, module: ir.Module) -> None:
        """Transforms every function of `module` in place."""
        with module.context:
            for function in module.body.operations:
                kept: dict[Any, ir.Value] = {}
                for block in (block for region in function.regions for block in region):
                    for op in list(block.operations):
                        if isinstance(op, adjoint_ops.ActivationAdjointOp):
                            _extract_mask(op, kept)
                        elif isinstance(op, adjoint_ops.MaxPool2dAdjointOp):
                            _extract_index(op, kept)


def _extract_mask(op: Any, kept: dict[Any, ir.Value]) -> None:
    x = _input(op)
    key = x, op.lo.value, op.hi.value, op.closed.value
    if key not in kept:
        kept[key] = _mask(op, x)
    with ir.InsertionPoint(op), op.location:
        masked = adjoint_ops.ApplyMaskOp(op.g, kept[key], op.slope, op.gx.type)
    _replace(op, masked.gx)


def _extract_index(op: Any, kept: dict[Any, ir.Value]) -> None:
    window = op.kernel, op.stride, op.padding, op.dilation
    key = op.x, *window
    if key not in kept:
        kept[key] = _index(op, window)
    with ir.InsertionPoint(op), op.location:
        moved = adjoint_ops.MaxUnpool2dOp(op.g, kept[key], *window, op.gx.type)
    _replace(op, moved.gx)


def _replace(op: Any, gx: ir.Value) -> None:
    op.gx.replace_all_uses_with(gx)
    op.erase()


def _input(adjoint: Any) -> ir.Value:
    """The input of the activation that an adjoint belongs to, or its operand where that is no activation's output."""
    is_output = not adjoint.closed.value and has(adjoint.y.owner, Activation)
    return adjoint.y.owner.x if is_output else adjoint.y


def _mask(adjoint: Any, x: ir.Value) -> ir.Value:
    """Builds the mask of an activation with input `x` right after the activation."""
    owner = adjoint.y.owner
    if adjoint.closed.value:
        owner = next((u for u in users(x) if has(u, Activation)), owner)
    point, location = _behind(owner, "mask")
    with point, location:
        type_ = ir.RankedTensorType.get(shape(x), ir.IntegerType.get_signless(1))
        closed = ir.IntegerAttr(adjoint.closed)  # the constructor takes a false BoolAttr for a missing one
        return adjoint_ops.MaskOp(x, adjoint.lo, adjoint.hi, closed, type_).result


def _index(op: Any, window: tuple[ir.ArrayAttr, ...]) -> ir.Value:
    """Builds the index for a max-pool's adjoint right after the pool.

    Raises:
        GradcamError: the window has more taps than an index can tell apart.
    """
    if (taps := math.prod(ints(op, "kernel", 2, 1))) > adjoint_ops.MAX_TAPS:
        raise fail(
            op,
            f"a gradient passes a maximum of {taps} elements; the most are {adjoint_ops.MAX_TAPS}: "
            "explain a layer behind it, or take the maximum in two steps, of windows and of their maxima",
        )
    pools = [u for u in users(op.x) if isinstance(u, ops.MaxPool2dOp)]
    pool = next((p for p in pools if (p.kernel, p.stride, p.padding, p.dilation) == window), op.x.owner)
    point, location = _behind(pool, "index")
    with point, location:
        type_ = ir.RankedTensorType.get(shape(op.g), ir.IntegerType.get_signless(8))
        return adjoint_ops.MaxPool2dIndexOp(op.x, *window, type_).result


def _behind(op: Any, part: str) -> tuple[ir.InsertionPoint, ir.Location]:
    """An insertion point behind `op`, which is an op or the block of an argument, and the location of a part of it."""
    if isinstance(op, ir.Block):
        return ir.InsertionPoint.at_block_begin(op), ir.Location.unknown()
    return ir.InsertionPoint.after(op), part_location(op, part)
