"""Converters of arithmetic with constants, and of the functions that turn logits into probabilities."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
from torch_mlir import ir

from gradcam.dialect import ops, product_ops
from gradcam.dialect.verify import by
from gradcam.passes.ir.constants import make_constant
from gradcam.passes.torch import activations, torch_ir
from gradcam.passes.torch.call import Call, dims
from gradcam.passes.torch.numbers import real
from gradcam.passes.torch.shapes import MOVES
from gradcam.passes.torch.view import View

_log = logging.getLogger(__name__)

_F32 = np.finfo(np.float32)

#: Ops without an effect on values.
_UNCHANGED = "alias alias_copy detach detach_copy contiguous clone lift_fresh_copy _to_copy to.dtype"
NO_OPS = tuple(f"aten.{name}" for name in _UNCHANGED.split())


def affine(
    call: Call,
    x: ir.Value,
    scale: np.ndarray | float,
    shift: np.ndarray | float = 0.0,
    var: np.ndarray | float = 1.0,
    part: str = "",
) -> ir.Value:
    """scale * x / sqrt(var) + shift for a map or vector x: a batch norm."""
    numbers = (_per_channel(call, np.asarray(v, np.float64), dims(x)) for v in (scale, shift, 0.0, var))
    with call.loc(part):
        return ops.BatchNormOp(x, *map(make_constant, numbers), real(0.0), x.type).result


def _per_channel(call: Call, values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """One number per channel of a constant that is broadcast to 1xCxHxW or 1xC."""
    channels, shape = size[1], [1] * (len(size) - values.ndim) + list(values.shape)
    if len(shape) != len(size) or shape[1] not in (1, channels) or {shape[0], *shape[2:]} != {1}:
        raise call.error(f"takes a constant of shape {by(values.shape)}; supported is a number, or one per channel")
    if not np.isfinite(values).all():
        raise call.error("takes a constant that is not finite")
    return np.broadcast_to(values.reshape(-1), channels)


def _sum(sign: int) -> Callable[[Call], ir.Value]:
    """The converter of x + alpha * y (`sign` 1) and x - alpha * y (-1)."""

    def convert(call: Call) -> ir.Value:
        x, y, alpha = call.constant(0), call.constant(1), sign * call.static(2)
        if y is not None:
            return affine(call, call.features(0), 1.0, alpha * y)
        if x is not None:
            return affine(call, call.features(1), alpha, x)
        return _sum_of_maps(call, alpha)

    return convert


def _sum_of_maps(call: Call, alpha: float) -> ir.Value:
    """x + alpha * y for two maps or vectors of equal shape."""
    x, y = call.features(0), call.features(1)
    if dims(x) != dims(y):
        raise call.error(f"adds shapes {by(dims(x))} and {by(dims(y))}; broadcasting is not supported")
    term = y if alpha == 1 else affine(call, y, alpha, part="term")
    return ops.AddOp(x, term, call.type, loc=call.loc()).result


def _reverse_difference(call: Call) -> ir.Value:
    y = call.constant(1)
    assert y is not None, "a scalar"
    return affine(call, call.features(0), -call.static(2), y)


def _negative(call: Call) -> ir.Value:
    return affine(call, call.features(0), -1.0, 0.0)


def _product(call: Call) -> ir.Value | View:
    for index in (0, 1):
        if (factor := call.constant(1 - index)) is not None:
            return affine(call, call.features(index), factor, 0.0)
    return _product_of_maps(call)


def _product_of_maps(call: Call) -> ir.Value | View:
    """x * y for two maps of equal shape, or a map and one number for each of its channels, in either order."""
    x, y = call.view(0), call.view(1)
    shape = list(call.type.shape)
    if x.shape != shape:
        x, y = y, x
    if x.shape == shape and x.factors and _is_gate_of_branches(x, y):
        with call.loc():
            return call.seen(x._replace(value=product_ops.MulOp(x.value, y.value, x.value.type).z))
    if x.shape == shape and (x.value.type, *x.normal()[1:]) == (y.value.type, *y.normal()[1:]):
        with call.loc():
            return call.seen(x._replace(value=product_ops.MulOp(x.value, y.value, x.value.type).z))
    if x.shape == shape and x.is_plain and y.walked in ([], [1]) and y.shape == [1, shape[1], 1, 1][: len(shape)]:
        return product_ops.MulOp(x.value, y.value, x.value.type, loc=call.loc()).z
    each = "equal shapes, or a map and a number for each of its channels (1xCx1x1)"
    raise call.error(f"multiplies shapes {by(call.view(0).shape)} and {by(call.view(1).shape)}; supported are {each}")


def _is_gate_of_branches(x: View, y: View) -> bool:
    """Whether y has a number for each channel of a map x that PyTorch sees split into branches in the same way."""
    _, channels, *size = dims(y.value)
    alike = channels == dims(x.value)[1] and x.factors == y.factors and not any(n > 1 for n in size)
    spatial = ({2, 3}.issuperset(group) for group in x.normal().groups)
    own = [() if is_spatial else group for group, is_spatial in zip(x.normal().groups, spatial, strict=True)]
    return alike and list(y.normal().groups) == own


def _quotient(call: Call) -> ir.Value:
    divisor = call.constant(1)
    if divisor is None:
        raise call.error("divides by a tensor computed from the image, which is not supported")
    with np.errstate(divide="ignore", over="ignore"):
        # The root of a square that is rounded to f32 is the divisor again; the reciprocal of a reciprocal is not.
        single = divisor.astype(np.float32)
        square = np.float64(single) ** 2
        if ((square >= _F32.tiny) & (square <= _F32.max)).all():
            return affine(call, call.features(0), np.sign(single), 0.0, square)
        return affine(call, call.features(0), 1 / divisor.astype(np.float64), 0.0)


def probabilities(call: Call) -> ir.Value | View:
    """Softmax and the like behind the logits: left out, since a class activation map explains a logit."""
    view, name = call.view(0), call.name.removeprefix("aten.").lstrip("_").partition(".")[0]
    if not _is_last(call.op) and name == "sigmoid":
        return activations.function(name)(call)
    if not _is_last(call.op):
        raise call.error("is followed by another op; only behind the logits it can be left out")
    if name != "sigmoid" and any(n > 1 for n in view.without([call.static(1)]).shape):
        raise call.error(f"runs over dimension {call.static(1)} of {by(view.shape)}, which is not that of the classes")
    where = call.op.location
    named = f" at '{where.name_str}'" if isinstance(where, ir.NameLoc) else ""
    _log.warning("the %s%s is left out: maps explain logits, and the order of the classes is the same", name, named)
    return call.seen(view)


def _is_last(op: ir.Operation) -> bool:
    """Whether nothing but changes of shape, and other such functions, lies between an op and the end of the program."""
    behind = (use.owner.operation for use in op.results[0].uses)
    through = (*MOVES, *NO_OPS, *PROBABILITIES)
    return all("return" in user.name or (torch_ir.op_name(user) in through and _is_last(user)) for user in behind)


PROBABILITIES = tuple(f"aten.{n}" for n in ("_log_softmax", "_softmax", "log_softmax.int", "sigmoid", "softmax.int"))

#: The converters by torch op.
TABLE: dict[str, Callable[[Call], ir.Value | View]] = {
    "aten.add.Scalar": _sum(1),
    "aten.add.Tensor": _sum(1),
    "aten.div.Scalar": _quotient,
    "aten.div.Tensor": _quotient,
    "aten.mul.Scalar": _product,
    "aten.mul.Tensor": _product,
    "aten.neg": _negative,
    "aten.rsub.Scalar": _reverse_difference,
    "aten.sub.Scalar": _sum(-1),
    "aten.sub.Tensor": _sum(-1),
    **dict.fromkeys(PROBABILITIES, probabilities),
}
