"""Folders that tests read from."""

import sys
from pathlib import Path

#: The root of the repository.
ROOT = Path(__file__).resolve().parents[3]

#: The commands of the environment that runs the tests.
BIN = Path(sys.executable).parent
