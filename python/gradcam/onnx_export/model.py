"""The ONNX model of a compilation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcam.compiler import Compilation
from gradcam.onnx_export.export import float_model

if TYPE_CHECKING:
    from onnx import ModelProto


def compiled_model(compilation: Compilation, name: str) -> ModelProto:
    """Continues a compilation to level 1 and gives its program as an ONNX model; see `float_model`.

    The model normalizes pixels where the settings have a mean and a std or a preset.

    Args:
        compilation: that has not reached the level.
        name: of the model, for the metadata.

    Raises:
        GradcamError: the model, the settings or the package onnx cannot be used.
    """
    settings = compilation.settings
    asked = settings.mean is not None or settings.preset is not None
    module = compilation.to("simplified")
    return float_model(module, name, settings.preprocessing if asked else None)
