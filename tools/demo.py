"""The demonstration: `python -m gradcam.tools.demo --output DIR` compiles, simulates, compares and prints a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gradcam.command import run
from gradcam.errors import GradcamError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demonstration; returns 1 when it fails, with one line on stderr, or misses a figure."""
    parser = argparse.ArgumentParser(
        prog="demo",
        description="Compiles the shipped network, simulates it on the 50 shipped images, compares with PyTorch and "
        "prints what was asked and what was measured. Takes minutes; needs make and g++.",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder; an earlier demo is replaced")
    options = parser.parse_args(argv)
    return run("demo", lambda: _demonstrate(options.output))


def _demonstrate(folder: Path) -> None:
    from gradcam.demonstration import demonstrate
    from gradcam.figures import table
    from gradcam.progress import stages

    with stages("demo") as say:
        rows = demonstrate(folder, say)
    print(table(rows), end="")
    if missed := sum(not row.ok for row in rows):
        raise GradcamError(f"{missed} of {len(rows)} figures missed; see {folder}")


if __name__ == "__main__":
    sys.exit(main())
