"""The charts of a page: specifications for Vega and Vega-Lite, in static/*.json, filled with figures of the folder.

Colours and fonts come from the page, by its light or dark theme.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from gradcam.page.render import static
from gradcam.page.synthesized import Synthesized
from gradcam.schema.program import Program
from gradcam.schema.report import Report
from gradcam.timeline import Timeline

Spec = dict[str, Any]

#: The row of the weights on their way from DRAM.
TRANSFERS = "from DRAM"


def _specification(name: str) -> Spec:
    """A chart without its data."""
    return json.loads(static(f"{name}.json"))


def schedule_chart(program: Program, timeline: Timeline) -> Spec:
    """The Gantt chart of the nests on their engines, and the bytes in use of every bank below it.

    Args:
        program: the design.
        timeline: its cycles.
    """
    names = [nest.name for nest in program.nests]
    nests = [
        {
            "number": s.number,
            "name": s.name,
            "engine": s.engine,
            "phase": s.phase,
            "start": s.begin,
            "end": s.end,
            "beside": "nothing" if s.follows is None else names[s.follows],
        }
        for s in timeline.slices
    ]
    banks = [name for name, bank in program.banks.items() if not bank.constant]
    transfers = [
        {"row": TRANSFERS, "name": names[t.number], "bytes": t.bytes, "start": t.begin, "end": t.end}
        for t in timeline.transfers
    ]
    data = {
        "nests": nests,
        "engines": [{"name": name} for name in timeline.engines],
        "banks": [{"name": name} for name in [*banks, TRANSFERS][: len(banks) + bool(transfers)]],
        "occupancy": [row for name in banks for row in occupancy_rows(program, timeline, name)],
        "transfers": transfers,
    }
    spec = _specification("schedule")
    spec["data"] = [{"name": name, "values": values} for name, values in data.items()]
    _signal(spec, "whole")["value"] = [0, timeline.cycles]
    return spec


def occupancy_rows(program: Program, timeline: Timeline, bank: str) -> list[dict[str, Any]]:
    """The times in which a bank holds something: from cycle to cycle the bytes, their share, the names of buffers."""
    rows = []
    is_ring = program.ring == bank
    for level, after in pairwise(timeline.ring if is_ring else timeline.occupancy(bank)):
        stays = [s.buffer for s in timeline.stays if s.bank == bank and s.begin <= level.cycle < s.end]
        if level.bytes:
            share = level.bytes / program.banks[bank].size
            row = {"bank": bank, "start": level.cycle, "end": after.cycle, "bytes": level.bytes, "share": share}
            rows.append(row | {"holds": "weights" if is_ring else ", ".join(stays)})
    return rows


def layer_charts(report: Report, dram: Sequence[int]) -> dict[str, Spec]:
    """Bars of every layer: its cycles, its utilization, and its bytes from DRAM where any reads some.

    Args:
        report: the report of the design.
        dram: bytes that each layer reads from DRAM.
    """
    rows = [
        {"number": n, "layer": x.name, "phase": x.phase, "cycles": x.cycles, "utilization": x.utilization, "dram": read}
        for n, (x, read) in enumerate(zip(report.layers, dram, strict=True))
    ]
    charts = {"cycles": _bars(rows, "cycles", "cycles"), "utilization": _bars(rows, "utilization", "utilization")}
    y = charts["utilization"]["encoding"]["y"]
    y["scale"], y["axis"]["format"] = {"domain": [0, 1]}, "%"
    charts["utilization"]["encoding"]["tooltip"][-1]["format"] = ".1%"
    if any(dram):
        charts["dram"] = _bars(rows, "dram", "bytes from DRAM")
    return charts


def _bars(rows: list[dict[str, Any]], field: str, title: str) -> Spec:
    """A bar for each layer, in program order; layers without the figure have a place, too."""
    spec = _specification("layers")
    encoding = spec["encoding"]
    spec["data"]["values"] = [
        {k: v for k, v in row.items() if k in ("number", "layer", "phase", field)} for row in rows
    ]
    encoding["x"]["scale"]["domain"] = [row["number"] for row in rows]
    encoding["y"]["field"] = encoding["tooltip"][-1]["field"] = field
    encoding["y"]["axis"]["title"] = encoding["tooltip"][-1]["title"] = title
    return spec


def area_chart(synthesized: Mapping[str, Synthesized]) -> Spec:
    """The modules of a design as a treemap: their area is that of the resource that a reader chooses.

    Args:
        synthesized: what `gradcam-synth` found, by family.
    """
    nodes, resources = list[dict[str, Any]](), list[str]()
    for family, report in synthesized.items():
        for resource in (name for name, amount in report.total.items() if amount):
            key = f"{resource} ({family})"
            resources.append(key)
            nodes.append({"resource": key, "id": key, "parent": None, "module": report.top, "amount": 0})
            nodes += [
                {"resource": key, "id": f"{key} {module}", "parent": key, "module": module, "amount": of[resource]}
                for module, of in report.modules.items()
                if of[resource]
            ]
    spec = _specification("area")
    spec["data"][0]["values"] = nodes
    chosen = _signal(spec, "resource")
    chosen["value"], chosen["bind"]["options"] = resources[0], resources
    return spec


def _signal(spec: Spec, name: str) -> dict[str, Any]:
    """A signal of a specification."""
    return next(signal for signal in spec["signals"] if signal["name"] == name)
