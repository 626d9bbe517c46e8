"""Sums and counters with a register within their carries, beside plain ones, in one simulation."""

import pytest
from instance_checks import Replaced, mismatches, verilator

from gradcam.passes.hw.carries import counter, late_sum, select_sum
from gradcam.passes.hw.dsp import module_once
from gradcam.passes.hw.signals import Signal

BITS = 7

#: A counter that rarely becomes 0.
COUNTER = """
module pieces(input clk, input step, input [6:0] clear, output reg [6:0] count = 0);
  always @(posedge clk) if (&clear) count <= 0; else if (step) count <= count + 1;
endmodule
"""

#: The sum of {late} cycles ago.
SUM = """
module late(input clk, input ce, input [8:0] left, input [8:0] right, output [8:0] sum);
  reg [8:0] sums [0:{late} - 1];
  integer i;
  assign sum = sums[{late} - 1];
  always @(posedge clk) if (ce) begin
    sums[0] <= left {sign} right;
    for (i = 1; i < {late}; i = i + 1) sums[i] <= sums[i - 1];
  end
endmodule
"""


def pieces(number):
    """A counter of so many pieces."""

    def build(b, p):
        b.rst = b.const(0, 1)
        return {"count": counter(b, BITS, "count", p["step"], number, p["clear"].eq(-1))}

    factors, outputs = {"step": (1, 1), "clear": (1, BITS)}, {"count": BITS}
    ports = [Signal("step", 1), Signal("clear", BITS)], [Signal("count", BITS)]
    return Replaced("pieces", factors, outputs, False, lambda b: module_once(b, "pieces", *ports, build, ""))


def late(minus, number):
    """A sum, or a difference, of nine bits in so many pieces."""

    def build(b, p):
        return {"sum": late_sum(b, p["left"], p["right"], "sum", number, minus, p["ce"])}

    ports = [Signal("ce"), Signal("left", 9), Signal("right", 9)], [Signal("sum", 9)]
    factors, outputs = {"left": (1, 9), "right": (1, 9)}, {"sum": 9}
    return Replaced("late", factors, outputs, True, lambda b: module_once(b, "late", *ports, build, ""))


def chosen(number):
    """A sum of nine bits in so many pieces that takes one cycle."""

    def build(b, p):
        return {"sum": select_sum(b, p["left"], p["right"], "sum", number)}

    ports = [Signal("left", 9), Signal("right", 9)], [Signal("sum", 9)]
    factors, outputs = {"left": (1, 9), "right": (1, 9)}, {"sum": 9}
    return Replaced("late", factors, outputs, False, lambda b: module_once(b, "late", *ports, build, ""))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_counter_of_pieces_is_a_counter(number, tmp_path):
    wrong, different = mismatches(pieces(number), COUNTER, "", tmp_path, verilator)
    assert wrong == 0 and different > 3000


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize(("minus", "sign"), [(False, "+"), (True, "-")], ids=["sum", "difference"])
def test_a_sum_of_pieces_is_the_sum_a_cycle_later_for_each_but_the_first(minus, sign, number, tmp_path):
    text = SUM.format(sign=sign, late=number - 1)
    wrong, different = mismatches(late(minus, number), text, "", tmp_path, verilator)
    assert wrong == 0 and different > 3000


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_sum_whose_carries_choose_is_the_sum_a_cycle_later(number, tmp_path):
    text = SUM.format(sign="+", late=1).replace("input ce, ", "").replace("if (ce) ", "")
    wrong, different = mismatches(chosen(number), text, "", tmp_path, verilator)
    assert wrong == 0 and different > 3000
    lost = text.replace("left + right", "{left[8:4] + right[8:4], left[3:0] + right[3:0]}")
    (tmp_path / "lost").mkdir()
    assert mismatches(chosen(number), lost, "", tmp_path / "lost", verilator)[0] > 1000


def test_a_wrong_carry_is_found(tmp_path):
    """The negative test: a sum is no difference, and a carry that is lost is seen."""
    right = SUM.format(sign="+", late=2)
    lost = right.replace("left + right", "{left[8:6] + right[8:6], left[5:0] + right[5:0]}")
    for folder, text in (("difference", SUM.format(sign="-", late=2)), ("lost", lost)):
        (tmp_path / folder).mkdir()
        wrong, _ = mismatches(late(False, 3), text, "", tmp_path / folder, verilator)
        assert wrong > 1000
