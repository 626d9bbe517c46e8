"""The dialect object and how it gets into a context."""

from __future__ import annotations

from torch_mlir.dialects import ext


class GradCAM(ext.Dialect, name="gradcam"):
    """What a CNN needs, its adjoints, and the class activation map itself, on f32 or quantized tensors."""
