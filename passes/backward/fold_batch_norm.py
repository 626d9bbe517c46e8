"""Folds batch norm into the convolution before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch_mlir import ir

from gradcam.dialect import ops
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.channel_affine import check_variance
from gradcam.passes.ir.constants import erase_if_unused, make_constant, read_constant


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Folds a batch norm into the convolution before it where nothing else reads the convolution's result.

    With s = gamma / sqrt(var + eps): w' = w * s and b' = (b - mean) * s + beta, computed in f64 and rounded to f32.
    A batch norm whose input has other readers, such as a target feature map, or is not a convolution's, stays.

    This pass turns:

        %c = "gradcam.conv2d"(%x, %w) {...}
        %y = "gradcam.batch_norm"(%c, %gamma, %beta, %mean, %var) {eps = 1.0e-05 : f64}

    into:

        %y = "gradcam.conv2d"(%x, %w1, %b1) {...}
    """

    name: ClassVar[str] = "gradcam-fold-batch-norm"

    def run(self, module: ir.Module) -> None:
        """Transforms `module` in place.

        Raises:
            GradcamError: a channel's var + eps is not positive.
        """
        with module.context:
            for function in module.body.operations:
                blocks = [block for region in function.regions for block in region]
                norms = [op for block in blocks for op in block.operations if isinstance(op, ops.BatchNormOp)]
                for norm in norms:
                    _fold(norm)


def _fold(norm: Any) -> None:
    """Folds `norm` into its convolution, or leaves it."""
    operands = list(norm.operands)
    parameters = [read_constant(v) for v in operands[1:]]
    if parameters[-1] is not None:
        check_variance(norm, parameters[-1])
    conv = operands[0].owner
    if not isinstance(conv, ops.Conv2dOp) or len(list(conv.y.uses)) != 1:
        return
    filters = [read_constant(v) for v in list(conv.operands)[1:]]
    if any(p is None for p in [*parameters, *filters]):
        return
    _replace(norm, conv, *_folded(norm, parameters, filters))


def _folded(norm: Any, parameters: list[Any], filters: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of the folded convolution, f64."""
    gamma, beta, mean, var = (p.astype(np.float64) for p in parameters)
    weight, *bias = (f.astype(np.float64) for f in filters)
    factor = gamma / np.sqrt(var + norm.eps.value)
    return weight * factor[:, None, None, None], (sum(bias) - mean) * factor + beta


def _replace(norm: Any, conv: Any, weight: np.ndarray, bias: np.ndarray) -> None:
    unused = [*list(norm.operands)[1:], *list(conv.operands)[1:]]
    with ir.InsertionPoint(norm), conv.location:
        window = (conv.stride, conv.padding, conv.dilation)
        folded = ops.Conv2dOp(conv.x, make_constant(weight), make_constant(bias), *window, conv.groups, norm.y.type)
    norm.y.replace_all_uses_with(folded.y)
    norm.erase()
    conv.erase()
    for value in set(unused):
        erase_if_unused(value)
