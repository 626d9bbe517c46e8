"""A call of a torch op during its conversion: its arguments as level-1 values and Python constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.dialect import channel_ops, ops
from gradcam.dialect.verify import by
from gradcam.errors import GradcamError, fail
from gradcam.passes.ir.constants import dense_values
from gradcam.passes.torch import torch_ir
from gradcam.passes.torch.view import View

#: What a converter makes: a value, or the values of a list.
Converted = ir.Value | View | list[ir.Value | View]


class Cascade(Exception):
    """The op cannot be converted because an earlier op could not; there is no new fault to report."""


@dataclass(frozen=True)
class Call:
    """A torch op and the level-1 values made so far.

    Attributes:
        op: the torch operation.
        values: level-1 value of each torch tensor converted so far, a `View` where PyTorch sees it with other
            dimensions, a list for a list of tensors; None where its op could not be converted.
    """

    op: Any
    values: Mapping[ir.Value, Converted | None]

    @property
    def name(self) -> str:
        """The op's name as PyTorch spells it."""
        return torch_ir.op_name(self.op)

    def error(self, message: str) -> GradcamError:
        """The error that this op is refused with; use as `raise call.error(...)`."""
        return fail(self.op, f"{self.name} {message}")

    def static(self, index: int) -> Any:
        """Argument `index` as a Python constant."""
        try:
            return torch_ir.static_argument(self.op.operands[index])
        except torch_ir.NotStatic:
            raise self.error(f"has argument {index} computed at run time; it must be a constant") from None

    def pair(self, index: int) -> list[int]:
        """Argument `index` as height and width; a single number stands for both."""
        numbers = self.static(index)
        return numbers * 2 if len(numbers) == 1 else numbers

    def is_none(self, index: int) -> bool:
        """Whether argument `index` is left out."""
        return torch_ir.is_none(self.op.operands[index])

    def indices(self, source: ir.Value, size: int) -> list[int]:
        """The constant vector `source` of places in a dimension of `size` elements, each from 0 on."""
        try:
            found = torch_ir.integers(source)
        except torch_ir.NotStatic:
            raise self.error("takes elements at places that are not constant integers; they must be") from None
        if found.ndim != 1 or not ((-size <= found) & (found < size)).all():
            raise self.error(f"takes elements at {found.tolist()}; supported is a vector of numbers below {size}")
        return [int(n) % size for n in found]

    def activation(self, index: int, rank: int | None = None) -> ir.Value:
        """Argument `index` as a value computed from the image, with `rank` dimensions when given."""
        return self.computed(self.op.operands[index], rank)

    def features(self, index: int) -> ir.Value:
        """Argument `index` as a map, 1xCxHxW, or a vector, 1xC, computed from the image."""
        return self.activation(index, rank=2 if len(self.view(index).groups) == 2 else 4)

    def activations(self, index: int, rank: int | None = None) -> list[ir.Value]:
        """Argument `index`, a list of tensors, as values computed from the image."""
        try:
            items = torch_ir.list_items(self.op.operands[index])
        except torch_ir.NotStatic:
            raise self.error("takes a list that is not built in place") from None
        return [self.computed(item, rank) for item in items]

    def computed(self, source: ir.Value, rank: int | None) -> ir.Value:
        """The level-1 value of the torch tensor `source`, which must depend on the image."""
        view = self._viewed(source)
        if not view.is_plain:
            of = f"the dimensions of a tensor of shape {by(dims(view.value))} merged or in another order"
            raise self.error(f"takes a tensor of shape {by(view.shape)}, {of}, which is not supported")
        value, shape = view.value, view.shape
        if rank is not None and len(shape) != rank:
            raise self.error(f"takes a tensor of shape {by(shape)}; only {rank} dimensions are supported")
        return value

    def view(self, index: int) -> View:
        """Argument `index`, computed from the image, with the dimensions that PyTorch sees."""
        return self._viewed(self.op.operands[index])

    def _viewed(self, source: ir.Value) -> View:
        value = self._converted(source)
        if isinstance(value, View):
            return value
        if is_constant(value):
            raise self.error("takes a constant tensor where only a value computed from the image is supported")
        return View(value, tuple((n,) for n in range(len(dims(value)))))

    def seen(self, view: View, suffix: str = "") -> ir.Value | View:
        """A view as the op's result: the value itself where the view is plain, its flatten where that is a vector.

        Channels that PyTorch has split and sees in another order are brought into that order.
        """
        view = view.normal()
        if (order := view.channel_order()) is not None:
            with self.loc(suffix):
                view = view.joined(channel_ops.taken(view.value, order))
        if view.is_plain:
            return view.value
        is_vector = view.is_flat and len(view.groups) == 2 and view.shape[0] == 1
        return self.flatten(view.value, suffix) if is_vector else view

    def constant(self, index: int) -> np.ndarray | None:
        """Argument `index`, a constant number or tensor, as an array; None where it is computed from the image."""
        source = self.op.operands[index]
        if source not in self.values:
            return np.asarray(self.static(index), np.float64)
        value = self._converted(source)
        return None if isinstance(value, View) or not is_constant(value) else dense_values(value.owner)

    def weight(self, index: int) -> ir.Value:
        """Argument `index` as a constant."""
        value = self._converted(self.op.operands[index])
        if isinstance(value, View) or not is_constant(value):
            if not isinstance(value, View) and is_placeholder(value):
                raise Cascade
            raise self.error(f"has weights (argument {index}) computed at run time; they must be constant")
        return value

    def optional_weight(self, index: int) -> ir.Value | None:
        """Argument `index` as a constant, or None when it is left out."""
        return None if self.is_none(index) else self.weight(index)

    def filled(self, value: float, length: int, suffix: str) -> ir.Value:
        """A constant vector of `length` equal numbers, in place of a missing parameter."""
        array = np.full(length, value, np.float32)
        return arith.ConstantOp(tensor(length), ir.DenseElementsAttr.get(array), loc=self.loc(suffix)).result

    def loc(self, suffix: str = "") -> ir.Location:
        """The op's location; `suffix` makes the location of a further op made from it unique."""
        location = self.op.location
        if not suffix or not isinstance(location, ir.NameLoc):
            return location
        return ir.Location.name(f"{location.name_str}.{suffix}")

    @property
    def type(self) -> ir.RankedTensorType:
        """Builtin type of the op's first result."""
        try:
            return torch_ir.tensor_type(self.op.results[0].type)
        except torch_ir.NotStatic:
            raise self.error(f"gives {self.op.results[0].type}; only tensors of static shape are supported") from None

    def flatten(self, x: ir.Value, suffix: str = "") -> ir.Value:
        """`x` (1xCxHxW) as 1x(C*H*W)."""
        return ops.FlattenOp(x, tensor(1, int(np.prod(dims(x)))), loc=self.loc(suffix)).result

    def _converted(self, source: ir.Value) -> ir.Value | View:
        value = self.values.get(source)
        if value is None or isinstance(value, list):  # no converter takes a list of tensors
            raise Cascade
        return value


def dims(value: ir.Value) -> list[int]:
    """Shape of a level-1 value."""
    return list(ir.RankedTensorType(value.type).shape)


def tensor(*shape: int) -> ir.RankedTensorType:
    """The f32 tensor type of `shape`."""
    return ir.RankedTensorType.get(shape, ir.F32Type.get())


def is_constant(value: ir.Value) -> bool:
    """Whether a level-1 value is a constant."""
    op = torch_ir.defining_op(value)
    return op is not None and op.name == "arith.constant"


def is_placeholder(value: ir.Value) -> bool:
    """Whether a level-1 value stands for that of an op that could not be converted."""
    op = torch_ir.defining_op(value)
    return op is not None and op.name == "builtin.unrealized_conversion_cast"
