"""benchmarks/full_size.py: which figures it calls missed, its tables, and one small design all the way."""

import dataclasses

import designs
import full_size as benchmark
import pytest
import simulations
import torch
from msgspec.structs import replace
from torch import nn

from gradcam import models
from gradcam.images import Preprocessing
from gradcam.measure import Usage
from gradcam.schema.program import Core, Cycles, Nest, Program, WeightReads, WordReads
from gradcam.schema.report import Layer, Report

CYCLES = Cycles(load=10, inference=10_000, explanation=4, store=5, total=10_019)
LAYERS = (
    Layer("relu", "inference", (0, 1), 9000, 640, "conv2d", 2_300_000, 4000, 0.9983),
    Layer("fc", "inference", (2,), 1000, 64, "linear", 200_000, 100, 0.78),
    Layer("map", "explanation", (3,), 4, 16, None, 0, 0, None),
)
#: Of every nest the bytes that it reads, and its cycles without and with waiting.
READS = ((3000, 1000, 0), (3500, 500, 0), (5000, 100, 20), (400, 4, 3))
REPORT = Report(
    model="by hand",
    pe="16x16",
    multipliers=256,
    macs=2_500_000,
    cycles=CYCLES,
    overhead=0.0004,
    utilization=0.9766,
    memory_bytes={"bank0": 900_000, "bank1": 100_000, "weights": 5000, "biases": 300},
    block_rams={},
    packet_bytes={},
    activation_bytes=1_000_000,
    word_reads=WordReads(0, 0),
    multiplications={},
    layers=LAYERS,
    rounding=(),
    bits={},
    explains={},
    passes=(),
    quality=None,
)


def program(reads):
    """A program of which only what its nests read from DRAM is of interest."""
    nests = tuple(
        Nest(
            *("nest", "mac", "0", "inference", 16, (1,), 0, cycles + stalls, 0, 0, (), ()),
            *(WordReads(0, 0), None, None, weights),
        )
        for weights, cycles, stalls in (
            (WeightReads(n, 1, stalls, 0, 0), cycles, stalls) for n, cycles, stalls in reads
        )
    )
    rest = dict.fromkeys(("streams", "ports", "buffers"), ())
    core = Core("gradcam_core", (), {}, 0, 1, 0)
    files = {"memories": {}, "rtl": {}}
    rest |= {"preprocessing": Preprocessing.of(), "banks": {}, "dram": None, "clock_ns": None}
    return Program(top="gradcam_top", nests=nests, **rest, core=core, **files)


SIMULATED = simulations.Simulated(100, [9, 8, 7], [CYCLES] * 3, [""] * 3, 25, 1, "", True, 12_000)


USAGE = Usage(50.0, 5 * 10**9, 90.0)


def compiled(design=benchmark.MAIN, usage=USAGE, reads=READS, **changes):
    return designs.Compiled(design, replace(REPORT, **changes), program(reads), usage)


def at(design, **changes):
    return compiled(dataclasses.replace(benchmark.MAIN, **design), **changes)


GOOD = benchmark.Measurements(
    main=compiled(),
    arrays=[compiled(), at({"pe": "32x32"}, utilization=0.91)],
    growth=[compiled()],
    deeper=at({"target": "layer3"}, overhead=0.2),
    tinyml=compiled(benchmark.TINYML, utilization=0.98),
    nngen=[compiled(designs.Design(benchmark.NNGEN, "32x32")), compiled(designs.Design(benchmark.NNGEN))],
    simulated=SIMULATED,
)

MISSES = {
    "utilization, 16x16: 0.9490, asked >= 0.95": {"main": compiled(utilization=0.949)},
    "utilization, 32x32: 0.8900, asked >= 0.9": {"arrays": [compiled(), at({"pe": "32x32"}, utilization=0.89)]},
    "inference, layer4: 0.000501, asked <= 0.0005": {"main": compiled(overhead=0.000501)},
    "inference, layer3: 0.2200, asked <= 0.21": {"deeper": at({"target": "layer3"}, overhead=0.22)},
    "on chip, 16x16: 1.001 MB": {"main": compiled(activation_bytes=1_001_000)},
    "of a convolution, 16x16: 8.10": {"main": compiled(reads=[(8100, 1000, 0)])},
    "compile time: 60.5 s": {"main": compiled(usage=Usage(60.5, 1, 1.0))},
    "compile peak memory: 6.10 GB": {"main": compiled(usage=Usage(1.0, 6_100_000_000, 1.0))},
    "utilization of the shipped network, 16x16: 0.9600": {"tinyml": compiled(utilization=0.96)},
    "fewer than NNgen's, 16x16: 1.85 times": {
        "nngen": [compiled(designs.Design(benchmark.NNGEN), cycles=replace(CYCLES, total=155_000))]
    },
    "missed: logits and heatmap bit-exact: logits[3]": {"differences": ["", "logits[3] = 4", ""]},
    "simulated: 2 of 3, 10,019 of 10,019": {"cycles": [CYCLES, CYCLES, replace(CYCLES, inference=10_001)]},
    "nest by nest: nest 3 wrote": {"trace_difference": "nest 3 wrote relu[0] = 4"},
    "nest by nest: 0 equal": {"traced": 0},
    "stalls: DIFFERENT, 12,000 cycles": {"stalled_equal": False},
    "stalls: equal, 10,019 cycles": {"stalled_cycles": 10_019},
    "Verilator and g++: 151.0 s": {"build_seconds": 151},
    "in the simulator: 61.0 s": {"seconds": [1, 61, 1]},
}


def run(monkeypatch, capsys, measured, arguments=()):
    monkeypatch.setattr(benchmark, "measure", lambda images, say: measured)
    return benchmark.main(arguments), *capsys.readouterr()


def test_what_reaches_its_figures_ends_well(monkeypatch, capsys):
    code, out, err = run(monkeypatch, capsys, GOOD)
    assert (code, err) == (0, "")
    assert " NO " not in out and out.count(" yes ") == 16
    assert run(monkeypatch, capsys, dataclasses.replace(GOOD, simulated=None))[1].count(" yes ") == 10


@pytest.mark.parametrize("fault", MISSES)
def test_each_figure_can_be_missed(monkeypatch, capsys, fault):
    change = MISSES[fault]
    if set(change) <= {field.name for field in dataclasses.fields(SIMULATED)}:
        change = {"simulated": dataclasses.replace(SIMULATED, **change)}
    code, out, err = run(monkeypatch, capsys, dataclasses.replace(GOOD, **change))
    assert code == 1 and out.count(" NO ") == 1
    assert err.startswith("full_size: error: missed: ") and err.count("\n") == 1 and fault in err


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_the_tables_have_the_figures_of_the_reports():
    relu, fc, heatmap, whole = cells(benchmark.layer_table(GOOD.main))[2:]
    assert relu[:5] == ["relu", "inference", "2,300,000", "9,000", "0.9983"]
    assert relu[5:] == ["640", "4,000", "6,500", "7.00", "0"]
    assert fc[5:] == ["64", "100", "5,000", "50.00", "20"]
    assert heatmap == ["map", "explanation", "-", "4", "-", "16", "-", "400", "100.00", "3"]
    # The bandwidth that convolutions need; the classifier and the map wait.
    assert whole == ["whole design", "", "2,500,000", "10,019", "0.9766", "720", "4,100", "11,900", "7.00", "23"]
    assert cells(benchmark.layer_table(GOOD.main, ["explanation"]))[2:] == [heatmap, whole]
    row = ["32x32", "512 bit", "10,019", "23", "0.9100", "0.000400", "1,005,300", "1,000,000", "1024 / 512"]
    assert cells(benchmark.array_table(GOOD.arrays))[3] == row
    row = ["64", "224x224", "2,500,000", "10,019", "23", "0.9766", "1,005,300", "50.0", "5,000"]
    assert cells(benchmark.growth_table(GOOD.growth))[2] == row
    nngen, ours, _ = cells(benchmark.nngen_table(GOOD.nngen))[2:]
    assert nngen == ["NNgen", "DRAM", "144", "510,649", "73,533,456", "0.03", "1.00 times"]
    assert ours == ["32x32", "DRAM, 512 bit", "1024", "10,019", "10,259,456", "0.24", "7.17 times"]


@pytest.mark.parametrize(("pe", "bits"), [("16x16", 128), ("32x32", 512), ("8x16", 64), ("2x2", 8)])
def test_the_dram_follows_the_array(pe, bits):
    assert designs.Design(pe=pe).dram_width == bits


@pytest.mark.parametrize(("stem", "rate"), [("cifar", 0.48), ("imagenet", 0.04)])
def test_nngens_rate_is_that_of_the_small_stem(stem, rate):
    model, macs = models.resnet18(benchmark.NNGEN.width, benchmark.NNGEN.classes, stem).eval(), 0

    def count(module, _inputs, output):
        nonlocal macs
        macs += output.numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, 3, benchmark.NNGEN.side, benchmark.NNGEN.side))
    assert round(macs / benchmark.NNGEN_CYCLES / benchmark.NNGEN_MULTIPLIERS, 2) == rate


def test_a_small_design_all_the_way(tmp_path):
    design = designs.Design(designs.Network(width=4, side=32, classes=10), "4x4")
    shop = designs.Workshop(tmp_path)
    small = shop.compile(design)
    assert shop.compile(design) is small
    assert small.usage.seconds > 0 and small.usage.peak > 1e8
    assert small.waiting > 0 and 0 < small.bandwidth < 16  # bytes of a tile
    banks = [size for name, size in small.report.memory_bytes.items() if name.startswith("bank")]
    assert small.report.activation_bytes == sum(banks)
    assert cells(benchmark.layer_table(small))[-1][3] == f"{small.cycles.total:,}"
    simulated = simulations.simulate(shop.folder(design), 2)
    assert len(simulated.seconds) == 2
    assert [figure for figure in simulated.figures(small.cycles) if not figure.ok] == []


def test_a_network_that_cannot_be_made_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "MAIN", designs.Design(designs.Network(width=0)))
    assert benchmark.main([]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    stage, error = err.splitlines()
    assert stage == "full_size: compile width 0, 224x224 for 16x16, layer4"
    assert error == "full_size: error: networks: error: resnet18: width must be a positive integer, got 0"
    assert benchmark.main(["--simulate", "-1"]) == 1
    assert capsys.readouterr().err == "full_size: error: --simulate takes the number of images, 1 or more\n"
