"""Expressions of an engine's nests that are equal up to constants, and tables of these constants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Any

from gradcam.bits import signed_bits
from gradcam.passes.hw.sharing import Multiplier
from gradcam.passes.program.clock import EXTENSION
from gradcam.passes.program.engines import Engine, latency_of, stage_of
from gradcam.passes.program.nest import Dataflow, Nest, Node

#: Readers that keep what they read: multipliers have been chosen for their factors, and bits by extensions.
_FACTORS = (*EXTENSION, "arith.muli", "reduce", "table")


class Shapes:
    """Numbers expressions: expressions that are equal up to constants get the same number.

    Attributes:
        columns: by id of a constant operand, its value in every configuration; filled by `make_columns`.
        tables: by id of a lookup, the entries of its table in every configuration; filled by `make_columns`.
        signs: by id of an extension, 1 for every configuration in which the integer has a sign, else 0; filled by
            `make_columns`.
        sums: by id of a value that is read without a term, the sum that is read in its place; filled by `share_sums`.
        terms: by id of such a sum, the term, and 1 for every configuration in which it counts; filled by `share_sums`.
    """

    def __init__(self, engine: Engine, multipliers: Mapping[int, Multiplier]) -> None:
        """Takes the engine and the multiplier of each product, by id; products of one multiplier count as equal."""
        self.engine, self.multipliers = engine, multipliers
        self.columns: dict[int, list[int]] = {}
        self.tables: dict[int, list[tuple[int, ...]]] = {}
        self.signs: dict[int, list[int]] = {}
        self.sums: dict[int, Node] = {}
        self.terms: dict[int, tuple[Node, list[int]]] = {}
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
            shape = (kind, type_, what, tuple(self.number(self.read(a)) for a in args))
            self._shapes[id(node)] = self._numbers.setdefault(shape, len(self._numbers))
        return self._shapes[id(node)]

    def read(self, node: Node) -> Node:
        """What is read as an argument: the node, or a sum in its place."""
        return self.sums.get(id(node), node)

    def arguments(self, node: Node) -> Sequence[Node]:
        """The arguments of a node; for a sum of two non-constant values in a canonical order, so that a + b = b + a."""
        if node.kind == "arith.addi" and all(a.kind != "const" for a in node.args):
            return sorted(node.args, key=lambda a: self.number(self.read(a)))
        return node.args

    def nest_of(self, node: Node) -> Nest:
        """The nest that contains the loop of an induction variable."""
        return next(n for n in self.engine.configurations if any(node.what is loop for loop in n.loops))

    def share_sums(self) -> None:
        """Lets epilogues that do the same with a value as others with the sum of it and a term read this sum.

        The term is 0 in their configurations. So the ops behind a residual are there once, and not a second time for
        layers without one. The bits of an accumulator and its bias are shared elsewhere, see `Datapath._totals`.
        """
        for epilogue in self.engine.epilogues:
            for total in epilogue.flow.nodes:
                if total.kind == "arith.addi" and not any(a.kind in ("const", "acc") for a in total.args):
                    for value, term in (total.args, total.args[::-1]):
                        self._share_sum(total, value, term)

    def _share_sum(self, total: Node, value: Node, term: Node) -> None:
        """Lets the readers of `value` in epilogues that have no such sum as `total` read it instead."""
        number, term_number = self.number(total), self.number(self.read(term))
        plain = {self.number(value), *(self.number(a) for a in value.args if value.kind == "arith.trunci")}
        sums = [(e, [n for n in e.flow.nodes if self.number(n) == number]) for e in self.engine.epilogues]
        uses = {_use(n) for e, own in sums for n in _readers(e.flow, own)}
        found = dict[int, Node]()
        for epilogue in (e for e, own in sums if not own):
            for place, node in enumerate(epilogue.flow.nodes):
                if self.number(node) in plain and _can_read(epilogue.flow, node, total, uses):
                    flows = [self.engine.configurations[i].epilogue for i in epilogue.configurations]
                    if not self._depends_on(total, {id(n) for flow in flows for n in flow.nodes}):
                        found |= {id(flow.nodes[place]): total for flow in flows}
        if found:
            counts = {i for e, own in sums if own for i in e.configurations}
            column = [int(i in counts) for i in range(len(self.engine.configurations))]
            for node in (n for _, own in sums for n in own):
                terms = (a for a in node.args if self.number(self.read(a)) == term_number)
                self.terms[id(node)] = next(terms), column
            self.sums |= found
            self._shapes.clear()  # what reads the sum now has other numbers

    def _depends_on(self, node: Node, ids: Collection[int]) -> bool:
        """Whether one of the nodes with these ids is read on the way to `node`."""
        args = [self.read(a) for a in node.args]
        return any(id(a) in ids or self._depends_on(a, ids) for a in args)

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


def _readers(flow: Dataflow, values: Sequence[Node]) -> list[Node]:
    return [n for n in flow.nodes if any(a is v for a in n.args for v in values)]


def _can_read(flow: Dataflow, node: Node, total: Node, uses: Set[Any]) -> bool:
    """Whether all that reads `node` is one of the `uses` of the sum `total`, which can replace it there."""
    own = _readers(flow, [node])
    is_cut = all(n.kind == "arith.trunci" and n.bits <= total.bits for n in own)
    fits = (node.type_ == total.type_ or is_cut) and not any(n.kind in _FACTORS for n in own)
    return bool(own) and fits and all(s.value is not node for s in flow.sinks) and {_use(n) for n in own} <= uses


def _use(node: Node) -> tuple[Any, ...]:
    """What an op is, but for what it reads, and where."""
    what = tuple(sorted(node.what.items())) if isinstance(node.what, dict) else None
    return node.kind, str(node.type_), what, stage_of(node.op), latency_of(node.op, node.kind)


def _has_sign(node: Node) -> int:
    """1 for an extension by the sign, 0 for one by zeros."""
    return int(node.kind == "arith.extsi")
