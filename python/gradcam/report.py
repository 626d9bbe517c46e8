"""report.json: size, cycles and memory of a compiled model, and the same for reading."""

from __future__ import annotations

from typing import Any

from torch_mlir import ir

from gradcam.compiler import Settings
from gradcam.pe import PE
from gradcam.program import quantization_of
from gradcam.schedule import describe_schedule


def make_report(
    name: str, settings: Settings, quantized: Any, scheduled: ir.Module, program: dict[str, Any]
) -> dict[str, Any]:
    """The report of a compile; every figure is predicted, none measured.

    Args:
        name: the model's name.
        settings: what was asked for.
        quantized: the level-2 module's operation.
        scheduled: the level-4 module.
        program: from `describe_program`; gets the key `quantization`.

    Returns:
        `macs` of an inference (multiply-adds of the model's convolutions and linear layers, padding channels not
        counted), `multipliers` of the array, `cycles` by phase, `overhead` = explanation / inference, `utilization` =
        macs / multipliers / inference cycles, `memory_bytes` by bank, `dram`: see `dram_figures`, `schedule`: see
        `describe_schedule`.
    """
    cycles = {
        e.name: ir.IntegerAttr(e.attr).value for e in ir.DictAttr(scheduled.operation.attributes["gradcam.cycles"])
    }
    program["quantization"] = quantization_of(quantized)
    pe = PE.parse(settings.pe)
    macs = count_macs(quantized)
    banks = program["banks"]
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
        "memory_bytes": {n: b["lanes"] * b["bits"] * b["words"] // 8 for n, b in banks.items()},
        "dram": dram_figures(program),
        "schedule": describe_schedule(scheduled),
        "scales": {n: v["scale"] for n, v in program["quantization"].items() if n != "explain"},
    }


def count_multiplications(design: Any) -> dict[str, int]:
    """Multiplications of a level-5 module by engine, of lanes and of rescales; engines without any are left out."""
    counts: dict[str, int] = {}
    for module in design.body.operations:
        name = str(module.attributes["sym_name"]).strip('"').removeprefix("engine_")
        operations = module.regions[0].blocks[0].operations
        counts[name] = sum(op.operation.name == "comb.mul" for op in operations)
    return {name: count for name, count in counts.items() if count}


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


def count_macs(quantized: Any) -> int:
    """Multiply-adds of a module's convolutions and linear layers: outputs times weights per output."""
    total = 0
    function = next(o for o in quantized.regions[0].blocks[0].operations if o.operation.name == "func.func")
    for op in function.regions[0].blocks[0].operations:
        if op.operation.name in ("gradcam.conv2d", "gradcam.linear"):
            outputs, weights = (ir.RankedTensorType(v.type).shape for v in (op.results[0], op.operands[1]))
            per_output = 1
            for n in list(weights)[1:]:
                per_output *= n
            count = per_output
            for n in outputs:
                count *= n
            total += count
    return total


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
        *((f"memory, {n}", f"{b:,} bytes") for n, b in memory.items()),
        *((f"dram, {d['name']}", _dram_text(d)) for d in report["dram"] or ()),
        *((f"loops, {n}", _loops_text(s)) for n, s in report["schedule"]["nests"].items()),
    ]
    width = max(len(label) for label, _ in rows)
    return "".join(f"{label:<{width}}  {value}\n" for label, value in rows)


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
