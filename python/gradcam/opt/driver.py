"""Runs `gradcam-opt`: reads, runs the pipeline on every chunk, reports, writes."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import shlex
import signal as signals
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gradcam import interrupts
from gradcam.command import plain_warnings
from gradcam.errors import GradcamError, did_you_mean
from gradcam.files import check_binary_output, stdout_written, write_output
from gradcam.opt.chunks import Chunk, read_chunks
from gradcam.opt.cli import CommandLine, recorded_options
from gradcam.opt.expected import mismatches
from gradcam.opt.plugins import fault_in_plugin, load_plugins
from gradcam.opt.round_trip import verify_round_trip
from gradcam.passes.infra import contexts
from gradcam.passes.infra.diagnostics import Diagnostic, from_exception, from_mlir
from gradcam.passes.infra.elision import LARGE, elided_text, find_elided
from gradcam.passes.infra.instrumentation import CrashReproducer, PrintIR, Timing
from gradcam.passes.infra.pass_manager import Instrumentation, PassFailure
from gradcam.passes.infra.pipeline_parser import PipelineError

_CONFIGURATION = re.compile(rb"^// configuration: (.*)$", re.MULTILINE)
_ELIDED = "the value of this constant was left out when the file was written; write bytecode, which keeps it"
_PRETTY_GRADCAM_OP = re.compile(r"^(?:[^\"/\n]*=)?\s*(gradcam\.\w+)", re.MULTILINE)


class Listener(Instrumentation):
    """Sets up every context that a module is in, before and after it crosses to the other MLIR; hears its diagnostics.

    Args:
        hear: called with each diagnostic.
        threads: whether upstream passes and verifiers may run in several threads.
        unregistered: whether ops of unknown dialects are taken.
    """

    def __init__(self, hear: Callable[[Diagnostic], None], threads: bool, unregistered: bool) -> None:
        self._hear, self._threads, self._unregistered = hear, threads, unregistered
        self._contexts: list[Any] = []

    def attach(self, context: Any) -> None:
        """Sets up `context` and listens to it; a second call for the same context does nothing."""
        if context not in self._contexts:
            self._contexts.append(context)
            if not self._threads:  # on is no choice: the dialect's verifiers are Python, and would wait for each other
                context.enable_multithreading(False)
            context.allow_unregistered_dialects = self._unregistered
            context.attach_diagnostic_handler(self._handle)

    def after(self, name: str, module: Any, seconds: float) -> None:
        """Follows the module into a new context."""
        self.attach(module.context)

    def _handle(self, info: Any) -> bool:
        for diagnostic in from_mlir(info):
            self._hear(diagnostic)
        return True


class Driver:
    """One run of `gradcam-opt` on one input."""

    def __init__(self, command: CommandLine) -> None:
        self._options = command.options
        if self._options.emit_bytecode:
            check_binary_output(self._options.output, self._options.force)
        self._chunks = read_chunks(self._options.input, self._options.split_input_file)
        if self._options.emit_bytecode and len(self._chunks) > 1:
            raise GradcamError("--emit-bytecode writes one module, --split-input-file found several")
        if self._options.run_reproducer:
            self._adopt_configuration(command)
        self._manager = command.make_manager()
        self._timing = Timing()
        self._instrument()

    def run(self) -> int:
        """Runs the pipeline on all chunks and writes the output if all went well; returns the exit code."""
        if self._options.dump_pass_pipeline:
            print(self._manager, file=sys.stderr)
        run_chunk = self._verify_chunk if self._options.verify_diagnostics else self._run_chunk
        results = [run_chunk(chunk) for chunk in self._chunks]
        if self._options.mlir_timing:
            print(self._timing.report(), file=sys.stderr)
        if not all(ok for ok, _ in results):
            return 1
        write_output(self._options.output, [output for _, output in results if output])
        return 0

    def _adopt_configuration(self, command: CommandLine) -> None:
        """Takes the pipeline and the options that the input, a reproducer, names; loads its plugins."""
        name, configuration = self._chunks[0].name, _CONFIGURATION.search(self._chunks[0].data)
        if not configuration:
            raise GradcamError(f"{name} is no reproducer: it has no '// configuration:' line")
        try:
            plugins = command.adopt(configuration[1].decode())
        except ValueError as error:
            raise GradcamError(f"{name}: the '// configuration:' line cannot be read: {error}") from error
        load_plugins(plugins, self._options.load_pass_plugin)

    def _instrument(self) -> None:
        options = self._options
        before = None if options.mlir_print_ir_before_all else self._named(options.mlir_print_ir_before)
        after = None if options.mlir_print_ir_after_all else self._named(options.mlir_print_ir_after)
        only_changes, directory = options.mlir_print_ir_after_change, options.mlir_print_ir_tree_dir
        if (only_changes or directory) and before == after == []:
            after = None
        if before != [] or after != []:
            path = Path(directory) if directory else None
            self._manager.instrument(PrintIR(before, after, only_changes, path, self._dump))
        if options.mlir_pass_pipeline_crash_reproducer:
            path = Path(options.mlir_pass_pipeline_crash_reproducer)
            self._manager.instrument(CrashReproducer(path, recorded_options(options)))
        self._manager.instrument(self._timing)

    def _named(self, given: Sequence[str]) -> list[str]:
        """The passes in `given`, a list of names or of names with commas; all must be in the pipeline."""
        steps = [step.name for step in self._manager.steps]
        names = [name for text in given for name in text.split(",")]
        for name in names:
            if name not in steps:
                raise GradcamError(f"no pass '{name}' in the pipeline{did_you_mean(name, steps)}")
        return names

    def _run_chunk(self, chunk: Chunk) -> tuple[bool, bytes]:
        def report(diagnostic: Diagnostic) -> None:
            print(in_file(diagnostic, chunk.name), file=sys.stderr)

        output, failures = self._process(chunk, report)
        for failure in failures:
            report(failure)
        return not failures, output

    def _verify_chunk(self, chunk: Chunk) -> tuple[bool, bytes]:
        diagnostics: list[Diagnostic] = []
        output, failures = self._process(chunk, diagnostics.append)
        problems = mismatches(chunk.text, [*diagnostics, *failures], chunk.name)
        for problem in problems:
            print(problem, file=sys.stderr)
        return not problems, output

    def _process(self, chunk: Chunk, hear: Callable[[Diagnostic], None]) -> tuple[bytes, list[Diagnostic]]:
        """Runs the pipeline on `chunk`, in a fresh context; returns the output, and why there is none."""
        if place := find_elided(chunk.data):
            return b"", [Diagnostic("error", _ELIDED, chunk.name, *place)]
        context = contexts.make_context("circt" if self._manager.source == "circt" else contexts.guess_side(chunk.data))
        options = self._options
        listener = Listener(hear, not options.mlir_disable_threading, options.allow_unregistered_dialect)
        listener.attach(context)
        try:
            module = contexts.parse_module(chunk.source, context)
            if options.verify_roundtrip:
                verify_round_trip(module)
        except Exception as error:
            failures = from_exception(error)
            if failures is None:
                raise
            return b"", failures or [_silent_parse_error(chunk)]
        try:
            return self._encode(self._manager.run(module, listener)), []
        except PassFailure as failure:
            return b"", self._reports(failure)
        except (Exception, SystemExit) as error:
            if fault := fault_in_plugin(error):
                return b"", [fault]
            raise

    def _reports(self, failure: PassFailure) -> list[Diagnostic]:
        if not failure.diagnostics:
            return [Diagnostic("error", failure.message)]
        if self._options.verify_diagnostics:
            return failure.diagnostics
        first, *rest = failure.diagnostics
        lines = [dataclasses.replace(first, message=f"{first.first_line} [pass '{failure.pass_name}']"), *rest]
        reproducer = self._options.mlir_pass_pipeline_crash_reproducer
        if reproducer:
            message = f"to see it again: gradcam-opt --run-reproducer {shlex.quote(reproducer)}"
            lines.append(Diagnostic("note", message, reproducer, 1, 1))
        return lines

    def _dump(self, module: Any) -> str:
        """Text to look at: without large constants, unless the option says which."""
        limit = self._options.mlir_elide_elementsattrs_if_larger
        return self._text(module, LARGE if limit is None else limit)

    def _text(self, module: Any, limit: int | None) -> str:
        options = self._options
        return elided_text(
            module,
            limit,
            enable_debug_info=options.mlir_print_debuginfo,
            print_generic_op_form=options.mlir_print_op_generic,
        )

    def _encode(self, module: Any) -> bytes:
        if not self._options.emit_bytecode:
            return self._text(module, self._options.mlir_elide_elementsattrs_if_larger).rstrip("\n").encode() + b"\n"
        buffer = io.BytesIO()
        module.operation.write_bytecode(buffer)
        return buffer.getvalue()


def in_file(diagnostic: Diagnostic, name: str) -> Diagnostic:
    """Gives `diagnostic` the input's name where MLIR has none for it."""
    return dataclasses.replace(diagnostic, file=name) if diagnostic.file in ("", "-") else diagnostic


def _silent_parse_error(chunk: Chunk) -> Diagnostic:
    """The error for text that the parser refuses without a diagnostic: a dialect op outside its generic form."""
    op = _PRETTY_GRADCAM_OP.search(chunk.text)
    if not op:
        return Diagnostic("error", "unable to parse the module")
    line_start = chunk.text.rfind("\n", 0, op.start(1)) + 1
    line = chunk.text.count("\n", 0, op.start(1)) + 1
    message = f"'{op[1]}' has only the generic form: write \"{op[1]}\"(...) : (...) -> ..."
    return Diagnostic("error", message, chunk.name, line, op.start(1) - line_start + 1)


def _listing(command: CommandLine) -> str | None:
    from gradcam.opt import listing

    options = command.options
    if options.version:
        return listing.versions()
    if options.list_passes is not None:
        return listing.list_passes() if not options.list_passes else listing.describe(options.list_passes)
    return listing.show_dialects() if options.show_dialects else None


def _run(argv: Sequence[str]) -> int:
    command = CommandLine(argv)
    load_plugins(command.options.load_pass_plugin)
    listing = _listing(command)
    if listing is None:
        return Driver(command).run()
    with stdout_written():
        print(listing)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `gradcam-opt` with `argv`; returns its exit code. Users' mistakes are reported on stderr in one line."""
    try:
        with interrupts.raised(), plain_warnings("gradcam-opt"):
            return _run(sys.argv[1:] if argv is None else argv)
    except interrupts.Interrupted as signal:
        print(f"gradcam-opt: error: {signal}", file=sys.stderr)
        return 128 + signal.number
    except KeyboardInterrupt:  # of a plugin
        print("gradcam-opt: error: interrupted by a KeyboardInterrupt", file=sys.stderr)
        return 128 + signals.SIGINT
    except PipelineError as error:
        print(f"<pass-pipeline>:1:{error.column}: error: {error.reason}", file=sys.stderr)
    except GradcamError as error:
        print(f"gradcam-opt: error: {error}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the exit does not flush into the pipe
    except OSError as error:
        print(f"gradcam-opt: error: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
    return 1
