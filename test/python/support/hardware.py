"""The hardware of a network as plain data: what each module is made of, whatever its wires and registers are called."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from pycde.circt import ir

from gradcam.compiler import Compilation, Settings

REGISTERS = ("seq.compreg", "seq.compreg.ce")


@dataclass(frozen=True)
class Module:
    """An `hw.module`.

    Attributes:
        inputs: bits of its inputs, in order, without clocks.
        ops: how many ops there are of a name and a number of bits.
        instances: names of the modules in it.
        unused: outputs of these instances that nothing reads, as (module, output).
    """

    inputs: list[int]
    ops: Counter[tuple[str, int]]
    instances: Counter[str]
    unused: set[tuple[str, str]]

    def count(self, *names: str, least: int = 0) -> Counter[int]:
        """How many ops of these names there are, by their bits, of those with `least` bits or more."""
        found = Counter[int]()
        for (name, bits), number in self.ops.items():
            if name in names and bits >= least:
                found[bits] += number
        return found


def hardware(net: Any, settings: Settings) -> dict[str, Module]:
    """The modules of a compiled network by name, at level 5."""
    design = Compilation(net, settings).to("hw")
    with design.context:
        return dict(_module(op.operation) for op in design.body.operations if op.operation.name == "hw.module")


def _module(module: ir.Operation) -> tuple[str, Module]:
    ports = re.findall(r"input [^:]+ : i(\d+)", str(module.attributes["module_type"]))
    found = Module([int(bits) for bits in ports], Counter(), Counter(), set())
    for view in module.regions[0].blocks[0].operations:
        op = view.operation
        if op.name == "hw.instance":
            inner = ir.FlatSymbolRefAttr(op.attributes["moduleName"]).value
            names = [ir.StringAttr(name).value for name in ir.ArrayAttr(op.attributes["resultNames"])]
            found.instances[inner] += 1
            found.unused.update((inner, n) for n, v in zip(names, op.results, strict=True) if not list(v.uses))
        elif len(op.results) == 1 and (bits := re.fullmatch(r"i(\d+)", str(op.results[0].type))):
            found.ops[op.name, int(bits[1])] += 1
    return ir.StringAttr(module.attributes["sym_name"]).value, found


def factors(modules: dict[str, Module], engine: str) -> Counter[tuple[int, ...]]:
    """How many multipliers with registers of their own an engine has, by the bits of their factors."""
    found = Counter[tuple[int, ...]]()
    for name, number in modules[engine].instances.items():
        if modules[name].count("comb.mul"):
            found[tuple(modules[name].inputs)] += number
    return found
