"""The dialect object and how it gets into a context.

MLIR's bindings import a Python module with the name of a dialect when they first meet an op of it, and try again at
every op when there is none. This file is that module; hence its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch_mlir import ir
from torch_mlir.dialects import ext
from torch_mlir.dialects._ods_common import _cext

_cext.globals.append_dialect_search_prefix("gradcam.dialect")


class GradCAM(ext.Dialect, name="gradcam"):
    """The ops of a CNN, their adjoints, and the class activation map, on f32 or quantized tensors."""

    # The bindings make the members of an op at run time, and their annotations know no traits that are instances.
    if TYPE_CHECKING:

        class Operation(ir.OpView):
            """An op as a type checker sees it."""

            def __init_subclass__(cls, *, name: str, traits: Sequence[Any] = ()) -> None: ...
            def __init__(self, *operands: Any, **attributes: Any) -> None: ...
            def __getattr__(self, name: str) -> Any: ...
