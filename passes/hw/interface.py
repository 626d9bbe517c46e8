"""What lies behind the ports of `gradcam_top`: what `gradcam_core` must know to drive them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from pycde.circt import ir as circt
from torch_mlir import ir as mlir

from gradcam.errors import fail
from gradcam.passes.clock import Clock
from gradcam.passes.engines import access_kind, tag
from gradcam.passes.hw.layout import constants_of
from gradcam.passes.hw.names import argument_names, registers_of
from gradcam.passes.ir_queries import symbol_register
from gradcam.passes.nest import Access, Nest, nests

#: Bits of a beat of the result.
WORD = 32

#: The attribute of the top's `hw.module` that holds an `Interface`.
ATTRIBUTE = "gradcam_interface"


@dataclass(frozen=True)
class Channel:
    """A valid/ready stream of the top: its name, beats of a run, and bits of a beat."""

    name: str
    beats: int
    bits: int


@dataclass(frozen=True)
class Packets:
    """What goes in and out of a run.

    Attributes:
        inputs: the streams that are read.
        outputs: the streams that are written, in the order in which they are.
        classes: the registers that hold the explained classes when the run has ended, the best one first.
    """

    inputs: Sequence[Channel]
    outputs: Sequence[Channel]
    classes: Sequence[str]

    @staticmethod
    def of(module: mlir.Module) -> Packets:
        """Of a program with its schedule, known before its cycles are."""
        program, names = list(nests(module)), argument_names(module)
        loads, stores = [a for n in program for a in n.loads], [a for n in program for a in n.stores]
        return Packets(_channels(loads, names), _channels(stores, names), _class_registers(module, program))

    @property
    def fields(self) -> list[tuple[str, int]]:
        """What a result packet holds, in order: (name, words of 32 bits)."""
        classes = [("classes", len(self.classes))] if self.classes else []
        return [("packet", 1), *classes, *((channel.name, channel.beats) for channel in self.outputs)]

    @property
    def words(self) -> int:
        """Words of a result packet."""
        return sum(words for _, words in self.fields)

    @property
    def buffers(self) -> dict[str, int]:
        """Bytes of the buffer of either packet in the core; of a program that reads or writes none, none."""
        image = {"image_buffer": sum(c.beats * c.bits // 8 for c in self.inputs)} if self.inputs else {}
        return image | ({"result_buffer": self.words * WORD // 8} if self.outputs else {})


@dataclass(frozen=True)
class Interface(Packets):
    """What a run of the top takes and gives, besides its streams.

    Attributes:
        requests: the plain inputs, sampled at its start: the class to explain, where one is explained.
        phases: of every nest.
        cycles: of a run without waiting, as predicted.
        fingerprint: a CRC-32 over constants and schedule.
        dram_bits: of a beat of the DRAM; 0 when no weights are there.
        hop: 1 where what crosses between its modules is registered, for a clock.
    """

    requests: Sequence[str]
    phases: Sequence[str]
    cycles: int
    fingerprint: int
    dram_bits: int
    hop: int

    @staticmethod
    def of(module: mlir.Module, dram_bits: int = 0) -> Interface:
        """The interface of a scheduled program."""
        program, names, packets = list(nests(module)), argument_names(module), Packets.of(module)
        loads = [a for nest in program for a in nest.loads]
        requests = {a.memref.arg_number: None for a in loads if access_kind(a) == "port"}
        total = mlir.DictAttr(module.operation.attributes["gradcam.cycles"])["total"]
        return Interface(
            packets.inputs,
            packets.outputs,
            packets.classes,
            [names[i] for i in requests],
            [tag(nest, "phase") for nest in program],
            mlir.IntegerAttr(total).value,
            _fingerprint(module, program),
            dram_bits,
            Clock.of(module.operation).hop,
        )

    def attribute(self) -> Any:
        """As an attribute of CIRCT's side."""
        return _attribute(asdict(self))

    @staticmethod
    def read(module: Any) -> Interface:
        """The interface that the `hw.module` of a top carries.

        Raises:
            GradcamError: it has none.
        """
        if ATTRIBUTE not in module.attributes:
            raise fail(module, f"the module has no '{ATTRIBUTE}'; build it with convert-affine-to-hw")
        values = _plain(module.attributes[ATTRIBUTE])
        ends = {n: [Channel(**channel) for channel in values[n]] for n in ("inputs", "outputs")}
        return Interface(**(values | ends))


def _channels(accesses: Sequence[Access], names: Sequence[str]) -> list[Channel]:
    """The streams among the accesses, in their order."""
    streams: dict[int, Access] = {a.memref.arg_number: a for a in accesses if access_kind(a) == "stream"}
    return [
        Channel(names[i], prod(mlir.MemRefType(a.memref.type).shape) // a.lanes, a.lanes * a.element_bits)
        for i, a in streams.items()
    ]


def _class_registers(module: mlir.Module, program: Sequence[Nest]) -> list[str]:
    """The registers that pick what a nest reads."""
    forms = (form for nest in program for a in nest.loads for form in (a.index, *a.guards))
    used = {symbol_register(term[1]) for form in forms for term in form if isinstance(term, tuple)}
    return [name.removesuffix("_q") for memref, name in registers_of(module).items() if memref in used]


def _fingerprint(module: mlir.Module, program: Sequence[Nest]) -> int:
    """Differs, but for chance, where weights, rescales, array or schedule differ."""
    state = 0
    for data in constants_of(module).values():
        state = zlib.crc32(data.tobytes(), state)
    for nest in program:
        schedule = {name: str(nest.op.attributes[name]) for name in nest.op.attributes}
        state = zlib.crc32(repr((nest.name, [loop.trip for loop in nest.loops], schedule)).encode(), state)
    return state


def _attribute(value: Any) -> Any:
    if isinstance(value, dict):
        return circt.DictAttr.get({n: _attribute(v) for n, v in value.items()})
    if isinstance(value, list | tuple):
        return circt.ArrayAttr.get([_attribute(v) for v in value])
    if isinstance(value, str):
        return circt.StringAttr.get(value)
    return circt.IntegerAttr.get(circt.IntegerType.get_signless(64), value)


def _plain(attribute: Any) -> Any:
    if isinstance(attribute, circt.DictAttr):
        return {entry.name: _plain(entry.attr) for entry in attribute}
    if isinstance(attribute, circt.ArrayAttr):
        return [_plain(entry) for entry in attribute]
    return attribute.value
