"""`gradcam-sim`: runs one image through a compiled design in Verilator."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gradcam.command import Parser, run
from gradcam.errors import GradcamError


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="gradcam-sim",
        description="Simulates the RTL of a compile on one image and writes logits.npy, heatmap.npy (int32), "
        "overlay.png and report.json; of several maps heatmap0.npy, overlay0.png and so on. Needs make and g++.",
    )
    add = parser.add_argument
    add("design", type=Path, metavar="DIR", help="output folder of gradcam-compile")
    add("--input", type=Path, required=True, metavar="FILE", help="an image, or an array in an .npy or .npz file")
    add("--class", dest="cls", type=int, metavar="N", help="class to explain first (default: the predicted one)")
    add("--trace", action="store_true", help="compare every buffer with the integer reference, nest by nest")
    add("--no-check", action="store_true", help="do not compare the outputs with the integer reference")
    add("--stall", type=int, metavar="SEED", help="stall the streams at random")
    add("--dram-latency", type=int, metavar="N", help="cycles from a read to its first beat (default: the compile's)")
    add("--dram-interval", type=int, default=1, metavar="N", help="cycles from beat to beat of the DRAM (default: 1)")
    add("--dram-stall", type=int, metavar="SEED", help="delay requests and beats of the DRAM at random")
    add("--force", action="store_true", help="replace the output folder")
    add("-o", dest="output", type=Path, required=True, metavar="OUT", help="output folder, written only on success")
    return parser


def _simulate(options: argparse.Namespace, say: Callable[[str], None]) -> str:
    # Imported here so that --help and wrong arguments need not wait for MLIR.
    from gradcam.design import Design
    from gradcam.sim.check import check_outputs
    from gradcam.sim.inputs import read_input
    from gradcam.sim.output import check_target, simulation_report, summary, write_output
    from gradcam.sim.simulator import DramModel, Simulator
    from gradcam.sim.trace import compare_trace, load_quantized

    target = options.output.resolve()
    check_target(target, options.force)
    if options.cls is not None and options.cls < 0:
        raise GradcamError(f"class {options.cls} does not exist; classes start at 0")
    image, pixels = read_input(options.input, Design.load(options.design).program)
    say("build the simulator")
    simulator = Simulator(options.design)
    say("simulate")
    cls = -1 if options.cls is None else options.cls
    dram = DramModel(options.dram_latency, options.dram_interval, options.dram_stall)
    (result,) = simulator.run(image[None], cls, options.stall, options.trace, dram=dram)
    program, equal = simulator.program, None
    say("compare")
    if options.trace:
        trace = compare_trace(program, result, load_quantized(simulator.design), image, cls)
        if trace.difference is not None:
            raise GradcamError(str(trace.difference))
        print(f"trace: {trace}")
    if not options.no_check:
        check_outputs(result, load_quantized(simulator.design), image, cls)
        equal = True
    report = write_output(target, program, result, pixels, simulation_report(simulator.design, result, cls, equal))
    return summary(report, options.output)


def _run(options: argparse.Namespace) -> None:
    from gradcam.progress import stages

    with stages("gradcam-sim") as say:
        text = _simulate(options, say)
    print(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `gradcam-sim` with `argv`; returns its exit code. Every user error is one line on stderr."""
    options = _parser().parse_args(argv)
    return run("gradcam-sim", lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
