"""Pixel loops: words of weights are read once per turn of all pixels, in RTL, and any pixel loops compute the same."""

import dataclasses
import json
from math import prod

import dram_checks
import numpy as np
import pytest
import schedules
from rtl_checks import check_design
from torch_mlir import ir

from gradcam.compiler import Compilation
from gradcam.design import Design
from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.output import compile_to_folder
from gradcam.passes.program.nest import read_nests
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.program.streams import word_reads
from gradcam.schema.schedule import read_schedule
from gradcam.sim import Simulator

#: Other turns in every nest: 3 columns, rows, a part of both, a whole map, tiles of output channels; none in layers.2.
BY_HAND = {
    "layers.2": ["oc", "y", "x", "ic", "ky", "kx"],
    "layers.5": ["oc", "y", "x/3", "ic", "ky", "kx", "x%3"],
    "layers.9": ["oc", "y/4", "x/3", "ky", "kx", "ic", "y%4", "x%3"],
    "layers.12": ["oc", "ic", "ky", "kx", "y", "x"],
    "explain.map": ["y", "x", "ic", "ky", "kx", "oc"],
}


@pytest.fixture(scope="module")
def small():
    net = schedules.network()
    return net, net.settings("4x4")


@pytest.mark.parametrize("weights", ["onchip", "dram"])
def test_rtl_with_pixel_loops_by_hand(small, weights, tmp_path):
    """Outputs bit for bit and cycles as predicted, with another number of turns in every nest of an engine."""
    net, settings = small
    settings = dataclasses.replace(settings, schedule=schedules.write(tmp_path / "s.json", BY_HAND))
    if weights == "dram":
        dram_checks.check_design(net, dram_checks.from_dram(settings, 32, 2), tmp_path / "design")
    else:
        compile_to_folder(net, "test", settings, tmp_path / "design")
        check_design(net, tmp_path / "design")
    found = schedules.chosen(read_schedule(tmp_path / "design/schedule.json"))
    assert {name: found[name] for name in BY_HAND} == BY_HAND


COUNTER = """
  integer reads_file;
  initial reads_file = $fopen("{path}", "w");
  always @(posedge clk) if (ren) $fwrite(reads_file, "r");
  final $fclose(reads_file);
endmodule
"""


@pytest.mark.parametrize("clock", [None, 100.0])
def test_words_that_the_rtl_reads_are_those_of_the_report(small, clock, tmp_path):
    net, settings = small
    settings = dataclasses.replace(settings, clock_mhz=clock)
    compile_to_folder(net, "test", settings, tmp_path / "design")
    program = Design.load(tmp_path / "design").program
    for name in program.banks:
        file = tmp_path / f"design/rtl/{name}.sv"
        head, _, rest = file.read_text().rpartition("endmodule")
        file.write_text(head + COUNTER.format(path=tmp_path / name) + rest)
    Simulator(tmp_path / "design", verify=False).run(net.images(1))
    reads = {name: (tmp_path / name).stat().st_size for name in program.banks}
    weights = [name for name in reads if name.startswith("weights")]
    written = {buffer.bank for buffer in program.buffers if buffer.bank}
    predicted = [nest.word_reads for nest in program.nests]
    assert sum(reads[name] for name in weights) == sum(n.weights for n in predicted)
    assert sum(reads[name] for name in written) == sum(n.activations for n in predicted)
    steps = sum(nest.steps for nest in program.nests if nest.word_reads.weights)
    assert 3 * sum(n.weights for n in predicted) < steps
    report = json.loads((tmp_path / "design/report.json").read_text())
    inference = [nest.word_reads for nest in program.nests if nest.phase == "inference"]
    assert report["word_reads"] == {
        "weights": sum(n.weights for n in inference),
        "activations": sum(n.activations for n in inference),
    }


def test_reads_are_changes_of_the_word(small):
    """A word of weights is read where it is another one than in the step before, in every step of every nest."""
    net, settings = small
    nests = ScheduledProgram.of(Compilation(net, settings).to("scheduled")).nests
    checked = 0
    for nest in nests:
        for access in nest.body.loads if nest.body else ():
            if any(isinstance(term, tuple) for term in access.index) or access.guards:
                continue
            points = np.indices([loop.trip for loop in nest.loops]).reshape(len(nest.loops), -1)
            index = sum(access.index.get(loop.iv, 0) * p for loop, p in zip(nest.loops, points, strict=True))
            changes = 1 + np.count_nonzero(np.diff(index)) if nest.steps > 1 else 1
            assert changes <= word_reads(nest, access) <= nest.steps
            if nest.pixels and access.index.keys().isdisjoint({loop.iv for loop in nest.pixels}):
                assert changes == word_reads(nest, access) == nest.steps // prod(loop.trip for loop in nest.pixels)
                checked += 1
    assert checked >= 3


REFUSED = [
    (["ic", "ky", "kx", "oc", "y", "x"], "leaves no loop over outputs outside of the reduction loops"),
    (["oc", "y", "ic", "x", "ky", "kx"], "which the loop x between them would set to another output"),
]


@pytest.mark.parametrize(("loops", "message"), REFUSED)
def test_pixel_loops_that_cannot_be(small, loops, message, tmp_path):
    net, settings = small
    file = schedules.write(tmp_path / "s.json", {"layers.5": loops})
    with pytest.raises(GradcamError, match=message):
        Compilation(net, dataclasses.replace(settings, schedule=file)).to("scheduled")


NEST = """
memref.global "private" constant @w : memref<3x2xi8> = dense<1>
func.func @main(%x: memref<4x6xi8>, %out: memref<4x6x2xi8>) {{
  %zero = arith.constant 0 : i8
  %w = memref.get_global @w : memref<3x2xi8>
  %acc = memref.alloca() : memref<6x2xi8>
  affine.for %y = 0 to 4 {{
    affine.for %p = 0 to {first} {{
      affine.parallel (%l) = (0) to (2) {{ affine.store %zero, %acc[{index}, %l] : memref<6x2xi8> }}
    }}
    affine.for %k = 0 to 3 {{
      affine.for %p = 0 to 6 {{
        affine.parallel (%l) = (0) to (2) {{
          %a = affine.load %acc[{inner}, %l] : memref<6x2xi8>
          %v = affine.load %w[%k, %l] : memref<3x2xi8>
          %s = arith.addi %a, %v : i8
          affine.store %s, %acc[%p, %l] : memref<6x2xi8>
        }}
      }}
    }}
    affine.for %p = 0 to 6 {{
      affine.parallel (%l) = (0) to (2) {{
        %a = affine.load %acc[%p, %l] : memref<6x2xi8>
        affine.store %a, %out[%y, %p, %l] : memref<4x6x2xi8>
      }}
    }}
  }}
  return
}}
"""


def test_a_nest_with_pixel_loops_is_read():
    with make_context():
        module = ir.Module.parse(NEST.format(first=6, index="%p", inner="%p"))
    (nest,) = read_nests(module)
    assert [len(loops) for loops in (nest.outer, nest.reduction, nest.pixels)] == [1, 1, 1]
    assert (nest.turns, nest.steps, nest.accumulators[0].lanes) == (6, 4 * 3 * 6, 2)
    # The outputs of row y are made in the last 6 of its 18 steps.
    assert nest.output_steps(np.arange(24)).tolist() == [18 * y + 12 + p for y in range(4) for p in range(6)]
    (store,) = nest.stores
    assert {loop.iv: store.index[loop.iv] for loop in nest.outputs} == {nest.outer[0].iv: 12, nest.pixels[0].iv: 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": 5}, "must be the same around the accumulators, the body and the epilogue"),
        ({"index": "0"}, "must have a dimension for every loop over pixels"),
        ({"inner": "%k"}, "must have a dimension for every loop over pixels"),
    ],
)
def test_pixel_loops_that_differ_are_refused(change, message):
    with make_context(), pytest.raises(GradcamError, match=message):
        read_nests(ir.Module.parse(NEST.format(**{"first": 6, "index": "%p", "inner": "%p"} | change)))
