"""The lowering of a batch norm that did not fold, and of its adjoint: a product and a sum per element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.passes.ir.channel_affine import affine_rescale
from gradcam.passes.linalg.builders import const, integer, widened, width
from gradcam.passes.linalg.lowering import Lowering, channel_vector, factor_vector, fixed, stored, whole_or_parts
from gradcam.passes.linalg.values import pointwise
from gradcam.quant_types import ACCUMULATOR_BITS, is_unsigned, storage_bits


def _lower_channel_affine(lowering: Lowering, op: Any) -> list[Any]:
    """(x * m + b) >> s, with m and b by channel; b has the half that rounds. 48 bits for an x of 32."""
    m, b, s = fixed(op, affine_rescale, op)
    x, unsigned = whole_or_parts(lowering, op.operands[0]), is_unsigned(op.operands[0])
    factors, offsets = factor_vector(lowering, m, len(m)), _offsets(lowering, b)

    def body(a: ir.Value, m: ir.Value, *offset: ir.Value) -> ir.Value:
        wide = 32 if width(a) < ACCUMULATOR_BITS else 48
        added = widened(offset[0], wide) if offset else const(wide, int(b[0]))
        total = arith.addi(arith.muli(widened(a, wide, unsigned), widened(m, wide)), added)
        shifted = arith.shrsi(total, const(wide, s))
        return stored(shifted if wide == 32 else arith.trunci(integer(32), shifted), op.results[0])

    return [pointwise([x], [factors, *offsets], storage_bits(op.results[0]), body)]


def _offsets(lowering: Lowering, b: np.ndarray) -> list[ir.Value]:
    """The offsets as a constant vector of i32 over the packed channels; none where all channels have one."""
    if (b == b[0]).all():
        return []
    return [channel_vector(lowering, b.astype(np.int32))]


#: The lowering of each op.
LOWERINGS: dict[str, Callable[[Lowering, Any], list[Any]]] = {
    "gradcam.batch_norm": _lower_channel_affine,
    "gradcam.batch_norm_adjoint": _lower_channel_affine,
}
