"""Ranges of the integers that a nest computes, proved from the constants that it reads.

A range is a pair of arrays, the least and the largest integer, with an axis for each time loop and lane dimension.
Where the range does not depend on one, that axis has length 1. So the weights of every output channel count by
themselves: a sum of w * x with low <= x <= high is at most

    sum over w of max(w * low, w * high, 0)

in every order of its terms, and at least the sum of the minima. What is read from memory has the range of all integers
that were stored there, or else of its type. So have the constants of a program that loads its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from torch_mlir import ir

from gradcam.numerics import PAIR_BITS
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.ir.platform import Platform
from gradcam.passes.ir.queries import global_values, is_argument
from gradcam.passes.program.accumulators import Register
from gradcam.passes.program.nest import Access, Dataflow, Nest, Node

#: Integers from here on could leave 64 bits when they are added up.
_FAR = 1 << 61


class Range(NamedTuple):
    """The least and the largest integer, int64 arrays of one shape."""

    low: np.ndarray
    high: np.ndarray

    @staticmethod
    def of(low: int, high: int, axes: int) -> Range:
        """The same range at every point."""
        return Range(*(np.full((1,) * axes, end, np.int64) for end in (low, high)))

    @property
    def ends(self) -> tuple[int, int]:
        """The least and the largest integer at any point."""
        return int(self.low.min()), int(self.high.max())

    def union(self, other: Range) -> Range:
        """The range that holds both."""
        return Range(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def unless_wrapped(self, whole: Range) -> Range:
        """This range where it is within that of the type, `whole`; else `whole`, since an integer may wrap."""
        (least, most), (low, high) = whole.ends, self.ends
        return self if least <= low and high <= most else whole

    def total(self, axes: Sequence[int], extents: Sequence[int]) -> Range:
        """The range of every partial sum of integers of this range, along axes that have these extents."""
        times = prod(n for axis, n in zip(axes, extents, strict=True) if self.low.shape[axis] == 1)
        low, high = np.minimum(self.low, 0), np.maximum(self.high, 0)
        return Range(*(end.sum(tuple(axes), keepdims=True) * times for end in (low, high)))


def type_range(bits: int) -> tuple[int, int]:
    """The integers of a type with a sign."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def _parameters(bits: int) -> tuple[int, int]:
    """What constants of so many bits can be in any network: all integers of the type, but for shifts."""
    return (0, type_range(bits)[1]) if bits == PAIR_BITS else type_range(bits)


def _corners(compute: Callable[..., np.ndarray], a: Range, b: Range) -> Range:
    """The range of an op that is monotonic in both operands."""
    found = [compute(x, y) for x in a for y in b]
    return Range(np.minimum.reduce(found), np.maximum.reduce(found))


#: The range of an op's result from those of its operands, before the result is brought into its type.
_RULES: Mapping[str, Callable[..., Range]] = {
    "arith.addi": lambda a, b: Range(a.low + b.low, a.high + b.high),
    "arith.subi": lambda a, b: Range(a.low - b.high, a.high - b.low),
    "arith.muli": lambda a, b: _corners(np.multiply, a, b),
    "arith.shrsi": lambda a, b: _corners(np.right_shift, a, b),
    "arith.shli": lambda a, b: _corners(np.left_shift, a, b),
    "arith.maxsi": lambda a, b: Range(np.maximum(a.low, b.low), np.maximum(a.high, b.high)),
    "arith.minsi": lambda a, b: Range(np.minimum(a.low, b.low), np.minimum(a.high, b.high)),
    "arith.select": lambda _, a, b: a.union(b),
    "arith.extsi": lambda a: a,
    "arith.trunci": lambda a: a,
}


class NestRanges:
    """The ranges of the values of a nest.

    Attributes:
        of: by id of a node, its range as an integer with a sign.
        accumulators: the range of each accumulator, from its initial value on; the last axis has its registers.
    """

    def __init__(self, nest: Nest, stored: dict[ir.Value, tuple[int, int]]) -> None:
        """Computes the ranges.

        Args:
            nest: the nest.
            stored: the range of what nests have stored in each buffer so far; what this one stores is added.
        """
        self.nest, self.stored, self.loops = nest, stored, nest.loops
        #: Whether constants are loaded: of them no more is known than what those of every network have in common.
        self.resident = Platform.of(nest.op).resident
        self.of: dict[int, Range] = {}
        self.accumulators = [self._type(a.bits, 1) for a in nest.accumulators]
        if nest.body is not None:
            self._values(nest.body)
            self.accumulators = [self._accumulated(number) for number in range(len(nest.accumulators))]
            self._values(nest.body)
            for sink in nest.body.sinks:  # a step leaves it in its range, although a sum with any term would not
                low, high = self.accumulators[sink.target.number].ends
                self.of[id(sink.value)] = Range.of(low, high, len(self.loops) + len(nest.body.extents))
        self._values(nest.epilogue)
        for sink in nest.epilogue.sinks:
            if isinstance(sink.target, Access):
                low, high = self.of[id(sink.value)].ends
                before = stored.get(sink.target.memref, (low, high))
                stored[sink.target.memref] = min(low, before[0]), max(high, before[1])

    def _values(self, flow: Dataflow) -> None:
        for node in flow.nodes:
            self.of[id(node)] = self._value(node, flow)

    def _type(self, bits: int, lane_dims: int) -> Range:
        return Range.of(*type_range(bits), len(self.loops) + lane_dims)

    def _value(self, node: Node, flow: Dataflow) -> Range:
        dims, depth = len(flow.extents), len(self.loops)
        whole = self._type(node.bits, dims)
        if node.kind == "const":
            return Range.of(node.what, node.what, depth + dims)
        if node.kind == "iv":
            return Range.of(0, node.what.trip - 1, depth + dims)
        if node.kind == "acc":
            return self._read(self.accumulators[node.what.number], node.what, flow)
        if node.kind == "load":
            words = [self._loaded(word) for word in node.what.words]
            return words[0] if len(words) == 1 else words[0].union(words[1])
        if node.kind == "table":
            return Range.of(min(node.what), max(node.what), depth + dims)
        args = [self.of[id(a)] for a in node.args]
        if any(max(map(abs, a.ends)) >= 1 << 47 for a in args):
            return whole
        if node.kind == "arith.extui":
            is_positive, bits = args[0].ends[0] >= 0, node.args[0].bits
            return args[0] if is_positive else Range.of(0, (1 << bits) - 1, depth + dims)
        if node.kind == "reduce":
            found = args[0].total([depth + d for d in node.reduced], [flow.extents[d] for d in node.reduced])
        elif node.kind in _RULES:
            sizes = [max(map(abs, a.ends)) for a in args]
            if (node.kind == "arith.muli" and prod(sizes) >= _FAR) or (node.kind == "arith.shli" and sizes[1] > 13):
                return whole
            found = _RULES[node.kind](*args)
        else:
            return whole
        return found.unless_wrapped(whole)

    def _read(self, accumulator: Range, registers: Register, flow: Dataflow) -> Range:
        """The registers that the lanes of a dataflow read."""
        depth, dims = len(self.loops), len(flow.extents)
        shape = (*accumulator.low.shape[:-1], *(1,) * dims)
        if accumulator.low.shape[-1] == 1:
            return Range(*(end.reshape(shape) for end in accumulator))
        if registers.term is not None:
            return Range(accumulator.low.min(-1).reshape(shape), accumulator.high.max(-1).reshape(shape))
        places = _places_of(registers, flow.extents)
        return Range(*(end[(*[slice(None)] * depth, places)] for end in accumulator))

    def _loaded(self, access: Access) -> Range:
        values, axes = global_values(access.memref), len(self.loops) + len(access.extents)
        if values is not None and self.resident:
            found = Range.of(*_parameters(access.element_bits), axes)
        elif values is not None:
            places = self._places(access.index, access)
            flat = values.ravel().astype(np.int64)
            entries = flat if places is None else flat[np.clip(places, 0, flat.size - 1)]
            found = Range(entries, entries) if places is not None else Range.of(int(flat.min()), int(flat.max()), axes)
        else:
            low, high = type_range(access.element_bits)
            if not is_argument(access.memref):
                low, high = self.stored.get(access.memref, (low, high))
            found = Range.of(low, high, axes)
        return found.union(Range.of(access.otherwise, access.otherwise, axes)) if access.guards else found

    def _places(self, index: Linear, access: Access) -> np.ndarray | None:
        """The index of each element that an access reads; None where run-time values take part."""
        depth = len(self.loops)
        axes = depth + len(access.extents)
        loops = {loop.iv: (number, loop.trip) for number, loop in enumerate(self.loops)}
        places = np.full((1,) * axes, index.get(None, 0))
        for term, factor in index.items():
            if term is None:
                continue
            if term not in loops:
                return None
            number, trip = loops[term]
            places = places + factor * _along(number, axes, trip)
        for dim, (stride, extent) in enumerate(zip(access.strides, access.extents, strict=True)):
            places = places + stride * _along(depth + dim, axes, extent) if stride else places
        return places

    def _accumulated(self, number: int) -> Range:
        """The range of an accumulator in any step of a reduction; that of its type where it is no plain sum."""
        nest, accumulator = self.nest, self.nest.accumulators[number]
        assert nest.body is not None
        whole = self._type(accumulator.bits, 1)
        sinks = [s for s in nest.body.sinks if s.target.number == number]
        term = _term(sinks[0].value, number) if len(sinks) == 1 else None
        if term is None:
            return whole
        outer = len(nest.outer)
        reduced = list(range(outer, outer + len(nest.reduction)))
        total = self.of[id(term)].total(reduced, [loop.trip for loop in nest.reduction])
        total = self._by_register(total, sinks[0].target, nest.body.extents)
        if accumulator.group:  # sums of all positions and groups move through all registers
            total = self._slid(total, accumulator.group, accumulator.lanes)
        return Range(total.low + accumulator.initial, total.high + accumulator.initial).unless_wrapped(whole)

    def _by_register(self, total: Range, registers: Register, extents: Sequence[int]) -> Range:
        """The sums of all lanes with their registers as the last axis."""
        depth, count = len(self.loops), self.nest.accumulators[registers.number].lanes
        shape = (*total.low.shape[:depth], count)
        places, out = _places_of(registers, extents), []
        for end in total:
            lanes = np.broadcast_to(end, (*end.shape[:depth], *places.shape))
            ordered = np.zeros(shape, np.int64)
            ordered[..., places.ravel()] = lanes.reshape(*end.shape[:depth], -1)
            out.append(ordered)
        return Range(*out)

    def _slid(self, total: Range, group: int, lanes: int) -> Range:
        """Each lane of a group gets the terms of all groups, at the positions along the innermost outer loop."""
        along, shape = len(self.nest.outer) - 1, total.low.shape[:-1]
        each = [end.reshape(*shape, lanes // group, group) for end in total]
        low, high = each[0].min(along, keepdims=True).sum(-2), each[1].max(along, keepdims=True).sum(-2)
        return Range(*(np.tile(end, lanes // group) for end in (low, high)))


def _places_of(registers: Register, extents: Sequence[int]) -> np.ndarray:
    """The number of the register of each lane, with an axis for each lane dimension."""
    places = np.full((1,) * len(extents), registers.first)
    for dim, stride in registers.strides:
        places = places + stride * _along(dim, len(extents), extents[dim])
    return places


def _along(axis: int, axes: int, extent: int) -> np.ndarray:
    """The numbers from 0 on along one of several axes."""
    return np.arange(extent).reshape([-1 if i == axis else 1 for i in range(axes)])


def _term(value: Node, number: int) -> Node | None:
    """What a step adds to an accumulator; None where it does anything else."""
    if value.kind != "arith.addi":
        return None
    sums = [a for a in value.args if a.kind == "acc" and a.what.number == number]
    others = [a for a in value.args if not a.reads_accumulator]
    return others[0] if len(sums) == len(others) == 1 else None


def ranges_of(nests: Sequence[Nest]) -> list[NestRanges]:
    """The ranges of each of the nests of a program, in program order."""
    stored: dict[Any, tuple[int, int]] = {}
    return [NestRanges(nest, stored) for nest in nests]
