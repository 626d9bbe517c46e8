"""Pipelines made for a clock: the same outputs, predicted cycles, and no stage longer than the period."""

import dataclasses

import deeper_targets
import grouped_networks
import pytest
import rtl_networks
from hardware import REGISTERS, factors, hardware
from rtl_checks import check_design
from torch_mlir import ir

from gradcam.compiler import Compilation, Settings
from gradcam.errors import GradcamError
from gradcam.output import compile_to_folder
from gradcam.passes.ir.attributes import CASCADE
from gradcam.passes.program.accumulators import Register
from gradcam.passes.program.block_ram import BlockRam
from gradcam.passes.program.clock import DELAYS, FACTOR, Clock
from gradcam.passes.program.engines import latency_of, stage_of
from gradcam.passes.program.nest import read_nests
from gradcam.sim import Simulator
from gradcam.sim.check import check_outputs
from gradcam.sim.trace import load_quantized


def clocked(settings: Settings, mhz: float, family: str = "ecp5") -> Settings:
    return dataclasses.replace(settings, clock_mhz=mhz, family=family)


# RTL.

DESIGNS = [
    (rtl_networks.windows, "8x8", 120, "ecp5"),
    (rtl_networks.sums, "4x4", 300, "xcup"),
    (rtl_networks.sums, "4x4", 400, "xcup"),
    (rtl_networks.sums, "4x4", 200, "xc7"),
    (rtl_networks.table, "2x8", 60, "ecp5"),
]


@pytest.mark.parametrize(("network", "pe", "mhz", "family"), DESIGNS, ids=[f"{d[0].__name__}-{d[2]}" for d in DESIGNS])
def test_rtl_equals_the_integer_reference(network, pe, mhz, family, tmp_path):
    net = network()
    report = compile_to_folder(net, "test", clocked(net.settings(pe), mhz, family), tmp_path / "design")
    check_design(net, tmp_path / "design")
    plain = Compilation(net, net.settings(pe)).to("scheduled").operation.attributes["gradcam.cycles"]
    assert report.cycles.total > ir.IntegerAttr(ir.DictAttr(plain)["total"]).value, "stages fill and drain"


@pytest.mark.parametrize(
    "options",
    [{"dsp_packing": True}, {"weights": "dram"}, {"clock_mhz": 390, "family": "xcup"}],
    ids=["packing", "dram", "late-sums"],
)
def test_a_deeper_target(options, tmp_path):
    net, folder = deeper_targets.network(), tmp_path / "design"
    settings = dataclasses.replace(clocked(deeper_targets.settings("strided", "layercam", "4x4"), 120), **options)
    report = compile_to_folder(net, "test", settings, folder)
    simulator = Simulator(folder)
    reference, images = load_quantized(simulator.design), net.images(2)
    for image, cls, result in zip(images, (-1, 4), simulator.run(images, (-1, 4)), strict=True):
        check_outputs(result, reference, image, cls)
        assert result.cycles == report.cycles and result.heatmap.any()


def test_a_bank_of_several_memories_is_the_same_bank(monkeypatch, tmp_path):
    small = dataclasses.replace(DELAYS["ecp5"], block=BlockRam(((8, 4096, 1), (16, 1, 1)), few=0, luts=10**6))
    monkeypatch.setitem(DELAYS, "ecp5", small)
    net = rtl_networks.windows()
    compile_to_folder(net, "test", clocked(net.settings("8x8"), 120), tmp_path / "design")
    checked = check_design(net, tmp_path / "design")
    banks = checked.simulator.program.banks.values()
    parts = [len(bank.parts) for bank in banks if not bank.constant], [len(b.parts) for b in banks if b.constant]
    assert max(parts[0]) > 2 and max(parts[1]) > 2, "of activations and of constants"
    assert all(max(bank.parts) <= 8 for bank in banks)
    assert len(checked.simulator.program.memories) == sum(parts[1]), "a file for each"


def test_sums_of_many_pieces_are_the_same_sums(monkeypatch, tmp_path):
    monkeypatch.setitem(DELAYS, "ecp5", dataclasses.replace(DELAYS["ecp5"], cell=1.8))
    clock, net = Clock.named("ecp5", 120), rtl_networks.sums()
    assert [clock.pieces(bits) for bits in (10, 11, 18, 19, 24, 25, 32)] == [1, 2, 2, 3, 3, 4, 4]
    settings = clocked(net.settings("4x4"), 120)
    added = hardware(net, settings)["engine_mac"].count("comb.add")
    assert max(added) == 10, "accumulators, lane sums and the sums of an epilogue"
    compile_to_folder(net, "test", settings, tmp_path / "design")
    check_design(net, tmp_path / "design")


# Stages.


def longest(module: ir.Module, clock: Clock) -> float:
    """Delay in ns of the longest chain of ops between two registers; chains with an accumulator do not count."""
    d, most = clock.delays, 0.0
    with module.context:
        flows = [flow for nest in read_nests(module) for flow in nest.flows]
    for flow in flows:
        # When a value is ready: the stage, the delay since the stage began, and whether it depends on an accumulator.
        ready = {}
        for node in flow.nodes:
            if node.kind in ("const", "iv", "acc"):
                ready[id(node)] = (-1, 0.0, node.kind == "acc" and isinstance(flow.sinks[0].target, Register))
                continue
            op = node.what.op if node.kind == "load" else node.op
            stage, latency = stage_of(op), latency_of(op, node.kind)
            delay = max((ready[id(a)][1] for a in node.args if ready[id(a)][0] == stage), default=0.0)
            updates = any(ready[id(a)][2] for a in node.args)
            if node.kind in ("arith.muli", "reduce"):
                assert delay == 0, "a multiplier or a tree of adders behind a register"
                # The delay of one of its stages; a cascade has a product and an addition of a slice in each.
                terms = flow.extents[node.reduced[0]] // (CASCADE.find(op) or 1) if node.kind == "reduce" else 1
                adds = -(-(terms - 1).bit_length() // latency) if terms > 1 else 0
                # A product lies between the registers of a slice.
                inside = d.multiply - d.register if node.kind == "arith.muli" else adds * (d.carry + d.bit * node.bits)
                most = max(most, inside)
                ready[id(node)] = (stage + latency, 0.0, updates)
                continue
            if node.kind in ("arith.maxsi", "arith.minsi") and not updates:
                assert delay == 0 and latency == 1, "a comparison in one stage, the choice in the next one"
                most = max(most, d.carry + d.bit * node.bits)
                ready[id(node)] = (stage + latency, d.logic, updates)
                continue
            delay += 0.0 if node.kind == "load" else clock.delay(node)
            if not updates:
                most = max(most, delay)
            ready[id(node)] = (stage + latency, 0.0 if latency and node.kind != "load" else delay, updates)
    return most


@pytest.mark.parametrize(("mhz", "family"), [(120, "ecp5"), (100, "ecp5"), (350, "xcup"), (200, "xc7")])
def test_no_stage_is_longer_than_the_period(mhz, family):
    net, clock = rtl_networks.windows(), Clock.named(family, mhz)
    module = Compilation(net, clocked(net.settings("8x8"), mhz, family)).to("scheduled")
    assert 0 < longest(module, clock) <= clock.budget
    faster = Clock.named(family, mhz * 0.5)
    slow = Compilation(net, clocked(net.settings("8x8"), mhz * 0.5, family)).to("scheduled")
    assert longest(slow, faster) > clock.budget, "half the clock chains more than this one allows"


def test_no_stage_of_sliding_sums_gates_and_tables_is_longer_than_the_period():
    clock, slow = Clock.named("ecp5", 120), Clock.named("ecp5", 60)
    gated = rtl_networks.gated()
    for net, settings in [
        (grouped_networks.network(), grouped_networks.settings("last", "gradcam", "4x4")),
        (gated, gated.settings("4x4")),
    ]:
        assert 0 < longest(Compilation(net, clocked(settings, 120)).to("scheduled"), clock) <= clock.budget
        assert longest(Compilation(net, clocked(settings, 60)).to("scheduled"), slow) > clock.budget


def modules_of(net):
    """The modules of a 4x4 array at 120 MHz by name."""
    return hardware(net, clocked(net.settings("4x4"), 120))


def test_a_wide_product_is_made_of_two_and_a_narrow_one_registers_its_factors():
    modules = modules_of(rtl_networks.table())
    (narrow,) = (m for m in modules.values() if m.count("comb.mul") == {17: 1} and m.inputs == [9, 8])
    assert narrow.count(*REGISTERS) == {9: 1, 8: 1, 17: 2}, "both factors, and the product twice"
    found = factors(modules, "engine_mac")
    assert found.pop((9, 8)) == 16, "bytes that have no sign in some layers, and weights"
    assert found.total() == 8 and max(map(max, found)) == FACTOR, "two per output lane, for all epilogues"


def test_a_product_that_a_slice_of_ultrascale_takes_whole_is_made_of_one():
    net = rtl_networks.table()
    found = factors(hardware(net, clocked(net.settings("4x4"), 300, "xcup")), "engine_mac")
    pairs = {bits: number for bits, number in found.items() if len(bits) == 2}  # the others are cascades
    assert sum(pairs.values()) == 4 and all(left > FACTOR >= right for left, right in pairs), "one per output lane"


def test_sums_are_made_of_parts_whose_carries_fit_the_period():
    net = rtl_networks.sums()
    clocks = (100, 300, 400)
    slow, fast, faster = (hardware(net, clocked(net.settings("4x4"), mhz, "xcup"))["engine_mac"] for mhz in clocks)
    assert max(slow.count("comb.add")) > 30, "of a slower clock they are whole"
    assert max(fast.count("comb.add")) == 20, "a LUT and five carry cells"
    assert max(faster.count("comb.add")) == 11, "a LUT and three carry cells"


def test_a_product_with_a_narrow_constant_of_a_wide_type_is_made_of_one():
    found = factors(modules_of(rtl_networks.sums()), "engine_mac")
    whole = sum(count for (constant, addend), count in found.items() if constant > 15 and addend < FACTOR)
    assert whole == 20, "five addends per output lane"
    assert found.total() == 16 + 20 + 4 * 2, "the array, and the rescale of a sum in two parts"


# Mistakes.


@pytest.mark.parametrize(
    ("family", "mhz", "message"),
    [
        ("ice40", 50, "there is no family 'ice40'; choose one of ecp5, xcup, xc7"),
        ("ecp5", 0, "a clock must be above 0 MHz, got 0"),
        ("ecp5", float("nan"), "a clock must be above 0 MHz, got nan"),
        ("ecp5", 500, "500 MHz is too fast for ecp5; choose at most 166"),
    ],
)
def test_refusals(family, mhz, message):
    with pytest.raises(GradcamError, match=f"^{message}$"):
        Settings("layer4", clock_mhz=mhz, family=family)


def test_a_clock_at_which_an_address_takes_longer_than_a_cycle_is_refused():
    net = rtl_networks.windows()
    message = "400 MHz is too fast for xcup: a sum of 13 bits in engine_sum takes longer than a cycle; choose at most "
    with pytest.raises(GradcamError, match=message) as refused:
        hardware(net, clocked(net.settings("8x8"), 400, "xcup"))
    most = int(str(refused.value).split()[-2])
    assert Clock.named("xcup", most).pieces(13) == 1 < Clock.named("xcup", most + 1).pieces(13)
    assert hardware(net, clocked(net.settings("8x8"), most, "xcup"))


def test_the_fastest_clock_that_is_named_is_taken():
    for family, d in DELAYS.items():
        fastest = 1000 // max(d.register + d.shift, d.multiply)
        assert Clock.named(family, fastest).budget >= d.shift and 1000 / fastest >= d.multiply
