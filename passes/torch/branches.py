"""Converters of ops on branches: maps of equal shape that are stacked, weighed against each other and added up.

A stack along any dimension is a concatenation of channels, which PyTorch sees split into branches and channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch_mlir import ir

from gradcam.dialect import activation_ops, channel_ops, ops
from gradcam.dialect.verify import by
from gradcam.passes.torch import shapes
from gradcam.passes.torch.arithmetic import affine, probabilities
from gradcam.passes.torch.call import Call, Converted, dims
from gradcam.passes.torch.channels import side_by_side
from gradcam.passes.torch.view import FIRST_FACTOR, View


def stack(call: Call) -> Converted:
    """Feature maps or vectors of equal shape along a new dimension."""
    parts = call.activations(0)
    if len({tuple(dims(part)) for part in parts}) > 1:
        raise call.error(f"stacks shapes {' and '.join(by(dims(part)) for part in parts)}, which differ")
    groups = [(FIRST_FACTOR + 1,) if n == 1 else (n,) for n in range(len(dims(parts[0])))]
    groups.insert(call.static(1) % (len(groups) + 1), (FIRST_FACTOR,))
    return call.seen(View(side_by_side(call, parts), tuple(groups), (len(parts), dims(parts[0])[1])))


def total(call: Call) -> Converted:
    """The sum over branches, or over height, width or both."""
    if not call.is_none(3):
        raise call.error("takes the sum with a dtype, which is not supported")
    if (found := _branches(call)) is not None:
        return _added(call, found)
    view = _view(shapes.reduced_to_mean(call, "sum"))
    count = math.prod(call.view(0).shape) // math.prod(view.shape)
    return call.seen(view._replace(value=affine(call, view.value, count)))


def mean(call: Call) -> Converted:
    """The mean over branches, or over height, width or both."""
    found = _branches(call)
    if found is None or not call.is_none(3):
        return shapes.mean(call)
    view = _view(_added(call, found, "sum"))
    return call.seen(view._replace(value=affine(call, view.value, 1 / len(found))))


def softmax(call: Call) -> Converted:
    """Over two branches the weights sigmoid(a - b) and sigmoid(b - a); behind the logits it is left out."""
    found = _branches(call)
    if found is None:
        return probabilities(call)
    if len(found) != 2:
        raise call.error(f"weighs {len(found)} branches; supported are two, whose weights are sigmoids")
    view = call.view(0)
    first, second = _taken(call, view, found)
    with call.loc("difference"):
        difference = ops.AddOp(first, affine(call, second, -1.0, part="negative"), first.type).result
    opposite = affine(call, difference, -1.0, part="opposite")
    weights = []
    for number, logit in enumerate((difference, opposite)):
        with call.loc(str(number)):
            name = ir.StringAttr.get("sigmoid")
            weights.append(activation_ops.FunctionOp(logit, name, logit.type).result)
    order = channel_ops.inverse([c for channels in found for c in channels], dims(view.value)[1])
    with call.loc():
        return call.seen(view._replace(value=channel_ops.taken(channel_ops.joined(*weights), order)))


def _branches(call: Call) -> list[list[int]] | None:
    """The channels of each branch where argument 1 is the dimension of PyTorch that walks branches; else None."""
    view, given = call.view(0), call.static(1)
    named = [given] if isinstance(given, int) else given
    if len(view.factors) != 2 or len(named) != 1:
        return None
    walked = [n - FIRST_FACTOR for n in view.normal().groups[named[0]]]
    if walked not in ([0], [1]):
        return None
    return np.moveaxis(np.arange(math.prod(view.factors)).reshape(view.factors), walked[0], 0).tolist()


def _taken(call: Call, view: View, found: list[list[int]]) -> list[ir.Value]:
    parts = []
    for number, channels in enumerate(found):
        with call.loc(f"branch{number}"):
            parts.append(channel_ops.taken(view.value, channels))
    return parts


def _added(call: Call, found: list[list[int]], part: str = "") -> Converted:
    """The sum of all branches of operand 0; the sum itself has the name `part`."""
    view = call.view(0)
    whole, *others = _taken(call, view, found)
    for number, other in enumerate(others, 1):
        with call.loc(part if number == len(others) else f"sum{number}"):
            whole = ops.AddOp(whole, other, whole.type).result
    dim = call.static(1) if isinstance(call.static(1), int) else call.static(1)[0]
    rest = view.without([dim], kept=call.static(2))
    groups = tuple((1,) if any(n >= FIRST_FACTOR for n in group) else group for group in rest.groups)
    return call.seen(View(whole, groups))


def _view(value: Converted) -> View:
    assert not isinstance(value, list)
    return value if isinstance(value, View) else View.of(value)


#: The converters by torch op.
TABLE: dict[str, Callable[[Call], Converted]] = {
    "aten.stack": stack,
    "aten.sum.dim_IntList": total,
    "aten.mean.dim": mean,
    "aten._softmax": softmax,
    "aten.softmax.int": softmax,
}
