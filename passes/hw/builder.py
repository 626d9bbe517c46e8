"""Builds the body of an `hw.module` from CIRCT ops: a thin layer over comb, hw and seq."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pycde.circt import ir
from pycde.circt.dialects import hw, seq

from gradcam.errors import GradcamError
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import Deferred, State, Value, integer
from gradcam.reserved import SYSTEM_VERILOG


class Builder:
    """Creates ops at the current insertion point of a module with the clock `clk` and the synchronous reset `rst`.

    Equal constants, ops and registers are created once, so that hardware described twice is shared.
    """

    def __init__(self, clk: ir.Value, rst: Value | None = None) -> None:
        self.clk, self.rst = clk, rst
        self._made: dict[Any, Value] = {}
        self._deferred: list[Deferred] = []

    def op(
        self, name: str, width: int, operands: Sequence[Value], type_: ir.Type | None = None, **attributes: Any
    ) -> Value:
        """The result of a pure op, an integer of `width` bits unless a type is given; an equal op is reused."""
        key = (name, width, tuple(operands), tuple((k, str(v)) for k, v in attributes.items()))
        if key not in self._made:
            results = [integer(width) if type_ is None else type_]
            made = ir.Operation.create(name, results, [v.ssa for v in operands], attributes)
            self._made[key] = Value(self, made.results[0], width)
        return self._made[key]

    def comb(self, name: str, *values: Value) -> Value:
        """The op `comb.NAME` of values of equal width; for a single value, the value itself.

        Raises:
            ValueError: the widths differ.
        """
        if any(v.width != values[0].width for v in values):
            raise ValueError(f"comb.{name} of {', '.join(str(v.width) for v in values)} bits")
        return values[0] if len(values) == 1 else self.op(f"comb.{name}", values[0].width, values)

    def const(self, value: int, width: int) -> Value:
        """The constant `value` modulo 2**width."""
        wrapped = value & ((1 << width) - 1)
        signed = wrapped - (1 << width) if wrapped >> (width - 1) else wrapped
        return self.op("hw.constant", width, [], value=ir.IntegerAttr.get(integer(width), signed))

    def all_of(self, *values: Value) -> Value:
        """Bitwise AND of several values in one op; the i1 constant 1 without values."""
        values = tuple(v for v in values if v != self.const(1, 1)) or values[:1]
        return self.comb("and", *values) if values else self.const(1, 1)

    def any_of(self, *values: Value) -> Value:
        """Bitwise OR of several values in one op; the i1 constant 0 without values."""
        return self.comb("or", *values) if values else self.const(0, 1)

    def sum_of(self, *values: Value) -> Value:
        """Sum of several values in one op, modulo 2**width."""
        return self.comb("add", *values)

    def mux(self, condition: Value, then: Value | int, otherwise: Value | int) -> Value:
        """A multiplexer: `then` where the condition is 1, else `otherwise`.

        One of both may be an integer, which becomes a constant of the other one's width.
        """
        if isinstance(then, int):
            assert isinstance(otherwise, Value), "one input of a multiplexer must be a Value, which has a width"
            then = otherwise.operand(then)
        otherwise = then.operand(otherwise)
        return then if then == otherwise else self.op("comb.mux", then.width, [condition, then, otherwise])

    def select(self, index: Value, values: Sequence[Value]) -> Value:
        """The multiplexer `values[index]`; an index past the end selects the last value."""
        if all(v == values[0] for v in values):
            return values[0]
        size, width = 1 << index.width, values[0].width
        padded = [*values, *[values[-1]] * (size - len(values))][:size]
        array = self.op("hw.array_create", size * width, padded[::-1], hw.ArrayType.get(integer(width), size))
        return self.op("hw.array_get", width, [array, index])

    def priority_mux(self, conditions: Sequence[Value], values: Sequence[Value]) -> Value:
        """The value of the first condition that is 1; the last value where no condition is 1."""
        chosen = values[-1]
        for condition, value in zip(reversed(conditions[:-1]), reversed(values[:-1]), strict=True):
            chosen = self.mux(condition, value, chosen)
        return chosen

    def concat(self, values: Sequence[Value]) -> Value:
        """Concatenation of the values, the first one in the highest bits."""
        if len(values) == 1:
            return values[0]
        return self.op("comb.concat", sum(v.width for v in values), values)

    def table(self, index: Value | None, entries: Sequence[int], width: int) -> Value:
        """A table of constants, `entries[index]` with `width` bits; where all entries are equal, a constant."""
        constants = [self.const(e, width) for e in entries]
        return constants[0] if index is None else self.select(index, constants)

    def column(self, index: Value | None, entries: Sequence[int], width: int) -> Value:
        """`table` behind a register, for an index that is known at least one cycle before its entry is used."""
        if index is None or len({e & ((1 << width) - 1) for e in entries}) == 1:
            return self.table(None, entries, width)
        return self.register(self.table(index, entries, width), "column")

    def register(self, value: Value, name: str, enable: Value | None = None, reset: int | None = None) -> Value:
        """A register of `value`, with a clock enable and a synchronous reset value where these are given."""
        key = ("register", value, enable, reset)
        if key not in self._made:
            self._made[key] = Value(self, self._register(value, name, enable, reset), value.width)
        return self._made[key]

    def state(self, width: int, name: str, reset: int | None = None) -> State:
        """A register whose next value is assigned later, because it depends on the register's output."""
        # A constant is the placeholder for the input.
        made = State(self, self._register(self.const(0, width), name, self.const(1, 1), reset), width)
        self._deferred.append(made)
        return made

    def wire(self, signal: Signal) -> Deferred:
        """A wire with the name and the bits of `signal`, whose value is assigned later."""
        placeholder, name = self.const(0, signal.bits), ir.StringAttr.get(signal)
        op = ir.Operation.create("hw.wire", [integer(signal.bits)], [placeholder.ssa], {"name": name})
        made = Deferred(self, op.results[0], signal.bits)
        self._deferred.append(made)
        return made

    def instance(self, op: Any, name: str, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """Instantiates a module that was built by `module`, connects clock and reset, and returns outputs by name."""
        connected: dict[str, ir.Value] = {n: v.ssa for n, v in inputs.items()}
        if "clk" in op.type.input_names:
            connected["clk"] = self.clk
        if "rst" in op.type.input_names:
            assert self.rst is not None, f"{name} has a reset, and the module around it has none"
            connected["rst"] = self.rst.ssa
        results = op.instantiate(name, **connected).opview.results
        made = (Value(self, result, ir.IntegerType(result.type).width) for result in results)
        return dict(zip(op.type.output_names, made, strict=True))

    def finish(self) -> None:
        """Checks at the end of a module that every wire and register has an input.

        Raises:
            ValueError: a wire or a register has none.
        """
        open_ = [d.name for d in self._deferred if not d.assigned]
        if open_:
            raise ValueError(f"never assigned: {', '.join(open_)}")

    def _register(self, value: Value, name: str, enable: Value | None, reset: int | None) -> ir.Value:
        operands = [value.ssa, self.clk, *([] if enable is None else [enable.ssa])]
        segments = [1] * len(operands)
        if reset is not None:
            assert self.rst is not None, f"the register {name} is reset in a module without a reset"
            operands += [self.rst.ssa, self.const(reset, value.width).ssa]
        segments += [int(reset is not None)] * 2 + [0]
        attributes = {"name": ir.StringAttr.get(name), "operandSegmentSizes": ir.DenseI32ArrayAttr.get(segments)}
        kind = "seq.compreg" if enable is None else "seq.compreg.ce"
        return ir.Operation.create(kind, [integer(value.width)], operands, attributes).results[0]


def module(
    name: str,
    inputs: Sequence[Signal],
    outputs: Sequence[Signal],
    build: Callable[[Builder, dict[str, Value]], Mapping[str, Value]],
    reset: bool = True,
    clock: str = "clk",
    comment: str = "",
) -> Any:
    """Builds an `hw.module` with integer ports and a clock.

    Args:
        name: name of the module.
        inputs, outputs: its ports besides clock and reset.
        build: builds the body: gets a builder and the inputs by name, and returns the outputs by name.
        reset: whether the module has the reset port `rst`.
        clock: name of the clock port.
        comment: text above the module in the SystemVerilog.

    Raises:
        GradcamError: the module or a port has a name that SystemVerilog reserves, which CIRCT's export would change, or
            leave as it is.
    """
    if reserved := SYSTEM_VERILOG.intersection([name, clock, *inputs, *outputs]):
        raise GradcamError(f"a module or a port cannot be called '{min(reserved)}', which is reserved in SystemVerilog")
    ports = [
        (clock, seq.ClockType.get()),
        *([("rst", integer(1))] if reset else []),
        *((signal, integer(signal.bits)) for signal in inputs),
    ]

    def body(op: Any) -> dict[str, ir.Value]:
        values = op.inputs()
        b = Builder(values[clock])
        b.rst = Value(b, values["rst"], 1) if reset else None
        results = build(b, {signal: Value(b, values[signal], signal.bits) for signal in inputs})
        b.finish()
        return {n: value.ssa for n, value in results.items()}

    results = [(signal, integer(signal.bits)) for signal in outputs]
    attributes = {"comment": ir.StringAttr.get(comment)}
    return hw.HWModuleOp(name, ports, results, attributes=attributes, body_builder=body)
