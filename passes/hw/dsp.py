"""Two products that share a factor, computed by one multiplication that fits a DSP slice.

Xilinx WP486, "Deep Learning with INT8 Optimization on Xilinx Devices": with fields of F bits,

    (high * 2^F + low) * shared = (high * shared) * 2^F + low * shared

so the lowest F bits are the low product. The bits above are the high product, less 1 (a borrow) where the low product
is negative. F is the width of a product, 16 bits for bytes of which one may be unsigned: a factor of -128 to 255 times
one of -128 to 127 is at most 2^15 - 128 in magnitude, so no product overflows its field. The sum high * 2^F + low has
one bit more than a field and a factor together, which have their signs: 25 bits, or 26 where `high` and `low` are those
that may be unsigned. A DSP48E2 takes 27 bits: x may have up to 10 with weights of 8, or 8 with weights of 9. A DSP48E1
takes 25: weights of 8 and x of 8 bits, and no wider field, in which products could be added up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pycde.circt import ir

from gradcam.bits import fits_slice
from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import Value
from gradcam.passes.program.nest import Node

#: Name of the module of a multiplier, with the bits of its factors.
_NAME = "multiplier_{}x{}"


@dataclass(frozen=True)
class Pairing:
    """The factors of a product whose neighbouring lanes can share one multiplication.

    Attributes:
        shared: the factor that both lanes have in common.
        own: the factor that differs between the lanes.
        dim: the lane dimension along which the lanes are neighbours.
    """

    shared: Node
    own: Node
    dim: int


class Bits(NamedTuple):
    """The bits of a factor in any configuration: as it is stored, and with a sign."""

    stored: int
    signed: int


def find_pairing(
    product: Node, dims: Callable[[Node], frozenset[int]], bits: Callable[[Node], Bits], factor: int
) -> Pairing | None:
    """The pairing of a product's lanes; None where they share no factor or the factors are too wide for a DSP slice.

    Args:
        product: a node of the dataflow.
        dims: returns the lane dimensions along which a node's lanes 2n and 2n + 1 may differ.
        bits: returns the bits of a factor before it is extended.
        factor: bits of the wider factor of a DSP slice.
    """
    if product.kind != "arith.muli":
        return None
    for shared, own in (product.args, product.args[::-1]):
        free = dims(own) - dims(shared)
        if free:
            wide, narrow = bits(own), bits(shared)
            fits = fits_slice(product.bits, wide.signed, narrow.signed, factor)
            fits = fits and wide.stored + narrow.stored <= product.bits
            return Pairing(shared, own, min(free)) if fits else None
    return None


def multiply_both(b: Builder, shared: Value, low: Value, high: Value, field: int) -> Value:
    """Both products in two adjacent fields; the upper field is 1 too small where the lower product is negative.

    Args:
        b: the builder.
        shared: the factor of both products.
        low, high: the other factors.
        field: bits of a product with a sign, and of a field.
    """
    wide = field + high.width + 1
    shifted = b.concat([high.sign_extend(high.width + 1), b.const(0, field)])
    both = shifted + low.sign_extend(wide)
    return both.sign_extend(2 * field) * shared.sign_extend(2 * field)


def multiplier_of(b: Builder, left: int, right: int) -> Any:
    """The module of a multiplier of signed `a` (`left` bits) and `b` (`right` bits): the product, 3 cycles later.

    Factors have a register, the product has two, so that one is left for the wires behind a slice that has two itself.
    It is a module of its own so that synthesis tools do not merge its input registers with equal ones of other
    multipliers. A factor of many multipliers would then have one register with long wires.
    """

    def build(inside: Builder, p: dict[str, Value]) -> dict[str, Value]:
        factors = [inside.register(p[n], f"{n}_q") for n in "ab"]
        a, b = (v.sign_extend(left + right) for v in factors)
        return {"product": inside.register(inside.register(a * b, "product_m"), "product_q")}

    inputs, outputs = [Signal("a", left), Signal("b", right)], [Signal("product", left + right)]
    return module_once(b, _NAME.format(left, right), inputs, outputs, build, "Multiplier of signed numbers")


def module_once(
    b: Builder,
    name: str,
    inputs: Sequence[Signal],
    outputs: Sequence[Signal],
    build: Callable[[Builder, dict[str, Value]], Mapping[str, Value]],
    comment: str,
) -> Any:
    """The module `name` of the design, without a reset; where there is none, it is built in front of that of `b`."""
    engine = b.clk.owner.owner
    for op in engine.parent.regions[0].blocks[0].operations:
        if ir.StringAttr(op.attributes["sym_name"]).value == name:
            return op
    with ir.InsertionPoint(engine):
        return module(name, inputs, outputs, build, reset=False, comment=comment)


def multiplier_bits(name: str) -> tuple[int, int] | None:
    """The bits of both factors of a multiplier, from the name of its module; None for any other module."""
    found = re.fullmatch(_NAME.format(r"(\d+)", r"(\d+)"), name)
    return (int(found[1]), int(found[2])) if found else None


def low_product(both: Value) -> Value:
    """The lower of two products packed by `multiply_both`."""
    return both[: both.width // 2]


def high_product(both: Value) -> Value:
    """The upper of two products packed by `multiply_both`: its field plus the borrow of a negative lower product."""
    field = both.width // 2
    borrow = both[field - 1]
    return both[field:] + borrow.zero_extend(field)
