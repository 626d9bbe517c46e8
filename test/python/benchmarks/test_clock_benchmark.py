"""benchmarks/clock.py: the cells of the longest path, DSP slices without a register between them, and routed cores."""

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


@pytest.mark.parametrize(("slowest", "code"), [(120.0, 0), (119.99, 1)], ids=["reached", "missed"])
def test_the_slowest_placement_of_a_routed_core_counts(slowest, code, monkeypatch, capsys):
    routed = {"tried_mhz": [151.5, slowest, 140.0], "untimed_mhz": {"inside a slice": 259.0}}
    compiled = []
    monkeypatch.setattr(clock, "compile_to_folder", lambda _, name, settings, *rest, **named: compiled.append(settings))
    monkeypatch.setattr(clock, "synthesize", lambda *_: {"timing": routed})
    assert clock.main(["--routed", "--arrays", "16x8"]) == code
    written = capsys.readouterr()
    assert [(str(s.pe), s.dsp_packing, s.clock_mhz) for s in compiled] == [
        ("16x8", False, 160.0),
        ("16x8", True, 160.0),
    ]
    assert f"| 16x8 | dsp_packing=True | 120 | {slowest:g} | 140, 151.5 | inside a slice: 259 MHz |" in written.out
    assert (f"16x8 dsp_packing=True: {slowest:g} MHz, 120 asked" in written.err) == bool(code)
