"""Malformed inputs of every command: `python benchmarks/malformed.py [--count N] [--seed S] [--kinds NAME ...]`.

Each case runs a command, in a process forked from one that has everything imported, in a folder of its own. A command
must refuse the input in one line with a non-zero exit code and leave its folder as it was, or, where the change does
no harm, exit 0 with the right value, which each kind of `malformed_inputs` gets from somewhere else. A traceback, a
signal, a hang, or another line on stderr is a fault. The table counts the cases by kind; any fault is an error.

    python benchmarks/malformed.py --count 1000               # the figure of docs/results.md
    python benchmarks/malformed.py --kinds schedule --seed 7   # the same cases again, of one kind
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import importlib
import logging
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradcam.command import run
from gradcam.errors import GradcamError

#: Seconds after which a command hangs, and the address space that it may ask for.
LIMIT, MEMORY = 120, 24 << 30

#: What a command may print on stderr.
ERROR = re.compile(r"(gradcam-\w+|<?[^\s:]+>?(:\d+:\d+)?): error: .+|(gradcam-\w+): error: .+")
PLACED = re.compile(r"\S+:\d+:\d+: ")  # a diagnostic of MLIR, of which there may be several
OTHER = re.compile(r"gradcam-\w+: (WARNING: .+|note: .+|[\w ()-]+)|\S+: (warning|note|remark): .+")

#: Exit code of a command that reached a program of others, which is not run.
REACHED = 77


@dataclass(frozen=True)
class Case:
    """One malformed input.

    Attributes:
        tool: the module of the command in `gradcam.tools`.
        arguments: of the command, which runs in the case's folder.
        files: what lies in the folder, by name: the contents, or a file or folder to copy.
        right: after exit 0, says what is wrong with the outputs in the folder, "" for nothing; None where the input
            must be refused.
        change: the mutation in words, for the report of a fault.
    """

    tool: str
    arguments: Sequence[str]
    files: dict[str, bytes | Path] = field(default_factory=dict)
    right: Callable[[Path], str] | None = None
    change: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a case came to: "refused", "harmless", "reached" another program, or a "fault" with its description."""

    kind: str
    seed: int
    outcome: str
    fault: str = ""


def forked(action: Callable[[], int | None], folder: Path, limit: float = LIMIT) -> int:
    """Runs `action` in a forked process with stdout and stderr in files of `folder`; returns the wait status.

    A process that takes longer than `limit` seconds is killed, and with it all that it started.
    """
    process = os.fork()
    if process == 0:
        os.setsid()
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        faulthandler.disable()
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os._exit(_exit_code(action))
    end = time.monotonic() + limit
    while (found := os.waitpid(process, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            os.killpg(process, signal.SIGKILL)
            return os.waitpid(process, 0)[1]
        time.sleep(0.002)
    return found[1]


def _exit_code(action: Callable[[], int | None]) -> int:
    """The exit code that Python would end with."""
    try:
        code: Any = action() or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def command(case: Case, folder: Path, build: bool) -> int:
    """Runs a case's command in `folder`; programs of others, but a simulator that stands, are not started."""
    from gradcam import verilator
    from gradcam.synth import synthesis

    def reached(*_: Any, **__: Any) -> Any:
        os._exit(REACHED)

    synthesis.run_logged = reached
    if not build:
        verilator.Toolchain.run = reached  # type: ignore[method-assign]
    logging.getLogger().handlers.clear()  # those of this benchmark
    os.chdir(folder)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder.parent / "tmp")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    return importlib.import_module(f"gradcam.tools.{case.tool}").main(list(case.arguments))


def contents(folder: Path) -> dict[str, str]:
    """Kind and digest of everything in a folder, by its path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        is_file = path.is_file() and not path.is_symlink()
        found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else ""
    return found


def judge(case: Case, status: int, printed: str, before: dict[str, str], after: dict[str, str], where: Path) -> str:
    """What is wrong with the end of a command, "" for nothing."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "it hangs" if number == signal.SIGKILL else f"it ends by {signal.Signals(number).name}"
    code, lines = os.waitstatus_to_exitcode(status), printed.splitlines()
    if "Traceback (most recent call last):" in lines:
        return f"a traceback: {lines[-1]}"
    errors = [line for line in lines if ERROR.fullmatch(line)]
    if strange := [line for line in lines if line not in errors and not OTHER.fullmatch(line)]:
        return f"it prints {strange[0]!r}"
    if code == REACHED:
        return "" if case.right else f"it starts another program for {case.change}"
    if code:
        left = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        if not errors or (len(errors) > 1 and not all(map(PLACED.match, errors))):
            return f"{len(errors)} error lines"
        return f"it leaves {left[0]}" if left else ""
    if errors:
        return f"exit 0, with the error {errors[0]!r}"
    if case.right is None:
        return f"exit 0 for {case.change}"
    right = case.right
    status = forked(lambda: print(right(where), end=""), where.parent)
    wrong = (where.parent / "stdout").read_text().strip()
    return f"wrong: {wrong}" if wrong else "" if status == 0 else f"wrong: {_last(where.parent / 'stderr')}"


def _last(path: Path) -> str:
    return (path.read_text(errors="replace").strip().splitlines() or ["nothing printed"])[-1]


def try_case(kind: str, seed: int, case: Case, build: bool) -> Verdict:
    """Runs a case and judges it."""
    place = Path(tempfile.mkdtemp(prefix="malformed-"))
    try:
        folder = place / "case"
        for path in (folder, place / "tmp"):
            path.mkdir()
        for name, what in case.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(what, bytes):
                target.write_bytes(what)
            else:
                (shutil.copytree if what.is_dir() else shutil.copy2)(what, target)
        before = contents(folder)
        status = forked(lambda: command(case, folder, build), place)
        after = contents(folder) | {f"tmp/{p.name}": "" for p in (place / "tmp").glob("gradcam*")}
        printed = (place / "stderr").read_text(errors="replace")
        fault = judge(case, status, printed, before, after, folder)
        if fault:
            return Verdict(kind, seed, "fault", f"{fault} [{case.change}]")
        code = os.waitstatus_to_exitcode(status)
        return Verdict(kind, seed, {0: "harmless", REACHED: "reached"}.get(code, "refused"))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def table(verdicts: Sequence[Verdict]) -> str:
    """The counts by kind."""
    outcomes = ("refused", "harmless", "reached", "fault")
    lines = ["| kind | cases | refused | no harm | another program's turn | faults |", "|---|---|---|---|---|---|"]
    for kind in [*dict.fromkeys(v.kind for v in verdicts), "all"]:
        counts = Counter(v.outcome for v in verdicts if kind in (v.kind, "all"))
        lines.append(f"| {kind} | {counts.total()} | " + " | ".join(str(counts[name]) for name in outcomes) + " |")
    return "\n".join(lines)


def _tried(options: argparse.Namespace, corpus: Path) -> list[Verdict]:
    from malformed_inputs import KINDS, make

    names = options.kinds or list(KINDS)
    if unknown := [name for name in names if name not in KINDS]:
        raise GradcamError(f"there is no kind '{unknown[0]}'; the kinds are {', '.join(KINDS)}")
    verdicts = []
    for number in range(options.count):
        kind, seed = names[number % len(names)], options.seed + number // len(names)
        verdict = try_case(kind, seed, make(kind, seed, corpus), options.build)
        if verdict.fault:
            print(f"{kind}, seed {seed}: {verdict.fault}", file=sys.stderr, flush=True)
        verdicts.append(verdict)
    return verdicts


def _measure(options: argparse.Namespace) -> None:
    from malformed_inputs import import_all, write_corpus

    import_all()
    with tempfile.TemporaryDirectory(prefix="malformed-corpus-") as temporary:
        corpus = Path(temporary)
        if status := forked(lambda: write_corpus(corpus), corpus, 600):
            raise GradcamError(f"the inputs cannot be made (status {status}): {_last(corpus / 'stderr')}")
        verdicts = _tried(options, corpus)
    print(table(verdicts))
    if faults := sum(v.outcome == "fault" for v in verdicts):
        raise GradcamError(f"{faults} of {len(verdicts)} malformed inputs are not handled")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns 1 when a case is a fault."""
    parser = argparse.ArgumentParser(prog="malformed", description="Runs malformed inputs through all commands.")
    parser.add_argument("--count", type=int, default=1000, help="cases, kind by kind (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first case of every kind (default: 0)")
    parser.add_argument("--kinds", nargs="+", metavar="NAME", help="only these kinds")
    parser.add_argument("--no-build", dest="build", action="store_false", help="build no simulator of a changed design")
    options = parser.parse_args(argv)
    return run("malformed", lambda: _measure(options))


if __name__ == "__main__":
    sys.exit(main())
