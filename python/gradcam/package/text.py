"""The text that an exporter of registers writes: exporters only write files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path


def exported(name: str, export: Callable[[Path], None]) -> str:
    """What `export` writes into the file `name`, of whose name some make guards."""
    with tempfile.TemporaryDirectory(prefix="gradcam-registers-") as folder:
        path = Path(folder) / name
        export(path)
        return path.read_text(encoding="utf-8")
