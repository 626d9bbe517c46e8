"""Converters of ops that change the size of a feature map by a ratio."""

from __future__ import annotations

from collections.abc import Callable

from torch_mlir import ir

from gradcam.dialect import resample_ops
from gradcam.dialect.verify import by
from gradcam.passes.torch.by_torch import function_of
from gradcam.passes.torch.call import Call, dims
from gradcam.passes.torch.numbers import ints
from gradcam.passes.torch.view import View


def _nearest(call: Call) -> ir.Value | View:
    """Nearest neighbours at a whole factor, where each element becomes a block of equal ones."""
    x = call.activation(0, rank=4)
    size, out = dims(x)[2:], list(call.type.shape)[2:]
    if any(m % n for n, m in zip(size, out, strict=True)):
        raise call.error(f"makes {by(out)} of {by(size)}; supported are rows and columns that become whole multiples")
    factor = [m // n for n, m in zip(size, out, strict=True)]
    if factor == [1, 1]:
        return call.seen(call.view(0))
    if not _makes_blocks(call, size, factor):
        raise call.error(
            f"does not make blocks of {by(factor)} equal elements of {by(size)} ones, which is supported: give the "
            "size that results, not a scale_factor that it is rounded from"
        )
    return resample_ops.Upsample2dOp(x, ints(factor), call.type, loc=call.loc()).result


def _makes_blocks(call: Call, size: list[int], factor: list[int]) -> bool:
    """Whether PyTorch does so, which depends on how it rounds the scale that it was given."""
    import torch  # it takes a second, and few models need it

    function = function_of(call.name)
    numbers = torch.arange(size[0] * size[1], dtype=torch.float32).reshape(1, 1, *size)
    arguments = [None if call.is_none(n) else call.static(n) for n in range(1, len(call.op.operands))]
    blocks = numbers.repeat_interleave(factor[0], 2).repeat_interleave(factor[1], 3)
    return function is not None and torch.equal(function(numbers, *arguments), blocks)


_NEAREST = ("upsample_nearest2d", "_upsample_nearest_exact2d")

#: The converters by torch op.
TABLE: dict[str, Callable[[Call], ir.Value | View]] = {
    f"aten.{name}{overload}": _nearest for name in _NEAREST for overload in ("", ".vec")
}
