"""What AXI asks of the ports of the core, besides what is transferred."""

import pytest
from netlist import from_logic, passed_through

#: Outputs, each with the way in which an input gets to it.
PASSING = """
module inner(input clk, input a, output logic b);
  always_comb b = ~a;
endmodule
module passing(
  input clk, reset, gate, a, b, c, d, e, input [1:0] address,
  output kept, through, latched, cleared, looked_up, deep, output [1:0] half
);
  logic kept_q, latched_q, cleared_q, table_ [4];
  always_ff @(posedge clk) kept_q <= reset ? 1'b0 : a & b;
  always_ff @(posedge clk) table_[address] <= a;
  always_latch if (gate) latched_q = c;
  always_ff @(posedge clk or posedge reset) if (reset) cleared_q <= 1'b0; else cleared_q <= d;
  assign kept = kept_q;
  assign through = kept_q & a;
  assign latched = latched_q;
  assign cleared = cleared_q;
  assign looked_up = table_[address];
  assign half = {kept_q, e};
  inner inner(.clk(clk), .a(a), .b(deep));
endmodule
"""


@pytest.fixture
def passing(tmp_path):
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "passing.sv").write_text(PASSING)
    return tmp_path


@pytest.mark.parametrize("name", ["onchip", "dram"])
def test_no_output_depends_on_an_input_in_the_same_cycle(name, request):
    assert passed_through(request.getfixturevalue(name).design.folder, "gradcam_core") == set()


def test_a_path_from_an_input_to_an_output_is_found(passing):
    assert passed_through(passing, "passing") == {"through", "latched", "cleared", "looked_up", "half", "deep"}


def test_the_ready_of_the_control_registers_are_registers(onchip):
    ports = {f"s_axi_control_{channel}ready" for channel in ("aw", "w", "ar")}
    assert ports <= {port.name for port in onchip.program.core.ports}
    assert not ports & from_logic(onchip.design.folder, "gradcam_core")


def test_logic_before_an_output_is_found(passing):
    assert from_logic(passing, "passing") == {"through", "latched", "cleared", "looked_up", "half", "deep"}
