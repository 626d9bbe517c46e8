"""`gradcam-import`: a PyTorch or ONNX model as gradcam (level 1) or torch (level 0) IR."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from typing import Any

from gradcam.command import Parser, natural_argument, run, shape_argument
from gradcam.dialect.methods import EPS, EPS_OF, METHODS
from gradcam.errors import GradcamError
from gradcam.files import check_binary_output, write_output
from gradcam.passes.infra.elision import elided_text

_EPS = f"{', '.join(f'{EPS_OF[method]} for {method}' for method in EPS_OF)}, else {EPS}"
_ELIDE = "leave out larger constants, for reading"


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="gradcam-import",
        description="Imports an image classifier. Loading a PyTorch model runs code: name only models you trust.",
        epilog="Text drops the module path of every op unless --mlir-print-debuginfo is given; bytecode keeps them.",
    )
    add = parser.add_argument
    add(
        "model",
        help="package.module:callable, path/file.py:callable(width=16), a .pt2 or .onnx file: see docs/compiling.md",
    )
    add("--state-dict", metavar="FILE", help="weights for the callable's module: .safetensors, or saved by torch.save")
    add(
        "--target-layer",
        metavar="PATH",
        action="append",
        help="module path of the feature map to explain, such as layer4, or node of ONNX; may repeat: one map each",
    )
    add("--top-k", type=int, metavar="K", help="classes to explain, from the best one on (default: 1)")
    add("--pool-map", type=int, metavar="P", help="maps as means of blocks of PxP (default: 1, no blocks)")
    add("--method", help=f"one of {', '.join(METHODS)} (default: gradcam)")
    add("--eps", type=float, help=f"added to the divisors of method and normalization (default: {_EPS})")
    add("--input-shape", type=shape_argument, metavar="1,C,H,W", help="default: the model's own")
    add("--level", choices=("gradcam", "torch"), default="gradcam", help="which IR to write (default: gradcam)")
    add("--list-layers", action="store_true", help="print the module paths that --target-layer can name, and exit")
    add("-o", dest="output", metavar="FILE", default="-", help="output, written only on success (default: stdout)")
    add("--emit-bytecode", action="store_true", help="write MLIR bytecode: smaller and faster to read than text")
    add("-f", dest="force", action="store_true", help="write bytecode to a terminal, too")
    add("--mlir-elide-elementsattrs-if-larger", type=natural_argument, metavar="N", help=_ELIDE)
    add("--mlir-print-debuginfo", action="store_true", help="print the module path of every op")
    return parser


def _check_used(options: argparse.Namespace) -> None:
    """Refuses options that would have no effect."""
    explanation = [name for name in ("top_k", "pool_map", "method", "eps") if getattr(options, name) is not None]
    text = [name for name in ("mlir_elide_elementsattrs_if_larger", "mlir_print_debuginfo") if getattr(options, name)]
    ignored: dict[str, list[str]] = {
        "beside --list-layers": ["target_layer", *explanation, *text] if options.list_layers else [],
        "at --level torch": explanation if options.level == "torch" else [],
        "without --target-layer": [] if options.target_layer else explanation,
        "in bytecode": text if options.emit_bytecode else [],
    }
    for why, names in ignored.items():
        for name in (name for name in names if getattr(options, name) is not None):
            raise GradcamError(f"--{name.replace('_', '-')} has no effect {why}")


def _output(options: argparse.Namespace) -> bytes:
    _check_used(options)
    if options.emit_bytecode:
        check_binary_output(options.output, options.force)
    from gradcam import frontend  # imports torch: --help need not wait for it

    model = frontend.load_model(options.model, options.state_dict)
    if options.list_layers:
        return "".join(f"{path}\n" for path in frontend.target_layers(model, options.input_shape)).encode()
    if options.level == "torch":
        return _encode(frontend.import_torch(model, options.input_shape, options.target_layer), options)
    given = {name: getattr(options, name) for name in ("method", "eps", "top_k", "pool_map")}
    chosen = {name: value for name, value in given.items() if value is not None}
    module = frontend.import_model(model, options.input_shape, options.target_layer, **chosen)
    return _encode(module, options)


def _encode(module: Any, options: argparse.Namespace) -> bytes:
    if options.emit_bytecode:
        buffer = io.BytesIO()
        module.operation.write_bytecode(buffer)
        return buffer.getvalue()
    limit = options.mlir_elide_elementsattrs_if_larger
    text = elided_text(module, limit, enable_debug_info=options.mlir_print_debuginfo)
    return text.rstrip("\n").encode() + b"\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `gradcam-import` with `argv`; returns its exit code. Every problem of the model is one line on stderr."""
    options = _parser().parse_args(argv)
    return run("gradcam-import", lambda: write_output(options.output, [_output(options)]))


if __name__ == "__main__":
    sys.exit(main())
