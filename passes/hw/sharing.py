"""Multipliers that make products of several epilogues of an engine, one row after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gradcam.passes.program.engines import Engine, latency_of, stage_of
from gradcam.passes.program.nest import Node


@dataclass(eq=False)
class Multiplier:
    """Products of which every row has at most one.

    Attributes:
        products: by row.
        totals: by accumulator among the factors the sum that stands for it, see `Datapath._totals`.
    """

    products: dict[int, Node] = field(default_factory=dict)
    totals: dict[int, Node] = field(default_factory=dict)

    def fits(self, node: Node, shape: Callable[[Node], int]) -> bool:
        """Whether another row's product has these factors, up to constants."""
        return any([*map(shape, node.args)] == [*map(shape, own.args)] for own in self.products.values())

    def picks(self, shape: Callable[[Node], int]) -> bool:
        """Whether rows differ in their factors."""
        return len({tuple(map(shape, node.args)) for node in self.products.values()}) > 1


def share_multipliers(engine: Engine, multipliers: dict[int, Multiplier], shape: Callable[[Node], int]) -> None:
    """Finds the multiplier of every product of an epilogue.

    Rows share one where their products are alike in type and stage, in which only one row has a step at a time. Then
    rows pick its factors, and share what follows as they do for equal products.

    Args:
        engine: the engine.
        multipliers: where to put them, by product (its id).
        shape: a number for the expression below a node; it may look up the multipliers found before.
    """
    pools: dict[Any, list[Multiplier]] = {}
    for row, nest in enumerate(engine.rows):
        products: dict[Any, list[Node]] = {}
        for node in (n for n in nest.epilogue.nodes if n.kind == "arith.muli"):
            key = stage_of(node.op), latency_of(node.op, node.kind), node.bits, *nest.epilogue.extents
            products.setdefault(key, []).append(node)
        for key in sorted(products):  # a factor may depend on a product of an earlier stage
            pool = pools.setdefault(key, [])
            # First those that need no choice of factors.
            for node in sorted(products[key], key=lambda n: not any(m.fits(n, shape) for m in pool)):
                free = [m for m in pool if row not in m.products]
                multiplier = max(free, key=lambda m: m.fits(node, shape), default=None)
                if multiplier is None:
                    pool.append(multiplier := Multiplier())
                multiplier.products[row] = node
                multipliers[id(node)] = multiplier
