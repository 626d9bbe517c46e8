"""Weights from DRAM: the same outputs as with weights on chip, and the cycles of an ideal DRAM to the cycle."""

import dataclasses
import os
import re
import shutil

import deeper_targets
import numpy as np
import pytest
import rtl_networks
from dram_checks import check_design, from_dram

from gradcam.compiler import Compilation, Settings
from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.jit import run_affine
from gradcam.output import compile_to_folder
from gradcam.reference.integer import run_integer
from gradcam.schema.derived import dram_reads
from gradcam.schema.schedule import read_schedule
from gradcam.sim import DramModel, Simulator
from gradcam.sim.check import check_outputs
from gradcam.sim.trace import load_quantized

#: Words of one beat and of more beats than a burst has, wide and narrow, one read under way and many. All but the first
#: only when GRADCAM_FUZZ_RTL is set.
DESIGNS = [
    (rtl_networks.windows, "8x8", 64, 3),
    (rtl_networks.table, "4x4", 128, 2),
    (rtl_networks.sums, "4x4", 8, 1),
    (rtl_networks.wide, "16x8", 1024, 3),
    (rtl_networks.point, "4x16", 32, 16),
    (rtl_networks.flat, "4x8", 256, 2),
    (rtl_networks.last_layer, "32x32", 16, 2),
]


@pytest.mark.parametrize(
    ("network", "pe", "width", "outstanding"), DESIGNS, ids=[f"{d[0].__name__}-{d[1]}" for d in DESIGNS]
)
def test_outputs_and_cycles(network, pe, width, outstanding, tmp_path):
    if (network, pe, width, outstanding) in DESIGNS[1:] and not int(os.environ.get("GRADCAM_FUZZ_RTL", "0")):
        pytest.skip("takes long; GRADCAM_FUZZ_RTL=1 runs it")
    net = network()
    check_design(net, from_dram(net.settings(pe), width, outstanding), tmp_path / "design")


@pytest.mark.parametrize(
    ("target", "clock"), [("norm", {}), ("last", {"clock_mhz": 300, "family": "xcup"})], ids=["norm", "last-clock"]
)
def test_outputs_and_cycles_of_a_deeper_target(target, clock, tmp_path):
    """With a clock, a class picks the rows of the last one, whose address takes cycles more."""
    settings = dataclasses.replace(deeper_targets.settings(target, "gradcam", "4x4"), **clock)
    check_design(deeper_targets.network(), from_dram(settings, 32, 4), tmp_path / "design")


@pytest.mark.parametrize("target", ["norm", "block", "last"])
def test_the_weight_stream_computes_the_same(target):
    """Transposed blocks, taps of a stride and rows of a class, as IR."""
    net = deeper_targets.network()
    images = net.images(2)
    pe = ("4x4", "8x2", "2x8")[list(deeper_targets.TARGETS).index(target) % 3]
    settings = from_dram(deeper_targets.settings(target, "gradcam", pe), 8)
    compilation = Compilation(net, settings)
    quantized = compilation.to("quantized")
    wanted = [run_integer(quantized, x[None], c) for x, c in zip(images, (-1, 4), strict=True)]
    module = compilation.to("scheduled")
    for image, cls, (logits, heatmap) in zip(images, (-1, 4), wanted, strict=True):
        found = run_affine(module, np.ascontiguousarray(image.transpose(1, 2, 0)), np.array([cls], np.int32))
        assert np.array_equal(found[0], logits[0]) and np.array_equal(found[1], heatmap[0])


# What must be noticed.


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A network and its design; tests copy the folder before they change it."""
    net, folder = rtl_networks.table(), tmp_path_factory.mktemp("small") / "design"
    report = compile_to_folder(net, "test", from_dram(net.settings("4x4")), folder)
    Simulator(folder)  # built once, also for the copies
    return net, folder, report


@pytest.fixture
def copy(small, tmp_path):
    return shutil.copytree(small[1], tmp_path / "copy")


def test_a_changed_byte_of_the_weight_stream_is_noticed(small, copy):
    net, weight_stream = small[0], copy / "mem/weights.bin"
    data = bytearray(weight_stream.read_bytes())
    data[next(i for i, byte in enumerate(data) if byte)] ^= 64
    weight_stream.write_bytes(data)
    with pytest.raises(GradcamError, match=r"mem/weights.bin is truncated or was changed"):
        Simulator(copy)
    simulator = Simulator(copy, verify=False)
    image = net.images(1)[0]
    (result,) = simulator.run(image[None])
    with pytest.raises(GradcamError, match="in the integer reference"):
        check_outputs(result, load_quantized(simulator.design), image)


def test_a_failed_read_is_reported(small):
    with pytest.raises(GradcamError, match="a read of the DRAM was answered with an error"):
        Simulator(small[1]).run(small[0].images(1), dram=DramModel(fault=7))


#: A field of a read, a wrong value, and what is said. One design has them all: the class that is asked for picks.
MISTAKES = [
    ("arburst", "2'h0", "is no burst of type INCR"),
    ("arsize", "3'h2", "has beats of another size than the data"),
    ("araddr", "araddr + 3968", "the read of 256 bytes at 3968 crosses a boundary of 4096 bytes"),
    ("araddr", "araddr + 4", "does not start at a beat"),
    ("araddr", "araddr + 65536", "goes past the end of the DRAM"),
]


def test_reads_that_break_the_protocol_are_found(small, copy):
    net, top = small[0], copy / "rtl/gradcam_top.sv"
    # Only ports are named: the class that is asked for when a run starts picks what the ports of the DRAM say instead.
    ports, end, body = top.read_text().partition(");")
    added = "  reg [31:0] asked;\n  always @(posedge clk) if (start) asked <= class_select;\n"
    for width, field in ((32, "araddr"), (3, "arsize"), (2, "arburst")):
        chosen = field
        for i, (name, value, _) in enumerate(MISTAKES):
            chosen = f"asked == {i} ? {value} : {chosen}" if name == field else chosen
        body = f"\n  wire [{width - 1}:0] {field};" + re.sub(rf"\bdram_{field}\b", field, body)
        added += f"  assign dram_{field} = {chosen};\n"
    top.write_text(ports + end + body.replace("endmodule", added + "endmodule"))
    simulator = Simulator(copy, verify=False)
    (result,) = simulator.run(net.images(1))
    check_outputs(result, load_quantized(simulator.design), net.images(1)[0])
    for cls, (_, _, message) in enumerate(MISTAKES):
        with pytest.raises(GradcamError, match=message):
            simulator.run(net.images(1), cls)


# What is written, and what is refused.


def test_the_output_folder(small):
    net, folder, report = small
    assert not (folder / "mem/weights.hex").exists()
    assert report.memory_bytes["weights"] == 16 * read_schedule(folder / "schedule.json").ring < 16 * 128 < 16 * 129
    program = Design.load(folder).program
    reads = {read.nest.name: read for read in dram_reads(program)}
    convolution = reads["layers.2"]
    # Three channels in one tile of 4, ten outputs in three: 27 words of 16 bytes, a step for each of 72 pixels. No step
    # waits for the image: the first kernel row lies in the padding, and later ones are there in time.
    assert convolution.weights.bytes == 27 * 16 and convolution.cycles == 27 * 72 + 7
    assert convolution.bytes_per_cycle == round(27 * 16 / (27 * 72 + 7), 4)
    assert "dram, layers.2 " in (folder / "report.txt").read_text()
    onchip = compile_to_folder(net, "test", net.settings("4x4"), folder.parent / "onchip")
    assert Design.load(folder.parent / "onchip").program.dram is None
    assert onchip.cycles.inference == report.cycles.inference - sum(
        read.weights.stall_cycles for read in reads.values() if read.nest.name != "explain.map"
    )
    assert program.dram.width == 64


def refusal(**changes) -> str:
    net = rtl_networks.table()
    with pytest.raises(GradcamError) as caught:
        Compilation(net, dataclasses.replace(net.settings("4x4"), **changes)).to("scheduled")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_fit_is_refused():
    word = "a weight word of 16 x 8 = 128 bits"
    assert f": a DRAM width of 256 bits does not divide {word}" in refusal(weights="dram", dram_width=256)
    limit = refusal(max_onchip_bytes=1000)
    assert ": the memories on chip take " in limit and "more than the 1,000 allowed: weights 2,064, " in limit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "flash"}, "weights must be one of onchip, dram, resident, got 'flash'"),
        ({"dram_width": 96}, "a DRAM width must be a power of two from 8 to 1024 bits, got 96"),
        ({"dram_width": 2048}, "a DRAM width must be a power of two from 8 to 1024 bits, got 2048"),
        (
            {"dram_outstanding": 0},
            "a DRAM takes 1 to 1024 outstanding reads and 1 to 1048576 cycles of latency; got 0, 64",
        ),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(GradcamError) as caught:
        Settings("layer4", **change)
    assert str(caught.value) == message


def test_impossible_drams_are_refused():
    for wrong in ({"latency": 0}, {"interval": 0}, {"stall": 1.0}):
        with pytest.raises(GradcamError):
            DramModel(**wrong)
