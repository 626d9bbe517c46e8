"""The layer over CIRCT that hardware is built with: operators, slices, shared ops, and errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycde import circt
from pycde.circt import ir

from gradcam.bits import signed_bits
from gradcam.passes.hw.builder import module
from gradcam.passes.hw.signals import Signal, Stream
from gradcam.passes.hw.value import PREDICATES, bits_for


@given(st.integers(1, 1 << 40))
def test_bits_for_holds_every_value_and_not_a_bit_more(values):
    bits = bits_for(values)
    assert values - 1 < 1 << bits
    assert bits == 1 or values - 1 >= 1 << (bits - 1)


@given(st.integers(-(1 << 40), 1 << 40), st.integers(0, 1 << 40))
def test_signed_bits_holds_both_ends_and_not_a_bit_more(low, span):
    high = low + span
    bits = signed_bits(low, high)
    half = 1 << (bits - 1)
    assert -half <= low and high < half
    assert bits == 1 or low < -(half >> 1) or high >= half >> 1


@pytest.mark.parametrize(
    ("low", "high", "bits"), [(0, 0, 1), (-1, 0, 1), (0, 1, 2), (-2, 1, 2), (-3, 0, 3), (-128, 127, 8), (5, 9, 5)]
)
def test_signed_bits_by_hand(low, high, bits):
    assert signed_bits(low, high) == bits


@pytest.mark.parametrize(("values", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9)])
def test_bits_for_by_hand(values, bits):
    assert bits_for(values) == bits


A, B, Y = Signal("a", 8), Signal("b", 8), Signal("y", 8)


def build(body, inputs=(A, B), outputs=(Y,), reset=True):
    """The text of a module whose body is built by `body(builder, inputs)`, which returns the outputs."""
    context = ir.Context()
    circt.register_dialects(context)
    with context, ir.Location.unknown():
        design = ir.Module.create()
        with ir.InsertionPoint(design.body):
            module("m", inputs, outputs, body, reset)
        assert design.operation.verify()
        return str(design)


def ops_of(value):
    """The ops, one per line and without constants, that compute the 8-bit value of `value(a, b)`."""
    text = build(lambda b, p: {"y": value(p["a"], p["b"])})
    return [line.strip() for line in text.splitlines() if " = " in line and "hw.constant" not in line]


# Operators.


@pytest.mark.parametrize(
    ("value", "op"),
    [
        (lambda a, b: a & b, "comb.and %a, %b : i8"),
        (lambda a, b: a | b, "comb.or %a, %b : i8"),
        (lambda a, b: ~a, "comb.xor %a, %c-1_i8 : i8"),
        (lambda a, b: a + b, "comb.add %a, %b : i8"),
        (lambda a, b: a - b, "comb.sub %a, %b : i8"),
        (lambda a, b: b - a, "comb.sub %b, %a : i8"),
        (lambda a, b: a * b, "comb.mul %a, %b : i8"),
        (lambda a, b: a + 1, "comb.add %a, %c1_i8 : i8"),
        (lambda a, b: a & 0x80, "comb.and %a, %c-128_i8 : i8"),
        (lambda a, b: a - 255, "comb.sub %a, %c-1_i8 : i8"),
    ],
)
def test_an_operator_is_one_op(value, op):
    assert ops_of(value) == [f"%0 = {op}"]


@pytest.mark.parametrize(
    ("value", "op"),
    [
        (lambda a, b: a.eq(b), "eq %a, %b"),
        (lambda a, b: a.ne(0), "ne %a, %c0_i8"),
        (lambda a, b: a.ult(b), "ult %a, %b"),
        (lambda a, b: a.ule(b), "uge %b, %a"),
        (lambda a, b: a.uge(9), "uge %a, %c9_i8"),
        (lambda a, b: a.compare("sgt", b), "slt %b, %a"),
    ],
)
def test_a_comparison_is_one_op_written_as_less_or_greater_equal(value, op):
    text = build(lambda b, p: {"y": value(p["a"], p["b"])}, outputs=[Signal("y")])
    assert f"comb.icmp {op} : i8" in text and text.count("comb.") == 1


@given(st.sampled_from(PREDICATES), st.integers(0, 255), st.integers(0, 255))
def test_comparisons_of_constants_fold_to_what_python_says(predicate, a, b):
    def body(builder, p):
        return {"y": builder.const(a, 8).compare(predicate, builder.const(b, 8))}

    context = ir.Context()
    circt.register_dialects(context)
    with context, ir.Location.unknown():
        design = ir.Module.create()
        with ir.InsertionPoint(design.body):
            module("m", [], [Signal("y")], body)
        circt.passmanager.PassManager.parse("builtin.module(canonicalize)").run(design.operation)
    left, right = (n - 256 if predicate[0] == "s" and n > 127 else n for n in (a, b))
    wanted = {"eq": left == right, "ne": left != right, "lt": left < right, "ge": left >= right}
    wanted |= {"gt": left > right, "le": left <= right}
    assert f"hw.constant {str(wanted[predicate[-2:]]).lower()}" in str(design), str(design)


def test_one_op_of_several_operands_and_several_of_two():
    several = ops_of(lambda a, b: a.builder.all_of(a, b, a[:1].replicate(8)))
    assert "comb.and %a, %b, %" in several[-1] and sum("comb.and" in op for op in several) == 1
    assert sum("comb.and" in op for op in ops_of(lambda a, b: a & b & a[:1].replicate(8))) == 2


def test_and_with_a_constant_1_is_the_other_value():
    def body(b, p):
        bit = p["a"][0]
        assert bit & 1 == bit and b.all_of(bit, b.const(1, 1)) == bit
        assert p["a"] & 1 != p["a"]  # of 8 bits, all but one are cleared
        return {"y": bit.zero_extend(8)}

    build(body)


@pytest.mark.parametrize(
    "value",
    [
        lambda a, b: a & b[:7],
        lambda a, b: a[:7] | b,
        lambda a, b: a + b.zero_extend(9),
        lambda a, b: a - b[:1],
        lambda a, b: a * b[:4],
        lambda a, b: a.eq(b[:7]),
        lambda a, b: a.ult(b.sign_extend(16)),
        lambda a, b: a.builder.mux(a[0], a, b[:7]),
        lambda a, b: a.builder.all_of(a, a, b[:7]),
        lambda a, b: a.builder.sum_of(a, b[:7], a),
    ],
)
def test_operands_of_different_widths_are_refused(value):
    with pytest.raises(ValueError, match=r"^(operands|comb\.\w+) of [78], .*bits$|^operands of [78] and \d+ bits$"):
        ops_of(value)


@pytest.mark.parametrize("number", [256, -129, 1 << 20])
def test_an_integer_that_does_not_fit_is_refused(number):
    with pytest.raises(ValueError, match=f"{number} does not fit 8 bits"):
        ops_of(lambda a, b: a + number)


def test_a_value_is_no_python_condition():
    with pytest.raises(TypeError, match="not known here"):
        ops_of(lambda a, b: a if a.eq(b) else b)


def test_equality_in_python_is_about_the_value_itself():
    def body(b, p):
        assert p["a"] == p["a"] and p["a"] != p["b"]
        assert p["a"] + p["b"] == p["a"] + p["b"] and hash(~p["a"]) == hash(~p["a"])
        assert p["a"] != 5 and p["a"] is not None
        return {"y": p["a"]}

    assert "comb.icmp" not in build(body)


# Bits.


@pytest.mark.parametrize(
    ("bits", "low", "width"),
    [
        (slice(0, 4), 0, 4),
        (slice(4, 8), 4, 4),
        (slice(None, 3), 0, 3),
        (slice(3, None), 3, 5),
        (slice(2, 3), 2, 1),
        (slice(-3, None), 5, 3),
        (slice(None, -1), 0, 7),
        (0, 0, 1),
        (5, 5, 1),
        (7, 7, 1),
        (-1, 7, 1),
        (-8, 0, 1),
    ],
)
def test_bounds_of_a_slice_are_the_lowest_bit_and_the_one_behind_the_highest(bits, low, width):
    (op,) = ops_of(lambda a, b: slice_into(a, bits))[:1]
    assert op == f"%0 = comb.extract %a from {low} : (i8) -> i{width}"


def slice_into(value, bits):
    """A slice of the value, zero-extended to 8 bits."""
    part = value[bits]
    assert part.width == (1 if isinstance(bits, int) else len(range(8)[bits]))
    return part.zero_extend(8)


@pytest.mark.parametrize("bits", [slice(0, 9), slice(8, 9), slice(4, 4), slice(5, 4), slice(-9, 3), 8, -9])
def test_bits_outside_of_a_value_are_refused(bits):
    with pytest.raises(IndexError, match="in 8 bits"):
        ops_of(lambda a, b: a[bits])


def test_a_slice_has_no_step():
    with pytest.raises(IndexError, match="no step"):
        ops_of(lambda a, b: a[::2])


def test_all_bits_are_the_value_itself():
    assert ops_of(lambda a, b: a[:]) == ops_of(lambda a, b: a[0:8]) == []


def test_widths_grow_and_shrink():
    def body(b, p):
        a = p["a"]
        assert a.sign_extend(12).width == a.zero_extend(12).width == 12
        assert a.zero_extend(3) == a.sign_extend(3) == a[:3]
        assert b.concat([a, p["b"], a]).width == 24
        return {"y": a.sign_extend(12)[4:]}

    text = build(body)
    assert "comb.extract %a from 7 : (i8) -> i1" in text
    assert "comb.replicate %0 : (i1) -> i4" in text


def test_every_bit_is_replicated_in_its_place():
    ops = ops_of(lambda a, b: a[:2].replicate(8))
    bits = {op.split(" = ")[0]: op.split(" = ")[1] for op in ops}
    (concat,) = (op for op in bits.values() if op.startswith("comb.concat"))
    high, low = (bits[name.strip(",")] for name in concat.split()[1:3])
    assert [bits[part.split()[1]].split()[3] for part in (high, low)] == ["1", "0"]
    assert all("-> i4" in part for part in (high, low))
    with pytest.raises(ValueError, match="3 bits do not make 8"):
        ops_of(lambda a, b: a[:3].replicate(8))


def test_an_increment_wraps_behind_the_last_place():
    assert not any("comb.mux" in op for op in ops_of(lambda a, b: a.incremented(256)))
    wraps = ops_of(lambda a, b: a.incremented(200))
    assert "%1 = comb.icmp eq %a, %c-57_i8 : i8" in wraps  # 199
    assert wraps[-1] == "%2 = comb.mux %1, %c0_i8, %0 : i8"


# The builder.


def test_equal_ops_constants_and_registers_are_made_once():
    def body(b, p):
        one, again = p["a"] + p["b"], p["a"] + p["b"]
        assert one == again
        assert b.const(255, 8) == b.const(-1, 8)
        assert b.register(one, "first") == b.register(again, "second")
        assert b.register(one, "third", reset=0) != b.register(one, "fourth", reset=1)
        assert p["b"] + p["a"] != one  # the same value, but another op
        assert b.const(1, 8) != b.const(1, 9)
        return {"y": b.register(one, "first")}

    text = build(body)
    assert text.count("comb.add %a, %b") == 1
    assert text.count("seq.compreg") == 3


def test_words_without_hardware_give_their_operand():
    def body(b, p):
        a = p["a"]
        assert b.sum_of(a) == a
        assert b.concat([a]) == a
        assert a.sign_extend(8) == a
        assert b.mux(b.const(1, 1), a, a) == a
        assert b.all_of() == b.const(1, 1)
        assert b.any_of() == b.const(0, 1)
        assert b.select(p["b"], [a, a, a]) == a
        assert b.table(None, [7], 8) == b.const(7, 8)
        assert b.table(p["b"], [7, 7], 8) == b.const(7, 8)
        assert b.priority_mux([b.const(1, 1)], [a]) == a
        return {"y": a}

    assert "comb." not in build(body)


def test_an_integer_beside_a_value_in_a_mux_has_its_width():
    assert ops_of(lambda a, b: a.builder.mux(a[0], 3, b))[-1] == "%1 = comb.mux %0, %c3_i8, %b : i8"
    assert ops_of(lambda a, b: a.builder.mux(a[0], b, 3))[-1] == "%1 = comb.mux %0, %b, %c3_i8 : i8"


def test_state_and_wire_are_assigned_later():
    def body(b, p):
        value = b.state(8, "count", reset=3)
        known_later = b.wire(Signal("later", 8))
        value.assign(value + known_later, value.ult(p["a"]))
        known_later.assign(p["b"])
        return {"y": value}

    text = build(body)
    assert "seq.compreg.ce" in text
    assert "hw.wire %b" in text


@pytest.mark.parametrize("make", [lambda b: b.state(8, "open_end"), lambda b: b.wire(Signal("open_end", 8))])
def test_what_is_never_assigned_is_refused(make):
    with pytest.raises(ValueError, match="never assigned: open_end"):
        build(lambda b, p: {"y": make(b)})


def test_what_is_assigned_twice_or_with_another_width_is_refused():
    def twice(b, p):
        value = b.wire(Signal("driven", 8))
        value.assign(p["a"])
        value.assign(p["b"])

    with pytest.raises(ValueError, match="driven is assigned twice"):
        build(twice)
    with pytest.raises(ValueError, match="operands of 8 and 7 bits"):
        build(lambda b, p: b.state(8, "narrow").assign(p["a"][:7]))


def test_a_module_without_state_has_no_reset():
    assert "%rst" not in build(lambda b, p: {"y": p["a"]}, reset=False)


def test_constant_tables_are_printed_in_the_order_of_their_index():
    def body(b, p):
        return {"y": b.table(p["a"][:2], [10, 20, 30], 8)}

    text = build(body)
    values = [line.split()[3] for line in text.splitlines() if "hw.constant" in line]
    assert values == ["10", "20", "30"]
    # Index 0 is the last operand of hw.array_create; an index past the end gives the last entry.
    operands = next(line for line in text.splitlines() if "hw.array_create" in line)
    assert operands.split("array_create ")[1].split(" :")[0] == "%c30_i8, %c30_i8, %c20_i8, %c10_i8"


# Ports.


def test_a_port_is_its_name_and_knows_its_bits():
    signal = Signal("data", 12)
    assert signal == "data" and signal.bits == 12 and {signal: 1}["data"] == 1
    assert signal.of("x") == "x_data" and signal.of("x").bits == 12
    stream = Stream.of("image", 24)
    assert [(s, s.bits) for s in (stream.valid, stream.data, stream.ready)] == [
        ("image_valid", 1),
        ("image_data", 24),
        ("image_ready", 1),
    ]
