"""`gradcam-compile`: a PyTorch or ONNX model to SystemVerilog, or to any level on the way."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from gradcam.bits import LEAST
from gradcam.checks import check_used
from gradcam.command import Parser, numbers_argument, run, shape_argument, size_argument
from gradcam.compiler import LEVELS, PLACES, RANGES, Compilation, Settings
from gradcam.errors import GradcamError
from gradcam.files import stdout_written, write_output
from gradcam.images import ASSUMED, PRESETS
from gradcam.onnx_files import check_model_files, save_model
from gradcam.onnx_package import onnx_package
from gradcam.passes.infra.elision import elided_text

_OUTPUT = "output folder; for other levels a file, - for stdout: .mlirbc is bytecode, text lacks large constants"

#: What `--emit` can name besides levels: ONNX models, each with the level whose program it has.
_ONNX = {"onnx": "simplified", "onnx-int8": "quantized"}

#: The level where settings take effect first; the others do at the import. `pe` is taken at every level.
_FIRST_LEVELS = {
    "quantized": "calibration mean std preset resize crop background range_choice percentile "
    "activation_bits gradient_bits weight_bits",
    "linalg": "weights dram_width dram_outstanding dram_latency schedule clock_mhz family",
    "scheduled": "max_onchip_bytes",
    "hw": "dsp_packing",
    "verilog": "name",
}

#: The layer that is explained where none is named.
_LAYER = "layer4"

#: Elements of the largest constant that `--emit` writes as text.
TEXT_LIMIT = 4096


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="gradcam-compile",
        description="Compiles a PyTorch or ONNX image classifier and its Grad-CAM to SystemVerilog.",
        epilog="Loading a PyTorch model runs code: name only models you trust.",
    )
    add = parser.add_argument
    add(
        "model",
        help="package.module:callable, path/file.py:callable(width=16), a .pt2 or .onnx file: see docs/compiling.md",
    )
    add("--state-dict", metavar="FILE", help="weights for the callable's module: .safetensors, or saved by torch.save")
    add("-o", dest="output", required=True, metavar="PATH", help=_OUTPUT)
    explained = parser.add_mutually_exclusive_group()
    explained.add_argument(
        "--target-layer",
        metavar="PATH",
        action="append",
        help=f"module path, or node of ONNX, of the feature map to explain (default: {_LAYER}); may repeat",
    )
    explained.add_argument(
        "--no-explanation",
        dest="target_layer",
        action="store_const",
        const=[],
        help="logits only: the same design without Grad-CAM",
    )
    add("--top-k", type=int, default=1, metavar="K", help="classes to explain, from the best one on (default: 1)")
    add("--pool-map", type=int, default=1, metavar="P", help="maps as means of blocks of PxP (default: 1, no blocks)")
    add("--method", default="gradcam", help="gradcam (default), hirescam, ...: see docs/compiling.md")
    add("--pe", default="16x16", metavar="OCxIC", help="processing elements: output x input channels (default: 16x16)")
    add("--activation-bits", type=int, default=LEAST, metavar="N", help="bits of feature maps, 8 (default) to 12")
    add("--gradient-bits", type=int, default=LEAST, metavar="N", help="bits of gradients, 8 (default) to 16")
    add("--weight-bits", type=int, default=LEAST, metavar="N", help="bits of weights, 8 (default) to 12")
    add("--dsp-packing", action="store_true", help="two int8 products per multiplication, as a DSP48E2 can")
    add("--calibration", metavar="PATH", help="images, .npy or .npz, or a folder (default: the model's own images)")
    add(
        "--mean", type=numbers_argument, metavar="M[,M,M]", help="mean of pixels from 0 to 1, which training subtracted"
    )
    add("--std", type=numbers_argument, metavar="S[,S,S]", help="their standard deviation")
    add("--preset", metavar="NAME", help=f"mean and std by name: {', '.join(PRESETS)} (default: {ASSUMED})")
    add("--resize", type=size_argument, metavar="N|HxW", help="resize images: shorter side, or height x width")
    add("--crop", type=size_argument, metavar="N|HxW", help="cut this from the centre of images")
    add("--background", default="black", metavar="COLOUR", help="under transparent images: a name or #rrggbb (black)")
    validated = parser.add_mutually_exclusive_group()
    validated.add_argument(
        "--validate", metavar="PATH", help="compare int8 with float on these images (default: some for calibration)"
    )
    validated.add_argument(
        "--no-validate", dest="validate", action="store_const", const=False, help="do not compare int8 with float"
    )
    add("--range", dest="range_choice", choices=RANGES, default="mse", help="choice of ranges")
    add("--percentile", type=float, metavar="P", help="for --range percentile (default: 99.99)")
    add("--input-shape", type=shape_argument, metavar="1,C,H,W", help="default: the model's own")
    add("--weights", choices=PLACES, default="onchip", help="where the weights are (default: onchip)")
    add("--dram-width", type=int, metavar="BITS", help="bits of a beat of the DRAM (default: 64)")
    add("--dram-outstanding", type=int, metavar="N", help="reads that may be under way (default: 8)")
    add("--dram-latency", type=int, metavar="N", help="cycles to a first beat to predict for (default: 64)")
    add("--max-onchip-bytes", type=int, metavar="N", help="refuse a design with more memory on chip")
    add("--schedule", metavar="FILE", help="loop orders, stem and ring as in the schedule.json of another compile")
    add("--clock-mhz", type=float, metavar="F", help="clock to pipeline for (default: products, shifts and sums only)")
    add("--family", help="FPGA family: xcup, xc7, or with --clock-mhz ecp5 (its default)")
    add("--name", help="what the names of modules, files and macros begin with, for several designs in one project")
    add(
        "--emit",
        choices=(*LEVELS, *_ONNX),
        default="verilog",
        help="stop at this level (default: verilog), or write the program for a runtime of ONNX, float or int8",
    )
    add("--print-ir", action="store_true", help="also write ir/NN-pass.mlir after every pass")
    add("--trace", type=Path, metavar="FILE", help="also write the schedule for Perfetto and chrome://tracing")
    add("--force", action="store_true", help="replace an output folder or a file that exists")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    """The settings from the command line; an option has the name of its setting."""
    layers = [_LAYER] if options.target_layer is None else options.target_layer
    chosen: dict[str, Any] = {field.name: getattr(options, field.name) for field in fields(Settings)}
    chosen["target_layer"] = layers if len(layers) > 1 else next(iter(layers), None)
    settings, reached = Settings(**chosen), LEVELS.index(_ONNX.get(options.emit, options.emit))
    needs = {
        name: (LEVELS.index(level) <= reached, f"--emit {options.emit} stops before level {level}, where it acts first")
        for level, names in _FIRST_LEVELS.items()
        for name in names.split()
    }
    if options.emit in _ONNX:  # the model normalizes pixels where it is said how
        needs |= dict.fromkeys(("mean", "std", "preset"), (True, ""))
    check_used(settings, needs)
    return settings


def _compile(options: argparse.Namespace) -> None:
    settings = _settings(options)
    folder = _folder(options)
    from gradcam.frontend import load_model  # imports torch: --help and mistakes need not wait for it
    from gradcam.output import compile_to_folder
    from gradcam.progress import stages

    with stages("gradcam-compile") as say, _told_default(options):
        model = load_model(options.model, options.state_dict)
        if folder is None:
            said = _emit(Compilation(model, settings, say=say), options)
        else:
            compile_to_folder(
                model, options.model, settings, folder, options.force, options.print_ir, options.trace, say
            )
            said = (folder / "report.txt").read_text(encoding="utf-8")
    with stdout_written():
        print(said, end="")


@contextmanager
def _told_default(options: argparse.Namespace) -> Iterator[None]:
    """Says of a target layer that cannot be explained that nobody named it, where it is the default."""
    from gradcam.faults import Faults
    from gradcam.frontend.layers import TargetError

    try:
        yield
    except Faults as error:
        if options.target_layer is None:
            for fault in error.faults:
                if isinstance(fault, TargetError):
                    fault.message += f"; '{_LAYER}' is the default: name another by --target-layer"
        raise


def _folder(options: argparse.Namespace) -> Path | None:
    """The output folder, where one is written; known to be writable over, so that nothing is compiled in vain."""
    from gradcam.output import check_target
    from gradcam.trace_events import check_trace_target

    if options.emit != "verilog":
        if options.validate is not None:
            raise GradcamError(
                "--validate and --no-validate are for the end of a compile, which --emit verilog reaches"
            )
        if options.print_ir:
            raise GradcamError("--print-ir writes into the output folder, which only --emit verilog has")
        if options.trace is not None:
            raise GradcamError("--trace comes with an output folder, which only --emit verilog has")
        if options.emit in _ONNX:
            if options.output == "-":
                raise GradcamError(f"--emit {options.emit} writes a file, not to stdout; name it with -o")
            onnx_package(f"--emit {options.emit}")
            check_model_files(options.output, options.force)
        elif options.force:
            raise GradcamError("--force replaces an output folder, which only --emit verilog has; leave it out")
        return None
    if options.output == "-":
        raise GradcamError("--emit verilog writes a folder, not to stdout; name it with -o")
    folder = Path(options.output)
    check_target(folder, options.force)
    if options.trace is not None:
        check_trace_target(options.trace, [folder], options.force)
    return folder


def _emit(compilation: Compilation, options: argparse.Namespace) -> str:
    """Writes the module of a level, or the ONNX model that is made of one; what is to be said of it."""
    if options.emit not in _ONNX:
        write_output(options.output, [_encoded(compilation.to(options.emit), options.output)])
        return ""
    from gradcam.onnx_export import compiled_model

    files = save_model(compiled_model(compilation, options.model, options.emit), options.output)
    return f"wrote {' and, with its weights, '.join(files)}\n"


def _encoded(module: Any, name: str) -> bytes:
    """A module as the file's name asks: whole in bytecode, in text without the weights of all but small networks."""
    if not name.endswith(".mlirbc"):
        return elided_text(module, TEXT_LIMIT, enable_debug_info=True).rstrip("\n").encode() + b"\n"
    buffer = io.BytesIO()
    module.operation.write_bytecode(buffer)
    return buffer.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `gradcam-compile` with `argv`; returns its exit code. Every problem is one line on stderr."""
    options = _parser().parse_args(argv)
    return run("gradcam-compile", lambda: _compile(options))


if __name__ == "__main__":
    sys.exit(main())
