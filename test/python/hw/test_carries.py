"""Sums and counters with a register within their carries, beside plain ones, in one simulation."""

import pytest
from instance_checks import Replaced, mismatches, verilator

from gradcam.passes.hw.carries import counter, late_sum
from gradcam.passes.hw.dsp import module_once
from gradcam.passes.hw.signals import Signal

BITS = 6

#: A counter that rarely becomes 0.
COUNTER = """
module pieces(input clk, input step, input [5:0] clear, output reg [5:0] count = 0);
  always @(posedge clk) if (&clear) count <= 0; else if (step) count <= count + 1;
endmodule
"""

#: The sum of a cycle ago.
SUM = """
module halves(input clk, input ce, input [8:0] left, input [8:0] right, output reg [8:0] sum);
  always @(posedge clk) if (ce) sum <= left {sign} right;
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


def halves(minus):
    """A sum, or a difference, of nine bits."""

    def build(b, p):
        return {"sum": late_sum(b, p["left"], p["right"], "sum", minus, p["ce"])}

    ports = [Signal("ce"), Signal("left", 9), Signal("right", 9)], [Signal("sum", 9)]
    factors, outputs = {"left": (1, 9), "right": (1, 9)}, {"sum": 9}
    return Replaced("halves", factors, outputs, True, lambda b: module_once(b, "halves", *ports, build, ""))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_counter_of_pieces_is_a_counter(number, tmp_path):
    wrong, different = mismatches(pieces(number), COUNTER, "", tmp_path, verilator)
    assert wrong == 0 and different > 3000


@pytest.mark.parametrize(("minus", "sign"), [(False, "+"), (True, "-")], ids=["sum", "difference"])
def test_a_sum_of_halves_is_the_sum_a_cycle_later(minus, sign, tmp_path):
    wrong, different = mismatches(halves(minus), SUM.format(sign=sign), "", tmp_path, verilator)
    assert wrong == 0 and different > 3000


def test_a_wrong_carry_is_found(tmp_path):
    """The negative test: a sum is no difference, and a carry that is lost is seen."""
    lost = SUM.format(sign="+").replace("left + right", "{left[8:4] + right[8:4], left[3:0] + right[3:0]}")
    for folder, text in (("difference", SUM.format(sign="-")), ("lost", lost)):
        (tmp_path / folder).mkdir()
        wrong, _ = mismatches(halves(False), text, "", tmp_path / folder, verilator)
        assert wrong > 1000
