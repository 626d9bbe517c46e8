"""Yosys of the wheel `pyosys` as a program, which that wheel lacks: `python yosys.py -p SCRIPT -l LOG`.

A process of its own, since Yosys ends the process at an error and hears no signal while it works.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main() -> None:
    """Runs the commands of a script; what Yosys prints goes to the log."""
    parser = argparse.ArgumentParser(prog="yosys", description="Runs Yosys of the wheel pyosys.")
    parser.add_argument("-p", required=True, dest="script", help="commands")
    parser.add_argument("-l", required=True, type=Path, dest="log", help="file for what Yosys prints")
    options = parser.parse_args()
    from pyosys import libyosys

    with options.log.open("wb") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    libyosys.Design().run_pass(options.script)


if __name__ == "__main__":
    main()
