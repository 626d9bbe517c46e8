"""How PyTorch sees a level-1 value whose dimensions it has merged, reordered or left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch_mlir import ir


class View(NamedTuple):
    """A level-1 value and the dimensions that PyTorch gives it.

    `x.flatten(2)` of a map 1xCxHxW is the same map with the dimensions (), (1,), (2, 3), and `x.permute(0, 2, 3, 1)` is
    it with (), (2,), (3,), (1,). No element moves, until an op needs another order.

    Attributes:
        value: 1xCxHxW or 1xN.
        groups: for each dimension of PyTorch the dimensions of `value` that it walks, the outermost first; those of
            size 1 may be left out.
    """

    value: ir.Value
    groups: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(value: ir.Value) -> View:
        """A value as it is."""
        return View(value, tuple((n,) for n in range(len(_sizes(value))))).normal()

    def normal(self) -> View:
        """The same view without the dimensions of size 1."""
        sizes = _sizes(self.value)
        return self._replace(groups=tuple(tuple(n for n in group if sizes[n] > 1) for group in self.groups))

    @property
    def shape(self) -> list[int]:
        """The shape that PyTorch sees."""
        sizes = _sizes(self.value)
        return [math.prod(sizes[n] for n in group) for group in self.groups]

    @property
    def walked(self) -> list[int]:
        """The dimensions of `value` larger than 1, in PyTorch's order of the elements."""
        return [n for group in self.normal().groups for n in group]

    @property
    def is_plain(self) -> bool:
        """Whether PyTorch sees the value as it is."""
        return self.normal().groups == View.of(self.value).groups

    @property
    def is_flat(self) -> bool:
        """Whether PyTorch sees a vector, perhaps among dimensions of size 1, of the elements in the value's order."""
        return self.walked == sorted(self.walked) and sum(n > 1 for n in self.shape) <= 1

    def reshaped(self, shape: Sequence[int]) -> View | None:
        """The elements in PyTorch's order with another shape; None where that splits a dimension of the value."""
        sizes, rest, groups = _sizes(self.value), self.walked, list[tuple[int, ...]]()
        for size in shape:
            taken = 0
            while math.prod(sizes[n] for n in rest[:taken]) < size and taken < len(rest):
                taken += 1
            if math.prod(sizes[n] for n in rest[:taken]) != size:
                return None
            groups.append(tuple(rest[:taken]))
            rest = rest[taken:]
        return None if rest else self._replace(groups=tuple(groups))

    def permuted(self, order: Iterable[int]) -> View:
        """The dimensions of PyTorch in another order."""
        return self._replace(groups=tuple(self.groups[n] for n in order))

    def without(self, dimensions: Iterable[int], kept: bool = False) -> View:
        """The view without some dimensions of PyTorch, or with size 1 in their place."""
        gone = {n % len(self.groups) for n in dimensions}
        groups = (() if n in gone else group for n, group in enumerate(self.groups) if kept or n not in gone)
        return self._replace(groups=tuple(groups))


def _sizes(value: ir.Value) -> list[int]:
    return list(ir.RankedTensorType(value.type).shape)
