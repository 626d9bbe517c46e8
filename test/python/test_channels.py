"""Concatenations, slices and permutations of channels through every level, against autograd and the level before."""

from __future__ import annotations

from dataclasses import replace

import dram_checks
import numpy as np
import pytest
from channel_networks import NETWORKS, branches, growing
from level_checks import check_derived
from rtl_checks import check_design
from rtl_networks import Cat, Network
from torch import nn
from torch_mlir import ir

from gradcam.compiler import Compilation, Settings
from gradcam.dialect import make_context
from gradcam.dialect.channel_ops import ConcatOp
from gradcam.jit import compile_affine, compile_linalg
from gradcam.output import compile_to_folder
from gradcam.passes.ir.queries import main_function
from gradcam.passes.program.nest import read_nests
from gradcam.quant_types import scale
from gradcam.reference.integer import run_integer

METHODS = ("gradcam", "hirescam", "layercam")
CASES = [(name, target) for name, (_, targets) in NETWORKS.items() for target in targets]


@pytest.mark.parametrize(("name", "target"), CASES)
def test_maps_are_those_of_autograd_in_f64(name, target):
    net = NETWORKS[name][0]()
    for method in METHODS:
        check_derived(net, target, method, rtol=1e-4, atol=1e-5)


# The integers.


def reference(scale_of_y: str) -> list[np.ndarray]:
    """The concat of an image of scale 0.5 with itself, of scale `scale_of_y`, then channels 3, none and 0."""
    x, y = (f"x1x2x!quant.uniform<i8:f32, {s}>>" for s in ("5.0e-01", scale_of_y))
    text = f"""func.func @main(%image: tensor<1x2{x}) -> (tensor<1x4{y}, tensor<1x3{y}) {{
      %z = "gradcam.concat"(%image, %image) : (tensor<1x2{x}, tensor<1x2{x}) -> tensor<1x4{y}
      %t = "gradcam.take_channels"(%z) {{order = [3, -1, 0]}} : (tensor<1x4{y}) -> tensor<1x3{y}
      return %z, %t : tensor<1x4{y}, tensor<1x3{y}
    }}"""
    with make_context():
        return run_integer(ir.Module.parse(text), np.array([[[[-128, 7]], [[127, -3]]]], np.int8))


def test_the_integers_by_hand():
    z, t = reference("5.0e-01")
    assert z[0, :, 0].tolist() == [[-128, 7], [127, -3], [-128, 7], [127, -3]]
    assert t[0, :, 0].tolist() == [[127, -3], [0, 0], [-128, 7]]
    # 0.5 / 0.4 is 20480 / 2^14: -128 * 1.25 saturates, 7 * 1.25 = 8.75 and -3 * 1.25 = -3.75 are rounded.
    z, t = reference("4.0e-01")
    assert z[0, :2, 0].tolist() == [[-128, 9], [127, -4]] and t[0, 0, 0].tolist() == [127, -4]


def levels(net: Network, target: int, method: str, pe: str) -> tuple[Compilation, ir.Module]:
    compilation = Compilation(net, Settings(f"layers.{target}", method, pe, range_choice="max"))
    return compilation, compilation.to("quantized")


@pytest.mark.parametrize(("name", "target"), CASES)
def test_every_level_equals_the_integer_reference(name, target):
    net, number = NETWORKS[name][0](), CASES.index((name, target))
    pe, method = ("4x4", "8x8", "4x8", "8x4")[number % 4], METHODS[number % 3]
    compilation, quantized = levels(net, target, method, pe)
    images = net.images(2)
    wanted = [run_integer(quantized, image[None]) for image in images]
    assert len(np.unique(wanted[0][1])) > 3
    runs = [compile_linalg(compilation.to("linalg"), 0), compile_affine(compilation.to("scheduled"), 2, 0)]
    for run in runs:
        for image, outputs in zip(images, wanted, strict=True):
            found = run(np.ascontiguousarray(image.transpose(1, 2, 0)), np.array([-1], np.int32))
            for got, exact in zip(found, outputs, strict=True):
                np.testing.assert_array_equal(got, exact[0])


def test_parts_are_stored_at_the_scale_of_the_whole():
    _, quantized = levels(branches(), 7, "gradcam", "4x4")
    joins = [op for op in main_function(quantized).entry_block.operations if isinstance(op, ConcatOp)]
    assert joins and all(scale(part) == scale(op.z) for op in joins for part in op.operands)


@pytest.mark.parametrize(("network", "target", "copied"), [(branches, 7, "layers.11"), (growing, 10, "layers.3")])
def test_parts_at_whole_words_are_not_copied(network, target, copied):
    """Copied are only the image, which arrives in a buffer of its own, and 5 and 6 channels that a ReLU reads."""
    compilation, quantized = levels(network(), target, "gradcam", "4x4")
    body = main_function(quantized).entry_block.operations
    joins = {op.location.name_str for op in body if isinstance(op, ConcatOp)}
    names = {nest.name for nest in read_nests(compilation.to("scheduled"))}
    assert len(joins) > 1 and joins & names == {copied}


#: Maps side by side, of which one does not fill its last word; gradients and channel weights in such places; halves of
#: sums; the image.
INNER = r".*\.(parts|rows|columns|halves|high|sums|unfold)(\.\d+)?|explain\.weights"

DESIGNS = [
    ("branches", 1, "gradcam", "4x4"),
    ("ragged branches", 2, "hirescam", "4x8"),
    ("growing", 3, "layercam", "4x4"),
    ("shuffled", 2, "gradcam", "8x8"),
    ("vectors", 2, "gradcam", "4x4"),
    ("twice", 4, "hirescam", "4x4"),
    ("pooled", 6, "gradcam", "4x8"),
    ("activated", 3, "gradcam", "4x4"),
    ("cut", 2, "hirescam", "4x4"),
    ("wide shuffled", 2, "hirescam", "4x4"),
    ("moved", 2, "layercam", "4x4"),
    ("moved", 5, "gradcam", "8x8"),
]


@pytest.mark.parametrize(("name", "target", "method", "pe"), DESIGNS)
def test_rtl_equals_the_integer_reference(name, target, method, pe, tmp_path):
    net, folder = NETWORKS[name][0](), tmp_path / "design"
    compile_to_folder(net, "test", Settings(f"layers.{target}", method, pe, range_choice="max"), folder)
    check_design(net, folder, inner=INNER)


def test_words_of_weights_are_no_words_of_maps(tmp_path):
    """The ring of weights has wider words than any map, which tells nothing of the maps that lie side by side."""
    net = Network(3, 6, 6, seed=3)
    x = net.add(nn.ReLU(), net.conv(0, 5))
    y = net.add(nn.ReLU(), net.conv(x, 4, 1, 1, 0))
    net.explain(net.add(nn.Tanh(), net.add(Cat(), x, y)))
    net.add(nn.AdaptiveAvgPool2d(1), net.target)
    dram_checks.check_design(net.classify(5), replace(net.settings("4x4"), weights="dram"), tmp_path / "design")
