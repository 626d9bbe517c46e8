"""report.json: size, cycles and memory of a compiled model, and the same for reading."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from torch_mlir import ir

from gradcam.compiler import Settings
from gradcam.passes.ir.attributes import CYCLES_BY_PHASE
from gradcam.passes.ir.queries import location_name
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.pe import PE
from gradcam.program import quantization_of
from gradcam.schedule import describe_schedule


def make_report(
    name: str, settings: Settings, quantized: Any, scheduled: ScheduledProgram, program: dict[str, Any]
) -> dict[str, Any]:
    """The report of a compile; every figure is predicted, none measured.

    Args:
        name: the model's name.
        settings: what was asked for.
        quantized: the level-2 module's operation.
        scheduled: the scheduled program.
        program: from `describe_program`; gets the key `quantization`.

    Returns:
        `macs` of an inference (multiply-adds of the model's convolutions and linear layers, padding channels not
        counted), `multipliers` of the array, `cycles` by phase, `overhead` = explanation / inference, `utilization` =
        macs / multipliers / inference cycles, `memory_bytes` by bank, `packet_bytes` by packet buffer,
        `activation_bytes` of the banks that nests write, `layers`: see `layer_figures`, `overlaps`: see
        `overlap_figures`, `dram`: see `dram_figures`, `schedule`: see `describe_schedule`.
    """
    cycles = CYCLES_BY_PHASE.get(scheduled.module.operation)
    program["quantization"] = quantization_of(quantized)
    pe = PE.parse(settings.pe)
    macs = count_macs(quantized)
    memory = {n: b["lanes"] * b["bits"] * b["words"] // 8 for n, b in program["banks"].items()}
    return {
        "model": name,
        "target_layer": settings.target_layer,
        "top_k": settings.top_k,
        "method": settings.method,
        "pe": settings.pe,
        "macs": macs,
        "multipliers": pe.oc * pe.ic,
        "cycles": {n: cycles[n] for n in ("load", "inference", "explanation", "store", "total")},
        "overhead": cycles["explanation"] / cycles["inference"],
        "utilization": macs / (pe.oc * pe.ic) / cycles["inference"],
        "memory_bytes": memory,
        "packet_bytes": program["core"]["buffers"],
        "activation_bytes": sum(memory[n] for n in {b["bank"] for b in program["buffers"] if "bank" in b}),
        "layers": layer_figures(quantized, program, pe.oc * pe.ic),
        "overlaps": overlap_figures(program),
        "dram": dram_figures(program),
        "schedule": describe_schedule(scheduled),
        "scales": {n: v["scale"] for n, v in program["quantization"].items() if n != "explain"},
    }


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


def overlap_figures(program: dict[str, Any]) -> list[dict[str, Any]]:
    """The nests that run beside the one before them.

    Returns:
        Per nest its number `nest` and `name`, the `producer` that it follows, `added_cycles` from the end of that to
        its own, and `rings`: by name of a buffer that is not kept whole, the `elements` that are, `of` how many.
    """
    nests, figures = program["nests"], []
    rings = {b["name"]: {"elements": b["ring"], "of": math.prod(b["shape"])} for b in program["buffers"] if "ring" in b}
    for number, nest in enumerate(nests):
        if "follows" in nest:
            producer = nests[nest["follows"]]
            entry = {"nest": number, "name": nest["name"], "producer": producer["name"]}
            entry["added_cycles"] = max(0, nest["end"] - producer["end"])
            figures.append(entry | {"rings": {n: rings[n] for n in producer["writes"] if n in rings}})
    return figures


def dram_figures(program: dict[str, Any]) -> list[dict[str, Any]] | None:
    """What every nest with weights reads from DRAM; None when all weights are on chip.

    Returns:
        Per nest its number `nest` and `name`, `bytes`, `cycles` without waiting, `bytes_per_cycle`, the bandwidth with
        which it would not have to wait, and `stall_cycles` that it waits for late beats of an ideal DRAM.
    """
    if program["dram"] is None:
        return None
    figures = []
    for number, nest in enumerate(program["nests"]):
        if "dram_bytes" in nest:
            cycles = nest["end"] - nest["start"] - nest["stalls"]
            layer = {"nest": number, "name": nest["name"], "bytes": nest["dram_bytes"], "cycles": cycles}
            bandwidth = round(nest["dram_bytes"] / cycles, 4)
            figures.append(layer | {"bytes_per_cycle": bandwidth, "stall_cycles": nest["stalls"]})
    return figures


def layer_figures(quantized: Any, program: dict[str, Any], multipliers: int) -> list[dict[str, Any]]:
    """What every layer takes: a layer is what the nests of one name and phase do.

    Returns:
        In program order `name`, `phase`, `nests` (their numbers), `cycles`, which add up to all of the program's,
        `output_bytes` of the buffers that it writes, padding channels counted; where a convolution or linear layer of
        the inference ends also `op`, its level-2 name without the dialect, `macs`, `weights`, and `utilization` between
        its start and its end: beside another layer it may add no cycles.
    """
    layers: dict[tuple[str, str], dict[str, Any]] = {}
    sizes = {b["name"]: _buffer_bytes(b) for b in program["buffers"]}
    for number, nest in enumerate(program["nests"]):
        name, phase = nest["name"], nest["phase"]
        new = {"name": name, "phase": phase, "nests": [], "cycles": 0, "output_bytes": 0}
        layer = layers.setdefault((name, phase), new)
        layer["nests"].append(number)
        layer["cycles"] += nest["cycles"]
        layer["output_bytes"] += sum(sizes.pop(b, 0) for b in nest["writes"])
    for op in _products(quantized):
        if layer := _layer_of(op, quantized, layers):
            layer["op"] = op.operation.name.removeprefix("gradcam.")
            layer["macs"] = layer.get("macs", 0) + _macs(op)
            layer["weights"] = layer.get("weights", 0) + _elements(op.operands[1])
            running = sum(n["end"] - n["start"] for n in (program["nests"][i] for i in layer["nests"]))
            layer["utilization"] = layer["macs"] / multipliers / running
    return list(layers.values())


def _buffer_bytes(buffer: dict[str, Any]) -> int:
    return -(-math.prod(buffer["shape"]) * buffer["element_bits"] // 8)


def _layer_of(op: Any, quantized: Any, layers: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any] | None:
    """The inference's layer in which an op of level 2 ended: that of its own name, or of the next op made from it."""
    reached = set(op.results)
    following = itertools.dropwhile(lambda o: o != op, _operations(quantized))
    for other in following:
        if other == op or reached & set(other.operands):
            if layer := layers.get((location_name(other), "inference")):
                return layer
            reached |= set(other.results)
    return None


def count_macs(quantized: Any) -> int:
    """Multiply-adds of a module's convolutions and linear layers: outputs times weights per output."""
    return sum(map(_macs, _products(quantized)))


def _products(quantized: Any) -> Iterator[Any]:
    return (op for op in _operations(quantized) if op.operation.name in ("gradcam.conv2d", "gradcam.linear"))


def _operations(quantized: Any) -> Iterator[Any]:
    function = next(o for o in quantized.regions[0].blocks[0].operations if o.operation.name == "func.func")
    return iter(function.regions[0].blocks[0].operations)


def _macs(op: Any) -> int:
    channels = ir.RankedTensorType(op.operands[1].type).shape[0]
    return _elements(op.results[0]) * _elements(op.operands[1]) // channels


def _elements(value: ir.Value) -> int:
    return math.prod(ir.RankedTensorType(value.type).shape)


def report_text(report: dict[str, Any]) -> str:
    """The report for reading."""
    cycles, memory = report["cycles"], report["memory_bytes"]
    rows = [
        ("model", report["model"]),
        ("explains", _explained(report)),
        ("array", f"{report['pe']}, {report['multipliers']} multipliers"),
        ("multiply-adds", f"{report['macs']:,}"),
        *((f"multiplications, {n}", f"{c:,}") for n, c in report["multiplications"].items()),
        *((f"cycles, {n}", f"{c:,}") for n, c in cycles.items()),
        ("explanation / inference", f"{report['overhead']:.5f}"),
        ("utilization", f"{report['utilization']:.4f}"),
        *((f"overlap, {o['name']}", _overlap_text(o)) for o in report["overlaps"]),
        *((f"memory, {n}", f"{b:,} bytes") for n, b in (memory | report["packet_bytes"]).items()),
        ("memory of activations", f"{report['activation_bytes']:,} bytes"),
        *((f"dram, {d['name']}", _dram_text(d)) for d in report["dram"] or ()),
        *((f"loops, {n}", _loops_text(s)) for n, s in report["schedule"]["nests"].items()),
    ]
    width = max(len(label) for label, _ in rows)
    return "".join(f"{label:<{width}}  {value}\n" for label, value in rows)


def _overlap_text(figures: dict[str, Any]) -> str:
    rings = (f"; {r['elements']:,} of {r['of']:,} elements of {n} are kept" for n, r in figures["rings"].items())
    return f"beside {figures['producer']}, {figures['added_cycles']:,} cycles after it{''.join(rings)}"


def _dram_text(figures: dict[str, Any]) -> str:
    bandwidth, stalls = figures["bytes_per_cycle"], figures["stall_cycles"]
    return f"{figures['bytes']:,} bytes, {bandwidth:.2f} bytes per cycle, {stalls:,} cycles of waiting"


def _loops_text(nest: dict[str, Any]) -> str:
    """The loops of a nest, outermost first, with their trip counts, and what stays on the array."""
    loops = ", ".join(f"{loop} {trip}" for loop, trip in zip(nest["loops"], nest["trips"], strict=True))
    return loops + (f"; {nest['stationary']} stationary" if nest["stationary"] else "")


def _explained(report: dict[str, Any]) -> str:
    layers = report["target_layer"]
    if not layers:
        return "nothing"
    classes = f", {report['top_k']} classes" if report["top_k"] > 1 else ""
    return f"{layers if isinstance(layers, str) else ', '.join(layers)} by {report['method']}{classes}"
