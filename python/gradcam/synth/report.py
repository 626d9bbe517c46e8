"""synth.txt: the resources of a design on an FPGA, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradcam.synth.families import FAMILIES, RESOURCES


def report_text(report: Mapping[str, Any]) -> str:
    """A table of resources by module, the memories, and the critical path."""
    lines = [f"{report['top']} on {FAMILIES[report['family']].title}", ""]
    rows = [("module", *RESOURCES)]
    rows += [(name, *(_count(m[r]) for r in RESOURCES)) for name, m in sorted(report["modules"].items())]
    rows.append(("total", *(_count(report["total"][r]) for r in RESOURCES)))
    lines += [*_aligned(rows, ["<", *">" * len(RESOURCES)]), ""]
    outside = [n for n, b in report["banks"].items() if not b["in block RAM"]]
    lines.append(f"memories outside block RAM: {', '.join(outside) or 'none'}")
    if timing := report["timing"]:
        path = timing["critical_path"]
        total = sum(step["delay_ns"] for step in path)
        goal = f"{timing['fmax_mhz']:g} MHz on {report['part']} (asked for: {timing['goal_mhz']:g})"
        tried = ", ".join(f"{mhz:g}" for mhz in timing["tried_mhz"])
        lines += ["", goal, f"placements tried, MHz: {tried}"]
        lines += [f"not timed by nextpnr: {name}, {mhz:g} MHz" for name, mhz in timing["untimed_mhz"].items()]
        lines.append(f"critical path, {total:.2f} ns:")
        lines += _aligned([(f"  {s['delay_ns']:.2f}", s["kind"], s["net"] or s["cell"]) for s in path], "><<")
    return "\n".join(lines) + "\n"


def _count(number: float) -> str:
    return f"{number:,.1f}".removesuffix(".0")


def _aligned(rows: Sequence[Sequence[str]], sides: Sequence[str]) -> list[str]:
    """Rows as lines; `sides` has < or > for every column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = ((f"{c:{side}{w}}" for c, side, w in zip(row, sides, widths, strict=True)) for row in rows)
    return ["  ".join(row).rstrip() for row in cells]
