"""gradcam-fold-padding: pads with zeros become the padding of the windows behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch_mlir import ir

from gradcam.dialect import ops
from gradcam.dialect.verify import ints, is_padded, padding_of, shape, sides
from gradcam.passes.backward.cam_patterns import is_nonnegative
from gradcam.passes.backward.rewrites import Pattern, apply_patterns, integers, rebuilt
from gradcam.passes.infra.pass_base import Pass


@dataclass(frozen=True)
class FoldPadding(Pass):
    """Lets convolutions and pools pad with the zeros that a pad before them adds.

    A pad is an average pool of single elements with padding that counts. Padding of a window costs nothing, a pad is a
    copy of the map. A max-pool, whose own padding is less than any number, takes zeros only around a map that has no
    negative number. A pad stays where anything else reads it, such as a target layer.

    This pass turns:

        %p = "gradcam.avg_pool2d"(%x) {kernel = [1, 1], padding = [0, 0, 1, 1], ...}
        %y = "gradcam.conv2d"(%p, %w) {padding = [0, 0], ...}

    into:

        %y = "gradcam.conv2d"(%x, %w) {padding = [0, 0, 1, 1], ...}
    """

    name: ClassVar[str] = "gradcam-fold-padding"

    def run(self, module: ir.Module) -> None:
        """Transforms `module` in place."""
        with module.context:
            apply_patterns(module, PATTERNS)


def pad_in_window(op: Any) -> ir.Value | None:
    """conv2d(pad(x)) -> conv2d(x), and alike for average pools whose padding counts."""
    counts = not isinstance(op, ops.AvgPool2dOp) or bool(op.count_include_pad.value)
    return _merged(op) if counts and is_pad(op.x.owner) else None


def pad_in_max_pool(op: Any) -> ir.Value | None:
    """max_pool2d(pad(x)) -> max_pool2d(x) for x without negative numbers, where every window meets x."""
    pad = op.x.owner
    if not is_pad(pad) or not is_nonnegative(pad.x):
        return None
    before, after, size = _added(sides(op)[0], sides(pad)[0]), shape(op.y)[2:], shape(pad.x)[2:]
    axes = zip(ints(op, "kernel", 2, 1), ints(op, "stride", 2, 1), before, after, size, strict=True)
    meets = all(2 * low <= k and (out - 1) * s < low + n for k, s, low, out, n in axes)
    return _merged(op) if meets else None


def is_pad(op: Any) -> bool:
    """Whether an op is a pad with zeros: an average pool of single elements."""
    if not isinstance(op, ops.AvgPool2dOp) or not bool(op.count_include_pad.value):
        return False
    single = ints(op, "kernel", 2, 1) == [1, 1] and ints(op, "stride", 2, 1) == [1, 1]
    return single and is_padded(op)


def _merged(op: Any) -> ir.Value:
    """The window op with the padding of the pad that it reads."""
    pad = op.x.owner
    low, high = (_added(own, pads) for own, pads in zip(sides(op), sides(pad), strict=True))
    merged = rebuilt(op, pad.x)
    merged.owner.attributes["padding"] = integers(*padding_of(low, high))
    return merged


def _added(one: list[int], other: list[int]) -> list[int]:
    return [m + n for m, n in zip(one, other, strict=True)]


PATTERNS: dict[type, list[Pattern]] = {
    ops.Conv2dOp: [pad_in_window],
    ops.AvgPool2dOp: [pad_in_window],
    ops.MaxPool2dOp: [pad_in_max_pool],
}
