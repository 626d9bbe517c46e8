"""ResNet-18 for 224x224 images and 1000 classes, layer by layer: `python benchmarks/full_size.py [--simulate [N]]`.

Prints what every layer takes, and how cycles, memory and the compile grow with the array, the width of the network and
the size of its image; weights come from a DRAM whose width follows the array (`designs.Design.dram_width`). The cycles
are those that the compiler predicts. `--simulate` also runs N photographs in Verilator: logits and heatmap are compared
with the integer reference in every element, one image with a trace of every buffer, and one again with a DRAM that
stalls at random. It fails when a figure of the last table is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from designs import Compiled, Design, Network, Workshop
from overheads import aligned
from simulations import Simulated, simulate

from gradcam.command import run
from gradcam.errors import GradcamError
from gradcam.faults import Faults
from gradcam.figures import GB, Figure, at_least, at_most, table
from gradcam.progress import stages
from gradcam.schema.derived import dram_reads

MAIN = Design()
PHASES = ("load", "inference", "explanation", "store")
ARRAYS = ("8x8", "8x16", "16x16", "16x32", "32x32")
WIDTHS, SIDES = (16, 32, 64), (32, 64, 128, 224)
TINYML = Design("gradcam.models:tinyml_resnet18", weights="onchip")

#: What NNgen is cited with: ResNet-18 of widths 16 to 128 for 32x32 images, 510,649 cycles on 144 multipliers, 0.48
#: multiply-adds per multiplier and cycle. Only the 3x3 stem fits: 35.0 million multiply-adds; with the 7x7 stem and
#: max-pool of ImageNet it would be 2.8 million.
NNGEN_CYCLES, NNGEN_MULTIPLIERS = 510_649, 144
NNGEN = Network(width=16, side=32, classes=10, stem="cifar")


@dataclass(frozen=True)
class Measurements:
    """All that is printed.

    Attributes:
        main: the large network at 16x16.
        arrays: it at every array.
        growth: other widths and sizes at 16x16.
        deeper: the large network explained at layer3.
        tinyml: the shipped network.
        nngen: the network that NNgen is cited with, at every array, with weights on chip and from DRAM.
        simulated: None when nothing was.
    """

    main: Compiled
    arrays: Sequence[Compiled]
    growth: Sequence[Compiled]
    deeper: Compiled
    tinyml: Compiled
    nngen: Sequence[Compiled]
    simulated: Simulated | None = None


def measure(images: int, say: Callable[[str], None] = lambda _: None) -> Measurements:
    """Compiles everything, and simulates `images` photographs.

    Raises:
        GradcamError: a step fails.
    """
    with tempfile.TemporaryDirectory(prefix="gradcam-full-size-") as temporary:
        shop = Workshop(Path(temporary))

        def compiled(design: Design) -> Compiled:
            say(f"compile {design.name} for {design.pe}, {design.target}")
            return shop.compile(design)

        # All compiles before this process loads much: see Usage.peak.
        measured = Measurements(
            main=compiled(MAIN),
            arrays=[compiled(replace(MAIN, pe=pe)) for pe in ARRAYS],
            growth=[compiled(Design(Network(width, side))) for width in WIDTHS for side in SIDES],
            deeper=compiled(replace(MAIN, target="layer3")),
            tinyml=compiled(TINYML),
            nngen=[compiled(Design(NNGEN, pe, weights=place)) for pe in ARRAYS for place in ("onchip", "dram")],
        )
        if images:
            measured = replace(measured, simulated=simulate(shop.folder(MAIN), images, say))
    return measured


def layer_table(compiled: Compiled, phases: Sequence[str] = PHASES) -> str:
    """Every layer of these phases, and the whole design."""
    reads = {read.number: read for read in dram_reads(compiled.program)}
    head = ["layer", "phase", "MACs", "cycles", "utilization", "output", "weights", "DRAM", "B/cycle", "waiting"]
    lines = [head]
    for layer in compiled.report.layers:
        if layer.phase not in phases:
            continue
        read = [reads[nest] for nest in layer.nests if nest in reads]
        rate = f"{max(r.bytes_per_cycle for r in read):.2f}" if read else "-"
        counts = f"{layer.macs:,}", f"{layer.utilization or 0:.4f}", f"{layer.weights:,}"
        macs, utilization, weights = counts if layer.op else ("-", "-", "-")
        sizes = f"{layer.output_bytes:,}", weights, f"{sum(r.weights.bytes for r in read):,}"
        waiting = f"{sum(r.weights.stall_cycles for r in read):,}"
        lines.append([layer.name, layer.phase, macs, f"{layer.cycles:,}", utilization, *sizes, rate, waiting])
    layers, report = compiled.report.layers, compiled.report
    sizes = sum(layer.output_bytes for layer in layers), sum(layer.weights for layer in layers)
    sizes = *sizes, sum(read.weights.bytes for read in reads.values())
    counts = [f"{report.macs:,}", f"{compiled.cycles.total:,}", f"{report.utilization:.4f}"]
    whole = [*counts, *(f"{n:,}" for n in sizes), f"{compiled.bandwidth:.2f}", f"{compiled.waiting:,}"]
    lines.append(["whole design", "", *whole])
    return "\n".join(aligned(lines)) + "\n"


def array_table(rows: Sequence[Compiled]) -> str:
    """The arrays."""
    head = ["array", "DRAM", "cycles", "waiting", "utilization", "overhead", "on chip", "activations", "DSP slices"]
    lines = [
        [
            row.design.pe,
            f"{row.design.dram_width} bit",
            f"{row.cycles.total:,}",
            f"{row.waiting:,}",
            f"{row.report.utilization:.4f}",
            f"{row.report.overhead:.6f}",
            f"{row.memory:,}",
            f"{row.report.activation_bytes:,}",
            f"{row.design.multipliers} / {row.design.multipliers // 2}",
        ]
        for row in rows
    ]
    return "\n".join(aligned([head, *lines])) + "\n"


def growth_table(rows: Sequence[Compiled]) -> str:
    """Widths of the network and sizes of its image."""
    head = ["width", "image", "MACs", "cycles", "waiting", "utilization", "on chip", "compile s", "peak MB"]
    lines = []
    for row in rows:
        network = row.design.network
        assert isinstance(network, Network)
        size = [f"{network.width}", f"{network.side}x{network.side}", f"{row.report.macs:,}"]
        cycles = [f"{row.cycles.total:,}", f"{row.waiting:,}", f"{row.report.utilization:.4f}"]
        costs = [f"{row.memory:,}", f"{row.usage.seconds:.1f}", f"{row.usage.peak / 1e6:,.0f}"]
        lines.append([*size, *cycles, *costs])
    return "\n".join(aligned([head, *lines])) + "\n"


def nngen_ratio(row: Compiled) -> float:
    """How many times fewer cycles x multipliers than NNgen's; load, explanation and store are counted, too."""
    return NNGEN_CYCLES * NNGEN_MULTIPLIERS / (row.cycles.total * row.design.multipliers)


def nngen_table(rows: Sequence[Compiled]) -> str:
    """NNgen's figure and ours."""
    head = ["array", "weights", "multipliers", "cycles", "cycles x multipliers", "MACs/multiplier/cycle", "fewer"]
    macs, product = rows[0].report.macs, NNGEN_CYCLES * NNGEN_MULTIPLIERS
    cited = f"{NNGEN_MULTIPLIERS}", f"{NNGEN_CYCLES:,}", f"{product:,}", f"{macs / product:.2f}", "1.00 times"
    lines = [["NNgen", "DRAM", *cited]]
    for row in rows:
        product = row.cycles.total * row.design.multipliers
        place = f"DRAM, {row.design.dram_width} bit" if row.design.weights == "dram" else "on chip"
        counts = f"{row.design.multipliers}", f"{row.cycles.total:,}", f"{product:,}", f"{macs / product:.2f}"
        lines.append([row.design.pe, place, *counts, f"{nngen_ratio(row):.2f} times"])
    return "\n".join(aligned([head, *lines])) + "\n"


def figures(m: Measurements) -> list[Figure]:
    """What was asked, and what was found."""
    utilization = {row.design.pe: row.report.utilization for row in m.arrays}
    best = max(m.nngen, key=nngen_ratio)
    rows = [
        at_least("utilization, 16x16", 0.95, m.main.report.utilization, ".4f"),
        at_least("utilization, 32x32", 0.90, utilization["32x32"], ".4f"),
        at_most("explanation / inference, layer4", 0.0005, m.main.report.overhead, ".6f"),
        at_most("explanation / inference, layer3", 0.21, m.deeper.report.overhead, ".4f"),
        at_most("activations on chip, 16x16", 1.0, m.main.report.activation_bytes / 1e6, ".3f", " MB"),
        at_most("DRAM bytes per cycle of a convolution, 16x16", 8, m.main.bandwidth, ".2f"),
        at_most("compile time", 60, m.main.usage.seconds, ".1f", " s"),
        at_most("compile peak memory", 6, m.main.usage.peak / GB, ".2f", " GB"),
        at_least("utilization of the shipped network, 16x16", 0.97, m.tinyml.report.utilization, ".4f"),
        at_least(f"cycles x multipliers fewer than NNgen's, {best.design.pe}", 1.9, nngen_ratio(best), ".2f", " times"),
    ]
    return rows + (m.simulated.figures(m.main.cycles) if m.simulated else [])


def text(m: Measurements) -> str:
    """All tables."""
    parts = [
        f"224x224 images, 1000 classes, 16x16, {MAIN.dram_width}-bit DRAM; sizes in bytes, cycles as predicted\n",
        layer_table(m.main),
        "Its explanation at layer3\n",
        layer_table(m.deeper, ["explanation"]),
        "By array; memory in bytes; DSP slices of the array without and with --dsp-packing\n",
        array_table(m.arrays),
        f"By width and image, 16x16; memory in bytes; compile with the import of PyTorch, on {os.cpu_count()} cores\n",
        growth_table(m.growth),
        "Widths 16 to 128, 32x32 images, beside the figure that NNgen is cited with\n",
        nngen_table(m.nngen),
        table(figures(m)),
    ]
    return "\n".join(parts)


def _run(images: int) -> None:
    if images < 0:
        raise GradcamError("--simulate takes the number of images, 1 or more")
    with stages("full_size") as say:
        measured = measure(images, say)
    print(text(measured), end="")
    missed = [f for f in figures(measured) if not f.ok]
    if missed:
        raise Faults([GradcamError(f"missed: {f.what}: {f.measured}, asked {f.asked}") for f in missed])


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulate", nargs="?", type=int, const=3, default=0, metavar="N", help="images (default: 3)")
    options = parser.parse_args(argv)
    return run("full_size", lambda: _run(options.simulate))


if __name__ == "__main__":
    sys.exit(main())
