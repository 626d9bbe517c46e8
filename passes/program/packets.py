"""Inputs and outputs of a run: the streams of a program, and the packets that carry them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from torch_mlir import ir

from gradcam.passes.ir.queries import symbol_register
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.nest import Access
from gradcam.passes.program.scheduled_program import ScheduledProgram

#: Bits of a beat of the result.
WORD = 32


@dataclass(frozen=True)
class Channel:
    """A valid/ready stream of the top: its name, beats of a run, and bits of a beat."""

    name: str
    beats: int
    bits: int


@dataclass(frozen=True)
class Packets:
    """Inputs and outputs of a run.

    Attributes:
        inputs: the streams that the program reads.
        outputs: the streams that the program writes, in the order in which it writes them.
        classes: the registers that hold the explained classes at the end of the run, the best class first.
    """

    inputs: Sequence[Channel]
    outputs: Sequence[Channel]
    classes: Sequence[str]

    @staticmethod
    def of(program: ScheduledProgram) -> Packets:
        """The packets of a scheduled program; its cycles need not be assigned yet."""
        loads, stores = [a for n in program.nests for a in n.loads], [a for n in program.nests for a in n.stores]
        names = program.arguments
        return Packets(_channels(loads, names), _channels(stores, names), _class_registers(program))

    @property
    def fields(self) -> list[tuple[str, int]]:
        """The fields of a result packet in order: (name, number of 32-bit words)."""
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


def _channels(accesses: Sequence[Access], names: Sequence[str]) -> list[Channel]:
    """The streams that the accesses read or write, in the order of the accesses."""
    streams: dict[int, Access] = {a.memref.arg_number: a for a in accesses if access_kind(a) == "stream"}
    return [
        Channel(names[i], prod(ir.MemRefType(a.memref.type).shape) // a.lanes, a.lanes * a.element_bits)
        for i, a in streams.items()
    ]


def _class_registers(program: ScheduledProgram) -> list[str]:
    """The registers that select a part of a buffer, or a lane of sums, which a nest reads."""
    forms = (form for nest in program.nests for a in nest.loads for form in (a.index, *a.guards))
    terms = [*(t for form in forms for t in form), *(r.term for nest in program.nests for r in nest.picked)]
    used = {symbol_register(term[1]) for term in terms if isinstance(term, tuple)}
    return [name.removesuffix("_q") for memref, name in program.registers.items() if memref in used]
