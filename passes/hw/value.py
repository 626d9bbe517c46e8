"""Values of a module under construction: operators, slices and comparisons that create hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycde.circt import ir

if TYPE_CHECKING:
    from gradcam.passes.hw.builder import Builder

#: Comparison predicates, indexed by their numbers in comb.icmp and arith.cmpi.
PREDICATES = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")


def integer(width: int) -> ir.Type:
    """The type iN."""
    return ir.IntegerType.get_signless(width)


def bits_for(values: int) -> int:
    """Bits of an unsigned number with `values` possible values; at least 1."""
    return max(1, (values - 1).bit_length())


class Value:
    """A value of `width` bits. It has no sign of its own: comparisons and extensions say whether they are signed.

    Bit 0 is the least significant bit. An operator creates one op of two operands, or reuses an equal one:

    - `a & b`, `a | b`, `~a`: bitwise; for more operands in one op see `Builder.all_of` and `Builder.any_of`
    - `a + b`, `a - b`, `a * b`: modulo 2**width
    - `a[low:high]`: the high - low bits from bit `low` on, without bit `high`, as Python and Amaranth slice; negative
      bounds count from the upper end. Bounds outside the value raise an error, so no slice is shortened in silence
    - `a[i]`: a single bit; `a[-1]` is the sign

    Operands have equal widths. A Python integer is a constant of the other operand's width and must fit it, as a signed
    or an unsigned number. `==` creates no hardware: it tests whether two Python objects stand for the same value.
    """

    __slots__ = ("builder", "ssa", "width")

    def __init__(self, builder: Builder, ssa: ir.Value, width: int) -> None:
        """Takes the SSA value, an integer of `width` bits, and the builder through which operators create ops."""
        # The width is an argument because reading `ssa.type` is slow: the bindings look up a class each time.
        self.builder, self.ssa, self.width = builder, ssa, width

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and self.ssa == other.ssa

    def __hash__(self) -> int:
        return hash(self.ssa)

    def __bool__(self) -> bool:
        raise TypeError("whether a value of the hardware is 1 is not known here; use Builder.mux, or `is None`")

    def __repr__(self) -> str:
        return f"Value({self.ssa})"

    def __and__(self, other: Value | int) -> Value:
        return self.builder.all_of(self, self.operand(other))

    def __or__(self, other: Value | int) -> Value:
        return self.builder.any_of(self, self.operand(other))

    def __invert__(self) -> Value:
        return self.builder.comb("xor", self, self.operand(-1))

    def __add__(self, other: Value | int) -> Value:
        return self.builder.comb("add", self, self.operand(other))

    def __sub__(self, other: Value | int) -> Value:
        return self.builder.comb("sub", self, self.operand(other))

    def __mul__(self, other: Value | int) -> Value:
        return self.builder.comb("mul", self, self.operand(other))

    def __getitem__(self, bits: int | slice) -> Value:
        if isinstance(bits, slice):
            low, high = (0 if bits.start is None else bits.start), (self.width if bits.stop is None else bits.stop)
            if bits.step is not None:
                raise IndexError("the bits of a slice are neighbours: it has no step")
        else:
            low, high = bits, bits + 1 or self.width
        low, high = (n + self.width if n < 0 else n for n in (low, high))
        if not 0 <= low < high <= self.width:
            raise IndexError(f"no bits {low}:{high} in {self.width} bits")
        if high - low == self.width:
            return self
        position = ir.IntegerAttr.get(integer(32), low)
        return self.builder.op("comb.extract", high - low, [self], lowBit=position)

    def operand(self, other: Value | int) -> Value:
        """Converts the second operand of an operator; an integer becomes a constant of this value's width.

        Raises:
            ValueError: the widths differ, or the integer does not fit.
        """
        if isinstance(other, Value):
            if other.width != self.width:
                raise ValueError(f"operands of {self.width} and {other.width} bits")
            return other
        if not -(1 << (self.width - 1)) <= other < 1 << self.width:
            raise ValueError(f"{other} does not fit {self.width} bits")
        return self.builder.const(other, self.width)

    def compare(self, predicate: str, other: Value | int) -> Value:
        """i1: the comparison holds.

        > and <= become < and >= with swapped operands, for which Yosys needs no test for equality.
        """
        a, b = self, self.operand(other)
        if predicate[1:] in ("gt", "le"):
            predicate, a, b = predicate[0] + {"gt": "lt", "le": "ge"}[predicate[1:]], b, a
        number = ir.IntegerAttr.get(integer(64), PREDICATES.index(predicate))
        return self.builder.op("comb.icmp", 1, [a, b], predicate=number)

    def ordered(self) -> Value:
        """The unsigned number that is in the same order as this one with its sign.

        No logic follows the carries of a comparison of unsigned numbers. Of signed ones Yosys compares signs and the
        overflow.
        """
        return self.builder.concat([~self[-1], self[:-1]])

    def eq(self, other: Value | int) -> Value:
        """i1: the values are equal."""
        return self.compare("eq", other)

    def ne(self, other: Value | int) -> Value:
        """i1: the values differ."""
        return self.compare("ne", other)

    def ult(self, other: Value | int) -> Value:
        """i1: this value is less than `other`, both unsigned."""
        return self.compare("ult", other)

    def ule(self, other: Value | int) -> Value:
        """i1: this value is less than or equal to `other`, both unsigned."""
        return self.compare("ule", other)

    def uge(self, other: Value | int) -> Value:
        """i1: this value is greater than or equal to `other`, both unsigned."""
        return self.compare("uge", other)

    def incremented(self, count: int) -> Value:
        """The value plus 1 modulo `count`, for values below `count`."""
        up = self + 1
        return up if count == 1 << self.width else self.builder.mux(self.eq(count - 1), 0, up)

    def sign_extend(self, width: int) -> Value:
        """The value sign-extended to `width` bits; where `width` is smaller, its low bits."""
        if width <= self.width:
            return self[:width]
        sign = self[-1].replicate(width - self.width)
        return self.builder.concat([sign, self])

    def zero_extend(self, width: int) -> Value:
        """The value zero-extended to `width` bits; where `width` is smaller, its low bits."""
        if width <= self.width:
            return self[:width]
        return self.builder.concat([self.builder.const(0, width - self.width), self])

    def replicate(self, width: int) -> Value:
        """Every bit repeated `width` / `self.width` times, side by side: `width` bits, such as a mask of bit groups."""
        if width % self.width:
            raise ValueError(f"{self.width} bits do not make {width} by replication")
        times = width // self.width
        bits = [self[i] for i in range(self.width)]
        return self.builder.concat([self.builder.op("comb.replicate", times, [bit]) for bit in reversed(bits)])


class Deferred(Value):
    """A value whose input is assigned after its first use, once: a wire, or a register that depends on itself."""

    __slots__ = ("assigned",)

    def __init__(self, builder: Builder, ssa: ir.Value, width: int) -> None:
        """Takes the result `ssa` of an op whose first operand is a placeholder for the input."""
        super().__init__(builder, ssa, width)
        self.assigned = False

    @property
    def name(self) -> str:
        """The name of the wire or register."""
        return ir.StringAttr(self.ssa.owner.attributes["name"]).value

    def assign(self, value: Value | int) -> None:
        """Assigns the input.

        Raises:
            ValueError: an input is assigned already, or `value` has another width.
        """
        if self.assigned:
            raise ValueError(f"{self.name} is assigned twice")
        self.ssa.owner.operands[0] = self.operand(value).ssa
        self.assigned = True


class State(Deferred):
    """A register whose next value is assigned after its first use."""

    __slots__ = ()

    def assign(self, value: Value | int, enable: Value | None = None) -> None:
        """Assigns the next value, and the clock enable; without one the register is loaded in every cycle.

        Raises:
            ValueError: a next value is assigned already, or `value` has another width.
        """
        super().assign(value)
        if enable is not None:
            self.ssa.owner.operands[2] = enable.ssa
