"""The feature maps that are never negative, and are stored as unsigned bytes: all 8 bits are for magnitudes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch_mlir import ir

from gradcam.dialect import activation_ops, adjoint_ops
from gradcam.dialect.traits import (
    Activation,
    AlignsParts,
    Curve,
    Forward,
    KeepsNonnegative,
    KeepsScale,
    Nonnegative,
    Slope,
    has,
    trait,
)
from gradcam.dialect.verify import sides
from gradcam.functions import FUNCTIONS
from gradcam.passes.ir.classes_of_values import Classes
from gradcam.passes.ir.explanations import class_dependents
from gradcam.passes.ir.queries import users


def unsigned_maps(main: Any) -> set[ir.Value]:
    """The feature maps that are stored unsigned, where they are stored in 8 bits.

    No element of such a map is negative, or all that reads it is an activation that replaces negative elements. Maps of
    one storage are alike: what a concatenation joins, and what keeps the storage of its operand.

    Args:
        main: the function at level 1, with masks (gradcam-extract-masks).
    """
    gradients = class_dependents(main)
    forward = [op for op in main.entry_block.operations if has(op, Forward) and op.results[0] not in gradients]
    nonnegative, storages = set[ir.Value](), Classes()
    for op in forward:
        if _is_nonnegative(op, nonnegative):
            nonnegative.add(op.results[0])
        for operand in alike(op):
            storages.join(operand, op.results[0])
    signed = {storages.of(op.operands[0]) for op in main.entry_block.operations if _needs_less_than_zero(op)}
    signed |= {storages.of(image) for image in main.entry_block.arguments}
    signed |= {
        storages.of(op.results[0]) for op in forward if op.results[0] not in nonnegative and not _is_clipped_at_zero(op)
    }
    return {op.results[0] for op in forward if storages.of(op.results[0]) not in signed}


def alike(op: Any) -> Iterable[ir.Value]:
    """The operands of an op of the forward pass that are stored as its result is."""
    if has(op, AlignsParts):
        return list(op.operands)
    return [op.operands[0]] if has(op, KeepsScale) and not has_fraction(op.operands[0]) else []


def has_fraction(value: ir.Value) -> bool:
    """Whether a sum has 32 bits with a fraction, because of the activation that reads it."""
    reader = activation_behind(value)
    if reader is None or has(value.owner, AlignsParts) or has_byte_curve(value.owner) or has_byte_curve(reader):
        return False
    kind = trait(reader, Activation)
    return kind is None or not kind.clips or any(has(user, Slope) for user in users(value))


def activation_behind(value: ir.Value) -> Any:
    """The activation that alone, but for masks and slopes, reads the result of an op; None where there is none."""
    readers = [user for user in users(value) if not has(user, Slope)]
    return readers[0] if len(readers) == 1 and has(readers[0], Activation, Curve) else None


def has_byte_curve(op: Any) -> bool:
    """Whether an op looks bytes up in a table."""
    curve = trait(op, Curve)
    return curve is not None and curve.reads == "byte"


def _is_nonnegative(op: Any, known: set[ir.Value]) -> bool:
    """Whether no element of the result is negative.

    Args:
        op: of the forward pass.
        known: the values before it that have no negative element.
    """
    kind = trait(op, Activation)
    if kind is not None and kind.clips and kind.pieces(op).lo >= 0:
        return True
    if has(op, Nonnegative):
        return True
    if isinstance(op, activation_ops.FunctionOp) and FUNCTIONS[op.function.value].is_nonnegative:
        return True
    return has(op, KeepsNonnegative) and all(operand in known for operand in op.operands)


def _is_clipped_at_zero(op: Any) -> bool:
    """Whether the result, saturated to numbers of at least 0, gives all that reads it the same."""
    reader, users_ = activation_behind(op.results[0]), users(op.results[0])
    kind = trait(reader, Activation) if reader is not None and len(users_) == 1 else None
    return kind is not None and kind.clips and kind.pieces(reader).lo >= 0


def _needs_less_than_zero(op: Any) -> bool:
    """Whether an op finds the first maximum among elements of padding, too, which must be less than any other."""
    return isinstance(op, adjoint_ops.MaxPool2dIndexOp) and any(sides(op)[0])
