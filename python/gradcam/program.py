"""The static program of a scheduled module, as data: streams, nests, buffers, banks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isinf
from typing import Any

from torch_mlir import ir

from gradcam.passes.hw.core import describe_core
from gradcam.passes.hw.interface import Interface
from gradcam.passes.hw.top import TOP
from gradcam.passes.ir.attributes import CYCLES, DRAIN, END, ENGINE, EPILOGUE, PHASE, STALLS, START
from gradcam.passes.ir.explanations import explanations, map_names
from gradcam.passes.ir.queries import is_argument, location_name
from gradcam.passes.program.banks import place_of, ring_of
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.nest import Access, Nest
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.program.tape import Tape
from gradcam.quant_types import is_quantized


def describe_program(program: ScheduledProgram) -> dict[str, Any]:
    """A scheduled program (after gradcam-assign-cycles), ready for JSON.

    Returns:
        `top`, `streams`, `ports`, `nests` (engine, trip counts, start and end cycle, the cycles that it `drain`s after
        its end, the `cycles` that it adds to its phase, what it writes, the number of the nest that it `follows`),
        `buffers` (bank, word offset, shape, elements of a `ring`), `banks`, `dram` (None when all weights are on chip),
        `clock_ns` (the period that the pipelines are made for, None for no clock in particular), `core` (see
        `describe_core`); `memories`, `rtl` and the name of the DRAM's file are filled in when the files are written.
    """
    with program.module.context:
        arguments, accesses, tape = program.arguments, program.accesses, program.tape
        streams = {a.memref.arg_number: _stream(a, arguments) for a in accesses if access_kind(a) == "stream"}
        ports = {a.memref.arg_number: a for a in accesses if access_kind(a) == "port"}
        buffers: dict[ir.Value, dict[str, Any]] = {}
        for nest in program.nests:
            for store in nest.stores:
                if not is_argument(store.memref):
                    # A nest makes several tensors, such as a map and its mask; each buffer has its tensor's name.
                    name = location_name(store.memref.owner) or nest.name
                    buffers.setdefault(store.memref, _buffer(store, _unique(name, buffers), program.registers))
        return {
            "top": TOP,
            "streams": list(streams.values()),
            "ports": [{"name": arguments[i], "bits": a.element_bits} for i, a in ports.items()],
            "nests": [
                _nest(n, buffers) | _tape_reads(tape, i, n) | ({"follows": i - 1} if i - 1 in program.follows else {})
                for i, n in enumerate(program.nests)
            ],
            "buffers": list(buffers.values()),
            "banks": {n: _bank(b) for n, b in program.banks.items()},
            "dram": _dram(tape) if tape else None,
            "clock_ns": None if isinf(period := program.clock.period) else period,
            "core": describe_core(Interface.of(program)),
            "memories": {},
            "rtl": {},
        }


def _unique(name: str, buffers: dict[Any, dict[str, Any]]) -> str:
    taken = {b["name"] for b in buffers.values()}
    return (
        name
        if name not in taken
        else next(f"{name}.{i}" for i in range(2, len(taken) + 3) if f"{name}.{i}" not in taken)
    )


def _bank(bank: Any) -> dict[str, Any]:
    words = {"words": bank.words, "parts": [words for _, words in bank.parts]}
    return {"lanes": bank.lanes, "bits": bank.bits, "constant": bank.constant} | words


def _stream(access: Access, arguments: Sequence[str]) -> dict[str, Any]:
    direction = "in" if access.op.operation.name == "affine.load" else "out"
    shape = list(ir.MemRefType(access.memref.type).shape)
    name = arguments[access.memref.arg_number]
    return {
        "name": name,
        "direction": direction,
        "shape": shape,
        "element_bits": access.element_bits,
        "lanes": access.lanes,
    }


def _buffer(access: Access, name: str, registers: Mapping[ir.Value, str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "shape": list(ir.MemRefType(access.memref.type).shape)}
    if access.memref in registers:
        return entry | {"register": registers[access.memref], "element_bits": access.element_bits}
    bank, offset = place_of(access.memref)
    ring = ring_of(access.memref)
    entry |= {"bank": bank, "offset": offset, "element_bits": access.element_bits}
    return entry | ({"ring": ring} if ring else {})


def _nest(nest: Nest, buffers: dict[ir.Value, dict[str, Any]]) -> dict[str, Any]:
    numbers = {attribute.name: attribute.get(nest.op) for attribute in (START, END, DRAIN, CYCLES)}
    return {
        "name": nest.name,
        "engine": ENGINE.get(nest.op),
        "epilogue": EPILOGUE.get(nest.op),
        "phase": PHASE.get(nest.op),
        "trips": [loop.trip for loop in nest.loops],
        "steps": nest.steps,
        **numbers,
        "writes": [buffers[s.memref]["name"] for s in nest.stores if s.memref in buffers],
    }


def _tape_reads(tape: Tape | None, number: int, nest: Nest) -> dict[str, Any]:
    """What a nest reads from the tape, and how long it waits for it."""
    use = next((u for u in tape.uses if u.nest == number), None) if tape else None
    if tape is None or use is None:
        return {}
    return {"dram_bytes": use.words * tape.bank.width // 8, "stalls": STALLS.get(nest.op)}


def _dram(tape: Tape) -> dict[str, Any]:
    return {"width": tape.width, "outstanding": tape.outstanding, "latency": tape.latency}


def quantization_of(quantized: Any) -> dict[str, Any]:
    """Scales of the image, the logits and each map, and what the maps explain, from a level-2 module's operation.

    `explain` is a list in the order of the maps when there are several.
    """
    from gradcam.quant_types import scale

    function = next(o for o in quantized.regions[0].blocks[0].operations if o.operation.name == "func.func")
    block = function.regions[0].blocks[0]
    results = list(list(block.operations)[-1].operands)
    names = ["image", "logits", *map_names(len(results) - 1)]
    values = dict(zip(names, [block.arguments[0], *results], strict=True))
    out: dict[str, Any] = {n: {"scale": scale(v)} for n, v in values.items() if is_quantized(v)}
    if asked := [{e.name: plain(e.attr) for e in explanation} for explanation in explanations(function)]:
        out["explain"] = asked[0] if len(asked) == 1 else asked
    return out


def plain(attribute: ir.Attribute) -> Any:
    """A string, number or boolean attribute as Python data."""
    if isinstance(attribute, ir.StringAttr):
        return attribute.value
    if isinstance(attribute, (ir.BoolAttr, ir.IntegerAttr, ir.FloatAttr)):
        return attribute.value
    return str(attribute)
