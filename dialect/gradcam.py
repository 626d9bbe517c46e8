"""The dialect object and how it gets into a context.

MLIR's bindings import a Python module with the name of a dialect when they first meet an op of it, and try again at
every op when there is none. This file is that module; hence its name.
"""

from __future__ import annotations

from torch_mlir.dialects import ext
from torch_mlir.dialects._ods_common import _cext

_cext.globals.append_dialect_search_prefix("gradcam.dialect")


class GradCAM(ext.Dialect, name="gradcam"):
    """What a CNN needs, its adjoints, and the class activation map itself, on f32 or quantized tensors."""
