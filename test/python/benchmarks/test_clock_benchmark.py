"""benchmarks/clock.py: the cells of the longest path, and DSP slices without a register between them."""

import clock
import pytest

#: A sum of `bits` bits between registers, and two products of which the second one reads the first.
DESIGN = """
module paths(
  input clk, input [{last}:0] a, b, output reg [{last}:0] y,
  input signed [15:0] p, q, r, output reg signed [31:0] z
);
  reg [{last}:0] a_q, b_q;
  always @(posedge clk) begin a_q <= a; b_q <= b; y <= a_q + b_q; end
  reg signed [15:0] p_q, q_q, r_q;
  wire signed [31:0] first = p_q * q_q;
  {first}
  always @(posedge clk) begin p_q <= p; q_q <= q; r_q <= r; z <= between * r_q; end
endmodule
"""
COMBINATIONAL = "wire signed [15:0] between = first[30:15];"
REGISTERED = "reg signed [15:0] between; always @(posedge clk) between <= first[30:15];"


def found(tmp_path, bits, first, family="xc7"):
    (tmp_path / "paths.v").write_text(DESIGN.format(last=bits - 1, first=first))
    return clock.paths(["paths.v"], family, "paths", tmp_path, lambda _: None)


@pytest.mark.parametrize(("first", "pairs"), [(COMBINATIONAL, 1), (REGISTERED, 0)], ids=["none", "one"])
def test_two_products_in_one_cycle_are_a_pair(first, pairs, tmp_path):
    measured = found(tmp_path, 16, first)
    assert measured.slices == 2 and len(measured.pairs) == pairs
    assert measured.cells == 5, "a LUT and four carry cells of four bits"


def test_a_wider_sum_has_a_longer_path(tmp_path):
    assert found(tmp_path, 32, REGISTERED).cells == 9
