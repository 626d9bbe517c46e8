"""`gradcam-report`: makes the page of an output folder again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gradcam.command import Parser, run
from gradcam.files import stdout_written


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="gradcam-report",
        description="Makes report.html of an output folder again, from the folder's files: one page that needs no "
        "network, with what a compile or a run is about.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="output folder of gradcam-compile or gradcam-sim")
    return parser


def _report(options: argparse.Namespace) -> None:
    from gradcam.folder import PAGE
    from gradcam.page import write_page

    write_page(options.folder)
    with stdout_written():
        print(f"wrote {options.folder / PAGE}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `gradcam-report` with `argv`; returns its exit code. Every problem is one line on stderr."""
    options = _parser().parse_args(argv)
    return run("gradcam-report", lambda: _report(options))


if __name__ == "__main__":
    sys.exit(main())
