"""The package onnx, which is an extra: what needs it says how to install it."""

from __future__ import annotations

from typing import Any

from gradcam.errors import GradcamError

#: The producer that our models name, by which they are known.
PRODUCER = "gradcam-mlir"


def onnx_package(what: str) -> Any:
    """The package onnx with its checker.

    Args:
        what: needs it, for the message.

    Raises:
        GradcamError: it is not installed.
    """
    try:
        import onnx
        import onnx.checker
    except ModuleNotFoundError:
        raise GradcamError(f"{what} needs the package onnx; install it by pip install 'gradcam-mlir[onnx]'") from None
    return onnx
