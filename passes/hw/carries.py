"""Sums and counters with a register within their carries, so that none goes through all bits in one cycle."""

from __future__ import annotations

from itertools import pairwise

from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.value import State, Value


def edges(bits: int, pieces: int) -> list[tuple[int, int]]:
    """Of each piece of a number of so many bits the first bit and that behind the last one."""
    return list(pairwise(bits * number // pieces for number in range(pieces + 1)))


def counter(b: Builder, bits: int, name: str, step: Value, pieces: int, clear: Value | None = None) -> Value:
    """A register that counts the cycles in which `step` is 1.

    Each of its pieces but the last one has a flag, a register, that says that the piece is all ones. The next piece
    therefore advances in the same cycle, and the carry goes through one piece only.

    Args:
        b: the builder.
        bits: bits of the register.
        name: name of the register.
        step: i1.
        pieces: the number of pieces, of at least two bits each.
        clear: i1: the register becomes 0, with or without a step.
    """
    parts: list[State] = []
    for number, (low, high) in enumerate(edges(bits, pieces)):
        part = b.state(high - low, name if pieces == 1 else f"{name}_{number}", reset=0)
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


def select_sum(b: Builder, left: Value, right: Value, name: str, pieces: int) -> Value:
    """`left` plus `right`, a cycle later, however many pieces there are.

    Of each piece but the first one the sum with a carry and that without are registered, and the carries choose.
    """
    done, carry = list[Value](), b.const(0, 1)
    for low, high in edges(left.width, pieces):
        wide = high - low + int(high < left.width)
        first, second = (term[low:high].zero_extend(wide) for term in (left, right))
        total = b.register(first + second, name)
        if low:
            total = b.mux(carry, b.register(with_carry(b, first, second, b.const(1, 1)), f"{name}_more"), total)
        done, carry = [total[: high - low], *done], total[-1]
    return b.concat(done)


def late_sum(
    b: Builder,
    left: Value,
    right: Value,
    name: str,
    pieces: int = 2,
    minus: bool = False,
    enable: Value | None = None,
) -> Value:
    """`left` plus, or `minus`, `right`, a cycle later for each piece but the first one.

    A register is behind each piece and its carry, and in front of what is above it.

    Args:
        b: the builder.
        left, right: the terms.
        name: name of the registers.
        pieces: the number of pieces, at least 2.
        minus: whether it is a difference.
        enable: the clock enable of the registers; None for none.
    """
    (_, first), *others = edges(left.width, pieces)
    low, other = left[:first].zero_extend(first + 1), right[:first].zero_extend(first + 1)
    # The pieces so far, and the carry on top of them; a difference adds 1, less what was borrowed.
    done, borrows = low - other if minus else low + other, minus
    terms = [left[first:], (~right if minus else right)[first:]]
    for low_end, end in others:
        done = b.register(done, f"{name}_low", enable)
        terms = [b.register(term, f"{name}_high", enable) for term in terms]
        carry, bits = ~done[-1] if borrows else done[-1], end - low_end
        now = [term[:bits].zero_extend(bits + int(end < left.width)) for term in terms]
        done, borrows = b.concat([with_carry(b, *now, carry), done[:-1]]), False
        terms = [term[bits:] for term in terms] if end < left.width else []
    return done
