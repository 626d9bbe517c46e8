"""The files of a compile's output folder, by name: which of them may be replaced."""

from __future__ import annotations

import glob
import json
from pathlib import Path
from typing import Any

from gradcam.names import CORE, name_of
from gradcam.package import texts

#: The network of a compile: of level 1, and of level 2, which the integer reference executes.
FLOAT, QUANTIZED = "ir/float.mlirbc", "ir/quantized.mlirbc"

#: The page of an output folder, of a compile or of a run.
PAGE = "report.html"

#: The files of an output folder that always have the same names, beside those of `gradcam.package`.
FILES = ("program.json", "schedule.json", "report.json", "report.txt", PAGE, QUANTIZED, FLOAT)

#: Its files in sim/ and in synth/FAMILY/.
SIMULATOR_FILES = ("simulator", "build.log", "key")
SYNTHESIS_FILES = ("synth.json", "synth.txt", "yosys.log", "nextpnr.log")


def written_files(folder: Path) -> list[str]:
    """The files of an output folder that a compile, its simulator and its synthesis wrote.

    Their paths are relative to `folder`, and may be patterns. RTL and memory images are those of the folder's
    program.json, of whatever version, so that a file put beside them counts as somebody else's.
    """
    files = [*FILES, "ir/[0-9]*-*.mlir"]
    files += [f"sim/{name}" for name in SIMULATOR_FILES] + [f"synth/*/{name}" for name in SYNTHESIS_FILES]
    try:
        program: Any = json.loads((folder / "program.json").read_bytes())
        top = program.get("core", {}).get("top", CORE)  # the oldest versions had no core
        named = [*texts(name_of(top)), *program["memories"], *program["rtl"]]
        return [*files, *map(glob.escape, named)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [*files, *texts(None)]
