"""How PyTorch sees a level-1 value whose dimensions it has merged, reordered or left out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from operator import mul
from typing import NamedTuple

import numpy as np
from torch_mlir import ir

#: The number of the outermost dimension into which channels are split, behind those of a map.
FIRST_FACTOR = 4


class View(NamedTuple):
    """A level-1 value and the dimensions that PyTorch gives it.

    `x.flatten(2)` of a map 1xCxHxW is the same map with the dimensions (), (1,), (2, 3), and `x.permute(0, 2, 3, 1)` is
    it with (), (2,), (3,), (1,). No element moves, until an op needs another order.

    A `view` that splits the channels, as in a channel shuffle, makes several dimensions of them: `FIRST_FACTOR` and the
    numbers behind it stand for these factors, the outermost first, in the place of dimension 1.

    Attributes:
        value: 1xCxHxW or 1xN.
        groups: for each dimension of PyTorch the dimensions of `value` that it walks, the outermost first; those of
            size 1 may be left out.
        factors: the sizes of the dimensions into which the channels are split; () where they are not.
    """

    value: ir.Value
    groups: tuple[tuple[int, ...], ...]
    factors: tuple[int, ...] = ()

    @staticmethod
    def of(value: ir.Value) -> View:
        """A value as it is."""
        return View(value, tuple((n,) for n in range(ir.RankedTensorType(value.type).rank))).normal()

    def normal(self) -> View:
        """The same view without the dimensions of size 1, and with split channels whole where they are in order."""
        sizes = self._sizes
        groups = tuple(tuple(n for n in group if sizes[n] > 1) for group in self.groups)
        found = next(((k, g.index(FIRST_FACTOR)) for k, g in enumerate(groups) if FIRST_FACTOR in g), None)
        if found is None:
            return self._replace(groups=groups)
        number, start = found
        group, end = groups[number], start + len(self.factors)
        if group[start:end] != tuple(self._split):
            return self._replace(groups=groups)
        return View(self.value, (*groups[:number], (*group[:start], 1, *group[end:]), *groups[number + 1 :]))

    def channel_order(self) -> list[int] | None:
        """The channels in the order in which one dimension of PyTorch walks all of them; None for split channels."""
        split = list(self._split)
        group = next((g for g in self.groups if split and sorted(g) == split), None)
        if group is None:
            return None
        numbers = np.arange(math.prod(self.factors)).reshape(self.factors)
        return numbers.transpose([n - FIRST_FACTOR for n in group]).ravel().tolist()

    def joined(self, value: ir.Value) -> View:
        """The view of `value`, which has the channels in the order in which a dimension of PyTorch walks them."""
        split = list(self._split)
        return View(value, tuple((1,) if sorted(g) == split else g for g in self.groups))

    @property
    def shape(self) -> list[int]:
        """The shape that PyTorch sees."""
        sizes = self._sizes
        return [math.prod(sizes[n] for n in group) for group in self.groups]

    @property
    def walked(self) -> list[int]:
        """The dimensions of `value` larger than 1, in PyTorch's order of the elements."""
        sizes = self._sizes
        return [n for group in self.groups for n in group if sizes[n] > 1]

    @property
    def is_plain(self) -> bool:
        """Whether PyTorch sees the value as it is."""
        return self.normal().groups == View.of(self.value).groups

    @property
    def is_flat(self) -> bool:
        """Whether PyTorch sees a vector, perhaps among dimensions of size 1, of the elements in the value's order."""
        return self.walked == sorted(self.walked) and sum(n > 1 for n in self.shape) <= 1

    def reshaped(self, shape: Sequence[int]) -> View | None:
        """The elements in PyTorch's order with another shape; None where that splits a dimension but the channels."""
        whole = self._regrouped(shape)
        if whole is None and not self.factors and (factors := self._factors(shape)):
            walked = range(FIRST_FACTOR, FIRST_FACTOR + len(factors))
            groups = (tuple(m for n in group for m in (walked if n == 1 else [n])) for group in self.groups)
            return View(self.value, tuple(groups), factors)._regrouped(shape)
        return whole

    def _factors(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The sizes of a shape into which the channels are split; () where they are not."""
        sizes, walked = self._sizes, self.walked
        before = math.prod(sizes[n] for n in walked[: walked.index(1)]) if 1 in walked else 0
        ends, found = itertools.accumulate(shape, mul), []
        for size, end in zip(shape, ends, strict=True):
            if before < end <= before * sizes[1] and size > 1:
                found.append(size)
        return tuple(found) if before and math.prod(found) == sizes[1] else ()

    def _regrouped(self, shape: Sequence[int]) -> View | None:
        sizes, rest, groups = self._sizes, self.walked, list[tuple[int, ...]]()
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

    @property
    def _split(self) -> range:
        """The numbers of the dimensions into which the channels are split."""
        return range(FIRST_FACTOR, FIRST_FACTOR + len(self.factors))

    @property
    def _sizes(self) -> dict[int, int]:
        """The size of each dimension by its number."""
        sizes = ir.RankedTensorType(self.value.type).shape
        return dict(enumerate(sizes)) | dict(zip(self._split, self.factors, strict=True))
