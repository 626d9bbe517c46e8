"""What AXI asks of the ports of the core, besides what is transferred."""

from types import SimpleNamespace

import pytest
from core import Scenario, check
from core_simulation import Played
from netlist import from_logic, passed_through

#: Signals of a subordinate of AXI4-Lite and of a manager of AXI4 that only reads, with their bits; addresses and data
#: have those of the design. ARM IHI 0022, tables of signals and of their defaults.
LITE = {
    *{("awvalid", "in", 1), ("awready", "out", 1), ("awprot", "in", 3), ("wvalid", "in", 1), ("wready", "out", 1)},
    *{("wstrb", "in", 4), ("bvalid", "out", 1), ("bready", "in", 1), ("bresp", "out", 2), ("arvalid", "in", 1)},
    *{("arready", "out", 1), ("arprot", "in", 3), ("rvalid", "out", 1), ("rready", "in", 1), ("rresp", "out", 2)},
    *{("awaddr", "in", 12), ("araddr", "in", 12), ("wdata", "in", 32), ("rdata", "out", 32)},
}
READS = {
    *{("arid", "out", 1), ("araddr", "out", 64), ("arlen", "out", 8), ("arsize", "out", 3), ("arburst", "out", 2)},
    *{("arlock", "out", 1), ("arcache", "out", 4), ("arprot", "out", 3), ("arvalid", "out", 1), ("arready", "in", 1)},
    *{("rid", "in", 1), ("rdata", "in", 64), ("rresp", "in", 2), ("rlast", "in", 1), ("rvalid", "in", 1)},
    ("rready", "out", 1),
}

#: Channels that the core drives, by the prefix of their ports.
DRIVEN = ("m_axi_weights_ar", "m_axis_result_t", "s_axi_control_b", "s_axi_control_r")

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


def ports(core, prefix):
    found = [port for port in core.program.core.ports if port.name.startswith(prefix)]
    return {(port.name.removeprefix(prefix), port.direction, port.bits) for port in found}


def test_the_interfaces_have_the_signals_of_axi(onchip, dram):
    assert ports(onchip, "s_axi_control_") == ports(dram, "s_axi_control_") == LITE
    assert ports(dram, "m_axi_weights_") == READS and not ports(onchip, "m_axi_weights_")


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


def payload(core, channel):
    """The ports that the core drives on a channel, besides VALID."""
    ports = [p.name for p in core.program.core.ports if p.direction == "out" and p.name.startswith(channel)]
    return [name for name in ports if name != f"{channel}valid"]


def watched(core, scenario, *channels, **options):
    """Plays a scenario, checks its results, and returns the cycles of the ports of channels."""
    names = [name for c in channels for name in (f"{c}valid", f"{c}ready", *payload(core, c))]
    steps = [{"do": "recorded", "step": step, "signals": names} for step in scenario.steps]
    played = core.play(SimpleNamespace(steps=steps), limit=20 * core.program.cycles.total, **options)
    results = [entry for entry in played.log if entry["step"] != "recorded"]
    check(Played(results, played.cycles), scenario.expected, core.reference)
    seen = [entry["signals"] for entry in played.of("recorded")]
    return {name: [value for signals in seen for value in signals[name]] for name in names}


def waits(seen, channel):
    """The cycles in which a channel has something that is not accepted."""
    both = zip(seen[f"{channel}valid"], seen[f"{channel}ready"], strict=True)
    return [t for t, (valid, ready) in enumerate(both) if valid and not ready]


def changing(core, seen, channel):
    """The ports of a channel that change although it waits."""
    names = [f"{channel}valid", *payload(core, channel)]
    return {n for n in names if any(seen[n][t] != seen[n][t + 1] for t in waits(seen, channel)[:-1])}


@pytest.fixture(scope="module")
def paused(dram):
    """What every driven channel did while all channels waited at random."""
    scenario = Scenario(dram.program)
    scenario.images([0, 1, 2] * 4)
    for cls in (0, 1, -1):
        scenario.explain(0, cls)  # a write of a register, before and after
    return watched(dram, scenario, *DRIVEN, pause=True)


@pytest.mark.parametrize("channel", DRIVEN)
def test_a_channel_that_waits_does_not_change(dram, paused, channel):
    assert payload(dram, channel) and len(waits(paused, channel)) >= 4
    assert changing(dram, paused, channel) == set()


@pytest.mark.parametrize("channel", DRIVEN)
def test_a_channel_that_changes_is_found(dram, paused, channel):
    first = waits(paused, channel)[0]
    for name in (f"{channel}valid", *payload(dram, channel)):
        changed = paused | {name: [value ^ (t > first) for t, value in enumerate(paused[name])]}
        assert changing(dram, changed, channel) >= {name}


def test_the_address_of_a_run_is_that_of_its_begin(dram):
    scenario = Scenario(dram.program)
    scenario.move(1, 0xFFFF_FFFF_FFFF_F000)
    scenario.images([0])
    scenario.move(2, 0)
    seen = watched(dram, scenario, "m_axi_weights_ar")
    assert len(waits(seen, "m_axi_weights_ar")) >= 8
    assert changing(dram, seen, "m_axi_weights_ar") == set()
