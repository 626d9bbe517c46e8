"""Expressions of an engine's nests that are equal up to constants, and tables of these constants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradcam.bits import signed_bits
from gradcam.passes.hw.sharing import Multiplier
from gradcam.passes.program.clock import EXTENSION
from gradcam.passes.program.engines import Engine
from gradcam.passes.program.nest import Dataflow, Nest, Node


class Shapes:
    """Numbers expressions: expressions that are equal up to constants get the same number.

    Attributes:
        columns: by id of a constant operand, its value in every configuration; filled by `make_columns`.
        tables: by id of a lookup, the entries of its table in every configuration; filled by `make_columns`.
        signs: by id of an extension, 1 for every configuration in which the integer has a sign, else 0; filled by
            `make_columns`.
    """

    def __init__(self, engine: Engine, multipliers: Mapping[int, Multiplier]) -> None:
        """Takes the engine and the multiplier of each product, by id; products of one multiplier count as equal."""
        self.engine, self.multipliers = engine, multipliers
        self.columns: dict[int, list[int]] = {}
        self.tables: dict[int, list[tuple[int, ...]]] = {}
        self.signs: dict[int, list[int]] = {}
        self._shapes: dict[int, int] = {}
        self._numbers: dict[Any, int] = {}

    def number(self, node: Node) -> int:
        """The number of the expression below a node."""
        if id(node) not in self._shapes:
            what: Any = node.what
            args = self.arguments(node)
            if id(node) in self.multipliers:
                what, args = id(self.multipliers[id(node)]), ()
            elif node.kind == "load":
                what = self.engine.slot_of[id(node.what)].operand
            elif node.kind in ("const", "table", *EXTENSION):
                what = None
            elif node.kind == "iv":
                what = self.engine.loops(self.nest_of(node)).index(node.what)
            elif isinstance(what, dict):
                what = tuple(sorted(what.items()))
            kind = EXTENSION if node.kind in EXTENSION else node.kind
            type_ = None if kind == "load" else str(node.type_)  # loads of one operand may differ in width
            shape = (kind, type_, what, tuple(self.number(a) for a in args))
            self._shapes[id(node)] = self._numbers.setdefault(shape, len(self._numbers))
        return self._shapes[id(node)]

    def arguments(self, node: Node) -> Sequence[Node]:
        """The arguments of a node; for a sum of two non-constant values in a canonical order, so that a + b = b + a."""
        if node.kind == "arith.addi" and all(a.kind != "const" for a in node.args):
            return sorted(node.args, key=self.number)
        return node.args

    def nest_of(self, node: Node) -> Nest:
        """The nest that contains the loop of an induction variable."""
        return next(n for n in self.engine.configurations if any(node.what is loop for loop in n.loops))

    def make_columns(self) -> None:
        """Makes a column per constant operand, with its value in every configuration, per lookup and per extension.

        Constant operands of ops with the same number share a column, also across epilogues, and so share the ops.
        """
        self.columns = self._columns(self._constants)
        self.tables = self._columns(lambda flow: self._of_kinds(flow, "table"))
        self.signs = self._columns(lambda flow: self._of_kinds(flow, *EXTENSION), _has_sign)

    def _of_kinds(self, flow: Dataflow, *kinds: str) -> list[tuple[Any, Node]]:
        """The nodes of some kinds of a dataflow, each with the number of its expression."""
        return [(self.number(n), n) for n in flow.nodes if n.kind in kinds]

    def _columns(
        self, uses: Callable[[Dataflow], list[tuple[Any, Node]]], what: Callable[[Node], Any] = lambda node: node.what
    ) -> dict[int, list[Any]]:
        """By id of a node, what the nodes with its key are in every configuration.

        Args:
            uses: returns the nodes of a dataflow, each with a key of its use.
            what: returns what a node is.
        """
        columns: dict[int, list[Any]] = {}
        entries: dict[Any, list[Any]] = {}
        places: dict[Any, list[Node]] = {}
        for configuration, nest in enumerate(self.engine.configurations):
            seen = Counter[Any]()
            for shape, node in (use for flow in nest.flows for use in uses(flow)):
                # Two ops of one configuration may be equal up to constants, such as two clamps of one value.
                seen[shape] += 1
                key = shape, seen[shape]
                entries.setdefault(key, [None] * len(self.engine.configurations))[configuration] = what(node)
                places.setdefault(key, []).append(node)
        for key, column in entries.items():
            default = next(e for e in column if e is not None)
            values = [default if e is None else e for e in column]
            columns |= {id(n): values for n in places[key]}
        return columns

    def bits_needed(self, node: Node) -> int:
        """Bits of a value; for a constant operand, the bits of its values in all configurations."""
        column = self.columns.get(id(node))
        return signed_bits(min(column), max(column)) if column else node.bits

    def _constants(self, flow: Dataflow) -> list[tuple[Any, Node]]:
        """The constants of a dataflow, each with a key of its use."""
        found = [((self.number(n), i), a) for n in flow.nodes for i, a in enumerate(n.args) if a.kind == "const"]
        sinks = ((i, s.value) for i, s in enumerate(flow.sinks))
        return found + [(("sink", i, value.bits), value) for i, value in sinks if value.kind == "const"]


def _has_sign(node: Node) -> int:
    """1 for an extension by the sign, 0 for one by zeros."""
    return int(node.kind == "arith.extsi")
