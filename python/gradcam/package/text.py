"""The output of an exporter of registers as text; exporters can only write files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path


def exported(name: str, export: Callable[[Path], None]) -> str:
    """The text that `export` writes to the file `name`, which some exporters use for include guards."""
    with tempfile.TemporaryDirectory(prefix="gradcam-registers-") as folder:
        path = Path(folder) / name
        export(path)
        return path.read_text(encoding="utf-8")
