"""What a compile left in its output folder, read back from program.json and checked against its checksums."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradcam.errors import GradcamError
from gradcam.files import digest, read_json

#: Element widths that a buffer can have, with the numpy type of an element; a stream has none of a single bit.
DTYPES = {1: np.dtype(np.bool_), 8: np.dtype("<i1"), 16: np.dtype("<i2"), 32: np.dtype("<i4")}


@dataclass(frozen=True)
class Stream:
    """A valid/ready stream at the top level; a beat is `lanes` adjacent elements, lane 0 in the low bits.

    Attributes:
        name: prefix of its ports.
        direction: "in" or "out".
        shape: of the whole transfer, row-major.
        element_bits: 8, 16 or 32.
        lanes: elements per beat.
    """

    name: str
    direction: str
    shape: tuple[int, ...]
    element_bits: int
    lanes: int

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
        """Bytes of one beat."""
        return self.lanes * self.dtype.itemsize


@dataclass(frozen=True)
class Port:
    """A plain input, sampled at start."""

    name: str
    bits: int


@dataclass(frozen=True)
class Nest:
    """A scheduled loop nest.

    Attributes:
        name: of the tensor it makes.
        engine: that runs it.
        phase: "load", "inference", "explanation" or "store".
        writes: names of the buffers it writes.
        cycles: what it was predicted to add to its phase.
        drain: cycles from its end until its last write is done; -1 where that was one earlier.
        turn: the number of the first nest of those that are issued together with it.
        follows: the number of the nest before it, beside which it runs; None for a nest that runs alone.
    """

    name: str
    engine: str
    phase: str
    writes: tuple[str, ...]
    cycles: int
    drain: int
    turn: int
    follows: int | None = None


@dataclass(frozen=True)
class Buffer:
    """A tensor in a bank, or a one-element register.

    Attributes:
        name: unique in the program.
        shape: row-major, innermost dimension in the lanes of a word.
        element_bits: 1, 8, 16 or 32.
        bank: the memory it lives in; None for a register.
        offset: first word in the bank.
        register: the register; None for a buffer in a bank.
        ring: elements that are kept, the last ones written; None for a buffer that is kept whole.
    """

    name: str
    shape: tuple[int, ...]
    element_bits: int
    bank: str | None = None
    offset: int = 0
    register: str | None = None
    ring: int | None = None

    @property
    def dtype(self) -> np.dtype:
        """Type of an element."""
        return DTYPES[self.element_bits]


@dataclass(frozen=True)
class Bank:
    """`words` words with `lanes` lanes of `bits` bits, in memories of so many words as `parts` says, in order."""

    lanes: int
    bits: int
    words: int
    constant: bool
    parts: tuple[int, ...]


@dataclass(frozen=True)
class Dram:
    """The memory behind the read channels of AXI4.

    Attributes:
        file: what it holds, in the folder.
        width: bits of a beat.
        latency: cycles from a request to its first beat, as the compile assumed.
    """

    file: str
    width: int
    latency: int


@dataclass(frozen=True)
class Program:
    """A compiled design; see the fields' types. `checksums` maps files of the folder to their SHA-256."""

    folder: Path
    top: str
    streams: tuple[Stream, ...]
    ports: tuple[Port, ...]
    nests: tuple[Nest, ...]
    buffers: Mapping[str, Buffer]
    banks: Mapping[str, Bank]
    memories: Mapping[str, str]
    rtl: Mapping[str, str]
    quantization: Mapping[str, Any]
    dram: Dram | None = None

    @property
    def inputs(self) -> list[Stream]:
        """Streams into the design."""
        return [s for s in self.streams if s.direction == "in"]

    @property
    def outputs(self) -> list[Stream]:
        """Streams out of the design."""
        return [s for s in self.streams if s.direction == "out"]

    @property
    def rtl_files(self) -> list[Path]:
        """SystemVerilog files."""
        return [self.folder / name for name in sorted(self.rtl)]

    def output(self, name: str) -> Stream | None:
        """The output stream `name`, None when the design has none."""
        return next((s for s in self.outputs if s.name == name), None)

    def report(self) -> dict[str, Any]:
        """The compile's report.json.

        Raises:
            GradcamError: the file is missing or not JSON.
        """
        return read_json(self.folder / "report.json")

    def predicted_cycles(self) -> dict[str, int]:
        """The compiler's cycles by phase, and "total".

        Raises:
            GradcamError: report.json is missing or has none.
        """
        cycles = self.report().get("cycles")
        if not isinstance(cycles, dict) or "total" not in cycles:
            raise GradcamError(f"{self.folder / 'report.json'} has no predicted cycles")
        return cycles

    def scale(self, stream: str) -> float:
        """Real value of one step of a stream's integers.

        Raises:
            GradcamError: the program does not say.
        """
        try:
            return float(self.quantization[stream]["scale"])
        except (KeyError, TypeError) as error:
            raise GradcamError(f"{self.folder / 'program.json'} has no scale of '{stream}'") from error

    def verify(self) -> None:
        """Checks every memory image and RTL file against its checksum.

        Raises:
            GradcamError: a file is missing, or differs from what the compiler wrote.
        """
        for name, expected in {**self.memories, **self.rtl}.items():
            if digest(self.folder / name) != expected:
                raise GradcamError(
                    f"{self.folder / name} is truncated or was changed: its SHA-256 is not the compiled one"
                )


def load_program(folder: Path | str) -> Program:
    """Reads the output folder of a compile.

    Raises:
        GradcamError: the folder is missing, or its program.json is missing, malformed or inconsistent.
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise GradcamError(f"no such folder: {folder}")
    path = folder / "program.json"
    if not path.exists():
        raise GradcamError(f"{folder} is not the output of gradcam-compile: it has no program.json")
    try:
        program = _program(folder, read_json(path))
    except (KeyError, TypeError, AttributeError) as error:
        raise GradcamError(f"{path} is not a program: {type(error).__name__}: {error}") from error
    _check(program, path)
    return program


def _program(folder: Path, data: Mapping[str, Any]) -> Program:
    buffers = [_buffer(b) for b in data["buffers"]]
    return Program(
        folder=folder,
        top=data["top"],
        streams=tuple(_stream(s) for s in data["streams"]),
        ports=tuple(Port(p["name"], p["bits"]) for p in data["ports"]),
        nests=tuple(_nests(data["nests"])),
        buffers=_unique({b.name: b for b in buffers}, len(buffers)),
        banks={name: _bank(b) for name, b in data["banks"].items()},
        memories={m["file"]: m["sha256"] for m in data["memories"].values()},
        rtl=dict(data["rtl"]),
        quantization=data["quantization"],
        dram=_dram(data.get("dram")),
    )


def _nests(data: Sequence[Mapping[str, Any]]) -> Iterator[Nest]:
    turn = 0
    for number, n in enumerate(data):
        turn = turn if "follows" in n else number
        facts = n["name"], n["engine"], n["phase"], tuple(n["writes"]), n["cycles"], n["drain"]
        yield Nest(*facts, turn, n.get("follows"))


def _bank(data: Mapping[str, Any]) -> Bank:
    return Bank(data["lanes"], data["bits"], data["words"], data["constant"], tuple(data["parts"]))


def _dram(data: Mapping[str, Any] | None) -> Dram | None:
    return Dram(data["file"], data["width"], data["latency"]) if data else None


def _unique(buffers: dict[str, Buffer], count: int) -> dict[str, Buffer]:
    if len(buffers) != count:
        raise KeyError("two buffers have one name")
    return buffers


def _stream(data: Mapping[str, Any]) -> Stream:
    return Stream(data["name"], data["direction"], tuple(data["shape"]), data["element_bits"], data["lanes"])


def _buffer(data: Mapping[str, Any]) -> Buffer:
    place = {key: data[key] for key in ("bank", "offset", "register", "ring") if key in data}
    return Buffer(data["name"], tuple(data["shape"]), data["element_bits"], **place)


def _check(program: Program, path: Path) -> None:
    """Refuses what the simulator could only misread."""
    for item in (*program.streams, *program.buffers.values()):
        one_bit = isinstance(item, Stream) and item.element_bits == 1
        if item.element_bits not in DTYPES or one_bit:
            raise GradcamError(f"{path}: '{item.name}' has elements of {item.element_bits} bits, not 8, 16 or 32")
    for stream in program.streams:
        if math.prod(stream.shape) % stream.lanes:
            raise GradcamError(f"{path}: stream '{stream.name}' of shape {stream.shape} has no whole number of beats")
    for buffer in program.buffers.values():
        if (buffer.bank is None) == (buffer.register is None) or (buffer.bank and buffer.bank not in program.banks):
            raise GradcamError(f"{path}: buffer '{buffer.name}' is in no bank and no register that exist")
    for number, nest in enumerate(program.nests):
        if nest.follows is not None and nest.follows != number - 1:
            raise GradcamError(f"{path}: nest '{nest.name}' follows nest {nest.follows}, not the one before it")
        missing = [name for name in nest.writes if name not in program.buffers]
        if missing:
            raise GradcamError(f"{path}: nest '{nest.name}' writes '{missing[0]}', which is no buffer")
