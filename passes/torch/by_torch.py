"""Computing an op of level 0 by PyTorch, on constants or on samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def function_of(name: str) -> Any | None:
    """PyTorch's function for an op such as `aten.add.Tensor`; None where there is none, or one of random numbers."""
    import torch  # it takes a second, and few models need it

    packet, _, overload = name.removeprefix("aten.").partition(".")
    function = getattr(getattr(torch.ops.aten, packet, None), overload or "default", None)
    return None if function is None or torch.Tag.nondeterministic_seeded in function.tags else function


def called(function: Any, values: Sequence[Any]) -> Any:
    """The result of a function for the operands of an op, all of which it has in the order of its schema."""
    arguments = list(zip(function._schema.arguments, values, strict=True))
    named = {a.name: value for a, value in arguments if a.kwarg_only}
    return function(*(value for a, value in arguments if not a.kwarg_only), **named)
