"""The two MLIR copies: "mlir" (torch-mlir's bindings, levels 0 to 4) and "circt" (PyCDE's, level 5).

Nothing is imported before it is used: CIRCT's bindings cost a third of a second.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from pathlib import Path
from typing import Any

from gradcam.errors import GradcamError

SIDES = ("mlir", "circt")

_PACKAGES = {"mlir": "torch_mlir", "circt": "pycde.circt"}
_CIRCT_DIALECTS = "arc|comb|dbg|emit|esi|fsm|handshake|hw|hwarith|ltl|om|pipeline|seq|sim|sv|synth|verif"
_CIRCT_OP = re.compile(
    rb"(?:^|\{)[ \t]*(?:%[^=\n]*=[ \t]*)?\"?(?:" + _CIRCT_DIALECTS.encode() + rb")\.\w", re.MULTILINE
)
_BYTECODE_MAGIC = b"ML\xefR"


def bindings(side: str) -> Any:
    """The `ir` module of a side."""
    return importlib.import_module(f"{_PACKAGES[side]}.ir")


def upstream_pass_manager(side: str) -> Any:
    """The upstream `PassManager` class of a side."""
    return importlib.import_module(f"{_PACKAGES[side]}.passmanager").PassManager


def side_of(module: Any) -> str:
    """The side that a module, op or context belongs to.

    Raises:
        GradcamError: it is not an object of either MLIR's bindings.
    """
    for cls in type(module).__mro__:
        for side, package in _PACKAGES.items():
            if cls.__module__.startswith(package):
                return side
    raise GradcamError(f"expected an MLIR module, got {type(module).__name__}")


def make_context(side: str) -> Any:
    """A fresh context of a side with all its dialects, `gradcam` among them on the mlir side."""
    if side == "mlir":
        from gradcam.dialect import make_context as make_mlir_context

        return make_mlir_context()
    _end_search_for_builtin()
    context = bindings(side).Context()
    importlib.import_module(_PACKAGES[side]).register_dialects(context)
    return context


def _end_search_for_builtin() -> None:
    """Gives CIRCT's bindings a Python module for the builtin dialect.

    PyCDE has none, and the bindings would search for it again at every op.
    """
    name = f"{_PACKAGES['circt']}.dialects.builtin"
    if name not in sys.modules and importlib.util.find_spec(name) is None:
        sys.modules[name] = types.ModuleType(name)


def is_bytecode(data: bytes) -> bool:
    """Whether `data` is MLIR bytecode rather than text."""
    return data.startswith(_BYTECODE_MAGIC)


def guess_side(data: bytes) -> str:
    """The side that can parse `data`: "circt" for text with a CIRCT op and bytecode that MLIR refuses."""
    if not is_bytecode(data):
        return "circt" if _CIRCT_OP.search(data) else "mlir"
    try:
        parse_module(data, make_context("mlir"))
    except (bindings("mlir").MLIRError, GradcamError):
        return "circt"
    return "mlir"


def parse_module(source: bytes | Path, context: Any) -> Any:
    """Parses and verifies a module: text or bytecode, from memory or a file (whose name its locations then carry).

    Raises:
        MLIRError: the source is not valid; the class is that of the context's side.
        GradcamError: it is not valid, and what is wrong with it is no text.
    """
    module = bindings(side_of(context)).Module
    try:
        return module.parseFile(str(source), context) if isinstance(source, Path) else module.parse(source, context)
    except (RuntimeError, UnicodeDecodeError) as error:  # of the bindings, which make Python's texts of MLIR's
        raise GradcamError("a name in the module is no text in UTF-8") from error
