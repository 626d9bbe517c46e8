"""Two products of bytes from one multiplication: exact for every value, also in RTL, with one DSP slice for both."""

import dataclasses

import deeper_targets
import dsp_count
import numpy as np
import pytest
import rtl_networks
from hardware import hardware
from pycde import circt
from pycde.circt import ir
from rtl_checks import check_design, nest_lengths

from gradcam.bits import WIDE, fits_slice
from gradcam.errors import GradcamError
from gradcam.output import compile_to_folder
from gradcam.passes.hw import products as product_builder
from gradcam.passes.hw.builder import module
from gradcam.passes.hw.dsp import high_product, low_product, multiply_both
from gradcam.passes.hw.signals import Signal
from gradcam.passes.program.clock import DELAYS
from gradcam.sim import Simulator
from gradcam.sim.check import check_outputs
from gradcam.sim.trace import load_quantized

# The arithmetic.


def upper_field(both):
    """The upper product without the correction by the borrow, which is wrong below a negative lower product."""
    return both[16:]


def products(high=high_product):
    """A design of one module that multiplies x by w0 and by w1."""
    context = ir.Context()
    circt.register_dialects(context)
    with context, ir.Location.unknown():
        design = ir.Module.create()

        def body(b, p):
            both = multiply_both(b, p["x"], p["w0"], p["w1"], 16)
            return {"y0": low_product(both), "y1": high(both)}

        with ir.InsertionPoint(design.body):
            inputs, outputs = [Signal("x", 9), Signal("w0", 8), Signal("w1", 8)], [Signal("y0", 16), Signal("y1", 16)]
            module("m", inputs, outputs, body, reset=False)
        assert design.operation.verify()
    return design


def width(value):
    return ir.IntegerType(value.type).width


def evaluate(design, inputs):
    """The outputs of a combinational module for arrays of unsigned int64 inputs, op by op."""
    block = design.body.operations[0].regions[0].blocks[0]
    values = dict(zip(block.arguments, [None, *inputs], strict=True))  # without the clock
    for op in block.operations:
        args = [values[v] for v in op.operands]
        match op.operation.name:
            case "hw.output":
                return args
            case "hw.constant":
                result = np.int64(ir.IntegerAttr(op.attributes["value"]).value)
            case "comb.extract":
                result = args[0] >> ir.IntegerAttr(op.attributes["lowBit"]).value
            case "comb.concat":
                result = np.int64(0)
                for part, bits in zip(args, map(width, op.operands), strict=True):
                    result = result << bits | part
            case "comb.replicate":
                assert width(op.operands[0]) == 1
                result = -args[0]
            case "comb.add":
                result = sum(args[1:], args[0])
            case "comb.mul":
                result = args[0] * args[1]
            case name:
                raise AssertionError(name)
        values[op.results[0]] = result & ((1 << width(op.results[0])) - 1)
    raise AssertionError("no outputs")


#: A signed byte, and one with or without a sign.
SIGNED, BYTES = np.arange(-128, 128), np.arange(-128, 256)


def wrong(design):
    """The number of wrong lower and of wrong upper products for all bytes w0 and w1, and all x, signed or unsigned."""
    w0, w1 = SIGNED[:, None], SIGNED[None, :]
    counts = np.zeros(2, np.int64)
    for x in BYTES:
        found = evaluate(design, [np.int64(x & 511), w0 & 255, w1 & 255])
        wanted = (x * w0) & 0xFFFF, (x * w1) & 0xFFFF
        counts += [np.count_nonzero(np.broadcast_to(f != w, (256, 256))) for f, w in zip(found, wanted, strict=True)]
    return counts.tolist()


def test_both_products_are_exact_for_all_bytes():
    assert wrong(products()) == [0, 0]


def test_the_upper_product_is_wrong_without_the_borrow():
    negative = np.count_nonzero(np.outer(BYTES, SIGNED) < 0) * 256
    assert wrong(products(upper_field)) == [0, negative]


def test_one_multiplication_as_wide_as_a_dsp_slice():
    design = products()
    ops = [op.operation for op in design.body.operations[0].regions[0].blocks[0].operations]
    assert [op.name for op in ops].count("comb.mul") == 1
    (sum_,) = (op for op in ops if op.name == "comb.add" and width(op.results[0]) > 16)
    assert width(sum_.results[0]) == 25 <= WIDE


def test_what_a_slice_of_25_bits_takes():
    """Two int8 side by side are -128 * 65537 at least, which has 25 bits; two factors of nine bits have 26."""
    assert -(2**24) <= -128 * 65537 < -(2**23) and -(2**25) <= -256 * 65537 < -(2**24)
    assert fits_slice(16, 8, 9, DELAYS["xc7"].factor) and not fits_slice(16, 9, 8, DELAYS["xc7"].factor)
    assert fits_slice(16, 9, 8, DELAYS["xcup"].factor) and not fits_slice(19, 9, 8, DELAYS["xcup"].factor)


# Designs.


def packed(net, pe, folder):
    return compile_to_folder(net, "test", dataclasses.replace(net.settings(pe), dsp_packing=True), folder)


DESIGNS = [(rtl_networks.windows, "8x8"), (rtl_networks.sums, "2x8")]


@pytest.mark.parametrize(("network", "pe"), DESIGNS, ids=[f"{n.__name__}-{pe}" for n, pe in DESIGNS])
def test_rtl_equals_the_integer_reference(network, pe, tmp_path):
    net = network()
    report = packed(net, pe, tmp_path / "design")
    check_design(net, tmp_path / "design")
    plain = rtl_networks.design(net, pe, tmp_path / "plain")
    assert report.cycles == plain.cycles
    oc, ic = map(int, pe.split("x"))
    fewer = {n: plain.multiplications[n] - count for n, count in report.multiplications.items()}
    assert fewer == {n: oc * ic // 2 if n == "mac" else 0 for n in fewer}


def test_a_family_whose_slices_hold_one_pair(tmp_path):
    net, folder = rtl_networks.windows(), tmp_path / "design"
    compile_to_folder(net, "test", dataclasses.replace(net.settings("4x4"), dsp_packing=True, family="xc7"), folder)
    check_design(net, folder)
    assert [p.stem for p in (folder / "rtl").glob("dot*.sv")] == ["dots1_9x8_16"], "sums of two pairs take 27 bits"


def test_a_deeper_target_whose_engine_reads_several_lane_patterns(tmp_path):
    net, folder = deeper_targets.network(), tmp_path / "design"
    settings = dataclasses.replace(deeper_targets.settings("strided", "layercam", "4x4"), dsp_packing=True)
    compile_to_folder(net, "test", settings, folder)
    wide = hardware(net, settings)["engine_mac"].inputs.count(4 * 4 * 8)
    assert wide == 3, "weights with their lanes in two orders, and biases of four lanes"
    simulator = Simulator(folder)
    reference, images = load_quantized(simulator.design), net.images(2)
    for image, cls, result in zip(images, (-1, 4), simulator.run(images, (-1, 4)), strict=True):
        check_outputs(result, reference, image, cls)
        assert result.heatmap.any()
        assert result.nest_cycles == nest_lengths(folder)


def test_a_lane_alone_has_a_product_of_its_own(tmp_path):
    net = rtl_networks.table()
    report = packed(net, "1x8", tmp_path / "packed")
    plain = rtl_networks.design(net, "1x8", tmp_path / "plain")
    assert report.multiplications == plain.multiplications


def test_a_design_without_the_borrow_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(product_builder, "high_product", upper_field)
    net = rtl_networks.table()
    packed(net, "4x4", tmp_path / "design")
    simulator, (image,) = Simulator(tmp_path / "design"), net.images(1)
    (result,) = simulator.run(image[None])
    with pytest.raises(GradcamError, match="in the integer reference"):
        check_outputs(result, load_quantized(simulator.design), image)


# Synthesis.


@pytest.mark.parametrize(("packing", "slices"), [(False, 16), (True, 8)])
def test_yosys_needs_half_the_dsp_slices(packing, slices):
    settings = dataclasses.replace(rtl_networks.table().settings("4x4"), dsp_packing=packing)
    count = dsp_count.synthesize(rtl_networks.table(), settings)
    assert count.products == slices
    assert count.total > slices, "the rescales of the epilogues"
