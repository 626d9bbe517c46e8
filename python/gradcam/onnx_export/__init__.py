"""Programs of the compiler as ONNX models, for runtimes that have no autograd."""

from gradcam.onnx_export.export import float_model, integer_model
from gradcam.onnx_export.model import compiled_model

__all__ = ["compiled_model", "float_model", "integer_model"]
