"""Chains of tensor.insert_slice: slices of one buffer, which the nests that compute them write in place if possible."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.ir.linear_form import Linear, plus
from gradcam.passes.ir.queries import owner_name


@dataclass(eq=False)
class Part:
    """A slice of a chain: element i of the slice is element offset + stride * i of the whole, in every dimension."""

    op: Any
    chain: Chain
    offsets: list[int]
    sizes: list[int]
    strides: list[int]

    @property
    def forms(self) -> list[Linear]:
        """Indices of the whole over placeholders 0, 1, ... for those of the slice."""
        each = enumerate(zip(self.offsets, self.strides, strict=True))
        return [plus({i: stride}, {None: offset}) for i, (offset, stride) in each]

    def meets(self, other: Part) -> bool:
        """Whether two slices have an element of the whole in common."""
        return all(set(a) & set(b) for a, b in zip(self._ranges(), other._ranges(), strict=True))

    def _ranges(self) -> list[range]:
        each = zip(self.offsets, self.sizes, self.strides, strict=True)
        return [range(offset, offset + size * stride, stride) for offset, size, stride in each]


@dataclass(eq=False)
class Chain:
    """A tensor into which slices are inserted one after the other.

    Attributes:
        root: the tensor.empty, or the linalg.fill with a constant, that the chain starts from.
        parts: the slices in the order of their insertion.
        inside: the slice of another chain that the whole is, None for a whole of its own.
    """

    root: Any
    parts: list[Part] = field(default_factory=list)
    inside: Part | None = None

    @property
    def result(self) -> ir.Value:
        """The whole with all slices."""
        return self.parts[-1].op.results[0]


@dataclass(eq=False)
class Insertions:
    """The tensor.insert_slice ops of a block.

    Attributes:
        by_op: the slice that each op inserts, by the op's result.
        in_place: the slices that the nests that compute them write in place, by the tensor that is inserted. All other
            slices are copied: another whole has them in place, or no nest computes them.
    """

    by_op: dict[ir.Value, Part] = field(default_factory=dict)
    in_place: dict[ir.Value, Part] = field(default_factory=dict)


def insert_chains(block: ir.Block) -> Insertions:
    """The slices that the tensor.insert_slice ops of a block insert.

    A chain is identified by its insertions and not by its root: two chains may start from one tensor.empty. The whole
    of one chain may be a slice of another. A reduction whose result is inserted several times is duplicated.

    Raises:
        GradcamError: the slices of a chain overlap, or its root is neither a tensor.empty nor a linalg.fill with a
            constant.
    """
    chains: dict[ir.Value, Chain] = {}
    found = Insertions()
    for op in list(block.operations):
        if op.operation.name == "tensor.insert_slice":
            _make_apart(op)
            source, whole = list(op.operands)[:2]
            chain = chains[whole] if whole in chains else Chain(_root(op, whole))
            part = _part(op, chain)
            if any(part.meets(other) for other in chain.parts):
                raise fail(op, "slices that are put together must not overlap")
            chain.parts.append(part)
            chains[op.results[0]] = chain
            found.by_op[op.results[0]] = part
            inner = chains.get(source)
            if inner is not None and inner.inside is None:
                inner.inside = part
            elif inner is None and owner_name(source) == "linalg.generic" and source not in found.in_place:
                found.in_place[source] = part
    return found


def _make_apart(op: Any) -> None:
    """Gives an insertion of a reduction's result, which accumulates in place, a result that no other one inserts."""
    source = op.operands[0]
    if owner_name(source) != "linalg.generic" or "reduction" not in str(source.owner.attributes["iterator_types"]):
        return
    insertions = [use for use in source.uses if use.owner.operation.name == "tensor.insert_slice"]
    if len(insertions) > 1:
        with ir.InsertionPoint(source.owner):
            op.operation.operands[0] = source.owner.operation.clone().results[ir.OpResult(source).result_number]


def _root(op: Any, whole: ir.Value) -> Any:
    name = owner_name(whole)
    if name == "linalg.fill" and owner_name(whole.owner.operands[0]) != "arith.constant":
        raise fail(op, "a tensor that slices are inserted into must be filled with a constant")
    if name not in ("tensor.empty", "linalg.fill"):
        raise fail(op, "slices can only be put together in a tensor.empty or a linalg.fill")
    return whole.owner


def _part(op: Any, chain: Chain) -> Part:
    source, whole = list(op.operands)[:2]
    if len(op.operands) != 2 or ir.RankedTensorType(source.type).rank != ir.RankedTensorType(whole.type).rank:
        raise fail(op, "a slice must have the rank of the whole, and constant offsets, sizes and strides")
    if chain.parts and len(list(whole.uses)) != 1:
        raise fail(op, "the whole may only be read when all its slices are inserted")
    numbers = (list(ir.DenseI64ArrayAttr(op.attributes[f"static_{n}"])) for n in ("offsets", "sizes", "strides"))
    return Part(op, chain, *numbers)
