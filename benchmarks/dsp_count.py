"""DSP slices of the multiply-accumulate engine in Yosys: `python benchmarks/dsp_count.py [--pe 8x8 16x16] [MODEL]`.

The engine is compiled with and without `--dsp-packing` and mapped to DSP48E2 slices (UltraScale+). Slices whose product
is accumulated are those of the array; the others belong to the epilogues, which rescale. It fails when an array needs
more slices than one for every two products, or without packing another number than one for every product.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradcam.command import run
from gradcam.compiler import Compilation, Settings
from gradcam.errors import GradcamError
from gradcam.frontend import load_model
from gradcam.pe import PE
from gradcam.progress import stages
from gradcam.synth.tools import run_logged, yosys

MODEL = "gradcam.models:tinyml_resnet18"
ENGINE = "engine_mac"

#: A cell's source goes with it to the slice it is mapped to. The mapping of multiplications comes before the rest.
SCRIPT = f"""
read_verilog -sv rtl/{ENGINE}.sv
hierarchy -top {ENGINE}
proc
setattr -set src "accumulated" w:acc*_* %ci* t:$mul %i
synth_xilinx -family xcup -noiopad -top {ENGINE} -run :coarse
tee -o products select -count t:DSP48E2 a:src=*accumulated* %i
tee -o total select -count t:DSP48E2
"""


@dataclass(frozen=True)
class Count:
    """DSP slices of an engine: of the products that it accumulates, and in total."""

    products: int
    total: int


def synthesize(model: Any, settings: Settings, say: Callable[[str], None] = lambda _: None) -> Count:
    """Compiles `model`, maps its multiply-accumulate engine, and counts; tells `say` the steps.

    Raises:
        GradcamError: Yosys is missing or does not take the engine.
    """
    tool = yosys()
    from pycde import circt

    say("compile")
    design = Compilation(model, settings).to("verilog")
    with tempfile.TemporaryDirectory(prefix="gradcam-dsp-") as temporary:
        folder = Path(temporary)
        with design.context:
            circt.export_split_verilog(design, str(folder / "rtl"))
        (folder / "script.ys").write_text(SCRIPT, encoding="utf-8")
        run_logged(tool, ["-p", "script script.ys"], folder, folder / "yosys.log", say)
        return Count(*(int((folder / name).read_text().split()[0]) for name in ("products", "total")))


def table(model: Any, settings: Settings, arrays: Sequence[str]) -> str:
    """The counts as a table in Markdown.

    Raises:
        GradcamError: an array has another number of slices than its products need.
    """
    lines = ["| array | packing | slices of the array | of the epilogues | total |", "|---|---|---|---|---|"]
    with stages("dsp_count") as say:
        for pe in arrays:
            for packing in (False, True):
                name = f"{pe}{', packed' if packing else ''}"

                def tell(step: str, name: str = name) -> None:
                    say(f"{name}, {step}")

                count = synthesize(model, replace(settings, pe=pe, dsp_packing=packing), tell)
                size = PE.parse(pe)
                wanted = size.oc * size.ic // (2 if packing and size.oc > 1 else 1)
                if count.products != wanted:
                    raise GradcamError(f"{pe}: {count.products} DSP slices for the products, {wanted} wanted")
                rest = count.total - count.products
                lines.append(f"| {pe} | {'yes' if packing else 'no'} | {count.products} | {rest} | {count.total} |")
    return "\n".join(lines)


def _measure(options: argparse.Namespace) -> None:
    print(table(load_model(options.model), Settings(options.target_layer), options.pe))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="dsp_count", description="DSP slices with and without --dsp-packing.")
    parser.add_argument("model", nargs="?", default=MODEL, help=f"as gradcam-compile takes it (default: {MODEL})")
    parser.add_argument("--target-layer", metavar="PATH", default="layer4", help="default: layer4")
    parser.add_argument("--pe", nargs="+", metavar="OCxIC", default=["8x8", "16x16"], help="default: 8x8 16x16")
    options = parser.parse_args(argv)
    return run("dsp_count", lambda: _measure(options))


if __name__ == "__main__":
    sys.exit(main())
