"""`gradcam-synth`: area of a compiled design on an FPGA, and the clock that it reaches."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gradcam.command import Parser, run
from gradcam.files import stdout_written


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="gradcam-synth",
        description="Maps the RTL of a compile with Yosys and, for ECP5, places and routes it with nextpnr. Writes "
        "DIR/synth/FAMILY with synth.json and synth.txt: LUTs, flip-flops, DSP slices and block RAMs by module, the "
        "highest clock and the critical path. Fails when a memory is not in block RAM.",
    )
    add = parser.add_argument
    add("design", type=Path, metavar="DIR", help="output folder of gradcam-compile")
    add("--family", required=True, help="xcup (UltraScale+), xc7 (7 series), or with a clock ecp5 (LFE5U-85F-6)")
    add("--clock-mhz", type=float, default=0, metavar="F", help="clock to work towards (default: 100)")
    add("--seeds", type=int, default=1, metavar="N", help="placements to try, of which the fastest counts (default: 1)")
    return parser


def _synthesize(options: argparse.Namespace) -> None:
    # Imported here so that --help and wrong arguments need not wait for MLIR.
    from gradcam.progress import stages
    from gradcam.synth import synthesize

    with stages("gradcam-synth") as say:
        synthesize(options.design, options.family, options.clock_mhz, options.seeds, say)
    with stdout_written():
        print((options.design / "synth" / options.family / "synth.txt").read_text(encoding="utf-8"), end="")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `gradcam-synth` with `argv`; returns its exit code. Every problem is one line on stderr."""
    options = _parser().parse_args(argv)
    return run("gradcam-synth", lambda: _synthesize(options))


if __name__ == "__main__":
    sys.exit(main())
