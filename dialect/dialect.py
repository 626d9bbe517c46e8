"""The dialect object and how it gets into a context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch_mlir import ir
from torch_mlir.dialects import ext


class GradCAM(ext.Dialect, name="gradcam"):
    """What a CNN needs, its adjoints, and the class activation map itself, on f32 or quantized tensors."""

    # The bindings make the members of an op at run time, and their annotations know no traits that are instances.
    if TYPE_CHECKING:

        class Operation(ir.OpView):
            """An op as a type checker sees it."""

            def __init_subclass__(cls, *, name: str, traits: Sequence[Any] = ()) -> None: ...
            def __init__(self, *operands: Any, **attributes: Any) -> None: ...
            def __getattr__(self, name: str) -> Any: ...
