"""The command line of `gradcam-opt`: mlir-opt's options, and every pass as a flag of its own."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from gradcam.command import Parser, natural_argument
from gradcam.errors import GradcamError, did_you_mean
from gradcam.passes.infra import registry
from gradcam.passes.infra.pass_manager import PassManager
from gradcam.passes.infra.pipeline_parser import PipelineError
from gradcam.passes.infra.steps import nest

_DESCRIPTION = """Runs passes on MLIR: the project's own, upstream MLIR's and CIRCT's, in one pipeline.
A pass is also a flag: --canonicalize --gradcam-quantize='option=value option=value', in the order given."""


_ELIDE = "leave constants of more elements out of text, which no tool takes back (default: 64 in printed IR, else none)"


def _boolean(text: str) -> bool:
    if text not in ("0", "1", "false", "true"):
        raise argparse.ArgumentTypeError(f"expected 0 or 1, got '{text}'")
    return text in ("1", "true")


def _make_parser() -> Parser:
    parser = Parser(
        prog="gradcam-opt",
        description=_DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("input", nargs="?", default="-", help="MLIR text or bytecode of either side; - is stdin (default)")
    add("-o", dest="output", default="-", metavar="FILE", help="output, written only on success; - is stdout (default)")
    add("--pass-pipeline", metavar="TEXT", help="'builtin.module(pass{option=value},func.func(pass))'")
    add("--load-pass-plugin", action="append", default=[], metavar="FILE.py", help="Python file with @register passes")
    add("--allow-unregistered-dialect", action="store_true", help="take ops of unknown dialects")
    add(
        "--verify-each",
        type=_boolean,
        nargs="?",
        const=True,
        default=True,
        metavar="0|1",
        help="verify after every pass (1)",
    )
    add("--split-input-file", action="store_true", help="run on each part between '// -----' lines alone")
    add(
        "--verify-diagnostics", action="store_true", help="check diagnostics against expected-error@+1 {{...}} comments"
    )
    add("--verify-roundtrip", action="store_true", help="check first that the input survives text and bytecode")
    add("--mlir-disable-threading", action="store_true", help="run upstream passes and verifiers in one thread")
    add("--emit-bytecode", action="store_true", help="write bytecode, not text")
    add("-f", dest="force", action="store_true", help="write bytecode to a terminal, too")
    show = parser.add_argument_group("to show instead of running")
    show.add_argument("--version", action="store_true", help="versions of gradcam-mlir, torch-mlir and CIRCT")
    show.add_argument(
        "--list-passes", nargs="?", const="", metavar="NAME", help="all passes or NAME, with documentation and options"
    )
    show.add_argument("--show-dialects", action="store_true", help="dialects of both sides")
    dump = parser.add_argument_group("printing")
    add = dump.add_argument
    add("--dump-pass-pipeline", action="store_true", help="print the pipeline that runs")
    add("--mlir-print-ir-before", action="append", default=[], metavar="PASS", help="print the IR before these passes")
    add("--mlir-print-ir-after", action="append", default=[], metavar="PASS", help="print the IR after these passes")
    add("--mlir-print-ir-before-all", action="store_true", help="print the IR before every pass")
    add("--mlir-print-ir-after-all", action="store_true", help="print the IR after every pass")
    add("--mlir-print-ir-after-change", action="store_true", help="print after a pass only if it changed the IR")
    add("--mlir-print-ir-tree-dir", metavar="DIR", help="print into files NN-pass.mlir there; alone, after every pass")
    add("--mlir-timing", action="store_true", help="report the wall time of every pass")
    add("--mlir-elide-elementsattrs-if-larger", type=natural_argument, metavar="N", help=_ELIDE)
    add("--mlir-print-debuginfo", action="store_true", help="print locations")
    add("--mlir-print-op-generic", action="store_true", help="print ops in generic form")
    failure = parser.add_argument_group("reproducers")
    add = failure.add_argument
    add(
        "--mlir-pass-pipeline-crash-reproducer",
        metavar="FILE",
        help="on failure, write the IR and the command to repeat it",
    )
    add("--run-reproducer", action="store_true", help="run the pipeline that the input, a reproducer, names")
    return parser


def recorded_options(options: argparse.Namespace) -> list[str]:
    """The options that a reproducer needs beside the pipeline, for `CommandLine.adopt`."""
    plugins = [f"--load-pass-plugin={Path(name).resolve()}" for name in options.load_pass_plugin]
    flags = ("allow_unregistered_dialect", "mlir_disable_threading")
    given = [f"--{flag.replace('_', '-')}" for flag in flags if getattr(options, flag)]
    return [*plugins, *given, *([] if options.verify_each else ["--verify-each=0"])]


class CommandLine:
    """A parsed command line.

    Attributes:
        options: argparse's namespace.
        pass_flags: (name, options) of the passes given as flags, in order.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        """Parses `argv` (without the program's name); exits on a mistake, as argparse does."""
        self._parser = _make_parser()
        self._known = [name for action in self._parser._actions for name in action.option_strings]
        self.pass_flags: list[tuple[str, str]] = []
        rest: list[str] = []
        for argument in argv:
            name, equals, value = argument.partition("=")
            if len(name) > 2 and name.startswith("-"):
                name = "--" + name.lstrip("-")
                if name not in self._known:
                    self.pass_flags.append((name[2:], value))
                    continue
                argument = name + equals + value
            rest.append(argument)
        self.options = self._parser.parse_args(rest)
        if self.pass_flags and self.options.pass_pipeline is not None:
            self._parser.error(f"give --pass-pipeline or passes as flags (--{self.pass_flags[0][0]}), not both")

    def adopt(self, configuration: str) -> list[str]:
        """Takes over the pipeline and the options that `recorded_options` wrote; returns the plugins among them.

        Raises:
            ValueError: the text is no command line with a pipeline.
            GradcamError: passes are given here, too.
        """
        recorded, mine = CommandLine(shlex.split(configuration)).options, self.options
        if recorded.pass_pipeline is None:
            raise ValueError("it has no --pass-pipeline")
        if self.pass_flags or mine.pass_pipeline is not None:
            raise GradcamError("--run-reproducer runs the recorded pipeline; leave other passes out")
        mine.pass_pipeline = recorded.pass_pipeline
        mine.verify_each &= recorded.verify_each
        mine.allow_unregistered_dialect |= recorded.allow_unregistered_dialect
        mine.mlir_disable_threading |= recorded.mlir_disable_threading
        return recorded.load_pass_plugin

    def make_manager(self) -> PassManager:
        """The pass manager for the pipeline, or for the passes given as flags.

        Raises:
            PipelineError: there is a mistake in the pipeline.
            GradcamError: there is one in a flag.
        """
        manager = PassManager(self.options.verify_each)
        if self.options.pass_pipeline is not None:
            return manager.add(self.options.pass_pipeline)
        for name, options in self.pass_flags:
            self._add_flag(manager, name, options)
        return manager

    def _add_flag(self, manager: PassManager, name: str, options: str) -> None:
        text = f"{name}{{{options}}}" if options else name
        try:
            manager.add(text)
        except PipelineError as error:
            anchor = re.search(r"restricted to '([\w.]+)'", error.reason)
            if anchor:  # mlir-opt nests such flags too
                manager.add(nest(text, (anchor[1],)))
            elif error.reason.startswith("unknown pass"):
                flags = [*self._known, *(f"--{known}" for known in registry.suggestions())]
                raise GradcamError(f"unknown option or pass '--{name}'{did_you_mean(f'--{name}', flags)}") from error
            else:
                raise GradcamError(error.reason) from error
