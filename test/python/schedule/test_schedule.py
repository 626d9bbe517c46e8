"""Schedules: random legal orders compute the same, illegal ones are refused by dependence, files are replayed."""

import dataclasses
import json
import re
from types import SimpleNamespace

import dram_checks
import numpy as np
import pytest
import schedules
import torch
from rtl_checks import check_design
from rtl_networks import random_network
from torch import nn
from torch_mlir import ir

from gradcam.compiler import Compilation
from gradcam.design import Design
from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.jit import run_affine
from gradcam.output import compile_to_folder
from gradcam.passes.infra.pass_manager import PassManager
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.schedule import narrow_memories
from gradcam.passes.schedule.limit_memory import memory_sizes
from gradcam.passes.schedule.time_loops import nest_names
from gradcam.program import describe_program
from gradcam.reference.integer import run_integer
from gradcam.schedule import describe_schedule
from gradcam.schema.schedule import read_schedule


def check_same(module, images, wanted):
    for image, outputs in zip(images, wanted, strict=True):
        arguments = [np.ascontiguousarray(image.transpose(1, 2, 0))]
        arguments += [np.array([-1], np.int32)] * (len(outputs) > 1)
        for got, expected in zip(run_affine(module, *arguments), outputs, strict=True):
            assert np.array_equal(got, expected[0])


# Legal and illegal orders.


@pytest.mark.parametrize("seed", range(6))
def test_random_legal_orders_compute_the_same(seed, tmp_path):
    """Nest by nest: an order is refused for a dependence, or it computes what the integer reference does."""
    net, pe = random_network(seed)
    settings, images = net.settings(pe), net.images(2)
    if seed % 2:
        settings = dataclasses.replace(settings, weights="dram", dram_width=8)
    compilation = Compilation(net, settings)
    quantized = compilation.to("quantized")
    wanted = [run_integer(quantized, image[None], -1) for image in images]
    affine = schedules.affine(compilation)
    module = schedules.scheduled(affine, settings)
    found = describe_schedule(ScheduledProgram.of(module))
    legal, refused = {}, {}
    for name, order in schedules.random_loops(module, np.random.default_rng(seed)).items():
        file = schedules.write(tmp_path / "one.json", {name: order})
        try:
            schedules.scheduled(affine, dataclasses.replace(settings, schedule=file))
        except GradcamError as error:
            refused[name] = str(error)
        else:
            legal[name] = order
    file = schedules.write(tmp_path / "all.json", legal)
    changed = schedules.scheduled(affine, dataclasses.replace(settings, schedule=file))
    assert (
        schedules.chosen(describe_schedule(ScheduledProgram.of(changed)))
        == schedules.chosen(found) | legal
        != schedules.chosen(found)
    )
    check_same(changed, images, wanted)
    for name, message in refused.items():
        assert re.search(
            f"the schedule of '{re.escape(name)}'.*(violates a dependence: from |computes with|leaves no loop)", message
        )


#: Nests, an order that violates a dependence, what is said of it, and one that does not.
DEPENDENCES = {
    "sum": (
        """
        affine.for %y = 0 to 4 {
          affine.for %x = 0 to 4 {
            affine.parallel (%l) = (0) to (1) { affine.store %zero, %sum[%l] : memref<1xi32> }
            affine.for %k = 0 to 4 {
              affine.parallel (%l) = (0) to (1) {
                %a = affine.load %w[%x + %k] : memref<8xi32>
                %b = affine.load %sum[%l] : memref<1xi32>
                %c = arith.addi %a, %b : i32
                affine.store %c, %sum[%l] : memref<1xi32>
              }
            }
            affine.parallel (%l) = (0) to (1) {
              %r = affine.load %sum[%l] : memref<1xi32>
              affine.store %r, %out[%y, %x] : memref<4x4xi32>
            }
          }
        } loc("nest")""",
        ["y", "ic/2", "x", "ic%2"],
        "from the store of an accumulator in one iteration of ic/2 to its load in the next, which the loop x between "
        "them would set to another output",
        ["x%2", "y", "ic", "x/2"],
    ),
    "accumulator": (
        """
        affine.for %o = 0 to 1 {
          affine.parallel (%l) = (0) to (1) { affine.store %zero, %sum[%l] : memref<1xi32> }
          affine.for %y = 0 to 4 {
            affine.for %x = 0 to 4 {
              affine.parallel (%l) = (0) to (1) {
                %a = affine.load %m[%y, %x] : memref<4x4xi32>
                %b = affine.load %sum[%l] : memref<1xi32>
                %c = arith.subi %a, %b : i32
                affine.store %c, %sum[%l] : memref<1xi32>
              }
            }
          }
          affine.parallel (%l) = (0) to (1) {
            %r = affine.load %sum[%l] : memref<1xi32>
            affine.store %r, %out[0, 0] : memref<4x4xi32>
          }
        } loc("nest")""",
        ["d0", "kx", "ky"],
        "from the store of an accumulator at (ky=0, kx=3) to its load at (ky=1, kx=0), which is neither a sum nor a "
        "maximum",
        ["d0", "ky/2", "ky%2", "kx"],
    ),
    "diagonal": (
        """
        affine.for %y = 0 to 3 {
          affine.for %x = 0 to 3 {
            affine.parallel (%l) = (0) to (1) {
              %a = affine.load %m[%y, %x + 1] : memref<4x4xi32>
              %b = arith.muli %a, %a : i32
              affine.store %b, %m[%y + 1, %x] : memref<4x4xi32>
            }
          }
        } loc("nest")""",
        ["x", "y"],
        "from the store at (y=0, x=1) to the load at (y=1, x=0) of element 5 of the buffer 'map'",
        None,
    ),
    "last store": (
        """
        affine.for %y = 0 to 2 {
          affine.for %x = 0 to 3 {
            affine.parallel (%l) = (0) to (1) {
              %a = affine.load %m[%y, %x] : memref<4x4xi32>
              affine.store %a, %out[0, %y + %x] : memref<4x4xi32>
            }
          }
        } loc("nest")""",
        ["d1", "x"],
        "from the store at (x=0, d1=1) to the store at (x=1, d1=0) of element 1 of the buffer 'result'",
        None,
    ),
}

_FRAME = """
func.func @main(%image: memref<4x4xi32>, %sent: memref<4x4xi32>) {{
  %zero = arith.constant 0 : i32
  %w = memref.alloc() : memref<8xi32>
  %sum = memref.alloca() : memref<1xi32>
  %m = memref.alloc() : memref<4x4xi32> loc("map")
  %out = memref.alloc() : memref<4x4xi32> loc("result")
  affine.for %y = 0 to 4 {{
    affine.for %x = 0 to 4 {{
      affine.parallel (%l) = (0) to (1) {{
        %v = affine.load %image[%y, %x] : memref<4x4xi32>
        affine.store %v, %m[%y, %x] : memref<4x4xi32>
        affine.store %v, %out[%y, %x] : memref<4x4xi32>
      }}
    }}
  }} loc("image")
  affine.for %x = 0 to 8 {{
    affine.parallel (%l) = (0) to (1) {{
      %a = arith.index_cast %x : index to i32
      affine.store %a, %w[%x] : memref<8xi32>
    }}
  }} loc("ramp")
  {nest}
  affine.for %y = 0 to 4 {{
    affine.for %x = 0 to 4 {{
      affine.parallel (%l) = (0) to (1) {{
        %a = affine.load %m[%y, %x] : memref<4x4xi32>
        %b = affine.load %out[%y, %x] : memref<4x4xi32>
        %c = arith.subi %a, %b : i32
        affine.store %c, %sent[%y, %x] : memref<4x4xi32>
      }}
    }}
  }} loc("sent")
  return
}}
"""


def scheduled_text(nest, path, loops):
    with make_context():
        module = ir.Module.parse(_FRAME.format(nest=nest))
        file = schedules.write(path, {"nest": loops} if loops else {})
        PassManager.parse(f"gradcam-choose-schedule{{file='{file}'}}").run(module)
        return run_affine(module, np.arange(16, dtype=np.int32).reshape(4, 4) ** 2)[0]


@pytest.mark.parametrize("kind", DEPENDENCES)
def test_dependences_by_hand(kind, tmp_path, monkeypatch):
    nest, illegal, message, legal = DEPENDENCES[kind]
    wanted = scheduled_text(nest, tmp_path / "s.json", None)
    if legal:
        assert np.array_equal(scheduled_text(nest, tmp_path / "s.json", legal), wanted)
    with pytest.raises(GradcamError) as caught:
        scheduled_text(nest, tmp_path / "s.json", illegal)
    said = f"the schedule of 'nest', {', '.join(illegal)}, violates a dependence: "
    assert str(caught.value).endswith(said + message)
    if kind != "sum":  # which has no such form
        monkeypatch.setattr("gradcam.passes.schedule.choose_schedule.violation", lambda nest, parts: None)
        assert not np.array_equal(scheduled_text(nest, tmp_path / "s.json", illegal), wanted), "it was refused rightly"


# Files.


@pytest.fixture(scope="module")
def small():
    """A network, its settings, and the steps of its nests."""
    net = schedules.network()
    nests_ = describe_program(ScheduledProgram.of(compiled(net, net.settings("4x4")))).nests
    return net, net.settings("4x4"), [(nest.name, nest.steps) for nest in nests_]


def compiled(net, settings):
    return Compilation(net, settings).to("scheduled")


@pytest.mark.parametrize("weights", ["onchip", "dram"])
def test_a_schedule_is_replayed(small, weights, tmp_path):
    net, settings, _ = small
    settings = dataclasses.replace(settings, weights=weights, dram_width=32 if weights == "dram" else None)
    compile_to_folder(net, "test", settings, tmp_path / "first")
    file = tmp_path / "first/schedule.json"
    compile_to_folder(net, "test", dataclasses.replace(settings, schedule=file), tmp_path / "again")
    for name in ("program.json", "schedule.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
    changed = json.loads(file.read_text())
    changed["nests"]["layers.2"]["loops"] = ["y", "oc", "x", "ic", "ky", "kx"]
    assert ("ring" in changed) == (weights == "dram")
    if weights == "dram":
        changed["ring"] += 50
    module = compiled(net, dataclasses.replace(settings, schedule=schedules.write_json(tmp_path / "s.json", changed)))
    found = describe_schedule(ScheduledProgram.of(module))
    assert schedules.chosen(found)["layers.2"] == changed["nests"]["layers.2"]["loops"]
    assert (
        next(nest.stationary for nest in describe_program(ScheduledProgram.of(module)).nests if nest.name == "layers.2")
        == "weights"
    )
    assert found.ring == changed.get("ring")


#: Outer loops interchanged, loops tiled inside and out, reductions permuted and tiled; `explain.map` by columns.
BY_HAND = {
    "layers.2": ["y/4", "oc", "y%4", "x", "kx", "ic", "ky"],
    "layers.5": ["x", "y", "oc", "ky", "kx", "ic"],
    "layers.9": ["oc", "x/2", "y/2", "y%2", "x%2", "kx", "ky", "ic"],
    "layers.10": ["x", "d3", "oc", "y", "kx", "ky"],
    "layers.12": ["y%2", "oc", "x", "y/2", "ic", "kx", "ky"],
    "layers.13": ["x", "oc", "y", "d3", "kx", "ky/2", "ky%2"],
    "explain.map": ["x", "y", "oc", "kx", "ky", "ic"],
}


@pytest.mark.parametrize("weights", ["onchip", "dram"])
def test_rtl_of_a_schedule_by_hand(small, weights, tmp_path):
    """Outputs bit for bit, cycles as predicted, nest by nest, with the smallest ring there can be: 81 words and 16."""
    net, settings, steps = small
    file = schedules.write(tmp_path / "s.json", BY_HAND, stem=[1, 1], **({"ring": 97} if weights == "dram" else {}))
    settings = dataclasses.replace(settings, schedule=file)
    if weights == "dram":
        settings = dram_checks.from_dram(settings, 32, 2)
        smaller = schedules.write(tmp_path / "smaller.json", BY_HAND, ring=96)
        with pytest.raises(GradcamError, match="a ring of 96 words cannot be: a tile and a burst take 97"):
            compiled(net, dataclasses.replace(settings, schedule=smaller))
        dram_checks.check_design(net, settings, tmp_path / "design")
    else:
        compile_to_folder(net, "test", settings, tmp_path / "design")
        check_design(net, tmp_path / "design")
    written = read_schedule(tmp_path / "design/schedule.json")
    assert all(schedules.chosen(written)[name] == loops for name, loops in BY_HAND.items())
    assert [(nest.name, nest.steps) for nest in Design.load(tmp_path / "design").program.nests] == steps
    assert written.ring == (97 if weights == "dram" else None)


# What is chosen.


def test_a_limit_on_memory_makes_the_ring_smaller(small):
    net, settings, _ = small
    settings = dataclasses.replace(settings, weights="dram", dram_width=32)
    module = compiled(net, settings)
    # Of the 45 words with which nothing waits, 43 are needed: a tile and a burst.
    free, limit = describe_schedule(ScheduledProgram.of(module)).ring, onchip_bytes(module) - 16
    module = compiled(net, dataclasses.replace(settings, max_onchip_bytes=limit))
    assert describe_schedule(ScheduledProgram.of(module)).ring == free - 1 == 44 and onchip_bytes(module) == limit
    with pytest.raises(GradcamError, match="the memories on chip take "):
        compiled(net, dataclasses.replace(settings, max_onchip_bytes=limit - 16 * (free - 1 - 43) - 1))


def test_the_ring_has_no_word_too_many(small, tmp_path, monkeypatch):
    """With words of one read, for a ring of another size may be worth another number of them."""
    monkeypatch.setattr(narrow_memories, "MOST", 1)
    net, settings, _ = small
    settings = dataclasses.replace(settings, weights="dram", dram_width=32)
    module = compiled(net, settings)
    file = schedules.write_json(tmp_path / "s.json", {"ring": describe_schedule(ScheduledProgram.of(module)).ring - 1})
    smaller = compiled(net, dataclasses.replace(settings, schedule=file))
    assert total_cycles(smaller) > total_cycles(module)
    file = schedules.write_json(
        tmp_path / "s.json", {"ring": 128}
    )  # a power of two, with room for any two tiles in a row
    larger = compiled(net, dataclasses.replace(settings, schedule=file))
    assert total_cycles(larger) == total_cycles(module)


def test_cycles_and_engines_do_not_depend_on_the_values_of_weights():
    def nests(change):
        net = schedules.network()
        with torch.no_grad():
            change(net)
        program = describe_program(ScheduledProgram.of(compiled(net, net.settings("4x4"))))
        return [(nest.name, nest.engine, nest.trips, nest.start, nest.end) for nest in program.nests]

    def clear(net):
        *_, last = (layer for layer in net.layers if isinstance(layer, nn.Conv2d))
        last.weight.zero_()
        last.bias.zero_()

    assert nests(clear) == nests(lambda net: None)


def onchip_bytes(module):
    with module.context:
        return sum(memory_sizes(ScheduledProgram(module)).values())


def total_cycles(module):
    return ir.IntegerAttr(ir.DictAttr(module.operation.attributes["gradcam.cycles"])["total"]).value


@pytest.mark.parametrize(
    ("own", "names"),
    [
        (["a", "a", "b", "a"], ["a", "a.2", "b", "a.3"]),
        (["a.2", "a", "a", "a"], ["a.2", "a", "a.3", "a.4"]),  # a module of a Sequential may be called so
        (["a", "a", "a.2", "a.2"], ["a", "a.3", "a.2", "a.2.2"]),
    ],
)
def test_nests_of_one_name_get_numbers_that_no_other_nest_has(own, names):
    assert nest_names([SimpleNamespace(name=name) for name in own]) == names
