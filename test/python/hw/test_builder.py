"""The words that hardware is built from: widths, shared ops, and what the built modules compute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycde import circt
from pycde.circt import ir

from gradcam.passes.hw.builder import bits_for, module, signed_bits, width_of


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


def build(body, inputs=(("a", 8), ("b", 8)), outputs=(("y", 8),), reset=True):
    """The text of a module whose outputs `body(builder, inputs)` gives."""
    context = ir.Context()
    circt.register_dialects(context)
    with context, ir.Location.unknown():
        design = ir.Module.create()
        with ir.InsertionPoint(design.body):
            module("m", inputs, outputs, body, reset)
        assert design.operation.verify()
        return str(design)


def test_equal_ops_constants_and_registers_are_made_once():
    def body(b, p):
        one, again = b.add(p["a"], p["b"]), b.add(p["a"], p["b"])
        assert one == again
        assert b.const(255, 8) == b.const(-1, 8)
        assert b.register(one, "first") == b.register(again, "second")
        assert b.register(one, "third", reset=0) != b.register(one, "fourth", reset=1)
        assert b.add(p["b"], p["a"]) != one  # the same value, but another op
        assert b.const(1, 8) != b.const(1, 9)
        return {"y": b.register(one, "first")}

    text = build(body)
    assert text.count("comb.add %a, %b") == 1
    assert text.count("seq.compreg") == 3


def test_words_without_hardware_give_their_operand():
    def body(b, p):
        a = p["a"]
        assert b.add(a) == a
        assert b.concat([a]) == a
        assert b.bits(a, 0, 8) == a
        assert b.sign_extend(a, 8) == a
        assert b.mux(b.const(1, 1), a, a) == a
        assert b.all_of() == b.const(1, 1)
        assert b.any_of() == b.const(0, 1)
        assert b.choose(p["b"], [a, a, a]) == a
        assert b.table(None, [7], 8) == b.const(7, 8)
        assert b.table(p["b"], [7, 7], 8) == b.const(7, 8)
        assert b.first_of([b.const(1, 1)], [a]) == a
        return {"y": a}

    assert "comb." not in build(body)


def test_widths_grow_and_shrink():
    def body(b, p):
        assert width_of(b.sign_extend(p["a"], 12)) == 12
        assert width_of(b.zero_extend(p["a"], 12)) == 12
        assert width_of(b.zero_extend(p["a"], 3)) == 3
        assert width_of(b.concat([p["a"], p["b"], p["a"]])) == 24
        return {"y": b.bits(b.sign_extend(p["a"], 12), 4, 8)}

    build(body)


def test_state_and_wire_are_connected_later():
    def body(b, p):
        value, connect = b.state(8, "count", reset=3)
        known_later, join = b.wire(8, "later")
        connect(b.add(value, known_later), b.compare("ult", value, p["a"]))
        join(p["b"])
        return {"y": value}

    text = build(body)
    assert "seq.compreg.ce" in text
    assert "hw.wire %b" in text


def test_a_module_without_state_has_no_reset():
    assert "%rst" not in build(lambda b, p: {"y": p["a"]}, reset=False)


def test_constant_tables_are_printed_in_the_order_of_their_index():
    def body(b, p):
        return {"y": b.table(b.bits(p["a"], 0, 2), [10, 20, 30], 8)}

    text = build(body)
    values = [line.split()[3] for line in text.splitlines() if "hw.constant" in line]
    assert values == ["10", "20", "30"]
    # Index 0 is the last operand of hw.array_create; an index past the end gives the last entry.
    operands = next(line for line in text.splitlines() if "hw.array_create" in line)
    assert operands.split("array_create ")[1].split(" :")[0] == "%c30_i8, %c30_i8, %c20_i8, %c10_i8"
