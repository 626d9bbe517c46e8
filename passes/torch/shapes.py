"""Converters of ops that change the shape of a tensor or reduce some of its dimensions; see `passes/torch/view.py`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch_mlir import ir

from gradcam.dialect import ops
from gradcam.dialect.verify import by
from gradcam.passes.ir.constants import dense_values, make_constant
from gradcam.passes.torch import channels, torch_ir
from gradcam.passes.torch.call import Call, Converted, dims, tensor
from gradcam.passes.torch.numbers import flag, integer, ints
from gradcam.passes.torch.view import View


def reshape(call: Call) -> Converted:
    """A change of shape that keeps the order of the elements, such as a flatten, a view or a squeeze."""
    view, shape = call.view(0), list(call.type.shape)
    if view.shape == shape:
        return call.seen(view)
    found = view.reshaped(shape)
    if found is None:
        raise call.error(f"reshapes {by(view.shape)} to {by(shape)}, which splits a dimension; that is not supported")
    return call.seen(found)


def permute(call: Call) -> Converted:
    """Dimensions in another order."""
    view = call.view(0)
    return call.seen(view.permuted(n % len(view.groups) for n in call.static(1)))


def transpose(call: Call) -> Converted:
    """Two dimensions exchanged."""
    view = call.view(0)
    order = list(range(len(view.groups)))
    one, other = (call.static(n) % len(order) for n in (1, 2))
    order[one], order[other] = order[other], order[one]
    return call.seen(view.permuted(order))


def select(call: Call) -> Converted:
    """The only element of a dimension of size 1, such as `[:, :, 0, 0]` of a 1x1 map."""
    view, dim = call.view(0), call.static(1)
    if view.shape[dim] != 1:
        raise call.error(f"takes one of the {view.shape[dim]} elements of dimension {dim}; supported is a size of 1")
    return call.seen(view.without([dim]))


def expand(call: Call) -> Converted:
    """A tensor repeated along dimensions of size 1: itself, if it is only a factor of products, which repeat it."""
    view, shape = call.view(0), list(call.type.shape)
    if view.shape != shape:
        readers = [use.owner.operation for use in call.op.results[0].uses]
        if any(torch_ir.op_name(reader) != "aten.mul.Tensor" for reader in readers):
            raise call.error(
                f"repeats {by(view.shape)} as {by(shape)}; that is only supported for a factor of a product"
            )
    return call.seen(view)


def mean(call: Call) -> Converted:
    """The mean over height, width or both."""
    if not call.is_none(3):
        raise call.error("takes the mean with a dtype, which is not supported")
    return reduced_to_mean(call, "mean")


def reduced_to_mean(call: Call, what: str) -> Converted:
    """The mean over the dimensions of a reduction, which an error calls `what`."""
    return _reduced(call, what, lambda x, window, y: ops.AvgPool2dOp(x, *window, flag(True), y).result)


def amax(call: Call) -> Converted:
    """The maximum over height, width or both; of equal maxima the first one has the gradient, as in a max-pool."""
    return _reduced(call, "maximum", lambda x, window, y: ops.MaxPool2dOp(x, *window, y).result)


def _reduced(call: Call, what: str, pool: Callable[..., ir.Value]) -> Converted:
    """A reduction over the dimensions that argument 1 names, kept with size 1 where argument 2 says so."""
    view, given = call.view(0), call.static(1)
    named = [given] if isinstance(given, int) else given or range(len(view.groups))
    gone = {n for dim in named for n in view.normal().groups[dim]}
    if not gone <= {2, 3}:
        raise call.error(f"takes the {what} over {given} of {by(view.shape)}; only height and width are supported")
    rest = view.without(named, kept=call.static(2))
    if not gone:
        return call.seen(rest)
    size = dims(view.value)
    kernel = [n if axis in gone else 1 for axis, n in enumerate(size)][2:]
    out = tensor(*size[:2], *(n // k for n, k in zip(size[2:], kernel, strict=True)))
    with call.loc():
        window = (ints(kernel), ints(kernel), ints([0, 0]), ints([1, 1]))
        return call.seen(rest._replace(value=pool(view.value, window, out)), "flatten")


def linear(call: Call) -> Converted:
    """A linear layer; of the channels at every position of a map, as a 1x1 convolution."""
    return _linear(call, call.view(0), call.weight(1), call.optional_weight(2))


def matmul(call: Call) -> Converted:
    """x @ w with a constant w: a linear layer."""
    return _linear(call, call.view(0), _transposed(call, call.weight(1)), None)


def addmm(call: Call) -> Converted:
    """bias + x @ w, as PyTorch decomposes a linear layer."""
    if (call.static(3), call.static(4)) != (1, 1):
        raise call.error(f"has beta={call.static(3)} and alpha={call.static(4)}; only 1 is supported")
    return _linear(call, call.view(1), _transposed(call, call.weight(2)), call.weight(0))


def _transposed(call: Call, weight: ir.Value) -> ir.Value:
    if len(dims(weight)) != 2:
        raise call.error(f"multiplies by a constant of shape {by(dims(weight))}; supported is a matrix")
    with weight.owner.location:
        return make_constant(dense_values(weight.owner).T)


def _linear(call: Call, view: View, weight: ir.Value, bias: ir.Value | None) -> Converted:
    if view.is_plain and len(view.groups) == 2:
        return ops.LinearOp(view.value, weight, bias, call.type, loc=call.loc()).result
    size = dims(view.value)
    if view.shape == [1, dims(weight)[1]] and len(size) == 4 and all(n < len(size) for n in view.walked):
        return _linear_of_reordered(call, view, weight, bias)
    others = [n for group in view.normal().groups[:-1] for n in group]
    if len(size) != 4 or not {0, 2, 3}.issuperset(others) or dims(weight)[1] != size[1]:
        taken = "1xF, a map flattened as channels, rows, columns, or the channels at every position of a map"
        raise call.error(f"takes a tensor of shape {by(view.shape)} that is none of {taken}")
    attributes = ints([1, 1]), ints([0, 0]), ints([1, 1]), integer(1)
    with weight.owner.location:
        kernel = make_constant(dense_values(weight.owner)[:, :, None, None])
    y = tensor(1, dims(weight)[0], *size[2:])
    conv = ops.Conv2dOp(view.value, kernel, bias, *attributes, y, loc=call.loc()).result
    return call.seen(View(conv, (*view.groups[:-1], (1,))))


def _linear_of_reordered(call: Call, view: View, weight: ir.Value, bias: ir.Value | None) -> Converted:
    """A linear layer of a map whose elements PyTorch flattens in another order: the order of its weights changes."""
    size, walked = dims(view.value), view.walked
    columns = dense_values(weight.owner).reshape(-1, *(size[n] for n in walked))
    with weight.owner.location:
        reordered = make_constant(columns.transpose(0, *(1 + np.argsort(walked))).reshape(len(columns), -1))
    return ops.LinearOp(call.flatten(view.value, "flatten"), reordered, bias, call.type, loc=call.loc()).result


_RESHAPES = "flatten.using_ints view view_copy _unsafe_view reshape squeeze squeeze.dim squeeze.dims unsqueeze"

#: The converters of ops that change shapes alone, by torch op.
MOVES: dict[str, Callable[[Call], Converted]] = {
    "aten.permute": permute,
    "aten.select.int": select,
    "aten.slice.Tensor": channels.slice_,
    "aten.transpose.int": transpose,
    **{f"aten.{name}": reshape for name in _RESHAPES.split()},
}

#: All converters by torch op.
TABLE: dict[str, Callable[[Call], Converted]] = MOVES | {
    "aten.addmm": addmm,
    "aten.amax": amax,
    "aten.expand": expand,
    "aten.repeat": expand,
    "aten.linear": linear,
    "aten.matmul": matmul,
    "aten.max.dim": amax,
    "aten.mean.dim": mean,
    "aten.mm": matmul,
}
