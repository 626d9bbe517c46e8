"""Writes the handwriting that ships with the package, `gradcam.data.DIGITS`, out of scikit-learn.

Run as `python -m gradcam.tools.write_digits FILE`; the package's own copy of FILE is python/gradcam/assets/digits.npz.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the tool; returns its exit code."""
    description = "Writes the handwriting that ships with the package out of scikit-learn."
    parser = argparse.ArgumentParser(prog="gradcam.tools.write_digits", description=description)
    parser.add_argument("file", type=Path, help="the .npz file to write")
    write(parser.parse_args(argv).file)
    return 0


def write(file: Path) -> None:
    """Writes `ink` (uint8, 1797 x 8 x 8, 0 to 16) and `labels` (uint8, 1797)."""
    from sklearn.datasets import load_digits  # an extra, and slow to import

    digits = load_digits()
    np.savez_compressed(file, ink=digits.images.astype(np.uint8), labels=digits.target.astype(np.uint8))


if __name__ == "__main__":
    sys.exit(main())
