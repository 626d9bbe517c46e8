"""Which pixels gradcam-group-pixels puts side by side: the maps for which it can, and the steps that this takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from torch_mlir import ir

from gradcam.dialect.layout_ops import channels_per_tap
from gradcam.dialect.ops import groups_of
from gradcam.dialect.traits import Elementwise, has
from gradcam.dialect.verify import ints, shape, sides
from gradcam.passes.ir.classes_of_values import Classes
from gradcam.passes.ir.explanations import class_dependents
from gradcam.passes.ir.queries import is_argument
from gradcam.passes.linalg.pixel_groups import SINGLE, Group, GroupedAxis
from gradcam.passes.linalg.stem_axes import StemAxis, cheapest
from gradcam.passes.linalg.stored_constants import is_stored_constant
from gradcam.pe import PE

#: The products whose weights can be rewritten, and whether they read the output side of the convolution.
PRODUCTS = {"gradcam.conv2d": False, "gradcam.conv2d_adjoint": True}


class Reader(NamedTuple):
    """An op that reads maps.

    Attributes:
        op: the op.
        maps: the maps that it reads.
        result: the map in groups that it can compute; None for an op that reads single pixels alone.
        is_product: whether it is one of `PRODUCTS`, which can read other groups than it computes.
    """

    op: Any
    maps: tuple[ir.Value, ...]
    result: ir.Value | None
    is_product: bool

    @property
    def joins(self) -> bool:
        """Whether its result should have the groups of the maps that it reads."""
        return self.result is not None and not (self.is_product and ints(self.op, "stride", 2, 1) != [1, 1])


def readers_of(block: ir.Block) -> list[Reader]:
    """The ops of a block that read maps, in order."""
    readers = list[Reader]()
    for op in block.operations:
        if maps := tuple(filter(is_map, op.operands)):
            product_ = _is_product(op)
            readers.append(Reader(op, maps, op.results[0] if product_ or _is_elementwise(op) else None, product_))
    return readers


def is_map(value: ir.Value) -> bool:
    """Whether a value is a feature map, 1xCxHxW, or a gradient or mask of one."""
    return isinstance(value.type, ir.RankedTensorType) and len(shape(value)) == 4


def _is_elementwise(op: Any) -> bool:
    """Whether an op computes a map of the elements at the same place of maps of its shape."""
    return has(op, Elementwise) and all(not is_map(x) or shape(x) == shape(op.results[0]) for x in op.operands)


def _is_product(op: Any) -> bool:
    """Whether an op is a convolution without groups, or its adjoint, whose weights and bias are constants."""
    is_dense = op.operation.name in PRODUCTS and groups_of(op) == 1
    return is_dense and all(map(is_stored_constant, list(op.operands)[1:]))


def axes_between(op: Any, operand: Group, result: Group) -> list[GroupedAxis]:
    """The axes of a product with its operand and its result in these groups."""
    (x, y), (inputs, outputs) = (op.operands[0], op.results[0]), (operand, result)
    if PRODUCTS[op.operation.name]:
        (x, y), (inputs, outputs) = (y, x), (outputs, inputs)
    numbers = shape(x)[2:], shape(y)[2:], shape(op.operands[1])[2:], ints(op, "stride", 2, 1), sides(op)[0]
    return [GroupedAxis(*axis) for axis in zip(*numbers, ints(op, "dilation", 2, 1), inputs, outputs, strict=True)]


@dataclass
class Choice:
    """Groups of the maps of a block.

    Attributes:
        readers: the ops of the block that read maps.
        pe: the array.
        areas: the maps that may have groups, each with the number of its area; all maps of an area have the same.
        groups: the groups of each area.
        gradients: the maps that depend on the class that is explained.
    """

    readers: list[Reader]
    pe: PE
    areas: dict[ir.Value, int]
    groups: list[Group]
    gradients: set[ir.Value]
    _steps: dict[tuple[ir.Value, Group, Group], int | None] = field(default_factory=dict)
    _copies: dict[ir.Value, int] = field(default_factory=dict)

    @property
    def is_any(self) -> bool:
        """Whether any map has groups of several pixels."""
        return any(group != SINGLE for group in self.groups)

    def group(self, map_: ir.Value) -> Group:
        """The group of pixels in which a map is computed; single pixels of one that is in no area."""
        return self.groups[self.areas[map_]] if map_ in self.areas else SINGLE

    def products(self) -> Iterator[tuple[Any, Group, Group]]:
        """Each product, with the groups of its operand and of the result that it computes."""
        there = dict[ir.Value, list[Group]]()
        for map_, group in self._copied():
            there.setdefault(map_, []).append(group)
        for reader in self.readers:
            if reader.is_product:
                x = reader.maps[0]
                yield reader.op, *self._between(reader.op, [self.group(x), *there.get(x, [])])

    def _copied(self) -> dict[tuple[ir.Value, Group], None]:
        """The maps that ops other than products read in other groups than they are computed in, and these groups."""
        copied = dict[tuple[ir.Value, Group], None]()
        for reader in self.readers:
            if not reader.is_product:
                group = SINGLE if reader.result is None else self.group(reader.result)
                copied |= {(x, group): None for x in reader.maps if self.group(x) != group}
        return copied

    def _between(self, op: Any, there: list[Group]) -> tuple[Group, Group]:
        """The cheapest groups of a product whose operand is `there` in some groups, the first of which it has itself.

        Where no convolution of groups leads from one of them to the result, one with single pixels on the input side
        does, which are a copy of the map then, or make one.
        """
        group = self.group(op.results[0])
        steps = {(g, group): n for g in there if (n := self.steps(op, g, group)) is not None}
        if steps:
            return min(steps, key=steps.__getitem__)
        return (there[0], SINGLE) if PRODUCTS[op.operation.name] else (SINGLE, group)

    def steps(self, op: Any, operand: Group, result: Group) -> int | None:
        """Steps of a product between these groups; None where there is none."""
        key = op.results[0], operand, result
        if key not in self._steps:
            self._steps[key] = self._count(op, axes_between(op, operand, result))
        return self._steps[key]

    def _count(self, op: Any, axes: list[GroupedAxis]) -> int | None:
        if any(a.find_window() is None for a in axes):
            return None
        outputs, inputs = (Group(*(getattr(a, name) for a in axes)) for name in ("outputs", "inputs"))
        out, channels = outputs.channels(shape(op.operands[1])[0]), inputs.channels(shape(op.operands[1])[1])
        if PRODUCTS[op.operation.name]:
            rows, columns = (a.adjoint_steps for a in axes)
        elif is_argument(op.operands[0]) and inputs == SINGLE:
            return cheapest([_stem_axis(a) for a in axes], channels, [out], self.pe)[1]
        else:
            rows, columns = (a.steps for a in axes)
        return -(-out // self.pe.oc) * -(-channels // self.pe.ic) * rows * columns

    @property
    def cost(self) -> int:
        """Steps of the products and of the copies."""
        copied, total = self._copied(), 0
        for op, operand, result in self.products():
            total += self.steps(op, operand, result) or 0
            if operand != self.group(op.operands[0]):
                copied[op.operands[0], operand] = None
            if result != self.group(op.results[0]):
                copied[op.results[0], result] = None
        return total + sum(self._copy_steps(map_) for map_, _ in copied)

    def _copy_steps(self, map_: ir.Value) -> int:
        """A step for each pixel; in a gradient, the lanes behind the channels become 0 before."""
        if map_ not in self._copies:
            self._copies[map_] = (1 + (map_ in self.gradients)) * shape(map_)[2] * shape(map_)[3]
        return self._copies[map_]


def _stem_axis(axis: GroupedAxis) -> StemAxis:
    kernel, stride, low, high, dilation = axis.window
    return StemAxis(axis.size, kernel, stride, low, high, dilation, axis.out // axis.outputs)


def choose(function: Any, pe: PE) -> Choice:
    """The groups with which the ops of a function take the fewest steps: one area after the other, while that helps."""
    readers = readers_of(function.entry_block)
    areas = _areas(readers)
    groups = [SINGLE] * (max(areas.values(), default=-1) + 1)
    choice = Choice(readers, pe, areas, groups, class_dependents(function))
    options = [_options([m for m, a in areas.items() if a == area], pe) for area in range(len(groups))]
    best, is_better = choice.cost if any(options) else 0, any(options)
    while is_better:
        is_better = False
        for area, candidates in enumerate(options):
            for group in candidates:
                before, groups[area] = groups[area], group
                if (cost := choice.cost) < best:
                    best, is_better = cost, True
                else:
                    groups[area] = before
    return choice


def _options(maps: list[ir.Value], pe: PE) -> list[Group]:
    """The groups of several pixels that all maps of an area can have and the lanes hold of the narrowest one."""
    most = pe.lanes // min(channels_per_tap(shape(m)[1]) for m in maps)
    sizes = [1 << n for n in range(most.bit_length())]
    groups = [Group(rows, columns) for rows, columns in product(sizes, sizes) if 1 < rows * columns <= most]
    pixels = [shape(m)[2:] for m in maps]
    return [g for g in groups if not any(height % g.rows or width % g.columns for height, width in pixels)]


def _areas(readers: list[Reader]) -> dict[ir.Value, int]:
    """The maps that may have groups, each with the number of its area."""
    maps = dict.fromkeys(r.result for r in readers if r.result is not None)
    areas, numbers = Classes(), dict[ir.Value, int]()
    for reader in readers:
        if reader.joins and reader.result is not None:
            for x in reader.maps:
                if x in maps:
                    areas.join(x, reader.result)
    return {m: numbers.setdefault(areas.of(m), len(numbers)) for m in maps}
