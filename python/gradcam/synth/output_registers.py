"""Registers behind block RAMs become those that ECP5's block RAMs have at their outputs, which Yosys does not use.

A word leaves a DP16KD of the slowest part 5.7 ns after the clock, and its output register 1.1 ns after it (nextpnr's
figures).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

#: What must be equal in the registers of a port: the cells' connections and parameters.
_SIGNALS, _SETTINGS = ("CLK", "CE"), ("CLKMUX", "CEMUX")


def use_output_registers(module: Mapping[str, Any]) -> int:
    """Puts registers into the block RAMs whose words they hold, where all bits of a port go to such registers alone.

    Args:
        module: a module in Yosys's JSON with cells of ECP5, changed in place.

    Returns:
        The number of registers that are gone.
    """
    cells, readers = module["cells"], Counter[Any]()
    holds: dict[Any, str] = {}
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                readers.update(bits)
                if cell["type"] == "TRELLIS_FF" and port == "DI":
                    holds[bits[0]] = name
    for port in module["ports"].values():
        readers.update(port["bits"])
    gone = 0
    for cell in [c for c in cells.values() if c["type"] == "DP16KD"]:
        for sides in _ports(cell):
            gone += _use(cells, cell, sides, readers, holds)
    return gone


def _ports(cell: Mapping[str, Any]) -> list[str]:
    """The sides of a block RAM whose outputs make up a word; words of 36 bits come from both."""
    return ["AB"] if int(cell["parameters"]["DATA_WIDTH_B"], 2) == 36 else ["A", "B"]


def _use(
    cells: dict[str, Any], memory: dict[str, Any], sides: str, readers: Mapping[Any, int], holds: Mapping[Any, str]
) -> int:
    """Uses the output registers of a port of a block RAM, if it can; returns the number of registers that are gone."""
    wires, side = memory["connections"], sides[-1]
    outputs = [p for s in sides for p in wires if p.startswith(f"DO{s}") and readers[wires[p][0]]]
    names = [holds.get(wires[p][0], "") for p in outputs]
    registers = [cells[name] for name in names if name]
    if not outputs or len(registers) < len(outputs) or any(readers[wires[p][0]] > 1 for p in outputs):
        return 0
    kinds = {
        (*(str(r["connections"].get(s)) for s in _SIGNALS), *(r["parameters"].get(p, "").strip() for p in _SETTINGS))
        for r in registers
    }
    (clock, _, edge, enabled), *others = kinds
    resets = [r for r in registers if r["connections"].get("LSR", ["0"]) != ["0"]]
    if others or resets or clock != str(wires[f"CLK{side}"]) or edge != "CLK" or enabled not in ("1", "CE"):
        return 0
    for port, register in zip(outputs, registers, strict=True):
        wires[port] = register["connections"]["Q"]
    for s in sides:
        memory["parameters"][f"REGMODE_{s}"] = "OUTREG"
        wires[f"OCE{s}"] = registers[0]["connections"]["CE"] if enabled == "CE" else ["1"]
        wires[f"CLK{s}"] = wires[f"CLK{side}"]
    for name in names:
        del cells[name]
    return len(names)
