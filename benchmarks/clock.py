"""Clocks: `python benchmarks/clock.py [--pe 4x4] [--dsp-packing] [MODEL]`, `python benchmarks/clock.py --routed`.

A model is compiled for each family and its clock, and mapped as `gradcam-synth` maps it. The table has the cells of the
longest path between registers, as Yosys's `ltp` counts LUTs, carry cells and wide muxes, and the pairs of DSP slices
that a path goes through without a register between them. It fails where a figure is above its target. No free tool
places and routes for these families, so cells stand for delays here.

With `--routed` cores of a ResNet-18 of width 8 for 64x64 images, with random weights, are placed and routed on ECP5 by
`gradcam-synth`, each from three seeds, and the slowest counts. Paths that nextpnr does not time are named, and no clock
above theirs is reported.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gradcam import data, models
from gradcam.command import run
from gradcam.compiler import Settings
from gradcam.errors import GradcamError
from gradcam.frontend import load_model
from gradcam.names import CORE
from gradcam.output import compile_to_folder
from gradcam.progress import stages
from gradcam.synth.families import FAMILIES
from gradcam.synth.instances import split_instances
from gradcam.synth.synthesis import mapping, synthesize
from gradcam.synth.tools import run_logged, yosys

MODEL = "gradcam.models:tinyml_resnet18"

#: Clock in MHz and the most cells of a path, by family.
TARGETS = {"xcup": (300, 6), "xc7": (200, 9)}

#: The cores that are routed: array, options of the compile, and the MHz asked of the slowest seed.
ROUTED: tuple[tuple[str, Mapping[str, Any], int], ...] = (
    ("8x8", {}, 150),
    ("8x8", {"weights": "dram", "dram_width": 32}, 130),
    ("16x8", {}, 120),
    ("16x8", {"dsp_packing": True}, 120),
)

#: The MHz that a routed core is compiled for and that nextpnr aims at, and its seeds.
GOAL, SEEDS = 160.0, 3

#: Cells without a register, by the beginning of their names.
LOGIC = ("LUT", "CARRY", "MUXF", "INV")

#: The parameter with the number of registers behind each data input of a DSP slice; a sum that comes over the wires of
#: a cascade has none.
FRONT = {"A": "AREG", "B": "BREG", "C": "CREG", "D": "DREG", "PCIN": None}


@dataclass(frozen=True)
class Paths:
    """What is asked of the paths of a design.

    Attributes:
        cells: LUTs, carry cells and wide muxes of the longest path between registers.
        pairs: DSP slices without a register between them, as names.
        slices: the number of DSP slices.
    """

    cells: int
    pairs: frozenset[tuple[str, str]]
    slices: int


def unregistered_pairs(cells: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """DSP slices of which one reads what another one computes, through logic or not, without a register between them.

    Args:
        cells: those of a module in Yosys's JSON.
    """
    readers: dict[Any, list[tuple[str, str]]] = {}
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                for bit in bits:
                    readers.setdefault(bit, []).append((name, port))
    found = set()
    for name, cell in cells.items():
        if is_slice(cell) and not number(cell, "PREG"):
            pending, seen = [*cell["connections"].get("P", []), *cell["connections"].get("PCOUT", [])], set()
            while pending:
                bit = pending.pop()
                for reader, port in readers.get(bit, []) if isinstance(bit, int) else []:
                    other = cells[reader]
                    if is_slice(other) and port in FRONT and not (FRONT[port] and number(other, FRONT[port])):
                        found.add((name, reader))
                    elif other["type"].startswith(LOGIC) and reader not in seen:
                        seen.add(reader)
                        pending += [b for p, bits in other["connections"].items() for b in bits if is_output(other, p)]
    return frozenset(found)


def is_slice(cell: Mapping[str, Any]) -> bool:
    """Whether a cell is a DSP slice."""
    return cell["type"].startswith("DSP48")


def is_output(cell: Mapping[str, Any], port: str) -> bool:
    """Whether a port of a cell is an output."""
    return cell["port_directions"][port] == "output"


def number(cell: Mapping[str, Any], parameter: str) -> int:
    """A parameter of a DSP slice that is a number of registers; 1 where it is not set (UG479, UG579)."""
    return int(cell["parameters"].get(parameter, "1"), 2)


def paths(sources: Sequence[str], family: str, top: str, folder: Path, say: Callable[[str], None]) -> Paths:
    """Maps `top` of the `sources`, which are relative to `folder`, and looks at its paths.

    Raises:
        GradcamError: Yosys fails.
    """
    logic = " ".join(f"t:{begin}*" for begin in LOGIC)
    commands = [
        *(f"read_verilog -sv {name}" for name in sources),
        *mapping(FAMILIES[family], top),
        *("flatten", "clean", "write_json paths.json"),
        f"select w:* {logic}",
        "tee -o paths.txt ltp",
    ]
    run_logged(yosys(), ["-p", "; ".join(commands)], folder, folder / "paths.log", say)
    cells = json.loads((folder / "paths.json").read_text(encoding="utf-8"))["modules"][top]["cells"]
    (length,) = re.findall(r"length=(-?\d+)", (folder / "paths.txt").read_text(encoding="utf-8"))
    return Paths(max(int(length), 0), unregistered_pairs(cells), sum(map(is_slice, cells.values())))


def measure(model: Any, settings: Settings, say: Callable[[str], None]) -> Paths:
    """The paths of a model on the family of the settings."""
    family = FAMILIES[settings.family or ""]
    with tempfile.TemporaryDirectory(prefix="gradcam-clock-") as temporary:
        folder = Path(temporary) / "design"
        compile_to_folder(model, MODEL, settings, folder, say=say)
        sources = sorted(str(path.relative_to(folder)) for path in (folder / "rtl").glob("*.sv"))
        sources, instances = split_instances(sources, family.templates, family.slice)
        (folder / "instances.v").write_text(instances, encoding="utf-8")
        return paths([*sources, "instances.v"], settings.family or "", CORE, folder, say)


def _measure(options: argparse.Namespace) -> None:
    model, missed = load_model(options.model), []
    settings = Settings(options.target_layer, pe=options.pe, dsp_packing=options.dsp_packing, weights=options.weights)
    print("| family | MHz | DSP slices | pairs without a register | cells of the longest path | asked |")
    print("|---|---:|---:|---:|---:|---:|")
    with stages("clock") as say:
        for family in options.families:
            mhz, most = TARGETS[family]
            found = measure(model, replace(settings, family=family, clock_mhz=float(mhz)), say)
            print(f"| {family} | {mhz} | {found.slices} | {len(found.pairs)} | {found.cells} | {most} |", flush=True)
            missed += [f"{family}: {found.cells} cells, {most} asked"] if found.cells > most else []
            missed += [f"{family}: {' and '.join(pair)} have no register between them" for pair in sorted(found.pairs)]
    if missed:
        raise GradcamError("; ".join(missed[:3]))


def narrow() -> models.ResNet18:
    """The network of the routed cores."""
    torch.manual_seed(0)
    model = models.resnet18(width=8, num_classes=data.CLASSES, stem="cifar")
    model.input_shape = (1, 3, data.SIZE, data.SIZE)
    model.calibration_images = data.calibration_images
    return model.eval()


def _route(arrays: Sequence[str]) -> None:
    missed, model = [], narrow()
    print("| array | options | asked | slowest of three seeds, MHz | others | not timed by nextpnr |")
    print("|---|---|---:|---:|---|---|")
    with stages("clock") as say:
        for pe, options, asked in ROUTED:
            if pe not in arrays:
                continue
            settings = Settings("layer4", pe=pe, clock_mhz=GOAL, family="ecp5", **options)
            with tempfile.TemporaryDirectory(prefix="gradcam-clock-") as temporary:
                folder = Path(temporary) / "design"
                compile_to_folder(model, "resnet18", settings, folder, say=say)
                timing = synthesize(folder, "ecp5", GOAL, SEEDS, say)["timing"]
            slowest, *others = sorted(timing["tried_mhz"])
            said = ", ".join(f"{name}={value}" for name, value in options.items())
            untimed = ", ".join(f"{name}: {mhz:g} MHz" for name, mhz in timing["untimed_mhz"].items())
            clocks = f"{slowest:g} | {', '.join(f'{mhz:g}' for mhz in others)}"
            print(f"| {pe} | {said} | {asked} | {clocks} | {untimed} |", flush=True)
            missed += [f"{pe} {said}: {slowest:g} MHz, {asked} asked"] if slowest < asked else []
    if missed:
        raise GradcamError("; ".join(missed))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="clock", description="Paths between registers, and routed clocks.")
    parser.add_argument("model", nargs="?", default=MODEL, help=f"as gradcam-compile takes it (default: {MODEL})")
    parser.add_argument("--target-layer", metavar="PATH", default="layer4", help="default: layer4")
    parser.add_argument("--pe", metavar="OCxIC", default="4x4", help="default: 4x4")
    parser.add_argument("--weights", default="onchip", help="onchip (default) or dram")
    parser.add_argument("--dsp-packing", action="store_true", help="two products per DSP slice")
    parser.add_argument("--families", nargs="+", choices=[*TARGETS], default=[*TARGETS], help="default: all of them")
    parser.add_argument("--routed", action="store_true", help="place and route cores on ECP5 instead")
    parser.add_argument("--arrays", nargs="+", default=["8x8", "16x8"], help="of --routed; default: all of them")
    options = parser.parse_args(argv)
    return run("clock", lambda: _route(options.arrays) if options.routed else _measure(options))


if __name__ == "__main__":
    sys.exit(main())
