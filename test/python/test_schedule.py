"""Schedules: random legal orders compute the same, illegal ones are refused by dependence, files are replayed."""

import dataclasses
import json
import re

import numpy as np
import pytest
import rtl_networks
import schedules
import test_dram
import test_rtl
import torch
from rtl_networks import random_network
from torch_mlir import ir

from gradcam.compiler import Compilation, Settings
from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.jit import run_affine
from gradcam.output import compile_to_folder
from gradcam.passes.nest import nests
from gradcam.passes.pass_manager import PassManager
from gradcam.reference.integer import run_integer
from gradcam.schedule import describe_schedule, schedule_text

torch.set_num_threads(1)


def compiled(net, settings, images=()):
    """The scheduled module, and what the integer reference gives for the images."""
    wanted = []

    def quantized(module):
        wanted.extend(run_integer(module, image[None], -1) for image in images)

    return Compilation(settings).run(net, "scheduled", {"quantized": quantized}), wanted


def with_schedule(net, settings, path, loops, **more):
    return compiled(net, dataclasses.replace(settings, schedule=schedules.write(path, loops, **more)))[0]


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
    module, wanted = compiled(net, settings, images)
    loops = schedules.random_loops(describe_schedule(module), np.random.default_rng(seed))
    legal, refused = {}, {}
    for name, order in loops.items():
        try:
            with_schedule(net, settings, tmp_path / "one.json", {name: order})
        except GradcamError as error:
            refused[name] = str(error)
        else:
            legal[name] = order
    changed = with_schedule(net, settings, tmp_path / "all.json", legal)
    assert schedules.chosen(describe_schedule(changed)) | legal == schedules.chosen(describe_schedule(changed))
    assert legal != {n: schedules.chosen(describe_schedule(module))[n] for n in legal}
    check_same(changed, images, wanted)
    for name, message in refused.items():
        assert re.search(f"the schedule of '{re.escape(name)}'.*(violates a dependence: from |computes with)", message)


#: Nests, an order that violates a dependence, what is said of it, and one that does not.
DEPENDENCES = {
    "sum": (
        """
        affine.for %y = 0 to 4 {
          affine.for %x = 0 to 4 {
            affine.parallel (%l) = (0) to (1) { affine.store %zero, %sum[%l] : memref<1xi32> }
            affine.for %k = 0 to 3 {
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
        ["y", "ic", "x"],
        "from the store of an accumulator in one iteration of ic to its load in the next, which the loop x between them "
        "would set to another output",
        ["x%2", "y", "x/2", "ic"],
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
        monkeypatch.setattr("gradcam.passes.choose_schedule.violation", lambda nest, parts: None)
        assert not np.array_equal(scheduled_text(nest, tmp_path / "s.json", illegal), wanted), "it was refused rightly"
