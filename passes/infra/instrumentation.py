"""Instrumentations of a pass manager: timing, printing and saving the IR, reproducers of failures."""

from __future__ import annotations

import hashlib
import re
import shlex
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gradcam.passes.infra.elision import LARGE, elided_text
from gradcam.passes.infra.pass_manager import Instrumentation
from gradcam.passes.infra.steps import Step, nest

Printer = Callable[[Any], str]


class PassTime(NamedTuple):
    """Wall time of one pass."""

    name: str
    seconds: float


class Timing(Instrumentation):
    """Records the wall time of every pass in `times`, in order."""

    def __init__(self) -> None:
        self.times: list[PassTime] = []

    def after(self, name: str, module: Any, seconds: float) -> None:
        """Records one pass."""
        self.times.append(PassTime(name, seconds))

    def report(self) -> str:
        """A table like that of `mlir-opt --mlir-timing`."""
        total = sum(t.seconds for t in self.times)
        rule = f"===-{'-' * 73}-==="
        rows = [f"  {t.seconds:8.4f} ({_percent(t.seconds, total)})  {t.name}" for t in self.times]
        return "\n".join(
            [
                rule,
                "... Execution time report ...".center(len(rule)).rstrip(),
                rule,
                f"  Total Execution Time: {total:.4f} seconds",
                "",
                "  ----Wall Time----  ----Name----",
                *rows,
                f"  {total:8.4f} (100.0%)  Total",
            ]
        )


def _percent(part: float, total: float) -> str:
    return f"{100 * part / total if total else 0:5.1f}%"


def print_module(module: Any) -> str:
    """A module's text for reading, without large constants."""
    return elided_text(module, LARGE)


class PrintIR(Instrumentation):
    """Prints the module before and after chosen passes, to stderr or into numbered files `NN-pass.mlir`."""

    def __init__(
        self,
        before: Collection[str] | None = (),
        after: Collection[str] | None = None,
        only_changes: bool = False,
        directory: Path | None = None,
        printer: Printer = print_module,
    ) -> None:
        """Selects the passes to print.

        Args:
            before: names of passes to print before; None for all.
            after: names of passes to print after; None for all.
            only_changes: do not print after a pass that changed nothing.
            directory: folder for the files, made at the first of them; None prints to stderr.
            printer: turns a module into text.
        """
        self._chosen_before, self._chosen_after = before, after
        self._only_changes = only_changes
        self._directory = directory
        self._printer = printer
        self._number = 0
        self._digest = b""

    def before(self, name: str, module: Any) -> None:
        """Prints if the pass is chosen."""
        self._number += 1
        if self._only_changes:
            self._digest = _digest(module)
        if self._chosen_before is None or name in self._chosen_before:
            self._print("Before", name, module)

    def after(self, name: str, module: Any, seconds: float) -> None:
        """Prints if the pass is chosen and, where asked for, changed the module."""
        if self._chosen_after is not None and name not in self._chosen_after:
            return
        if not self._only_changes or _digest(module) != self._digest:
            self._print("After", name, module)

    def failed(self, step: Step, module: Any) -> None:
        """Prints that the pass failed, in place of its result."""
        if self._directory is None and (self._chosen_after is None or step.name in self._chosen_after):
            print(f"// -----// IR Dump After {step.name} Failed //----- //", file=sys.stderr)

    def _print(self, when: str, name: str, module: Any) -> None:
        text = self._printer(module).rstrip("\n") + "\n"
        if self._directory is None:
            print(f"// -----// IR Dump {when} {name} //----- //\n{text}", file=sys.stderr)
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r"[^\w.\-]", "_", name if when == "After" else f"before-{name}")
        (self._directory / f"{self._number:02}-{stem}.mlir").write_text(text, encoding="utf-8")


def _digest(module: Any) -> bytes:
    return hashlib.sha256(module.operation.get_asm(binary=True, enable_debug_info=True)).digest()


class CrashReproducer(Instrumentation):
    """Writes the IR before a failing pass, with the command that runs that pass on it again."""

    def __init__(self, path: Path, options: Sequence[str] = ()) -> None:
        """Writes to `path`, only when a pass fails; `options` are those of gradcam-opt that the failure depends on."""
        self._path, self._options = path, options
        self._before = ""

    def before(self, name: str, module: Any) -> None:
        """Keeps the module's text."""
        self._before = module.operation.get_asm(enable_debug_info=True)

    def failed(self, step: Step, module: Any) -> None:
        """Writes the file."""
        quoted = shlex.quote(nest(step.text, ("builtin.module", *step.anchors)))
        lines = [
            f"// pass '{step.name}' failed on this module; to see it again:",
            f"// gradcam-opt --run-reproducer {shlex.quote(str(self._path))}",
            f"// configuration: {' '.join([*map(shlex.quote, self._options), f'--pass-pipeline={quoted}'])}",
        ]
        self._path.write_text("\n".join(lines) + "\n" + self._before, encoding="utf-8")
