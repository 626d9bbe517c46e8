"""Two products that share a factor, from one multiplication of the width that a DSP slice has.

Xilinx WP486, "Deep Learning with INT8 Optimization on Xilinx Devices": with fields of F bits,

    (high * 2^F + low) * shared = (high * shared) * 2^F + low * shared

so the lowest F bits are one product. What lies above is the other one, less the borrow of a negative low product. F is
the width of a product, 16 bits for int8: no product overflows its field, and the sum in front has 25 bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pycde.circt import ir

from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import Value
from gradcam.passes.program.clock import unextended
from gradcam.passes.program.nest import Node

#: Name of the module of a multiplier, by the bits of its factors.
_NAME = "multiplier_{}x{}"

#: Signed factors that one DSP48E2 multiplies.
WIDE, NARROW = 27, 18


@dataclass(frozen=True)
class Pairing:
    """Why neighbouring lanes of a product can share a multiplication.

    Attributes:
        shared: the factor that is equal in both lanes.
        own: the factor that each lane has of its own.
        dim: the lane dimension along which they are neighbours.
    """

    shared: Node
    own: Node
    dim: int

    @property
    def field(self) -> int:
        """Bits of a product."""
        return self.shared.bits + self.own.bits


def find_pairing(product: Node, dims: Callable[[Node], frozenset[int]]) -> Pairing | None:
    """How the lanes of a product pair up; None where they share no factor or the sum in front is too wide.

    Args:
        product: a node of the dataflow.
        dims: the lane dimensions that a node depends on.
    """
    if product.kind != "arith.muli":
        return None
    for shared, own in (product.args, product.args[::-1]):
        free = dims(own) - dims(shared)
        if free:
            pairing = Pairing(unextended(shared), unextended(own), min(free))
            fits = pairing.field + pairing.own.bits < WIDE and pairing.shared.bits <= NARROW
            return pairing if fits and pairing.field <= product.bits else None
    return None


def multiply_both(b: Builder, shared: Value, low: Value, high: Value) -> Value:
    """Both products side by side, two fields wide; the upper one lacks the borrow of a negative lower one."""
    field = shared.width + low.width
    wide = field + high.width + 1
    shifted = b.concat([high.sign_extend(high.width + 1), b.const(0, field)])
    both = shifted + low.sign_extend(wide)
    return both.sign_extend(2 * field) * shared.sign_extend(2 * field)


def multiplier_of(b: Builder, left: int, right: int) -> Any:
    """The module of a multiplier of signed numbers, `a` (`left` bits) and `b`, with registers on both sides.

    It is a module, for tools merge registers in one module that hold the same: a factor that many multipliers share
    would come from one place.
    """
    engine = b.clk.owner.owner
    name = _NAME.format(left, right)
    for op in engine.parent.regions[0].blocks[0].operations:
        if ir.StringAttr(op.attributes["sym_name"]).value == name:
            return op

    def build(inside: Builder, p: dict[str, Value]) -> dict[str, Value]:
        factors = [inside.register(p[n], f"{n}_q") for n in "ab"]
        a, b = (v.sign_extend(left + right) for v in factors)
        return {"product": inside.register(a * b, "product_q")}

    with ir.InsertionPoint(engine):
        inputs, outputs = [Signal("a", left), Signal("b", right)], [Signal("product", left + right)]
        return module(name, inputs, outputs, build, reset=False, comment="Multiplier of signed numbers")


def multiplier_bits(name: str) -> tuple[int, int] | None:
    """The bits of the factors of a module that `multiplier_of` made; None for another module."""
    found = re.fullmatch(_NAME.format(r"(\d+)", r"(\d+)"), name)
    return (int(found[1]), int(found[2])) if found else None


def low_product(both: Value) -> Value:
    """The lower of two products."""
    return both[: both.width // 2]


def high_product(both: Value) -> Value:
    """The upper of two products: its field, and the borrow that a negative lower product took from it."""
    field = both.width // 2
    borrow = both[field - 1]
    return both[field:] + borrow.zero_extend(field)
