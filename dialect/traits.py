"""Traits: facts of an op, declared on its class with `traits=[...]`, which passes query instead of keeping lists.

A trait states a fact of the op's mathematics or of its integer form, never the treatment by some pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

from torch_mlir import ir


@dataclass(frozen=True)
class Trait:
    """A fact of an op, visible to Python only: MLIR's own passes do not query it."""

    def attach(self, op_name: str) -> None:
        """Called by the bindings for every trait of an op when the dialect is loaded into a context."""


T = TypeVar("T", bound=Trait)


def trait(op: Any, kind: type[T]) -> T | None:
    """The trait of class `kind`, or of one derived from it, that an op has.

    Args:
        op: an op, an op class, or another owner of a value, such as a block, which has no traits.
        kind: the trait's class.

    Returns:
        The first one declared, None where there is none.
    """
    if isinstance(op, ir.Operation):
        op = op.opview
    declared = getattr(op if isinstance(op, type) else type(op), "_traits", ())  # kept there by `ext.Operation`
    return next((t for t in declared if isinstance(t, kind)), None)


def has(op: Any, *kinds: type[Trait]) -> bool:
    """Whether an op has a trait of one of `kinds`; see `trait`."""
    return any(trait(op, kind) is not None for kind in kinds)


# The mathematics of an op.


class Forward(Trait):
    """An op of the network itself: it computes feature maps, features or logits from such and from parameters."""


class Gradient(Trait):
    """Yields the first gradient, or computes from a gradient, operand 0, another one (1xCxHxW) or a vector (1xC).

    Each channel of a quantized gradient may have a scale of its own.
    """


class LinearInFirst(Trait):
    """f(a * x, ...) = a * f(x, ...) for every number a, with all operands but the first, x, held fixed."""


class Rowwise(Trait):
    """Maps each row of a table of gradients (Kx...) by itself where it is given one as operand 0.

    The other operands are parameters.
    """


class KeepsNonnegative(Trait):
    """No element of the result is negative when none of the operands is."""


class Nonnegative(Trait):
    """No element of the result is negative, whatever the operands are."""


class MovesChannels(Trait):
    """Channel c of the result is a channel of operand 0 as it is, one of another number, or 0."""


class Elementwise(Trait):
    """Computes each element of the result from the elements at its place in the operands of the result's shape.

    It does so in the same way at every place; the other operands, if there are any, are parameters of the whole map.
    """


class Pieces(NamedTuple):
    """An activation of slope 1 between lo and hi, and of slope `slope` elsewhere; 0 <= slope < 1.

    The slope on the bounds themselves is 1 where the activation is `closed`: this is a choice, as the function has no
    derivative there. All choices here are those of PyTorch.
    """

    lo: float
    hi: float
    slope: float
    closed: bool


@dataclass(frozen=True)
class Activation(Trait):
    """Maps each element x to y = x where lo < x < hi, and outside continues that line with slope `slope`.

    The gradient at x is the gradient at y where lo < x < hi, or where lo <= x <= hi if the activation is `closed`, and
    `slope` times the gradient at y elsewhere. lo < y < hi holds where lo < x < hi, and nowhere else. So either of x and
    y tells which case applies; of a closed activation x alone does.

    Attributes:
        lo, hi, slope: the `Pieces`, each a number or the name of the op's attribute (f64) that holds it.
        closed: whether the gradient passes on the bounds, too.
    """

    lo: float | str = -math.inf
    hi: float | str = math.inf
    slope: float | str = 0.0
    closed: bool = False

    def pieces(self, op: Any) -> Pieces:
        """The numbers for one op with this trait."""
        given = (self.lo, self.hi, self.slope)
        lo, hi, slope = (ir.FloatAttr(op.attributes[v]).value if isinstance(v, str) else v for v in given)
        return Pieces(lo, hi, slope, self.closed)

    @property
    def clips(self) -> bool:
        """Whether y is x limited to lo..hi, so that an x saturated to the range of y gives the same y."""
        return self.slope == 0


class Slope(Trait):
    """The slope of an activation at its input, operand 0, which the backward pass needs: a bit or a number."""


class MethodFormula(Trait):
    """An op of the formula of a class activation method, which computes a map from a gradient and a feature map."""


# How an op computes in integers. An op without one of these traits has no quantized form.


class Quantized(Trait):
    """The op has a quantized form."""


class Unscaled(Quantized):
    """Yields plain integers without a scale: classes, bits, numbers of taps."""


class UnitScale(Quantized):
    """Yields the numbers 0 and 1, of which 1 is stored as the largest magnitude of int8."""


class ChoosesClass(Unscaled):
    """Yields the class to explain."""


class KeepsScale(Quantized):
    """The result has the scales and the storage of operand 0; a factor of the op changes only the scales.

    Of an op that moves channels the scale of a channel moves with it.
    """


class ChoosesScale(Quantized):
    """The result has a scale of its own, which follows from its range."""


class AlignsOperands(ChoosesScale):
    """Brings every operand to the scales of the result, adds them up, and saturates the sum."""


class AlignsParts(AlignsOperands):
    """Puts its operands side by side along the channels, each at the scales of its channels of the result."""


class ExactProduct(Quantized):
    """Yields exact sums of products of its two operands: 32 bits, at the product of their scales."""


class Rescales(ChoosesScale):
    """Computes exact sums in 32 bits, and brings them to the scales and the storage of the result."""


@dataclass(frozen=True)
class Product(Rescales):
    """The sums are over products of operand 0 with weights, operand 1.

    Attributes:
        transposed: whether the sums are over the output channels of the weights, which have one scale each.
    """

    transposed: bool = False


class ChannelAffine(ChoosesScale):
    """Yields x * factor + offset for each element x of operand 0, with numbers of its channel.

    The numbers are constants in real units. The result is rounded once, to its scales and its storage.
    """


@dataclass(frozen=True)
class Sum(Rescales):
    """The sums are over elements of operand 0.

    Attributes:
        over: the elements of a window (attribute `kernel`), or of a whole map (H x W).
        mean: whether the result is the sum divided by the number of these elements.
    """

    over: Literal["window", "map"]
    mean: bool


@dataclass(frozen=True)
class ProductOfBoth(Rescales):
    """The sums are over products of operand 0 with operand 1, which is computed, too, and has one scale.

    Attributes:
        over: each product by itself, or those of a whole map (H x W).
    """

    over: Literal["element", "map"]


@dataclass(frozen=True)
class Curve(ChoosesScale):
    """A function of each element of operand 0; the other operands are parameters in real numbers.

    Attributes:
        reads: the integers that it computes with: an exact sum of 32 bits where there is one, or a byte, the index of a
            table.
        bend: the least magnitude that a sum must represent with a fraction.
    """

    reads: Literal["sum", "byte"]
    bend: float = 0.0
