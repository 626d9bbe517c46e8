"""The register map of `gradcam_core`, read from registers.rdl."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from systemrdl.compiler import RDLCompiler
from systemrdl.node import AddrmapNode, FieldNode, RegNode
from systemrdl.rdltypes.builtin_enums import OnWriteType

from gradcam.names import CORE
from gradcam.schema import program as schema

#: The SystemRDL source.
SOURCE = Path(__file__).parent / "registers.rdl"

#: The implementation of a field: a number, a value of the core, a register that software writes, a pulse of one cycle
#: when software writes a 1, or a bit that the core sets and a written 1 clears.
Kind = Literal["constant", "input", "storage", "pulse", "sticky"]


@dataclass(frozen=True)
class Field:
    """A field of a register.

    Attributes:
        low: the number of its lowest bit.
        bits: its number of bits.
        kind: see `Kind`.
        reset: the value of a constant, or after reset.
        port: its name among all fields.
        text: its description.
    """

    name: str
    low: int
    bits: int
    kind: Kind
    reset: int
    port: str
    text: str


@dataclass(frozen=True)
class Register:
    """A 32-bit word at a byte address."""

    name: str
    address: int
    fields: tuple[Field, ...]


@cache
def address_map(core: str = CORE) -> AddrmapNode:
    """The elaborated source, which exporters of SystemRDL take, for a core with this name."""
    compiler = RDLCompiler()
    compiler.compile_file(str(SOURCE), defines={"CORE": core})
    return compiler.elaborate().top


@cache
def register_map() -> tuple[Register, ...]:
    """The registers in the order of their addresses."""
    return tuple(_register(node) for node in address_map().registers())


def describe_registers() -> dict[str, schema.Register]:
    """The registers by name, for program.json."""
    return {
        register.name: schema.Register(
            register.address, {f.name: schema.Field(f.low, f.bits, f.reset, f.text) for f in register.fields}
        )
        for register in register_map()
    }


def _register(node: RegNode) -> Register:
    fields = tuple(_field(node.inst_name, field) for field in node.fields())
    return Register(node.inst_name, node.absolute_address, fields)


def _field(register: str, node: FieldNode) -> Field:
    name, reset, text = node.inst_name, node.get_property("reset"), node.get_property("desc")
    return Field(
        name,
        node.low,
        node.width,
        _kind(node),
        reset if isinstance(reset, int) else 0,
        f"{register}_{name}".lower(),
        text or "",
    )


def _kind(node: FieldNode) -> Kind:
    if node.get_property("singlepulse"):
        return "pulse"
    if node.get_property("onwrite") == OnWriteType.woclr:
        return "sticky"
    if node.is_sw_writable:
        return "storage"
    return "input" if node.is_hw_writable else "constant"
