"""Multipliers that are shared by epilogues of an engine's configurations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gradcam.passes.program.engines import Engine, latency_of, stage_of
from gradcam.passes.program.nest import Node


@dataclass(eq=False)
class Multiplier:
    """A multiplier, which computes at most one product in each configuration.

    Attributes:
        products: the product of each configuration, by its number.
        totals: by number of an accumulator among the factors, the sum that replaces it, see `Datapath._totals`.
    """

    products: dict[int, Node] = field(default_factory=dict)
    totals: dict[int, Node] = field(default_factory=dict)

    def fits(self, node: Node, shape: Callable[[Node], int]) -> bool:
        """Whether another configuration's product has the same factors as `node`, up to constants."""
        return any([*map(shape, node.args)] == [*map(shape, own.args)] for own in self.products.values())

    def selects_factors(self, shape: Callable[[Node], int]) -> bool:
        """Whether the multiplier must select its factors, because configurations differ in them."""
        return len({tuple(map(shape, node.args)) for node in self.products.values()}) > 1


def share_multipliers(engine: Engine, multipliers: dict[int, Multiplier], shape: Callable[[Node], int]) -> None:
    """Assigns a multiplier to every product of the epilogues.

    A multiplier is shared by products of several configurations with equal type, latency, lanes and stage: only one
    configuration has a step in a stage at a time. Its factors are then multiplexed by the configuration, and ops behind
    it are shared as for equal products.

    Args:
        engine: the engine.
        multipliers: receives the multiplier of each product, by the product's id.
        shape: returns a number for the expression below a node; it may look up multipliers assigned before.
    """
    pools: dict[Any, list[Multiplier]] = {}
    for configuration, nest in enumerate(engine.configurations):
        products: dict[Any, list[Node]] = {}
        for node in (n for n in nest.epilogue.nodes if n.kind == "arith.muli"):
            key = stage_of(node.op), latency_of(node.op, node.kind), node.bits, *nest.epilogue.extents
            products.setdefault(key, []).append(node)
        for key in sorted(products):  # a factor may depend on a product of an earlier stage
            pool = pools.setdefault(key, [])
            # First the products that need no multiplexers before a multiplier.
            for node in sorted(products[key], key=lambda n: not any(m.fits(n, shape) for m in pool)):
                free = [m for m in pool if configuration not in m.products]
                multiplier = max(free, key=lambda m: m.fits(node, shape), default=None)
                if multiplier is None:
                    pool.append(multiplier := Multiplier())
                multiplier.products[configuration] = node
                multipliers[id(node)] = multiplier
