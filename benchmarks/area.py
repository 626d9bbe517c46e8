"""What explaining costs in area on UltraScale+: `python benchmarks/area.py [--pe 16x16] [--dsp-packing]`.

A model is compiled without an explanation and with one at each target layer, and mapped by `gradcam-synth`. The table
has LUTs, flip-flops, DSP slices and block RAMs, and below it the modules that differ by what an explanation adds. Fails
when the explanation at the first target layer takes more than 2 % LUTs, or a DSP slice or block RAM.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradcam.command import run
from gradcam.compiler import Settings
from gradcam.errors import GradcamError
from gradcam.frontend import load_model
from gradcam.output import compile_to_folder
from gradcam.progress import stages
from gradcam.synth import synthesize

MODEL = "gradcam.models:tinyml_resnet18"
COUNTED = ("LUT", "FF", "DSP", "block RAM")

#: The most that an explanation may add: LUTs as a share, the others as a number.
MOST_LUTS = 0.02


def measure(model: Any, settings: Settings, targets: Sequence[str | None], family: str) -> dict[str, dict[str, Any]]:
    """The synthesis of a model by target layer; of None, under the name "none", without an explanation."""
    reports = {}
    with stages("area") as say, tempfile.TemporaryDirectory(prefix="gradcam-area-") as temporary:
        for target in targets:
            name = target or "none"
            folder = Path(temporary) / name

            def tell(step: str, name: str = name) -> None:
                say(f"{name}, {step}")

            compile_to_folder(model, MODEL, replace(settings, target_layer=target), folder, say=tell)
            reports[name] = synthesize(folder, family, say=tell)
    return reports


def table(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Totals and what an explanation adds to those of "none", in Markdown; then the modules that differ."""
    plain = reports["none"]
    lines = ["| explained | " + " | ".join(COUNTED) + " | more LUTs |", "|---|" + "---:|" * (len(COUNTED) + 1)]
    for name, report in reports.items():
        counts = [f"{report['total'][r]:,.1f}".removesuffix(".0") for r in COUNTED]
        more = report["total"]["LUT"] / plain["total"]["LUT"] - 1
        lines.append(f"| {name} | " + " | ".join(counts) + f" | {more:+.2%} |")
    for name, report in reports.items():
        for module in sorted({*report["modules"], *plain["modules"]}):
            rows = [r["modules"].get(module, dict.fromkeys(COUNTED, 0)) for r in (report, plain)]
            extra = {r: rows[0][r] - rows[1][r] for r in COUNTED}
            if any(extra.values()):
                lines.append(f"{name}, {module}: " + ", ".join(f"{n:+g} {r}" for r, n in extra.items() if n))
    return "\n".join(lines)


def misses(report: Mapping[str, Any], plain: Mapping[str, Any]) -> list[str]:
    """What an explanation adds beyond the targets."""
    extra = {r: report["total"][r] - plain["total"][r] for r in COUNTED}
    found = [f"{extra[r]:g} more {r}s" for r in ("DSP", "block RAM") if extra[r] > 0]
    share = extra["LUT"] / plain["total"]["LUT"]
    return found + ([f"{share:.2%} more LUTs, {MOST_LUTS:.0%} asked"] if share > MOST_LUTS else [])


def _measure(options: argparse.Namespace) -> None:
    settings = Settings(
        None, pe=options.pe, dsp_packing=options.dsp_packing, family=options.family, clock_mhz=options.clock_mhz
    )
    reports = measure(load_model(options.model), settings, [None, *options.target_layers], options.family)
    print(table(reports))
    first = options.target_layers[0]
    if faults := misses(reports[first], reports["none"]):
        raise GradcamError(f"the explanation at {first} takes {', '.join(faults)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="area", description="Area with and without an explanation.")
    parser.add_argument("model", nargs="?", default=MODEL, help=f"as gradcam-compile takes it (default: {MODEL})")
    parser.add_argument("--pe", metavar="OCxIC", default="16x16", help="default: 16x16")
    parser.add_argument("--dsp-packing", action="store_true", help="two products per DSP slice")
    parser.add_argument("--family", default="xcup", help="to compile for and to map to (default: xcup)")
    parser.add_argument("--clock-mhz", type=float, metavar="F", help="as gradcam-compile takes it; ecp5 needs one")
    parser.add_argument(
        "--target-layers", nargs="+", metavar="PATH", default=["layer4", "layer3"], help="default: layer4 layer3"
    )
    return run("area", lambda: _measure(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
