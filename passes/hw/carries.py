"""Sums and counters with a register within their carries, so that none goes through all bits in one cycle."""

from __future__ import annotations

from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.value import State, Value


def counter(b: Builder, bits: int, name: str, step: Value, pieces: int, clear: Value | None = None) -> Value:
    """A register that counts the cycles in which `step` is 1.

    Each of its pieces but the last one has a flag, a register, that says that the piece is all ones. The next piece
    therefore advances in the same cycle, and the carry goes through one piece only.

    Args:
        b: the builder.
        bits: bits of the register.
        name: name of the register.
        step: i1.
        pieces: the number of pieces, which divides `bits`.
        clear: i1: the register becomes 0, with or without a step.
    """
    parts: list[State] = []
    for number in range(pieces):
        part = b.state(bits // pieces, name if pieces == 1 else f"{name}_{number}", reset=0)
        moving = step if clear is None else clear | step
        part.assign(part + 1 if clear is None else b.mux(clear, 0, part + 1), moving)
        parts.append(part)
        if number + 1 < pieces:
            full, nearly = b.state(1, f"{name}_full{number}", reset=0), part.eq(-2)
            full.assign(nearly if clear is None else b.mux(clear, 0, nearly), moving)
            step = step & full
    return b.concat(parts[::-1])


def with_carry(b: Builder, left: Value, right: Value, carry: Value) -> Value:
    """`left` plus `right` plus `carry` (i1): another lowest bit gives one adder the carry that comes in."""
    return (b.concat([left, b.const(1, 1)]) + b.concat([right, carry]))[1:]


def late_sum(
    b: Builder, left: Value, right: Value, name: str, minus: bool = False, enable: Value | None = None
) -> Value:
    """`left` plus, or `minus`, `right`, a cycle later: a register is behind its lower and in front of its upper half.

    Args:
        b: the builder.
        left, right: the terms.
        name: name of the registers.
        minus: whether it is a difference.
        enable: the clock enable of the registers; None for none.
    """
    half = left.width // 2
    low, other = left[:half].zero_extend(half + 1), right[:half].zero_extend(half + 1)
    low = b.register(low - other if minus else low + other, f"{name}_low", enable)
    carry = ~low[half] if minus else low[half]
    first, second = (b.register(value[half:], f"{name}_high", enable) for value in (left, ~right if minus else right))
    # A difference adds 1, less what was borrowed.
    return b.concat([with_carry(b, first, second, carry), low[:half]])
