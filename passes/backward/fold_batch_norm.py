"""Folds batch norm into the convolution or linear layer before or behind it, and linear layers of one vector."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch_mlir import ir

from gradcam.dialect import ops
from gradcam.dialect.verify import is_padded, shape
from gradcam.passes.backward.rewrites import scaled
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.channel_affine import affine, check_variance
from gradcam.passes.ir.constants import erase_if_unused, make_constant, read_constant
from gradcam.passes.ir.queries import only_user

#: The ops into which a batch norm folds.
LAYERS = (ops.Conv2dOp, ops.LinearOp)


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Folds a batch norm into the convolution or linear layer before it, or into the one behind it.

    With s = gamma / sqrt(var + eps): w' = w * s and b' = (b - mean) * s + beta, computed in f64 and rounded to f32. Of
    a layer behind it, s belongs to the input channels; a convolution there must not pad, unless the batch norm only
    multiplies. One that multiplies by the same positive number everywhere becomes a `gradcam.scale`. The others stay,
    as where anything else reads what lies between the two, such as a target feature map.

    The sum of two linear layers of one vector becomes one layer, with the sums of their weights and biases, where
    nothing else reads the two: logits may be the mean of several heads.

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
                for block in (block for region in function.regions for block in region):
                    while _fold_once(block):
                        pass


def _fold_once(block: ir.Block) -> bool:
    """Folds what can be in one walk over a block; returns whether anything was, so that more may fold."""
    changed = False
    for op in [op for op in block.operations if isinstance(op, ops.BatchNormOp | ops.AddOp)]:
        if isinstance(op, ops.AddOp):
            changed |= _merge(op)
        else:
            moved = _before_means(op)
            changed |= _fold(moved) or _fold_behind(moved) or _scale(moved)
    return changed


def _merge(total: Any) -> bool:
    """Makes one linear layer of the sum of two of the same vector; returns whether it did."""
    layers = [v.owner for v in total.operands]
    if not all(isinstance(layer, ops.LinearOp) and only_user(layer) is not None for layer in layers):
        return False
    values = [list(layer.operands)[1:] for layer in layers]
    parameters = [[p.astype(np.float64) for p in map(read_constant, given) if p is not None] for given in values]
    if layers[0].x != layers[1].x or [*map(len, parameters)] != [*map(len, values)]:
        return False
    sums = [p + q for p, q in itertools.zip_longest(*parameters, fillvalue=np.zeros(1))]
    with ir.InsertionPoint(total), total.location:
        weight, bias = [*map(make_constant, sums), None][:2]
        merged = ops.LinearOp(layers[0].x, weight, bias, total.z.type)
    total.z.replace_all_uses_with(merged.y)
    total.erase()
    _erase(*layers)
    return True


def _before_means(norm: Any) -> Any:
    """Moves a batch norm before the means of what a layer yields, where only it reads them; the results are equal."""
    first, x = norm, norm.x
    while _is_mean(x.owner) and len(list(x.uses)) == 1:
        first, x = x.owner, x.owner.operands[0]
    if first == norm or not isinstance(x.owner, LAYERS) or len(list(x.uses)) != 1:
        return norm
    with ir.InsertionPoint(first), norm.location:
        moved = ops.BatchNormOp(x, *list(norm.operands)[1:], norm.eps, x.type)
    first.operation.operands[0] = moved.y
    norm.y.replace_all_uses_with(norm.x)
    norm.erase()
    return moved


def _is_mean(op: Any) -> bool:
    """Whether an op yields means of each channel: an average pool without padding, or a flatten of one value each."""
    if isinstance(op, ops.AvgPool2dOp):
        return not is_padded(op)
    return isinstance(op, ops.FlattenOp) and shape(op.operands[0])[1:] == [*shape(op.results[0])[1:], 1, 1]


def _fold(norm: Any) -> bool:
    """Folds `norm` into the layer before it, or leaves it; returns whether it did."""
    operands = list(norm.operands)
    parameters = [read_constant(v) for v in operands[1:]]
    if parameters[-1] is not None:
        check_variance(norm, parameters[-1])
    conv = operands[0].owner
    if not isinstance(conv, LAYERS) or len(list(conv.y.uses)) != 1:
        return False
    filters = [read_constant(v) for v in list(conv.operands)[1:]]
    if any(p is None for p in [*parameters, *filters]):
        return False
    _replace(norm, conv, conv.x, *_folded(norm, parameters, filters))
    return True


def _fold_behind(norm: Any) -> bool:
    """Folds `norm` into the only layer that reads it, or leaves it; returns whether it did."""
    layer, numbers = only_user(norm), affine(norm)
    if not isinstance(layer, LAYERS) or numbers is None or layer.x != norm.y:
        return False
    filters = [f for f in map(read_constant, list(layer.operands)[1:]) if f is not None]
    factor, offset = numbers
    pads = isinstance(layer, ops.Conv2dOp) and is_padded(layer)
    if len(filters) < len(layer.operands) - 1 or (pads and offset.any()):
        return False
    weight, *bias = (f.astype(np.float64) for f in filters)
    groups = len(factor) // weight.shape[1]
    each = np.stack([factor, offset]).reshape(2, groups, 1, -1)  # by group, for all its output channels
    inputs = np.broadcast_to(each, (2, groups, len(weight) // groups, weight.shape[1])).reshape(2, *weight.shape[:2])
    taps = weight.reshape(*weight.shape[:2], -1).sum(2)
    product = weight * inputs[0].reshape(*weight.shape[:2], *[1] * (weight.ndim - 2))
    _replace(layer, norm, norm.x, product, sum(bias) + (taps * inputs[1]).sum(1))
    return True


def _scale(norm: Any) -> bool:
    """Replaces a batch norm that multiplies by one positive number by a scale, which costs nothing once quantized."""
    numbers = affine(norm)
    if numbers is None or numbers[1].any() or not (numbers[0] == numbers[0][0]).all() or numbers[0][0] <= 0:
        return False
    with ir.InsertionPoint(norm), norm.location:
        norm.y.replace_all_uses_with(scaled(norm.x, numbers[0][0]))
    _erase(norm)
    return True


def _folded(norm: Any, parameters: list[Any], filters: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of the folded convolution, f64."""
    gamma, beta, mean, var = (p.astype(np.float64) for p in parameters)
    weight, *bias = (f.astype(np.float64) for f in filters)
    factor = gamma / np.sqrt(var + norm.eps.value)
    return weight * factor.reshape(-1, *[1] * (weight.ndim - 1)), (sum(bias) - mean) * factor + beta


def _replace(last: Any, first: Any, x: ir.Value, weight: np.ndarray, bias: np.ndarray) -> None:
    """Replaces two ops in a row, a layer and a batch norm, by the layer with other parameters, of `x`."""
    layer = first if isinstance(first, LAYERS) else last
    with ir.InsertionPoint(last), layer.location:
        parameters = x, make_constant(weight), make_constant(bias)
        if isinstance(layer, ops.LinearOp):
            folded = ops.LinearOp(*parameters, last.y.type)
        else:
            window = (layer.stride, layer.padding, layer.dilation)
            folded = ops.Conv2dOp(*parameters, *window, layer.groups, last.y.type)
    last.y.replace_all_uses_with(folded.y)
    _erase(last, first)


def _erase(*ops: Any) -> None:
    """Erases ops, each before what it reads, and those of their parameters that nothing else reads."""
    parameters = {value for op in ops for value in list(op.operands)[1:]}
    for op in ops:
        op.erase()
    for value in parameters:
        erase_if_unused(value)
