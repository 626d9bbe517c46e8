"""Converters of ops that put channels together, take them apart or reorder them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch_mlir import ir

from gradcam.dialect import cam_ops, channel_ops
from gradcam.dialect.verify import by
from gradcam.passes.ir.queries import users
from gradcam.passes.torch import torch_ir
from gradcam.passes.torch.call import Call, Converted, dims
from gradcam.passes.torch.view import View


def cat(call: Call) -> ir.Value:
    """Feature maps or vectors side by side along the channels."""
    parts = call.activations(0)
    ranks, dim = {len(dims(part)) for part in parts}, call.static(1)
    if len(ranks) != 1:
        raise call.error(f"joins {' and '.join(by(dims(part)) for part in parts)}, which differ in dimensions")
    if dim % ranks.pop() != 1:
        raise call.error(f"joins along dimension {dim}; only dimension 1 (channels) is supported")
    return side_by_side(call, parts)


def side_by_side(call: Call, parts: Sequence[ir.Value]) -> ir.Value:
    """The channels of several values, one value after the other."""
    whole = parts[0]
    for number, part in enumerate(parts[1:], 2):
        suffix = str(number) if number < len(parts) else ""
        with call.loc(suffix):
            made = _made(whole, part) if suffix else None  # the last one may become a target
            whole = channel_ops.joined(whole, part) if made is None else made
    return whole


def _made(x: ir.Value, y: ir.Value) -> ir.Value | None:
    """The concatenation that an earlier op has made of two values, as in a DenseNet, whose maps grow.

    One that is a target is left to its readers: they alone make its gradient.
    """
    for op in users(x):
        is_made = isinstance(op, channel_ops.ConcatOp) and op.x == x and op.y == y
        if is_made and not any(isinstance(reader, cam_ops.TargetOp) for reader in users(op.z)):
            return op.z
    return None


def slice_(call: Call) -> Converted:
    """Some channels, or all elements of another dimension."""
    view, dim, size = call.view(0), call.static(1), call.view(0).shape[call.static(1)]
    kept = range(size)[slice(*(None if call.is_none(n) else call.static(n) for n in (2, 3, 4)))]
    if kept == range(size):
        return call.seen(view)
    return _taken(call, view, dim, kept)


def split(call: Call) -> Converted:
    """Channels in parts of one size; the last one may be smaller."""
    return _equal_parts(call, call.static(1))


def split_with_sizes(call: Call) -> Converted:
    """Channels in parts of given sizes."""
    return _parts(call, call.view(0), call.static(2), call.static(1))


def chunk(call: Call) -> Converted:
    """Channels in at most a number of parts, all but the last one of equal size."""
    size, count = call.view(0).shape[call.static(2)], call.static(1)
    return _equal_parts(call, -(-size // count))


def channel_shuffle(call: Call) -> Converted:
    """The first channel of each group, then the second one of each group, and so on."""
    view, groups = call.view(0), call.static(1)
    channels = np.arange(view.shape[1]).reshape(groups, -1)
    return _taken(call, view, 1, channels.T.ravel().tolist())


def flip(call: Call) -> Converted:
    """Channels in reverse order."""
    view = call.view(0)
    axes = [dim % len(view.shape) for dim in call.static(1)]
    for dim in axes:
        view = _view(_taken(call, view, dim, range(view.shape[dim])[::-1]))
    return call.seen(view)


def index_select(call: Call) -> Converted:
    """Channels at constant places, each at most once."""
    return _at(call, call.static(1), call.op.operands[2])


def index(call: Call) -> Converted:
    """`x[:, places]` with a constant vector of places."""
    given = {n: v for n, v in enumerate(torch_ir.list_items(call.op.operands[1])) if not torch_ir.is_none(v)}
    if len(given) != 1:
        raise call.error(f"takes elements by {len(given)} tensors; supported is one, of the places of channels")
    ((dim, places),) = given.items()
    return _at(call, dim, places)


def _at(call: Call, dim: int, places: ir.Value) -> Converted:
    view = call.view(0)
    order = call.indices(places, view.shape[dim])
    if len(set(order)) < len(order):
        raise call.error(f"takes one element of dimension {dim} more than once, which is not supported")
    return _taken(call, view, dim, order)


def _equal_parts(call: Call, length: int) -> list[ir.Value | View]:
    """Parts of one length; the last one may be shorter."""
    view, dim = call.view(0), call.static(2)
    size = view.shape[dim]
    return _parts(call, view, dim, [min(length, size - start) for start in range(0, size, length)])


def _parts(call: Call, view: View, dim: int, sizes: Sequence[int]) -> list[ir.Value | View]:
    ends = np.cumsum(sizes)
    if len(sizes) == 1:
        return [call.seen(view)]
    return [
        _taken(call, view, dim, range(int(end) - size, int(end)), str(number))
        for number, (size, end) in enumerate(zip(sizes, ends, strict=True))
    ]


def _taken(call: Call, view: View, dim: int, order: Sequence[int], suffix: str = "") -> ir.Value | View:
    """The elements `order` of a dimension of PyTorch, which must be the channels."""
    if view.groups[dim] != (1,):
        raise call.error(f"takes or moves elements of dimension {dim} of {by(view.shape)}; only channels can be")
    with call.loc(suffix):
        return call.seen(view._replace(value=channel_ops.taken(view.value, order)))


def _view(value: ir.Value | View) -> View:
    return value if isinstance(value, View) else View.of(value)


#: The converters by torch op.
TABLE: dict[str, Callable[[Call], Converted]] = {
    "aten.cat": cat,
    "aten.channel_shuffle": channel_shuffle,
    "aten.chunk": chunk,
    "aten.flip": flip,
    "aten.index.Tensor": index,
    "aten.index_select": index_select,
    "aten.slice.Tensor": slice_,
    "aten.split.Tensor": split,
    "aten.split_with_sizes": split_with_sizes,
}
