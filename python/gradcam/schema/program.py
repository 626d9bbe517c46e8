"""program.json: the static program of a design, nest by nest, its memories, its interfaces and its files."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
import numpy as np

from gradcam.errors import GradcamError
from gradcam.schema.document import Count, Document, Identifier, Natural, Record

#: The parts of a run, in their order.
Phase = Literal["load", "inference", "explanation", "store"]

#: Bits of an element of a stream, and of a buffer.
StreamBits = Literal[8, 16, 32]
BufferBits = Literal[1, 8, 16, 32]

#: SHA-256 of a file of the folder, by its path there.
Checksums = dict[
    Annotated[str, msgspec.Meta(pattern=r"\A(rtl|mem)/[A-Za-z0-9_.-]+\Z", description="a file in rtl/ or mem/")],
    Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z", description="a SHA-256 in 64 hexadecimal digits")],
]

#: Types of an element in memory by its bits.
DTYPES = {1: np.dtype(np.bool_), 8: np.dtype("<i1"), 16: np.dtype("<i2"), 32: np.dtype("<i4")}

#: Bytes of a word of the result packet.
WORD_BYTES = 4


class Explanation(Record, frozen=True):
    """What a map explains, and what a viewer does with its raw sum.

    Attributes:
        target: module path of the layer.
        rank: better classes that others of its maps explain; 0 for the requested or predicted one.
        method: one of `gradcam.dialect.methods.METHODS`.
        relu: clip below 0.
        normalize: subtract the minimum, divide by `eps` + maximum.
        eps: added to divisors.
    """

    target: str
    rank: Natural
    method: str
    relu: bool
    normalize: bool
    eps: float


class Stream(Record, frozen=True):
    """A valid/ready stream of the top module; a beat is `lanes` adjacent elements, lane 0 in the low bits.

    Attributes:
        name: prefix of its ports.
        direction: as seen from the design.
        shape: of a run's transfer, row-major.
        element_bits: of an element.
        lanes: elements per beat.
        scale: real value of the integer 1; null where the elements are integers themselves.
        explains: of a map; null of the image and the logits.
    """

    name: Identifier
    direction: Literal["in", "out"]
    shape: tuple[Count, ...]
    element_bits: StreamBits
    lanes: Count
    scale: float | None
    explains: Explanation | None

    @property
    def dtype(self) -> np.dtype:
        """Type of an element."""
        return DTYPES[self.element_bits]

    @property
    def beats(self) -> int:
        """Beats of one run."""
        return math.prod(self.shape) // self.lanes

    @property
    def beat_bytes(self) -> int:
        """Bytes of the elements of a beat."""
        return self.lanes * self.dtype.itemsize


class Input(Record, frozen=True):
    """A plain input of the top module, sampled when a run starts.

    Attributes:
        name: of the port.
        bits: of the port.
    """

    name: Identifier
    bits: Count


class WeightReads(Record, frozen=True):
    """The weights that a nest reads from DRAM.

    Attributes:
        bytes: that it reads.
        tile_bytes: of the weights that it reads again and again before it goes on to the next ones.
        stall_cycles: that it waits for late beats of an ideal DRAM.
    """

    bytes: Count
    tile_bytes: Count
    stall_cycles: Natural


class Nest(Record, frozen=True):
    """A scheduled loop nest.

    Attributes:
        name: of the tensor that it makes.
        engine: that runs it.
        epilogue: of the engine's epilogues, the one that it uses.
        phase: of the run.
        trips: trip counts of its time loops, outermost first; the names of the loops are in schedule.json.
        start: cycle of the run in which it is issued.
        end: cycle in which it has ended.
        drain: cycles from its end until its last write is done; -1 where that was one earlier.
        cycles: that it adds to its phase.
        writes: names of the buffers that it writes.
        follows: number of the nest before it, beside which it runs; null for a nest that runs alone.
        stationary: the operand that stays on the array from one output to the next; null where both change.
        weights: that it reads from DRAM; null where it reads none there.
    """

    name: str
    engine: str
    epilogue: str
    phase: Phase
    trips: tuple[Count, ...]
    start: Natural
    end: Natural
    drain: Annotated[int, msgspec.Meta(ge=-1)]
    cycles: Natural
    writes: tuple[str, ...]
    follows: Natural | None
    stationary: Literal["weights", "input"] | None
    weights: WeightReads | None

    @property
    def steps(self) -> int:
        """Iterations of its time loops."""
        return math.prod(self.trips)


class Buffer(Record, frozen=True):
    """A tensor in a bank, or in a register of one element.

    Attributes:
        name: unique in the program.
        shape: row-major, innermost dimension in the lanes of a word.
        element_bits: of an element.
        bank: the memory that it lives in; null for a register.
        offset: its first word in the bank; 0 for a register.
        register: the register; null for a buffer in a bank.
        ring: elements that are kept, the last ones written; null for a buffer that is kept whole.
    """

    name: str
    shape: tuple[Count, ...]
    element_bits: BufferBits
    bank: Identifier | None
    offset: Natural
    register: Identifier | None
    ring: Count | None

    @property
    def dtype(self) -> np.dtype:
        """Type of an element."""
        return DTYPES[self.element_bits]

    @property
    def size(self) -> int:
        """Bytes of its elements."""
        return -(-math.prod(self.shape) * self.element_bits // 8)


class Bank(Record, frozen=True):
    """A memory of words with `lanes` lanes of `bits` bits.

    Attributes:
        lanes: elements of a word.
        bits: of an element.
        constant: its contents come from files and stay.
        parts: words of each of the memories that it is made of, in the order of its addresses.
    """

    lanes: Count
    bits: Count
    constant: bool
    parts: tuple[Count, ...]

    @property
    def words(self) -> int:
        """Words of all its memories."""
        return sum(self.parts)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.lanes * self.bits * self.words // 8


class Dram(Record, frozen=True):
    """The memory behind the read channels of AXI4.

    Attributes:
        file: what it holds, one of `memories`.
        width: bits of a beat.
        outstanding: reads that may be under way.
        latency: cycles from a request to its first beat, as the compile assumed.
    """

    file: str
    width: Count
    outstanding: Count
    latency: Count


class Port(Record, frozen=True):
    """A port of the core.

    Attributes:
        name: of the port.
        direction: as seen from the core.
        bits: of the port.
    """

    name: Identifier
    direction: Literal["in", "out"]
    bits: Count


class Field(Record, frozen=True):
    """Some bits of a register.

    Attributes:
        low: the lowest bit.
        bits: their number.
        reset: the value after reset.
        text: what it says.
    """

    low: Natural
    bits: Count
    reset: Natural
    text: str


class Register(Record, frozen=True):
    """A 32-bit register of the core.

    Attributes:
        address: in bytes, relative to the first register.
        fields: by name.
    """

    address: Natural
    fields: dict[str, Field]


class Core(Record, frozen=True):
    """The module around the top: registers behind AXI4-Lite, packets of AXI4-Stream.

    Attributes:
        top: the module.
        ports: of the module.
        registers: by name.
        fingerprint: a CRC-32 of constants and schedule, which the register DESIGN has, too.
        image_bytes: bytes of a beat of the image packet: its channels in a power of two of bytes.
        classes: explained classes that a result packet names, the requested or predicted one first.
    """

    top: Identifier
    ports: tuple[Port, ...]
    registers: dict[str, Register]
    fingerprint: Natural
    image_bytes: Count
    classes: Natural


class Cycles(Record, frozen=True):
    """Clock cycles of a run by phase, and in total."""

    load: Natural
    inference: Natural
    explanation: Natural
    store: Natural
    total: Natural


class Program(Document, frozen=True, kw_only=True):
    """What program.json holds.

    Attributes:
        format: number of the format.
        top: the module that runs the program; `core` is around it.
        streams: of the top, the image first, the outputs in the order in which they are written.
        ports: plain inputs of the top: the class to explain, where one is explained.
        nests: in the order in which they are issued.
        buffers: what nests write.
        banks: on chip, by name.
        dram: the memory of the weights; null where they are on chip.
        clock_ns: period that the pipelines are made for; null for no clock in particular.
        core: what a user of the core sees.
        memories: contents of the constant banks and of the DRAM.
        rtl: SystemVerilog, a file per module.
    """

    format: Literal[1] = 1
    top: Identifier
    streams: tuple[Stream, ...]
    ports: tuple[Input, ...]
    nests: tuple[Nest, ...]
    buffers: tuple[Buffer, ...]
    banks: dict[Identifier, Bank]
    dram: Dram | None
    clock_ns: Annotated[float, msgspec.Meta(gt=0)] | None
    core: Core
    memories: Checksums
    rtl: Checksums

    @property
    def inputs(self) -> list[Stream]:
        """Streams into the design."""
        return [s for s in self.streams if s.direction == "in"]

    @property
    def outputs(self) -> list[Stream]:
        """Streams out of the design."""
        return [s for s in self.streams if s.direction == "out"]

    @property
    def maps(self) -> dict[str, Explanation]:
        """What each map explains, by the name of its stream."""
        return {s.name: s.explains for s in self.outputs if s.explains}

    @property
    def issue_groups(self) -> list[int]:
        """Of every nest the number of the first one of those that are issued together with it."""
        issue_groups: list[int] = []
        for number, nest in enumerate(self.nests):
            issue_groups.append(number if nest.follows is None else issue_groups[-1])
        return issue_groups

    @property
    def cycles(self) -> Cycles:
        """Predicted cycles of a run: what the nests add to each phase, and the end of the last one."""
        phases = dict.fromkeys(("load", "inference", "explanation", "store"), 0)
        for nest in self.nests:
            phases[nest.phase] += nest.cycles
        return Cycles(**phases, total=max(nest.end for nest in self.nests))

    @property
    def fields(self) -> dict[str, int]:
        """What a result packet holds, in its order: words of 32 bits by name."""
        classes = {"classes": self.core.classes} if self.core.classes else {}
        return {"packet": 1, **classes, **{s.name: s.beats for s in self.outputs}}

    @property
    def packet_words(self) -> int:
        """Words of a result packet."""
        return sum(self.fields.values())

    @property
    def packet_bytes(self) -> dict[str, int]:
        """Bytes of the core's buffer of either packet."""
        image = sum(s.beats * s.beat_bytes for s in self.inputs)
        return {"image_buffer": image, "result_buffer": self.packet_words * WORD_BYTES}

    def output(self, name: str) -> Stream | None:
        """The output stream `name`, None when the design has none."""
        return next((s for s in self.outputs if s.name == name), None)

    def scale(self, stream: str) -> float:
        """Real value of the integer 1 of a stream.

        Raises:
            GradcamError: the program does not say.
        """
        found = next((s.scale for s in self.streams if s.name == stream), None)
        if found is None:
            raise GradcamError(f"program.json has no scale of '{stream}'")
        return found
