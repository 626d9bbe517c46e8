"""`gradcam-sim`: runs images through a compiled design in Verilator."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gradcam.command import Parser, run
from gradcam.errors import GradcamError
from gradcam.files import stdout_written
from gradcam.progress import stages

if TYPE_CHECKING:  # they import MLIR
    from gradcam.design import Design
    from gradcam.sim.inputs import DesignImage
    from gradcam.sim.output import Run
    from gradcam.sim.simulator import DramModel, Result, Simulator
    from gradcam.timeline import Timeline


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="gradcam-sim",
        description="Simulates the RTL of a compile on images and writes logits.npy, heatmap.npy (int32), overlay.png "
        "and report.json; of several maps heatmap0.npy, overlay0.png and so on; of several images also a table and a "
        "sheet of all overlays. Needs make and g++.",
    )
    add = parser.add_argument
    add("design", type=Path, metavar="DIR", help="output folder of gradcam-compile")
    add("--input", nargs="+", required=True, metavar="PATH", help="images, .npy and .npz files, folders of these")
    add("--class", dest="cls", type=int, metavar="N", help="class to explain first (default: the predicted one)")
    add("--jobs", type=int, default=1, metavar="N", help="simulators side by side, for several images (default: 1)")
    add("--validate", action="store_true", help="compare the RTL with the float network, too")
    add("--check-buffers", action="store_true", help="compare every buffer with the integer reference, nest by nest")
    add("--no-check", action="store_true", help="do not compare the outputs with the integer reference")
    add("--stall", type=int, metavar="SEED", help="stall the streams at random")
    add("--dram-latency", type=int, metavar="N", help="cycles from a read to its first beat (default: the compile's)")
    add("--dram-interval", type=int, default=1, metavar="N", help="cycles from beat to beat of the DRAM (default: 1)")
    add("--dram-stall", type=int, metavar="SEED", help="delay requests and beats of the DRAM at random")
    add("--trace", type=Path, metavar="FILE", help="also write the run for Perfetto and chrome://tracing")
    add("--force", action="store_true", help="replace the output folder, and a trace")
    add("-o", dest="output", type=Path, required=True, metavar="OUT", help="output folder, written only on success")
    return parser


def _simulate(options: argparse.Namespace, say: Callable[[str], None]) -> str:
    # Imported here so that --help and wrong arguments need not wait for MLIR.
    from gradcam.classes import requests
    from gradcam.design import Design
    from gradcam.sim.inputs import read_images, warn_of_saturation
    from gradcam.sim.output import Run, check_target, simulation_report, summary, write_output
    from gradcam.sim.simulator import DramModel, Simulator, check_dram
    from gradcam.trace_events import check_trace_target, write_trace

    target, design = options.output.resolve(), Design.load(options.design)
    check_target(target, options.force)
    if options.trace is not None:
        check_trace_target(options.trace, [options.output, options.design], options.force)
    if options.cls is not None and options.cls < 0:
        raise GradcamError(f"class {options.cls} does not exist; classes start at 0")
    if options.jobs < 1:
        raise GradcamError(f"--jobs must be at least 1, got {options.jobs}")
    cls = -1 if options.cls is None else options.cls
    images = list(read_images(options.input if len(options.input) > 1 else options.input[0], design.program))
    warn_of_saturation(images)
    dram = DramModel(options.dram_latency, options.dram_interval, options.dram_stall)
    requests(cls, len(images), design.program)  # refused now, since building takes long
    check_dram(dram, design.program)
    say("build the simulator")
    results = _run(Simulator(design), images, cls, dram, options, say)
    _check(design, images, results, cls, options, say)
    compared, quality = [None] * len(images), None
    if options.validate:
        from gradcam.sim.quality import compare_with_float, warn_of_quality  # imports torch

        say("validate")
        compared, quality = compare_with_float(design, images, results, cls)
        warn_of_quality(quality, design.report())
    say("write")
    runs = [Run(image, result, cls, c) for image, result, c in zip(images, results, compared, strict=True)]
    report = simulation_report(design, runs, None if options.no_check else True, quality)
    write_output(target, design.program, runs, report)
    if options.trace is not None:
        write_trace(options.trace, design.program, _timelines(runs))
    return summary(report, design.program, runs, options.output)


def _timelines(runs: Sequence[Run]) -> dict[str, Timeline]:
    """The timelines of runs by the names of their images."""
    from gradcam.labels import labels

    found: dict[str, Timeline] = {}
    for name, one in zip(labels([one.image.name for one in runs]), runs, strict=True):
        assert one.result.timeline is not None
        found[f"run of {name}"] = one.result.timeline
    return found


def _run(
    simulator: Simulator,
    images: Sequence[DesignImage],
    cls: int,
    dram: DramModel,
    options: argparse.Namespace,
    say: Callable[[str], None],
) -> list[Result]:
    """Runs all images."""
    values = np.stack([image.values for image in images])

    def told(done: int) -> None:
        say(f"simulate: {done} of {len(images)} images done")

    told(0)
    return simulator.run(
        values,
        cls,
        options.stall,
        options.check_buffers,
        dram=dram,
        jobs=options.jobs,
        told=told,
        timeline=options.trace is not None,
    )


def _check(
    design: Design,
    images: Sequence[DesignImage],
    results: Sequence[Result],
    cls: int,
    options: argparse.Namespace,
    say: Callable[[str], None],
) -> None:
    """Compares buffers and outputs with the integer reference."""
    from gradcam.sim.check import check_outputs
    from gradcam.sim.trace import compare_trace, load_quantized

    if options.no_check and not options.check_buffers:
        return
    module, trace = load_quantized(design), None
    for number, (image, result) in enumerate(zip(images, results, strict=True)):
        say(f"compare: {number} of {len(images)} images done")
        try:
            if options.check_buffers:
                trace = compare_trace(design.program, result, module, image.values, cls)
                if trace.difference is not None:
                    raise GradcamError(str(trace.difference))
            if not options.no_check:
                check_outputs(result, module, image.values, cls)
        except GradcamError as error:
            raise GradcamError(f"{image.name}: {error}" if len(images) > 1 else str(error)) from None
    if trace is not None:
        print(f"buffers: {trace}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `gradcam-sim` with `argv`; returns its exit code. Every user error is one line on stderr."""
    options = _parser().parse_args(argv)

    def simulate() -> None:
        with stages("gradcam-sim") as say:
            text = _simulate(options, say)
        with stdout_written():
            print(text)

    return run("gradcam-sim", simulate)


if __name__ == "__main__":
    sys.exit(main())
