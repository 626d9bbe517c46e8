"""Writes design.h, which describes a design for harness.cpp, and the matching Verilator configuration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gradcam.names import TOP, prefixed
from gradcam.schema.program import Buffer, Program, Stream

#: Name of the memory array in the module of a bank; a bank of several has a number behind each.
MEMORY = "memory"

#: Name of the weight reader and its module.
READER = "tape_reader"


@dataclass(frozen=True)
class Dump:
    """A buffer to read out of the memories when a nest has ended.

    Attributes:
        nest: number of the nest.
        buffer: the buffer.
        words: number of words.
        lanes: elements of the buffer per word.
        word_bytes: bytes of a word in the simulator's memory, the C++ type that Verilator picks for its width.
    """

    nest: int
    buffer: Buffer
    words: int
    lanes: int
    word_bytes: int


def dumps(program: Program) -> list[Dump]:
    """The dumps of buffers in the order of a run; a ring has none, since it does not hold a whole tensor."""
    buffers = {buffer.name: buffer for buffer in program.buffers}
    writes = [(i, buffers[name]) for i, nest in enumerate(program.nests) for name in nest.writes]
    return [_dump(program, i, buffer) for i, buffer in writes if buffer.ring is None]


def _dump(program: Program, nest: int, buffer: Buffer) -> Dump:
    lanes = 1 if buffer.bank is None else program.banks[buffer.bank].lanes
    words = -(-math.prod(buffer.shape) // lanes)
    return Dump(nest, buffer, words, lanes, _storage_bytes(lanes * buffer.element_bits))


def _storage_bytes(bits: int) -> int:
    """Size of Verilator's C++ type for a signal: CData, SData, IData, QData, or 32-bit pieces."""
    for size in (1, 2, 4, 8):
        if bits <= 8 * size:
            return size
    return 4 * -(-bits // 32)


def design_header(program: Program) -> str:
    """The text of design.h, included by harness.cpp after the types that it uses."""
    lines = [
        "// Made from program.json; see harness.cpp.",
        *_function("std::vector<NestFacts> nests()", _nests(program)),
        *_function("std::vector<StreamPins> inputs(Vdesign& top)", map(_stream, program.inputs)),
        *_function("std::vector<StreamPins> outputs(Vdesign& top)", map(_stream, program.outputs)),
        *_function(
            "std::vector<PortPins> ports([[maybe_unused]] Vdesign& top)",
            (f"{{&top.{p.name}, {p.bits}}}" for p in program.ports),
        ),
        *_function("std::vector<DramPins> drams([[maybe_unused]] Vdesign& top)", _dram(program)),
        *_function("std::vector<LoadPins> loads([[maybe_unused]] Vdesign& top)", _load(program)),
        *_function("std::vector<Probe> probes()", _probes(program)),
        *_function("std::vector<const char*> readers()", [f'"{s}"' for s in _readers(program)]),
        *_function("std::vector<Dump> dumps()", (e for d in dumps(program) for e in _dump_entries(program, d))),
    ]
    return "\n".join(lines) + "\n"


def _function(signature: str, entries: Iterable[str]) -> list[str]:
    return [f"{signature} {{", "    return {", *(f"        {entry}," for entry in entries), "    };", "}"]


def _nests(program: Program) -> list[str]:
    """An entry per nest; the bits of `running` are those of the engines in the order of their use."""
    engines, entries = list(dict.fromkeys(nest.engine for nest in program.nests)), []
    for issue, nest in zip(program.issues, program.nests, strict=True):
        beats = nest.weights.bytes * 8 // program.dram.width if nest.weights and program.dram else 0
        waits = nest.phase == "load", nest.phase == "store", nest.follows is not None
        flags = ", ".join("true" if flag else "false" for flag in waits)
        entries.append(f"{{{issue}, {engines.index(nest.engine)}, {max(0, nest.drain)}, {flags}, {beats}}}")
    return entries


def _waiting_engines(program: Program) -> list[str]:
    """The engines whose steps may wait: for a stream, for weights from DRAM, or for a producer."""
    waits = (n for n in program.nests if n.phase in ("load", "store") or n.weights or n.follows is not None)
    return list(dict.fromkeys(nest.engine for nest in waits))


def _probes(program: Program) -> list[str]:
    """An entry per engine that may wait: its bit of `running`, and its scope."""
    engines = list(dict.fromkeys(nest.engine for nest in program.nests))
    scope = f"TOP.{program.top}.engine_"
    return [f'{{{engines.index(name)}, "{scope}{name}"}}' for name in _waiting_engines(program)]


def _readers(program: Program) -> list[str]:
    """The scope of the weight reader, in a design that reads weights in every run."""
    return [f"TOP.{program.top}.{READER}"] if program.ring else []


def _stream(stream: Stream) -> str:
    pin = f"top.{stream.name}"
    return (
        f'{{"{stream.name}", &{pin}_valid, &{pin}_ready, &{pin}_data, sizeof {pin}_data, '
        f"{stream.beats}, {stream.beat_bytes}}}"
    )


def _dram(program: Program) -> list[str]:
    """At most one entry: the pins of the read channels."""
    if program.dram is None:
        return []
    names = ("arvalid", "arready", "araddr", "arlen", "arsize", "arburst", "rvalid", "rready", "rresp", "rlast", "rid")
    pins = ", ".join(f"&top.dram_{name}" for name in (*names, "error", "rdata"))
    return [f"{{{pins}, {program.dram.width // 8}}}"]


def _load(program: Program) -> list[str]:
    """At most one entry: the pins of a load of weights."""
    pins = ", ".join(f"&top.{name}" for name in ("load", "loading", "loaded", "checksum"))
    return [f"{{{pins}}}"] if program.load else []


def _dump_entries(program: Program, dump: Dump) -> Iterator[str]:
    """An entry for each memory, or the register, that holds some of the words."""
    buffer = dump.buffer
    if buffer.bank is None:
        yield f'{{{dump.nest}, "TOP.{program.top}", "{buffer.register}", 0, {dump.words}, {dump.word_bytes}}}'
        return
    parts, start = program.banks[buffer.bank].parts, 0
    for number, size in enumerate(parts):
        first, end = max(buffer.offset, start), min(buffer.offset + dump.words, start + size)
        if first < end:
            variable = f"{MEMORY}{number}" if len(parts) > 1 else MEMORY
            where = f'"TOP.{program.top}.{buffer.bank}", "{variable}", {first - start}, {end - first}'
            yield f"{{{dump.nest}, {where}, {dump.word_bytes}}}"
        start += size


#: Warnings of -Wall that say nothing about a design; as (rule, text to match, reason).
WAIVERS = (
    (
        "UNUSEDSIGNAL",
        "Bits of signal are not used:*",
        "a rescale shifts low bits of its product out and narrows the rest, and an address takes some bits of a class",
    ),
    ("PINCONNECTEMPTY", "*", "a design does not need every output of a module that all designs have"),
    ("UNUSEDSIGNAL", "*'a?prot'*", "the registers treat every access alike, whatever its protection"),
    ("SYMRSVDWORD", "*'interrupt'*", "the usual name of the port"),
)


def verilator_config(program: Program) -> str:
    """The text of design.vlt: the signals that the harness reads, and the waived warnings with their reasons."""
    read = [(name, f"{MEMORY}*") for name in sorted({b.bank for b in program.buffers if b.bank})]
    read += [(TOP, name) for name in sorted({b.register for b in program.buffers if b.register})]
    read += [(f"engine_{name}", flag) for name in _waiting_engines(program) for flag in ("running", "stepping")]
    read += [(READER, signal) for signal in ("ready", "room")] if program.ring else []
    lines = [f'public_flat_rd -module "{prefixed(program.name, module)}" -var "{name}"' for module, name in read]
    about = "// Read by the harness for buffers, and for a timeline."
    return "\n".join(["`verilator_config", about, *lines, *waiver_lines()]) + "\n"


def waiver_lines() -> list[str]:
    """The waived warnings as lines of a Verilator configuration, each behind its reason."""
    lines = []
    for rule, match, reason in WAIVERS:
        lines += [f"// {reason[0].upper()}{reason[1:]}.", f'lint_off -rule {rule} -file "*" -match "{match}"']
    return lines
