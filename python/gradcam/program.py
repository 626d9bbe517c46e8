"""Describes a scheduled module as a program: streams, nests, buffers, banks."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from math import isinf
from typing import Any, Literal, cast

from msgspec.structs import replace
from torch_mlir import ir

from gradcam.images import Preprocessing
from gradcam.names import TOP, prefixed
from gradcam.passes.hw.core import describe_core
from gradcam.passes.hw.interface import Interface
from gradcam.passes.ir.attributes import (
    BEATS,
    CYCLES,
    DRAIN,
    END,
    ENGINE,
    EPILOGUE,
    PHASE,
    PIXELS,
    RING_LEVELS,
    STALLS,
    START,
)
from gradcam.passes.ir.explanations import explanations, map_names
from gradcam.passes.ir.normalization import normalization_of
from gradcam.passes.ir.queries import is_argument, is_global, location_name, symbol_register
from gradcam.passes.program.banks import Bank, is_weight, place_of, ring_of
from gradcam.passes.program.block_ram import BlockRam
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.nest import Access, Nest
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.program.streams import word_reads
from gradcam.passes.program.weight_stream import WeightStream
from gradcam.quant_types import is_quantized, scale
from gradcam.schema import program as schema

#: The file with weights that are loaded, relative to the output folder.
LOAD_FILE = "mem/weights.bin"


def describe_program(
    program: ScheduledProgram,
    quantized: Any = None,
    memories: Mapping[str, str] | None = None,
    preprocessing: Preprocessing | None = None,
    design: str | None = None,
) -> schema.Program:
    """Describes a scheduled program (after gradcam-assign-cycles) as program.json holds it.

    Args:
        program: the level-4 program.
        quantized: the level-2 module's operation, which has the scales and the explanation of each map; None for
            integers without scales.
        memories: SHA-256 of the files with the contents of its memories, by their paths.
        preprocessing: what makes inputs of pixels; None for that of settings which do not say.
        design: the name of the design; None where it has none.

    Returns:
        The program; `rtl` is empty until the files are written.
    """
    with program.module.context:
        arguments, accesses, weight_stream = program.arguments, program.accesses, program.weight_stream
        streams = {a.memref.arg_number: a for a in accesses if access_kind(a) == "stream"}
        ports = {a.memref.arg_number: a for a in accesses if access_kind(a) == "port"}
        scales, maps = ({}, {}) if quantized is None else (scales_of(quantized), maps_of(quantized))
        pixels = {name: tuple(numbers) for name, numbers in (PIXELS.find(program.module.operation) or {}).items()}
        buffers: dict[ir.Value, schema.Buffer] = {}
        for nest in program.nests:
            for store in nest.stores:
                if not is_argument(store.memref):
                    # A nest makes several tensors, such as a map and its mask; each buffer has its tensor's name.
                    name = location_name(store.memref.owner) or nest.name
                    buffer = _buffer(store, _unique(name, buffers), program.registers, pixels.get(name))
                    buffers.setdefault(store.memref, buffer)
        described = tuple(_stream(a, arguments[i], scales, maps) for i, a in streams.items())
        return schema.Program(
            top=prefixed(design, TOP),
            preprocessing=_preprocessing(preprocessing or Preprocessing.of(), quantized, described[0].shape[-1]),
            streams=described,
            ports=tuple(schema.Input(arguments[i], a.element_bits) for i, a in ports.items()),
            nests=tuple(
                _nest(n, buffers, i - 1 if i - 1 in program.follows else None, _weights(weight_stream, i, n))
                for i, n in enumerate(program.nests)
            ),
            buffers=tuple(buffers.values()),
            banks={n: _bank(b, program.clock.block) for n, b in program.banks.items()},
            dram=_dram(program, weight_stream, design) if weight_stream else _loaded(program, design),
            clock_ns=None if isinf(period := program.clock.period) else period,
            core=describe_core(Interface.of(program), design),
            memories=dict(memories or {}),
            rtl={},
        )


def _unique(name: str, buffers: Mapping[Any, schema.Buffer]) -> str:
    taken = {b.name for b in buffers.values()}
    return (
        name
        if name not in taken
        else next(f"{name}.{i}" for i in range(2, len(taken) + 3) if f"{name}.{i}" not in taken)
    )


def _bank(bank: Bank, block: BlockRam) -> schema.Bank:
    numbers = [block.number(m.words, m.lanes * bank.bits) if m.style == "block" else 0 for m in bank.memories]
    memories = tuple(
        schema.Memory(m.words, m.lanes, m.style, float(number or 0))
        for m, number in zip(bank.memories, numbers, strict=True)
    )
    parts = tuple(p.words for p in bank.parts)
    return schema.Bank(bank.lanes, bank.bits, bank.constant, bank.reads, parts, memories)


def _stream(
    access: Access, name: str, scales: Mapping[str, float], maps: Mapping[str, schema.Explanation]
) -> schema.Stream:
    shape, bits = tuple(ir.MemRefType(access.memref.type).shape), cast(schema.StreamBits, access.element_bits)
    direction = "in" if access.op.operation.name == "affine.load" else "out"
    return schema.Stream(name, direction, shape, bits, access.lanes, scales.get(name), maps.get(name))


def _buffer(
    access: Access, name: str, registers: Mapping[ir.Value, str], pixels: tuple[int, int, int] | None
) -> schema.Buffer:
    shape, bits = tuple(ir.MemRefType(access.memref.type).shape), cast(schema.BufferBits, access.element_bits)
    if access.memref in registers:
        return schema.Buffer(name, shape, bits, None, 0, registers[access.memref], None, None)
    bank, offset = place_of(access.memref)
    return schema.Buffer(name, shape, bits, bank, offset, None, ring_of(access.memref), pixels)


def _nest(
    nest: Nest, buffers: Mapping[ir.Value, schema.Buffer], follows: int | None, weights: schema.WeightReads | None
) -> schema.Nest:
    return schema.Nest(
        name=nest.name,
        engine=ENGINE.get(nest.op),
        epilogue=EPILOGUE.get(nest.op),
        phase=cast(schema.Phase, PHASE.get(nest.op)),
        products=nest.products,
        trips=tuple(loop.trip for loop in nest.loops),
        start=START.get(nest.op),
        end=END.get(nest.op),
        drain=DRAIN.get(nest.op),
        cycles=CYCLES.get(nest.op),
        reads=tuple(dict.fromkeys(buffers[value].name for value in _read(nest) if value in buffers)),
        writes=tuple(buffers[s.memref].name for s in nest.stores if s.memref in buffers),
        word_reads=_word_reads(nest),
        follows=follows,
        stationary=_stationary(nest),
        weights=weights,
    )


def _read(nest: Nest) -> Iterator[ir.Value]:
    """What a nest reads: by its loads, and registers that its indices contain."""
    for access in (*nest.loads, *nest.stores):
        if access.op.operation.name == "affine.load":
            yield access.memref
        yield from (symbol_register(term[1]) for term in access.index if isinstance(term, tuple))
    yield from (symbol_register(register.term[1]) for register in nest.picked if register.term)


def _word_reads(nest: Nest) -> schema.WordReads:
    memory = [a for a in nest.loads if access_kind(a) == "memory"]
    weights = [a for a in memory if is_global(a.memref) and is_weight(a.element_bits)]
    activations = [a for a in memory if not is_global(a.memref)]
    return schema.WordReads(*(sum(word_reads(nest, a) for a in loads) for loads in (weights, activations)))


def _stationary(nest: Nest) -> Literal["weights", "input"] | None:
    """The operand of the reduction that stays the same from one output to the next; None where there is none."""
    moving = [loop for loop in nest.outputs if loop.trip > 1]
    loads = [a for a in nest.body.loads if not is_argument(a.memref)] if nest.body else []
    kept = [
        a for a in loads if moving and moving[-1].iv not in a.index and not any(moving[-1].iv in g for g in a.guards)
    ]
    return ("weights" if is_global(kept[0].memref) else "input") if kept else None


def _weights(weight_stream: WeightStream | None, number: int, nest: Nest) -> schema.WeightReads | None:
    """The weights that a nest reads from the weight stream."""
    use = next((u for u in weight_stream.uses if u.nest == number), None) if weight_stream else None
    if weight_stream is None or use is None:
        return None
    word = weight_stream.word_bits // 8
    return schema.WeightReads(use.words * word, use.tile * word, STALLS.get(nest.op), *BEATS.get(nest.op))


def _dram(program: ScheduledProgram, weight_stream: WeightStream, design: str | None) -> schema.Dram:
    beat_bits = weight_stream.bank.width // weight_stream.word_beats
    return schema.Dram(
        file=prefixed(design, dram_file(weight_stream)),
        width=weight_stream.width,
        outstanding=weight_stream.outstanding,
        latency=weight_stream.latency,
        ring=weight_stream.bank.name,
        levels=tuple(
            schema.Level(cycle, beats * beat_bits // 8) for cycle, beats in RING_LEVELS.get(program.module.operation)
        ),
        load=None,
    )


def _loaded(program: ScheduledProgram, design: str | None) -> schema.Dram | None:
    """The DRAM of resident weights; None where all constants are part of the design."""
    if program.weight_load is None:
        return None
    dram, load = program.weight_load.dram, schema.Load(program.weight_load.cycles, zlib.crc32(program.load_image))
    file = prefixed(design, LOAD_FILE)
    return schema.Dram(file, dram.width, dram.outstanding, dram.latency, ring=None, levels=(), load=load)


def _preprocessing(chosen: Preprocessing, quantized: Any, channels: int) -> Preprocessing:
    """The preprocessing of settings, with the model's own normalization, which the level-2 module's argument has."""
    normalization = None if quantized is None else normalization_of(_function(quantized))
    return replace(chosen, normalization=normalization).of_channels(channels)


def dram_file(weight_stream: WeightStream) -> str:
    """The file with the contents of the DRAM, relative to the output folder."""
    return f"mem/{weight_stream.bank.name}.bin"


def scales_of(quantized: Any) -> dict[str, float]:
    """Scales of the image, the logits and each map, by the names of their streams, of a level-2 module's operation."""
    block = _function(quantized).regions[0].blocks[0]
    results = list(list(block.operations)[-1].operands)
    names = ["image", "logits", *map_names(len(results) - 1)]
    values = dict(zip(names, [block.arguments[0], *results], strict=True))
    return {name: scale(value) for name, value in values.items() if is_quantized(value)}


def maps_of(quantized: Any) -> dict[str, schema.Explanation]:
    """The explanation of each map, by the name of its stream, from a level-2 module's operation."""
    asked = [{e.name: e.attr.value for e in explanation} for explanation in explanations(_function(quantized))]
    return dict(zip(map_names(len(asked)), (schema.Explanation(**facts) for facts in asked), strict=True))


def _function(quantized: Any) -> Any:
    return next(o for o in quantized.regions[0].blocks[0].operations if o.operation.name == "func.func")
