"""The ONNX model of a compilation."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from gradcam.bits import LEAST, Bits
from gradcam.checks import named
from gradcam.compiler import Compilation
from gradcam.errors import GradcamError
from gradcam.onnx_export.export import float_model, integer_model

if TYPE_CHECKING:
    from onnx import ModelProto

#: The level whose program a model has, by the name of its form.
FORMS = {"onnx": "simplified", "onnx-int8": "quantized"}


def compiled_model(compilation: Compilation, name: str, form: str = "onnx") -> ModelProto:
    """Continues a compilation and gives its program as an ONNX model; see `float_model` and `integer_model`.

    The model normalizes pixels where the settings have a mean and a std or a preset.

    Args:
        compilation: that has not reached the level.
        name: of the model, for the metadata.
        form: one of `FORMS`.

    Raises:
        GradcamError: the model, the settings or the package onnx cannot be used.
    """
    settings = compilation.settings
    if form != "onnx" and Bits.of(settings) != Bits():
        given = " and ".join(named(name) for name, bits in asdict(Bits.of(settings)).items() if bits != LEAST)
        raise GradcamError(f"--emit {form} writes integers of {LEAST} bits; leave out {given}, or use --emit onnx")
    asked = settings.mean is not None or settings.preset is not None
    module = compilation.to(FORMS[form])
    made = float_model if form == "onnx" else integer_model
    return made(module, name, settings.preprocessing if asked else None)
