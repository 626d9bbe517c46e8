"""Lookups of a datapath in constant tables: a memory per lane, which holds the tables of all configurations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pycde.circt import ir

from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import Value, bits_for
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.nest import Node

#: The attribute of a lookup's module with the bytes of its tables.
BYTES = "gradcam_table_bytes"

if TYPE_CHECKING:
    from gradcam.passes.hw.datapath import Datapath


class Tables:
    """Builds the lookups of a datapath; lookups with equal indices and tables are one."""

    def __init__(self, path: Datapath) -> None:
        """Takes the datapath."""
        self.path, self.b = path, path.b
        #: The modules by their contents, and the entries looked up, by the contents and the address.
        self._modules: dict[tuple[tuple[tuple[int, ...], ...], int], Any] = {}
        self._made: dict[Any, Value] = {}

    def entry(self, node: Node, point: tuple[int, ...], stage: int) -> Value:
        """The entry at the index of lane `point`, whose step is in `stage`; it is ready behind the op's latency.

        The address is the number of the configuration's table and, in its low bits, the index.
        """
        path, b, column = self.path, self.b, self.path.shapes.tables[id(node)]
        tables, crossing = tuple(dict.fromkeys(column)), Clock.of(node.op).crossing
        index = path.at(node.args[0], point, stage)[: bits_for(len(tables[0]))]
        number = path.table([tables.index(t) for t in column], bits_for(len(tables)), stage)
        address = index if len(tables) == 1 else b.concat([number, index])
        if path.enable is not None:
            flat = [entry for table in tables for entry in table]
            found = path.delay(b.table(path.delay(address, crossing, "index"), flat, node.bits), 1, "entry")
            return path.delay(found, crossing, "entry")
        key = tables, node.bits, address
        if key not in self._made:
            made = b.instance(self._module(tables, node.bits, crossing), f"lookup{len(self._made)}", {"index": address})
            self._made[key] = made["entry"]
        return self._made[key]

    def _module(self, tables: tuple[tuple[int, ...], ...], bits: int, crossing: int) -> Any:
        """The module with a registered lookup; with a crossing latency, index and entry are registered once more."""
        if (tables, bits) not in self._modules:
            engine = self.b.clk.owner.owner
            name = f"table_{self.path.engine.name}{len(self._modules)}"
            width = bits_for(sum(map(len, tables)))
            comment = f"Tables of {len(tables[0])} entries: {len(tables)}"
            with ir.InsertionPoint(engine):
                self._modules[tables, bits] = build_table(name, tables, width, bits, crossing, comment)
        return self._modules[tables, bits]


def build_table(name: str, tables: Sequence[Sequence[int]], width: int, bits: int, crossing: int, comment: str) -> Any:
    """Builds the module `name` of a lookup.

    Args:
        name: name of the module.
        tables: the tables, one behind the other.
        width: bits of the address.
        bits: bits of an entry.
        crossing: registers in front of the address and behind the entry, besides the one of the lookup itself.
        comment: text above the module.
    """
    flat = [entry for table in tables for entry in table]

    def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        index = p["index"]
        for _ in range(crossing):
            index = b.register(index, "index_q")
        entry = b.register(b.table(index, flat, bits), "entry_q")
        for _ in range(crossing):
            entry = b.register(entry, "entry_q")
        return {"entry": entry}

    made = module(name, [Signal("index", width)], [Signal("entry", bits)], build, reset=False, comment=comment)
    made.attributes[BYTES] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), len(flat) * bits // 8)
    return made
