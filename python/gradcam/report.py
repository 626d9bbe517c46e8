"""Makes report.json and report.txt: size, cycles, memory and quality of a compiled model."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
from torch_mlir import ir

from gradcam.bits import Bits
from gradcam.dialect.verify import ints, sides
from gradcam.passes.ir.queries import location_name
from gradcam.schema.derived import DramRead, Overlap, dram_reads, explained, overlaps
from gradcam.schema.program import Nest, Program, WordReads
from gradcam.schema.report import Layer, PassTime, Quality, Report, Rounding
from gradcam.schema.schedule import Schedule
from gradcam.verdict import quality_rows
from gradcam.windows import taps_inside


def make_report(
    name: str,
    pe: str,
    quantized: Any,
    program: Program,
    multiplications: Mapping[str, int] | None = None,
    passes: Sequence[PassTime] = (),
    rounding: Sequence[Rounding] = (),
    quality: Quality | None = None,
    tables: Mapping[str, int] | None = None,
    bits: Bits | None = None,
) -> Report:
    """The report of a compile; its cycles are predicted.

    Args:
        name: the model's name.
        pe: the array, OCxIC.
        quantized: the level-2 module's operation.
        program: the compiled program.
        multiplications: see `count_multiplications`; empty where there is no hardware yet.
        passes: the wall time of each pass.
        rounding: see `gradcam.quality.rounded_weights`.
        quality: see `gradcam.quality.measure`.
        tables: see `count_table_bytes`; empty where there is no hardware yet.
        bits: of the integers; None: the default.
    """
    macs, cycles = count_macs(quantized), program.cycles
    layers = layer_figures(quantized, program)
    products = [layer for layer in layers if layer.op and layer.phase == "inference"]
    multipliers = count_multipliers(program.nests[i] for layer in products for i in layer.nests)
    written = {b.bank for b in program.buffers if b.bank is not None}
    return Report(
        model=name,
        pe=pe,
        multipliers=multipliers,
        macs=macs,
        cycles=cycles,
        overhead=cycles.explanation / cycles.inference,
        utilization=macs / multipliers / cycles.inference,
        memory_bytes={n: b.size for n, b in program.banks.items()} | dict(tables or {}),
        block_rams={n: b.block_rams for n, b in program.banks.items()},
        packet_bytes=program.packet_bytes,
        activation_bytes=sum(program.banks[n].size for n in written),
        word_reads=_word_reads(program),
        multiplications=dict(multiplications or {}),
        layers=tuple(layers),
        rounding=tuple(rounding),
        passes=tuple(passes),
        bits=asdict(bits or Bits()),
        explains=dict(program.maps),
        quality=quality,
    )


def _word_reads(program: Program) -> WordReads:
    """The words that an inference reads from the memories of the core."""
    reads = [nest.word_reads for nest in program.nests if nest.phase == "inference"]
    return WordReads(sum(n.weights for n in reads), sum(n.activations for n in reads))


def count_multiplications(design: Any) -> dict[str, int]:
    """Multiplications of a level-5 module by engine, of lanes and of rescales; engines without any are left out."""
    modules = {
        str(m.attributes["sym_name"]).strip('"'): m.regions[0].blocks[0].operations for m in design.body.operations
    }

    def count(name: str) -> int:
        inside = [str(op.attributes["moduleName"])[1:] for op in modules[name] if op.operation.name == "hw.instance"]
        return sum(op.operation.name == "comb.mul" for op in modules[name]) + sum(map(count, inside))

    counts = {name.removeprefix("engine_"): count(name) for name in modules if name.startswith("engine_")}
    return {name: number for name, number in counts.items() if number}


def count_table_bytes(design: Any) -> dict[str, int]:
    """Bytes of the lookup tables of a level-5 module by module of tables; each lane that looks up has its own."""
    from gradcam.passes.hw.tables import BYTES  # it imports CIRCT

    sizes = {
        str(m.attributes["sym_name"]).strip('"'): int(m.attributes[BYTES].value)
        for m in design.body.operations
        if BYTES in m.attributes
    }
    placed = Counter[str]()
    for module in design.body.operations:
        for op in (op for region in module.regions for block in region for op in block.operations):
            if op.operation.name == "hw.instance":
                placed[str(op.attributes["moduleName"])[1:]] += 1
    return {name: size * placed[name] for name, size in sizes.items()}


def count_multipliers(nests: Iterable[Nest]) -> int:
    """The multipliers of all engines that run these nests."""
    return sum({nest.engine: nest.products for nest in nests}.values())


def layer_figures(quantized: Any, program: Program) -> list[Layer]:
    """The figures of every layer, in program order; a layer are the nests of one name and phase."""
    sizes = {b.name: b.size for b in program.buffers}
    layers: dict[tuple[str, str], Layer] = {}
    for number, nest in enumerate(program.nests):
        key = nest.name, nest.phase
        layer = layers.get(key) or Layer(nest.name, nest.phase, (), 0, 0, None, 0, 0, None)
        layers[key] = msgspec.structs.replace(
            layer,
            nests=(*layer.nests, number),
            cycles=layer.cycles + nest.cycles,
            output_bytes=layer.output_bytes + sum(sizes.pop(b, 0) for b in nest.writes),
        )
    multiplying = {
        key: layer for key, layer in layers.items() if count_multipliers(program.nests[i] for i in layer.nests)
    }
    for op in _operations(quantized):
        phase = _PRODUCTS.get(op.operation.name)
        if phase and (key := _layer_of(op, phase, quantized, multiplying)):
            layer, macs = layers[key], layers[key].macs + _macs(op)
            nests = [program.nests[i] for i in layer.nests]
            running = sum(nest.end - nest.start for nest in nests)
            layers[key] = msgspec.structs.replace(
                layer,
                op=op.operation.name.removeprefix("gradcam."),
                macs=macs,
                weights=layer.weights + (_elements(op.operands[1]) if phase == "inference" else 0),
                utilization=macs / count_multipliers(nests) / running,
            )
    return list(layers.values())


def _layer_of(op: Any, phase: str, quantized: Any, layers: Mapping[tuple[str, str], Layer]) -> tuple[str, str] | None:
    """The layer of a phase that contains an op of level 2, by its own name or that of the next op behind it.

    `layers` are those with multipliers. What is stored in parts or halves has a name behind its own.
    """
    reached = set(op.results)
    following = itertools.dropwhile(lambda o: o != op, _operations(quantized))
    for other in following:
        if other == op or reached & set(other.operands):
            for part in ("", ".parts", ".high"):
                if (key := (location_name(other) + part, phase)) in layers:
                    return key
            reached |= set(other.results)
    return None


def count_macs(quantized: Any) -> int:
    """Multiply-adds of a module's convolutions and linear layers: outputs times weights per output."""
    return sum(_macs(op) for op in _operations(quantized) if _PRODUCTS.get(op.operation.name) == "inference")


#: The phase of a run that computes a product of a map and weights, by the name of its op.
_PRODUCTS = {
    "gradcam.conv2d": "inference",
    "gradcam.linear": "inference",
    "gradcam.conv2d_adjoint": "explanation",
    "gradcam.linear_adjoint": "explanation",
}


def _operations(quantized: Any) -> Iterator[Any]:
    function = next(o for o in quantized.regions[0].blocks[0].operations if o.operation.name == "func.func")
    return iter(function.regions[0].blocks[0].operations)


def _macs(op: Any) -> int:
    """Multiply-adds of a product; of an adjoint convolution those whose result is inside of the map."""
    weights = ir.RankedTensorType(op.operands[1].type).shape
    if op.operation.name == "gradcam.conv2d_adjoint":
        names = ints(op, "stride", 2, 1), sides(op)[0], ints(op, "dilation", 2, 1)
        sizes = (ir.RankedTensorType(value.type).shape[2:] for value in (op.results[0], op.operands[0]))
        axes = zip(weights[2:], *names, *sizes, strict=True)
        return math.prod(weights[:2]) * math.prod(taps_inside(*axis) for axis in axes)
    outputs = op.operands[0] if op.operation.name == "gradcam.linear_adjoint" else op.results[0]
    return _elements(outputs) * math.prod(weights[1:])


def _elements(value: ir.Value) -> int:
    return math.prod(ir.RankedTensorType(value.type).shape)


def report_text(report: Report, program: Program, schedule: Schedule) -> str:
    """The report for reading, with the schedule, and the nests that wait or run side by side."""
    rows = [
        ("model", report.model),
        ("explains", explained(program)),
        ("image", str(program.preprocessing)),
        ("array", report.pe),
        ("multipliers", f"{report.multipliers}"),
        ("multiply-adds", f"{report.macs:,}"),
        *((f"multiplications, {n}", f"{c:,}") for n, c in report.multiplications.items()),
        *((f"cycles, {n}", f"{c:,}") for n, c in msgspec.structs.asdict(report.cycles).items()),
        ("explanation / inference", f"{report.overhead:.5f}"),
        ("utilization", f"{report.utilization:.4f}"),
        *((f"overlap, {o.nest.name}", _overlap_text(o)) for o in overlaps(program)),
        *((f"memory, {n}", f"{b:,} bytes") for n, b in (report.memory_bytes | report.packet_bytes).items()),
        ("memory of activations", f"{report.activation_bytes:,} bytes"),
        ("block RAMs of the banks", f"{sum(report.block_rams.values()):g}"),
        *((f"words read, {n}", f"{c:,}") for n, c in msgspec.structs.asdict(report.word_reads).items()),
        *((("load of weights", f"{program.load.cycles:,} cycles before the first run"),) if program.load else ()),
        *((f"dram, {read.nest.name}", _dram_text(read)) for read in dram_reads(program)),
        *(
            (f"loops, {name}", _loops_text(chosen.loops, nest))
            for (name, chosen), nest in zip(schedule.nests.items(), program.nests, strict=True)
        ),
        *(quality_rows(report.quality, report.explains) if report.quality else ()),
    ]
    width = max(len(label) for label, _ in rows)
    return "".join(f"{label:<{width}}  {value}\n" for label, value in rows)


def _overlap_text(overlap: Overlap) -> str:
    rings = (f"; {r.elements:,} of {r.of:,} elements of {n} are kept" for n, r in overlap.rings.items())
    return f"beside {overlap.producer.name}, {overlap.added_cycles:,} cycles after it{''.join(rings)}"


def _dram_text(read: DramRead) -> str:
    stalls = f"{read.weights.stall_cycles:,} cycles of waiting"
    return f"{read.weights.bytes:,} bytes, {read.bytes_per_cycle:.2f} bytes per cycle, {stalls}"


def _loops_text(names: Sequence[str], nest: Nest) -> str:
    """The loops of a nest, outermost first, with their trip counts, and the stationary operand."""
    loops = ", ".join(f"{loop} {trip}" for loop, trip in zip(names, nest.trips, strict=True))
    return loops + (f"; {nest.stationary} stationary" if nest.stationary else "")
