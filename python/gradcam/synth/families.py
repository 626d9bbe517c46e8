"""The FPGA families that a design can be mapped to: Yosys's commands, and the resources of its cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The resources that are counted, in the order of the table; block RAM in the family's larger unit.
RESOURCES = ("LUT", "LUT RAM", "FF", "DSP", "block RAM")


@dataclass(frozen=True)
class Part:
    """An FPGA that nextpnr places and routes for.

    Attributes:
        name: its name for people.
        options: the options of nextpnr for it.
        capacity: the number of each resource that it has.
        untimed: paths that nextpnr does not time, with the most MHz that they allow, by the resource that has them.
    """

    name: str
    options: tuple[str, ...]
    capacity: Mapping[str, int]
    untimed: Mapping[str, tuple[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """A family of FPGAs.

    Attributes:
        title: its name for people.
        map: the Yosys command that maps to it; keeps the hierarchy.
        memories: the label of this command where it begins to map memories.
        cells: resources that a cell takes, by the beginning of its name; the longest beginning that fits counts.
        part: the part to place and route for; None where no free tool supports one.
        templates: Verilog with instances of DSP slices by kind of module, see `gradcam.synth.instances`; the command
            maps all other modules.
        slice: of the slice the most bits of its signed `factors`, left and right, and what the templates say: its name
            `slice`, and of its pre-adder the bits, `preadder`, and the attribute that selects it, `preadd`.
    """

    title: str
    map: str
    memories: str
    cells: Mapping[str, Mapping[str, float]]
    part: Part | None = None
    templates: Mapping[str, str] = field(default_factory=dict)
    slice: Mapping[str, Any] = field(default_factory=dict)

    def resources(self, cell: str) -> Mapping[str, float]:
        """The resources of a cell; none for wide muxes, buffers and modules."""
        fitting = [begin for begin in self.cells if cell.startswith(begin)]
        return self.cells[max(fitting, key=len)] if fitting else {}


#: Xilinx's memories in LUTs, and how many LUTs each takes (UG474, UG574).
_LUT_RAMS = {"32M": 4, "64M": 4, "32M16": 8, "64M8": 8, "32X1D": 2, "64X1D": 2, "128X1D": 4, "256X1D": 8} | {
    "32X1S": 1,
    "64X1S": 1,
    "128X1S": 2,
    "256X1S": 4,
    "512X1S": 8,
}


def _xilinx(generation: str) -> dict[str, dict[str, float]]:
    """The cells of a family of Xilinx, whose DSP slices and block RAMs have names that end so."""
    return {
        "LUT": {"LUT": 1},
        "INV": {"LUT": 1},
        "SRL": {"LUT": 1},
        **{f"RAM{kind}": {"LUT": luts, "LUT RAM": luts} for kind, luts in _LUT_RAMS.items()},
        "FD": {"FF": 1},
        f"DSP48{generation}": {"DSP": 1},
        f"RAMB36{generation}": {"block RAM": 1},
        f"RAMB18{generation}": {"block RAM": 0.5},
    }


#: The templates of Xilinx's slices.
_SLICES = {
    "multiplier": "xilinx_multiplier.v",
    "dot": "xilinx_dot.v",
    "dots": "xilinx_dots.v",
    "either": "xilinx_either.v",
}

FAMILIES = {
    "xcup": Family(
        title="UltraScale+",
        map="synth_xilinx -family xcup -noiopad -noclkbuf",
        memories="map_memory",
        cells=_xilinx("E2"),
        templates=_SLICES,
        slice={"factors": (27, 18), "slice": "DSP48E2", "preadder": 27, "preadd": '.AMULTSEL("AD")'},
    ),
    "xc7": Family(
        title="7 series",
        map="synth_xilinx -family xc7 -noiopad -noclkbuf",
        memories="map_memory",
        cells=_xilinx("E1"),
        templates=_SLICES,
        slice={"factors": (25, 18), "slice": "DSP48E1", "preadder": 25, "preadd": '.USE_DPORT("TRUE")'},
    ),
    "ecp5": Family(
        title="ECP5",
        map="synth_ecp5 -noflatten",
        memories="map_ram",
        cells={
            "LUT4": {"LUT": 1},
            "CCU2C": {"LUT": 2},  # a carry cell takes the place of two LUTs
            "TRELLIS_DPR16X4": {"LUT": 4, "LUT RAM": 4},
            "TRELLIS_FF": {"FF": 1},
            "MULT18X18D": {"DSP": 1},
            "DP16KD": {"block RAM": 1},
        },
        part=Part(
            name="LFE5U-85F, speed grade 6",
            options=("--85k", "--speed", "6", "--package", "CABGA756"),
            capacity={"LUT": 83640, "FF": 83640, "DSP": 156, "block RAM": 208},
            # It has a delay of 3.86 ns from registers at the inputs to the output, and none to the register there.
            untimed={"DSP": ("between the registers of a MULT18X18D", 259.0)},
        ),
        templates={"multiplier": "ecp5_multiplier.v", "fabric": "fabric_multiplier.v"},
        slice={"factors": (18, 18)},
    ),
}
