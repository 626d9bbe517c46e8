"""The lowered forms of a gradcam value other than one tensor, and elementwise ops on all of these forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.passes.ir.queries import result_locations
from gradcam.passes.linalg.builders import (
    const,
    elementwise,
    empty,
    extract_slice,
    filled,
    insert_slice,
    integer,
    shape,
    widened,
    width,
)
from gradcam.passes.linalg.words import Words, covers


class Row(NamedTuple):
    """The weights of one class in a packed table (oct x ict x KH x KW x OC x IC): their tile, and their lane in it."""

    table: ir.Value
    tile: ir.Value | int
    lane: ir.Value

    @property
    def is_vector(self) -> bool:
        """Whether there is one weight per channel, and not a map of them."""
        return shape(self.table)[2:4] == [1, 1]

    def tiles(self) -> ir.Value:
        """The tile with all its lanes, 1 x ict x KH x KW x OC x IC."""
        dims = [1, *shape(self.table)[1:]]
        return extract_slice(self.table, [self.tile, 0, 0, 0, 0, 0], dims, dims)

    def lanes(self) -> ir.Value:
        """The lane alone, ict x KH x KW x IC."""
        _, ict, kh, kw, _, ic = shape(self.table)
        return extract_slice(self.table, [self.tile, 0, 0, 0, self.lane, 0], [1, ict, kh, kw, 1, ic], [ict, kh, kw, ic])


class Halves(NamedTuple):
    """A tensor of 16-bit integers as two of 8 bits: the value is high * 256 + low, and low is signed."""

    high: ir.Value
    low: ir.Value

    @staticmethod
    def whole(high: ir.Value, low: ir.Value) -> ir.Value:
        """The scalar of i32 whose halves, or sums of products with them, are given."""
        return arith.addi(widened(low, 32), arith.shli(widened(high, 32), const(32, 8)))

    @staticmethod
    def parts(value: ir.Value) -> list[ir.Value]:
        """The halves of a scalar of i32."""
        upper = arith.shrsi(arith.addi(value, const(32, 128)), const(32, 8))
        return [arith.trunci(integer(8), half) for half in (upper, value)]

    @staticmethod
    def of(x: ir.Value) -> Halves:
        """The halves of a tensor of signed integers, of 16 bits at most."""
        return Halves(*elementwise(x, [], [8, 8], lambda value: Halves.parts(widened(value, 32))))

    def joined(self, bits: int) -> ir.Value:
        """The tensor of `bits`-wide integers of which these are the halves."""
        return elementwise(
            self.high, [self.low], bits, lambda high, low: arith.trunci(integer(bits), Halves.whole(high, low))
        )


class Placed(NamedTuple):
    """A feature map whose channels may lie in any lanes of a tensor (H x W x lanes).

    Attributes:
        packed: the tensor.
        places: the lane of each channel; -1 for a channel of zeros.
        used: the lanes of the tensor that hold a channel of any map; in a gradient the other lanes are zeros.
    """

    packed: ir.Value
    places: tuple[int, ...]
    used: frozenset[int]

    @property
    def is_full(self) -> bool:
        """Whether the map has all channels of the tensor, and no others."""
        return set(self.places) == self.used

    def shifted(self, lanes: int) -> Placed:
        """The places in a tensor with `lanes` more lanes before."""
        places = tuple(-1 if p < 0 else p + lanes for p in self.places)
        return self._replace(places=places, used=frozenset(p + lanes for p in self.used))

    @property
    def layout(self) -> Layout:
        """The places of the channels among all lanes of the tensor."""
        return Layout(self.places, shape(self.packed)[2])

    def selected(self, lanes: int) -> Layout:
        """The fewest words of `lanes` lanes that hold its channels, in segments that are alike."""
        there = {p // lanes for p in self.places if p >= 0}
        found = covers(sum(1 << word for word in there))
        words = next(w for w in reversed(found) if w.first >= 0 and w.last < shape(self.packed)[2] // lanes)
        places = (p if p < 0 else words.numbered(p // lanes) * lanes + p % lanes for p in self.places)
        return Layout(tuple(places), words.number * lanes, words)


class Layout(NamedTuple):
    """In which lanes the weights of a layer have its input channels.

    Attributes:
        places: the lane of each channel; -1 for a channel of zeros.
        lanes: the number of lanes.
        words: the words of a map that have these lanes; None for all words from the first one on.
    """

    places: tuple[int, ...]
    lanes: int
    words: Words | None = None

    def of_gradient(self, packed: ir.Value) -> Placed:
        """The gradient at this map, in the same places; lanes that hold none of its channels are zeros."""
        return Placed(packed, self.places, frozenset(p for p in self.places if p >= 0))

    def spread(self, array: np.ndarray) -> np.ndarray:
        """An array O x C x ... with dimension 1 in the places of the channels: O x lanes x ..., zero elsewhere."""
        spread = np.zeros((len(array), self.lanes, *array.shape[2:]), array.dtype)
        for channel, place in enumerate(self.places):
            if place >= 0:
                spread[:, place] = array[:, channel]
        return spread


class Parities(NamedTuple):
    """A feature map (H x W x lanes) as its strided parts: part (a, b) has rows a, a + s, ..., alike for columns.

    A part is None where all its elements are 0.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    parts: dict[tuple[int, int], ir.Value | None]

    def take(self, tensor: ir.Value, parity: tuple[int, int]) -> ir.Value:
        """The elements of a tensor (H x W x C) that belong to a part."""
        dims = [*self.extent(parity), shape(tensor)[2]]
        return extract_slice(tensor, [*parity, 0], dims, dims, [*self.stride, 1])

    def extent(self, parity: tuple[int, int]) -> list[int]:
        """Height and width of a part."""
        return [-(-(n - a) // s) for n, s, a in zip(self.size, self.stride, parity, strict=True)]

    def joined(self) -> ir.Value:
        """The whole map as one tensor."""
        example = next(p for p in self.parts.values() if p is not None)
        dims, bits = [*self.size, shape(example)[2]], width(example)
        whole = filled(dims, bits, 0) if any(p is None for p in self.parts.values()) else empty(dims, bits)
        location = result_locations(example.owner)[ir.OpResult(example).result_number]
        with location:  # the name of the buffer
            for parity, part in self.parts.items():
                if part is not None:
                    whole = insert_slice(part, whole, [*parity, 0], [*self.stride, 1])
        return whole


def parities(size: Sequence[int], stride: Sequence[int]) -> list[tuple[int, int]]:
    """The parts that a map of `size` has with `stride`."""
    a, b = (range(min(n, s)) for n, s in zip(size, stride, strict=True))
    return list(product(a, b))


def joined(value: Any) -> ir.Value:
    """A map as one tensor."""
    return value.joined() if isinstance(value, Parities) else value


def pointwise(
    maps: Sequence[Any], others: Sequence[ir.Value], bits: int | Sequence[int], body: Callable[..., Any]
) -> Any:
    """Applies `body` to each element of `maps` (tensors H x W x C or Parities); 0 where all maps are 0.

    Args:
        maps: at least one; `body` gets a scalar of each.
        others: further operands: tensors as large as the maps, or vectors over C.
        bits: width of the result, or the widths of several results.
        body: computes the scalar result, or the list of scalars of several results.

    Returns:
        Parities where one of the maps has them, else a tensor; of several results a list.
    """
    split = next((m for m in maps if isinstance(m, Parities)), None)
    if split is None:
        return elementwise(maps[0], [*maps[1:], *others], bits, body)
    alike = [m if not isinstance(m, Parities) or m.stride == split.stride else m.joined() for m in maps]
    parts = {}
    for parity in split.parts:
        values = [m.parts[parity] if isinstance(m, Parities) else split.take(m, parity) for m in alike]
        more = [split.take(o, parity) if len(shape(o)) == 3 else o for o in others]
        parts[parity] = _part(values, more, bits, body, [_bits(m) for m in alike])
    if isinstance(bits, int):
        return split._replace(parts=parts)
    of_result = [{p: part and part[n] for p, part in parts.items()} for n in range(len(bits))]
    return [split._replace(parts=part) for part in of_result]


def _part(
    values: list[ir.Value | None],
    others: list[ir.Value],
    bits: int | Sequence[int],
    body: Callable[..., Any],
    widths: list[int],
) -> Any:
    present = [v for v in values if v is not None]
    if not present:
        return None

    def with_zeros(*scalars: ir.Value) -> Any:
        rest = iter(scalars)
        filled_in = [const(w, 0) if v is None else next(rest) for v, w in zip(values, widths, strict=True)]
        return body(*filled_in, *rest)

    return elementwise(present[0], [*present[1:], *others], bits, with_zeros)


def _bits(value: Any) -> int:
    return width(next(p for p in value.parts.values() if p is not None) if isinstance(value, Parities) else value)
