"""program.json: the static program of a design, nest by nest, its memories, its interfaces and its files."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
import numpy as np

from gradcam.errors import GradcamError
from gradcam.images.preprocessing import Preprocessing
from gradcam.names import name_of
from gradcam.numerics import quantize
from gradcam.schema.document import Count, Document, Identifier, Natural, Record

#: The parts of a run, in their order.
Phase = Literal["load", "inference", "explanation", "store"]

#: Bits of an element of a stream, and of a buffer.
StreamBits = Literal[8, 16, 32]
BufferBits = Annotated[int, msgspec.Meta(ge=1, le=32)]

#: SHA-256 of a file of the folder, by its path there.
Checksums = dict[
    Annotated[str, msgspec.Meta(pattern=r"\A(rtl|mem)/[A-Za-z0-9_.-]+\Z", description="a file in rtl/ or mem/")],
    Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z", description="a SHA-256 in 64 hexadecimal digits")],
]

#: Real value of an integer 1.
Scale = Annotated[float, msgspec.Meta(gt=0)]

#: Types of an element as an array by its bits, as far as these are enough.
DTYPES = {1: np.dtype(np.bool_), 8: np.dtype("<i1"), 16: np.dtype("<i2"), 32: np.dtype("<i4")}

#: Bytes of a word of the result packet.
WORD_BYTES = 4


class Explanation(Record, frozen=True):
    """The explanation that a map gives, and the treatment of its raw sum by a viewer.

    Attributes:
        target: module path of the layer.
        rank: the number of better classes that other maps explain; 0 for the requested or predicted class.
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
    eps: Annotated[float, msgspec.Meta(gt=0)]


class Stream(Record, frozen=True):
    """A valid/ready stream of the top module; a beat is `lanes` adjacent elements, lane 0 in the low bits.

    Attributes:
        name: prefix of its ports.
        direction: direction as seen from the design.
        shape: shape of the tensor that a run transfers, row-major.
        element_bits: bits of an element.
        lanes: elements per beat.
        scale: real value of the integer 1; null where the elements have no scale.
        explains: the explanation that a map gives; null for the image and the logits.
    """

    name: Identifier
    direction: Literal["in", "out"]
    shape: tuple[Count, ...]
    element_bits: StreamBits
    lanes: Count
    scale: Scale | None
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
        bytes: bytes that the nest reads.
        tile_bytes: bytes of a tile, the weights that it reads repeatedly before it goes on to the next ones.
        stall_cycles: cycles that it waits for late beats of an ideal DRAM.
        first_beat: cycle of the run in which an ideal DRAM delivers the first beat of them.
        last_beat: cycle in which it delivers the last one.
    """

    bytes: Count
    tile_bytes: Count
    stall_cycles: Natural
    first_beat: Natural
    last_beat: Natural


class WordReads(Record, frozen=True):
    """Reads of words from the memories of the core.

    Attributes:
        weights: words of weights, or of the ring of weights from DRAM.
        activations: words of buffers that nests write.
    """

    weights: Natural
    activations: Natural


class Nest(Record, frozen=True):
    """A scheduled loop nest.

    Attributes:
        name: name of the tensor that it computes.
        engine: name of the engine that runs it.
        epilogue: number of its epilogue among those of the engine.
        phase: phase of the run that it belongs to.
        products: multiplications of its reduction in a step, those of all lanes; 0 where it has none.
        trips: trip counts of its time loops, outermost first; the names of the loops are in schedule.json.
        start: cycle of the run in which it is issued.
        end: earliest cycle in which it allows the next issue group to be issued.
        drain: cycles for which its pipeline still works from its end on; -1 if its last write was a cycle earlier.
        cycles: cycles that it adds to its phase.
        reads: names of the buffers that it reads.
        writes: names of the buffers that it writes.
        word_reads: words that it reads from memories.
        follows: number of its producer, the nest before it; null for a nest that follows none.
        stationary: the operand that stays on the array from one output to the next; null where both change.
        weights: the weights that it reads from DRAM; null where it reads none.
    """

    name: str
    engine: str
    epilogue: str
    phase: Phase
    products: Natural
    trips: tuple[Count, ...]
    start: Natural
    end: Natural
    drain: Annotated[int, msgspec.Meta(ge=-1)]
    cycles: Natural
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    word_reads: WordReads
    follows: Natural | None
    stationary: Literal["weights", "input"] | None
    weights: WeightReads | None

    @property
    def steps(self) -> int:
        """Iterations of all time loops together."""
        return math.prod(self.trips)


class Buffer(Record, frozen=True):
    """A tensor in a bank, or in a register of one element.

    Attributes:
        name: unique in the program.
        shape: shape of the tensor, row-major, with the innermost dimension in the lanes of a word.
        element_bits: bits of an element.
        bank: name of its bank; null for a register.
        offset: its first word in the bank; 0 for a register.
        register: name of the register; null for a buffer in a bank.
        ring: elements of a ring, which holds the last elements written; null for a buffer that is kept whole.
        pixels: rows and columns of the adjacent pixels that lie side by side in the innermost dimension, and the lanes
            of each; null where each pixel has an index of its own.
    """

    name: str
    shape: tuple[Count, ...]
    element_bits: BufferBits
    bank: Identifier | None
    offset: Natural
    register: Identifier | None
    ring: Count | None
    pixels: tuple[Count, Count, Count] | None

    @property
    def dtype(self) -> np.dtype:
        """The narrowest type that holds an element."""
        return next(dtype for bits, dtype in DTYPES.items() if self.element_bits <= bits)

    @property
    def size(self) -> int:
        """Bytes of the whole tensor."""
        return -(-math.prod(self.shape) * self.element_bits // 8)


class Memory(Record, frozen=True):
    """A memory of a bank.

    Attributes:
        words: its words.
        lanes: lanes of a word, those of the bank or a part of them.
        style: what it is made of.
        block_rams: the block RAMs that it is planned to take.
    """

    words: Count
    lanes: Count
    style: Literal["block", "distributed", "registers"]
    block_rams: Annotated[float, msgspec.Meta(ge=0)]


class Bank(Record, frozen=True):
    """A memory of words with `lanes` lanes of `bits` bits.

    Attributes:
        lanes: elements of a word.
        bits: bits of an element.
        constant: whether its contents come from files, or from DRAM before the first run, and no nest changes them.
        reads: reads of its memories that make a word.
        parts: words of each of its parts, in the order of its addresses; as narrow as `reads` makes them.
        memories: its memories; those of a part in pieces hold more than the words of the part.
    """

    lanes: Count
    bits: Count
    constant: bool
    reads: Count
    parts: tuple[Count, ...]
    memories: tuple[Memory, ...]

    @property
    def block_rams(self) -> float:
        """The block RAMs that it is planned to take."""
        return sum(memory.block_rams for memory in self.memories)

    @property
    def words(self) -> int:
        """Words of the bank."""
        return sum(self.parts) // self.reads

    @property
    def size(self) -> int:
        """Bytes of the bank."""
        return -(-self.lanes * self.bits * self.words // 8)


class Level(Record, frozen=True):
    """What a memory holds from a cycle on.

    Attributes:
        cycle: the cycle of the run.
        bytes: the bytes that it holds.
    """

    cycle: Natural
    bytes: Natural


class Load(Record, frozen=True):
    """A load of resident weights.

    Attributes:
        cycles: cycles that it takes with an ideal DRAM.
        checksum: CRC-32 of the file with the weights, which the register WEIGHTS shows after the load.
    """

    cycles: Count
    checksum: Natural


class Dram(Record, frozen=True):
    """The memory behind the read channels of AXI4.

    Attributes:
        file: file with its contents, one of `memories`.
        width: bits of a beat.
        outstanding: the most reads that may be under way.
        latency: cycles from a request to its first beat, as the compile assumed.
        ring: the bank that is the ring of weights on chip; null where they are loaded before the first run.
        levels: bytes of the ring with weights that are requested and not read for the last time, with an ideal DRAM, in
            every cycle in which a nest is issued or ends, or the weights of a nest begin or end to arrive.
        load: the load of weights before the first run; null where they are read in every run.
    """

    file: str
    width: Count
    outstanding: Count
    latency: Count
    ring: Identifier | None
    levels: tuple[Level, ...]
    load: Load | None


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
    """A field of a register.

    Attributes:
        low: the number of its lowest bit.
        bits: its number of bits.
        reset: its value after reset.
        text: its description.
    """

    low: Natural
    bits: Count
    reset: Natural
    text: str


class Register(Record, frozen=True):
    """A 32-bit register of the core.

    Attributes:
        address: in bytes, relative to the first register.
        fields: its fields by name.
    """

    address: Natural
    fields: dict[str, Field]


class Core(Record, frozen=True):
    """The module around the top: registers behind AXI4-Lite, packets of AXI4-Stream.

    Attributes:
        top: name of the module.
        ports: ports of the module.
        registers: registers by name.
        fingerprint: a CRC-32 of schedule and constants, but for weights that are loaded, also in the register DESIGN.
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
    """The contents of program.json.

    Attributes:
        format: number of the format.
        top: name of the module that runs the program; `core` is around it.
        preprocessing: what makes the image, in real values, of the pixels of a file; a mean and a std per channel.
            Images of floats, which the model takes, become it by the normalization alone.
        streams: streams of the top, the image first, the outputs in the order in which they are written.
        ports: plain inputs of the top: the class to explain, in a design that explains.
        nests: nests in the order in which they are issued.
        buffers: buffers that nests write.
        banks: memories on chip by name.
        dram: the memory of the weights; null where they are on chip.
        clock_ns: period in ns that the pipelines are made for; null without a clock.
        core: the interfaces of the core.
        memories: checksums of the files with the contents of the constant banks and of the DRAM.
        rtl: checksums of the SystemVerilog files, one per module.
    """

    format: Literal[6] = 6
    top: Identifier
    preprocessing: Preprocessing
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
    def name(self) -> str | None:
        """The name of the design, with which modules and files of memories begin; None where it has none."""
        return name_of(self.core.top)

    @property
    def ring(self) -> str | None:
        """The bank that is the ring of weights which nests read from DRAM; None where none does."""
        return self.dram.ring if self.dram else None

    @property
    def load(self) -> Load | None:
        """The load of weights before the first run; None where there is none."""
        return self.dram.load if self.dram else None

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
        """The explanation of each map, by the name of its stream."""
        return {s.name: s.explains for s in self.outputs if s.explains}

    @property
    def issue_groups(self) -> list[int]:
        """The issue group of each nest, as the number of the first nest of the group."""
        issue_groups: list[int] = []
        for number, nest in enumerate(self.nests):
            issue_groups.append(number if nest.follows is None else issue_groups[-1])
        return issue_groups

    @property
    def issues(self) -> list[int]:
        """For each nest the number of the first nest that is issued in the same cycle.

        An issue group is issued at once, but for a last nest on the engine of the first one, which waits for that.
        """
        issues: list[int] = []
        for number, (nest, group) in enumerate(zip(self.nests, self.issue_groups, strict=True)):
            waits = any(other.engine == nest.engine for other in self.nests[group:number])
            issues.append(number if waits or group == number else issues[-1])
        return issues

    @property
    def cycles(self) -> Cycles:
        """Predicted cycles of a run: the sums over the nests of each phase, and the end of the last nest."""
        phases = dict.fromkeys(("load", "inference", "explanation", "store"), 0)
        for nest in self.nests:
            phases[nest.phase] += nest.cycles
        return Cycles(**phases, total=max(nest.end for nest in self.nests))

    @property
    def fields(self) -> dict[str, int]:
        """The fields of a result packet in order: the number of 32-bit words by name."""
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

    def integers(self, images: np.ndarray) -> np.ndarray:
        """Images as the design takes them.

        Args:
            images: float, as the model takes them, ... x C x H x W.

        Returns:
            int8, the same shape.

        Raises:
            GradcamError: a value is not finite.
        """
        return quantize(self.preprocessing.entering(images), self.scale("image"))

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
