"""program.json of an output folder, read and checked for what its members say together."""

# pyright: strict
from __future__ import annotations

import math
from pathlib import Path

from gradcam.errors import GradcamError
from gradcam.files import check_folder
from gradcam.names import CORE, TOP, prefixed
from gradcam.schema.document import read
from gradcam.schema.program import Program

#: Bits of the class to explain, an index of the logits.
CLASS_BITS = 32


def read_program(folder: Path) -> Program:
    """Reads the program of a compile's output folder.

    Raises:
        GradcamError: the folder is missing, or its program.json is missing, malformed or inconsistent.
    """
    check_folder(folder)
    path = folder / "program.json"
    if not path.exists():
        raise GradcamError(f"{folder} is not the output of gradcam-compile: it has no program.json")
    program = read(path, Program)
    try:
        _check_interfaces(program)
        _check_files(program)
        _check_nests(program)
        _check_times(program)
    except GradcamError as error:
        raise GradcamError(f"{path}: {error}") from None
    return program


def _check_interfaces(program: Program) -> None:
    """Refuses impossible streams and ports."""
    if len(program.inputs) != 1 or len(program.inputs[0].shape) != 3:
        raise GradcamError(f"the design takes {[s.name for s in program.inputs]}, not one image")
    program.preprocessing.of_channels(program.inputs[0].shape[-1])
    if (program.top, program.core.top) != (prefixed(program.name, TOP), prefixed(program.name, CORE)):
        raise GradcamError(f"the modules '{program.core.top}' and '{program.top}' are not of one design")
    for stream in program.streams:
        if math.prod(stream.shape) % stream.lanes:
            raise GradcamError(f"stream '{stream.name}' of shape {stream.shape} has no whole number of beats")
        if (stream.direction == "out" and stream.name != "logits") != (stream.explains is not None):
            raise GradcamError(f"stream '{stream.name}' must say what it explains if it is a map, and only then")
        if stream.scale is None:
            raise GradcamError(f"stream '{stream.name}' has no scale")
    if program.output("logits") is None:
        raise GradcamError("the design has no stream of logits")
    if len(program.ports) != bool(program.maps):
        raise GradcamError("a design with maps has one port, which takes the class to explain, and no other design has")
    if wrong := [port for port in program.ports if port.bits != CLASS_BITS]:
        raise GradcamError(f"port '{wrong[0].name}' has {wrong[0].bits} bits; a class has {CLASS_BITS}")


def _check_files(program: Program) -> None:
    """Refuses constants and RTL that have no checksum, which nothing would compare."""
    files = [program.dram.file] if program.dram else []
    for name, bank in program.banks.items():
        numbers = [f"_{i}" for i in range(len(bank.memories))] if len(bank.memories) > 1 else [""]
        files += (
            [prefixed(program.name, f"mem/{name}{number}.hex") for number in numbers]
            if bank.constant and not program.load
            else []
        )
    for file in [*files, f"rtl/{program.top}.sv"]:
        if file not in program.memories | program.rtl:
            raise GradcamError(f"the file '{file}' has no checksum")


def _check_nests(program: Program) -> None:
    """Refuses inconsistent buffers and nests, which a simulation would misread."""
    if empty := [name for name, bank in program.banks.items() if not bank.parts]:
        raise GradcamError(f"bank '{empty[0]}' has no memory")
    buffers = [buffer.name for buffer in program.buffers]
    for buffer in program.buffers:
        if buffers.count(buffer.name) > 1:
            raise GradcamError(f"two buffers have the name '{buffer.name}'")
        if (buffer.bank is None) == (buffer.register is None) or (buffer.bank and buffer.bank not in program.banks):
            raise GradcamError(f"buffer '{buffer.name}' is in no bank and no register that exist")
    if not program.nests:
        raise GradcamError("there are no nests")
    for number, nest in enumerate(program.nests):
        if nest.follows is not None and nest.follows != number - 1:
            raise GradcamError(f"nest '{nest.name}' follows nest {nest.follows}, not the one before it")
        for verb, names in (("reads", nest.reads), ("writes", nest.writes)):
            if missing := [name for name in names if name not in buffers]:
                raise GradcamError(f"nest '{nest.name}' {verb} '{missing[0]}', which is no buffer")
        if not nest.writes and nest.phase != "store":
            raise GradcamError(f"nest '{nest.name}' writes no buffer")
    written = {name for nest in program.nests for name in nest.writes}
    if unwritten := [name for name in buffers if name not in written]:
        raise GradcamError(f"no nest writes buffer '{unwritten[0]}'")
    added, total = sum(nest.cycles for nest in program.nests), program.cycles.total
    if added != total:
        raise GradcamError(f"the nests add {added} cycles to their phases, but the last one ends in {total}")


def _check_times(program: Program) -> None:
    """Refuses impossible cycles of nests and of their weights, which a timeline would misread."""
    for nest in program.nests:
        if nest.end <= nest.start:
            raise GradcamError(f"nest '{nest.name}' ends in cycle {nest.end}, but starts in {nest.start}")
        if nest.weights and program.ring is None:
            raise GradcamError(f"nest '{nest.name}' reads weights from DRAM, and there is none")
        if nest.weights and nest.weights.last_beat < nest.weights.first_beat:
            raise GradcamError(f"the weights of nest '{nest.name}' have their last beat before their first one")
    if program.ring is not None and program.ring not in program.banks:
        raise GradcamError(f"the ring of weights is in '{program.ring}', which is no bank")
    if program.dram and (program.ring is None) == (program.load is None):
        raise GradcamError("weights in DRAM are read through a ring, in every run, or by one load before them")
    cycles = [level.cycle for level in program.dram.levels] if program.dram else []
    if cycles != sorted(set(cycles)):
        raise GradcamError("the levels of the ring of weights do not go on in time")
