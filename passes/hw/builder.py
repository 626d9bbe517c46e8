"""Builds the inside of one `hw.module` from CIRCT ops: thin words for comb, hw and seq."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pycde.circt import ir
from pycde.circt.dialects import hw, seq

Value = ir.Value

#: Comparisons by the numbers that comb.icmp and arith.cmpi give them.
PREDICATES = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")


def integer(width: int) -> ir.Type:
    """The type iN."""
    return ir.IntegerType.get_signless(width)


def width_of(value: Value) -> int:
    """Bits of an integer value."""
    return ir.IntegerType(value.type).width


def bits_for(values: int) -> int:
    """Bits of an unsigned number that takes `values` values, at least 1."""
    return max(1, (values - 1).bit_length())


def signed_bits(low: int, high: int) -> int:
    """Bits of a two's complement number from `low` to `high`."""
    return max((n if n >= 0 else ~n).bit_length() for n in (low, high)) + 1


class Builder:
    """Makes values in the current insertion point of a module with the clock `clk` and the synchronous reset `rst`.

    Equal constants and equal registers are made once, so that hardware which two users describe alike is shared.
    """

    def __init__(self, clk: Value, rst: Value | None) -> None:
        self.clk = clk
        self.rst = rst
        self._made: dict[Any, Value] = {}

    def op(self, name: str, type_: ir.Type, operands: Sequence[Value], **attributes: Any) -> Value:
        """The result of a pure op; an equal one made before is used again."""
        key = (name, str(type_), tuple(operands), tuple((k, str(v)) for k, v in attributes.items()))
        if key not in self._made:
            self._made[key] = ir.Operation.create(name, [type_], list(operands), attributes).results[0]
        return self._made[key]

    def const(self, value: int, width: int) -> Value:
        """`value` modulo 2**width."""
        wrapped = value & ((1 << width) - 1)
        signed = wrapped - (1 << width) if wrapped >> (width - 1) else wrapped
        return self.op("hw.constant", integer(width), [], value=ir.IntegerAttr.get(integer(width), signed))

    def variadic(self, name: str, values: Sequence[Value]) -> Value:
        """`comb.<name>` of one or more values of equal width."""
        return values[0] if len(values) == 1 else self.op(f"comb.{name}", values[0].type, values)

    def add(self, *values: Value) -> Value:
        """Sum modulo 2**width."""
        return self.variadic("add", values)

    def following(self, place: Value, count: int) -> Value:
        """`place` + 1 going round after `count` places."""
        bits = width_of(place)
        up = self.add(place, self.const(1, bits))
        if count == 1 << bits:
            return up
        return self.mux(self.compare("eq", place, self.const(count - 1, bits)), self.const(0, bits), up)

    def all_of(self, *values: Value) -> Value:
        """And; of nothing: 1."""
        values = tuple(v for v in values if v != self.const(1, 1)) or values[:1]
        return self.variadic("and", values) if values else self.const(1, 1)

    def any_of(self, *values: Value) -> Value:
        """Or; of nothing: 0."""
        return self.variadic("or", values) if values else self.const(0, 1)

    def negate(self, value: Value) -> Value:
        """Bitwise complement."""
        return self.op("comb.xor", value.type, [value, self.const(-1, width_of(value))])

    def compare(self, predicate: str, a: Value, b: Value) -> Value:
        """i1 of `a predicate b`, written as < or >=: for the other two Yosys compares for equality, too."""
        if predicate[1:] in ("gt", "le"):
            predicate, a, b = predicate[0] + {"gt": "lt", "le": "ge"}[predicate[1:]], b, a
        attribute = ir.IntegerAttr.get(integer(64), PREDICATES.index(predicate))
        return self.op("comb.icmp", integer(1), [a, b], predicate=attribute)

    def mux(self, condition: Value, then: Value, otherwise: Value) -> Value:
        """`then` where the condition is 1."""
        return then if then == otherwise else self.op("comb.mux", then.type, [condition, then, otherwise])

    def bits(self, value: Value, low: int, width: int) -> Value:
        """`width` bits from bit `low`."""
        if low == 0 and width == width_of(value):
            return value
        return self.op("comb.extract", integer(width), [value], lowBit=ir.IntegerAttr.get(integer(32), low))

    def concat(self, values: Sequence[Value]) -> Value:
        """The values side by side, the first one in the highest bits."""
        if len(values) == 1:
            return values[0]
        return self.op("comb.concat", integer(sum(map(width_of, values))), list(values))

    def spread(self, value: Value, width: int) -> Value:
        """`width` bits in which every bit of `value` stands several times in a row."""
        times = width // width_of(value)
        each = [self.bits(value, i, 1) for i in range(width_of(value))]
        return self.concat([self.op("comb.replicate", integer(times), [bit]) for bit in reversed(each)])

    def sign_extend(self, value: Value, width: int) -> Value:
        """Two's complement value in `width` bits; cuts where it is narrower."""
        have = width_of(value)
        if width <= have:
            return self.bits(value, 0, width)
        sign = self.bits(value, have - 1, 1)
        fill = self.op("comb.replicate", integer(width - have), [sign])
        return self.concat([fill, value])

    def zero_extend(self, value: Value, width: int) -> Value:
        """Unsigned value in `width` bits; cuts where it is narrower."""
        have = width_of(value)
        if width <= have:
            return self.bits(value, 0, width)
        return self.concat([self.const(0, width - have), value])

    def choose(self, index: Value, values: Sequence[Value]) -> Value:
        """`values[index]`; an index past the end gives the last one."""
        if all(v == values[0] for v in values):
            return values[0]
        size = 1 << width_of(index)
        padded = [*values, *[values[-1]] * (size - len(values))][:size]
        array = self.op("hw.array_create", hw.ArrayType.get(values[0].type, size), padded[::-1])
        return self.op("hw.array_get", values[0].type, [array, index])

    def first_of(self, conditions: Sequence[Value], values: Sequence[Value]) -> Value:
        """The value of the first condition that is 1; the last value when none is."""
        chosen = values[-1]
        for condition, value in zip(reversed(conditions[:-1]), reversed(values[:-1]), strict=True):
            chosen = self.mux(condition, value, chosen)
        return chosen

    def table(self, index: Value | None, entries: Sequence[int], width: int) -> Value:
        """Constant `entries[index]`, `width` bits each; equal entries need no table."""
        constants = [self.const(e, width) for e in entries]
        return constants[0] if index is None else self.choose(index, constants)

    def column(self, index: Value | None, entries: Sequence[int], width: int) -> Value:
        """`table` in a register: for an index that changes before the entry is used."""
        if index is None or len({e & ((1 << width) - 1) for e in entries}) == 1:
            return self.table(None, entries, width)
        return self.register(self.table(index, entries, width), "column")

    def register(self, value: Value, name: str, enable: Value | None = None, reset: int | None = None) -> Value:
        """A register fed by `value`, with clock enable and synchronous reset value where given."""
        key = ("register", value, enable, reset)
        if key not in self._made:
            self._made[key] = self._register(value, name, enable, reset).results[0]
        return self._made[key]

    def state(self, width: int, name: str, reset: int | None = None) -> tuple[Value, Callable[..., None]]:
        """A register whose input depends on its own output: (output, connect(next value, enable=always))."""
        # The input is not known yet: a constant holds its place.
        op = self._register(self.const(0, width), name, self.const(1, 1), reset)

        def connect(value: Value, enable: Value | None = None) -> None:
            op.operands[0] = value
            if enable is not None:
                op.operands[2] = enable

        return op.results[0], connect

    def wire(self, width: int, name: str) -> tuple[Value, Callable[[Value], None]]:
        """A value that is known later: (value, connect(value))."""
        op = ir.Operation.create("hw.wire", [integer(width)], [self.const(0, width)], {"name": ir.StringAttr.get(name)})

        def connect(value: Value) -> None:
            op.operands[0] = value

        return op.results[0], connect

    def instance(self, op: Any, name: str, inputs: dict[str, Value]) -> dict[str, Value]:
        """An instance of a module made by `module`, with its clock and reset connected; its outputs by name."""
        clocking = {n: v for n, v in (("clk", self.clk), ("rst", self.rst)) if n in op.type.input_names}
        made = op.instantiate(name, **clocking, **inputs)
        return dict(zip(op.type.output_names, made.opview.results, strict=True))

    def _register(self, value: Value, name: str, enable: Value | None, reset: int | None) -> ir.Operation:
        operands = [value, self.clk, *([] if enable is None else [enable])]
        segments = [1] * len(operands)
        if reset is not None:
            operands += [self.rst, self.const(reset, width_of(value))]
        segments += [int(reset is not None)] * 2 + [0]
        attributes = {"name": ir.StringAttr.get(name), "operandSegmentSizes": ir.DenseI32ArrayAttr.get(segments)}
        kind = "seq.compreg" if enable is None else "seq.compreg.ce"
        return ir.Operation.create(kind, [value.type], operands, attributes)


def module(
    name: str,
    inputs: Sequence[tuple[str, int]],
    outputs: Sequence[tuple[str, int]],
    build: Callable[[Builder, dict[str, Value]], dict[str, Value]],
    reset: bool = True,
    clock: str = "clk",
    comment: str = "",
) -> Any:
    """An `hw.module` with integer ports, plus the clock, `clk` where it has no other name, and (where anything is
    reset) `rst`.

    `build` gets the inputs by name and returns the outputs by name. The SystemVerilog has `comment` above the module.
    """
    ports = [
        (clock, seq.ClockType.get()),
        *([("rst", integer(1))] if reset else []),
        *((n, integer(w)) for n, w in inputs),
    ]

    def body(op: Any) -> dict[str, Value]:
        values = op.inputs()
        return build(Builder(values[clock], values.get("rst")), values)

    results = [(n, integer(w)) for n, w in outputs]
    attributes = {"comment": ir.StringAttr.get(comment)}
    return hw.HWModuleOp(name, ports, results, attributes=attributes, body_builder=body)
