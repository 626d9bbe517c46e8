"""gradcam-mlir: PyTorch CNN in, SystemVerilog with a static Grad-CAM out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcam.passes.infra.pass_manager import PassFailure, PassManager

_LAZY = {
    "PassFailure": "gradcam.passes.infra.pass_manager",
    "PassManager": "gradcam.passes.infra.pass_manager",
}

__all__ = ["PassFailure", "PassManager"]


def __getattr__(name: str) -> Any:
    """Imports what the package exports when it is first used: MLIR and torch are slow to load."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
