"""gradcam-mlir: PyTorch CNN in, SystemVerilog with a static Grad-CAM out."""

# pyright: strict
from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcam.api import compile, export_onnx
    from gradcam.compiler import Settings
    from gradcam.design import Design
    from gradcam.errors import GradcamError
    from gradcam.passes.infra.pass_manager import PassFailure, PassManager
    from gradcam.sim.simulator import Simulator

    __version__: str

__all__ = [
    "Design",
    "GradcamError",
    "PassFailure",
    "PassManager",
    "Settings",
    "Simulator",
    "__version__",
    "compile",
    "export_onnx",
]

_MODULES = {
    "Design": "gradcam.design",
    "GradcamError": "gradcam.errors",
    "PassFailure": "gradcam.passes.infra.pass_manager",
    "PassManager": "gradcam.passes.infra.pass_manager",
    "Settings": "gradcam.compiler",
    "Simulator": "gradcam.sim.simulator",
    "compile": "gradcam.api",
    "export_onnx": "gradcam.api",
}


def __getattr__(name: str) -> Any:
    """Imports an exported name when it is first used: MLIR and torch are slow to load."""
    if name == "__version__":
        return importlib.metadata.version("gradcam-mlir")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """The names that the package exports."""
    return __all__
