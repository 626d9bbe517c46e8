"""gradcam-batch-norm-to-conv: a batch norm that cannot be folded becomes a convolution of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch_mlir import ir

from gradcam.dialect import ops
from gradcam.errors import fail
from gradcam.passes.backward.fold_batch_norm import affine
from gradcam.passes.backward.rewrites import integers
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.constants import erase_if_unused, make_constant


@dataclass(frozen=True)
class BatchNormToConv(Pass):
    """Replaces every batch norm by a 1x1 convolution with a diagonal weight.

    With s = gamma / sqrt(var + eps) the weight is diag(s) and the bias beta - mean * s, computed in f64 and rounded to
    f32. The convolution runs on the same array as all others, forward and backward, with one step for each OC x IC tile
    on the diagonal and beside it. Run gradcam-fold-batch-norm first: a folded batch norm costs nothing.

    This pass turns:

        %y = "gradcam.batch_norm"(%x, %gamma, %beta, %mean, %var) {eps = 1.0e-05 : f64}

    into:

        %y = "gradcam.conv2d"(%x, %diagonal, %bias) {stride = [1, 1], padding = [0, 0], ...}
    """

    name: ClassVar[str] = "gradcam-batch-norm-to-conv"

    def run(self, module: ir.Module) -> None:
        """Transforms `module` in place.

        Raises:
            GradcamError: a parameter is no constant, or a channel's var + eps is not positive.
        """
        with module.context:
            for function in module.body.operations:
                blocks = [block for region in function.regions for block in region]
                for norm in [op for block in blocks for op in block.operations if isinstance(op, ops.BatchNormOp)]:
                    _convert(norm)


def _convert(norm: Any) -> None:
    unused, numbers = list(norm.operands)[1:], affine(norm)
    if numbers is None:
        raise fail(norm, "the parameters of 'gradcam.batch_norm' must be constants")
    factor, offset = numbers
    one, zero, groups = integers(1, 1), integers(0, 0), ir.IntegerAttr.get(ir.IntegerType.get_signless(64), 1)
    with ir.InsertionPoint(norm), norm.location:
        weight, bias = make_constant(np.diag(factor)[:, :, None, None]), make_constant(offset)
        conv = ops.Conv2dOp(norm.x, weight, bias, one, zero, one, groups, norm.y.type)
    norm.y.replace_all_uses_with(conv.y)
    norm.erase()
    for value in set(unused):
        erase_if_unused(value)
