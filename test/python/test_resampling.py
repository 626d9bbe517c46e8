"""Upsampling by nearest neighbours through every level, against autograd and the level before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from level_checks import check_derived, check_linalg
from rtl_checks import check_design
from rtl_networks import Network, Sum
from torch import nn
from torch_mlir import ir

from gradcam.compiler import Compilation, Settings
from gradcam.dialect import make_context
from gradcam.jit import run_linalg
from gradcam.output import compile_to_folder
from gradcam.passes.linalg.convert_gradcam_to_linalg import ConvertGradcamToLinalg
from gradcam.reference.integer import run_integer

PER_TENSOR = "!quant.uniform<i8:f32, 5.0e-01>"
QUARTER = "!quant.uniform<i8:f32, 1.25e-01>"
#: Height and width, and the block of each element.
SIZES = st.tuples(*[st.integers(1, 4)] * 4)


def module_of(op: str, size, out, scale: str) -> str:
    """An op on an image of 5 channels and scale 1/2, as text; `scale` is the element type of the result."""
    name, *attributes = op.split(" ", 1)
    x, y = (f"tensor<1x5x{n[0]}x{n[1]}x{e}>" for n, e in ((size, PER_TENSOR), (out, scale)))
    return f"""func.func @main(%image: {x}) -> {y} {{
      %y = "gradcam.{name}"(%image) {"".join(attributes)} : ({x}) -> {y}
      return %y : {y} }}"""


def integers_of(text: str, x: np.ndarray) -> np.ndarray:
    """What the integer reference computes, and linalg alike."""
    with make_context():
        module = ir.Module.parse(text)
        assert module.operation.verify()
        (found,) = run_integer(module, x)
        ConvertGradcamToLinalg().run(module)
        (lowered,) = run_linalg(module, np.ascontiguousarray(x[0].transpose(1, 2, 0)))
    np.testing.assert_array_equal(lowered.transpose(2, 0, 1), found[0])
    return found


def bytes_of(size, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (1, 5, *size)).astype(np.int8)


@given(SIZES, st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_integers_of_upsampling(sizes, seed):
    """Equal bytes in each block; the sums of the blocks, four times as many steps, rounded to nowhere and saturated."""
    size, block = sizes[:2], list(sizes[2:])
    large = [n * k for n, k in zip(size, block, strict=True)]
    x, g = bytes_of(size, seed), bytes_of(large, seed)
    up = integers_of(module_of(f"upsample2d {{kernel = {block}}}", size, large, PER_TENSOR), x)
    assert all(up[0, c, i, j] == x[0, c, i // block[0], j // block[1]] for c, i, j in np.ndindex(5, *large))
    sums = integers_of(module_of(f"upsample2d_adjoint {{kernel = {block}}}", large, size, QUARTER), g)
    for c, i, j in np.ndindex(5, *size):
        rows, columns = (slice(n * k, (n + 1) * k) for n, k in zip((i, j), block, strict=True))
        assert sums[0, c, i, j] == np.clip(4 * int(g[0, c, rows, columns].astype(int).sum()), -128, 127)


METHODS = ("gradcam", "hirescam", "layercam")


def pyramid() -> Network:
    """Maps of three sizes that are added at the largest one, as in HRNet, and a convolution of what is upsampled."""
    net = Network(3, 12, 8, seed=1)
    x = net.add(nn.ReLU(), net.conv(0, 6))
    y = net.add(nn.ReLU(), net.conv(x, 10, 3, 2))
    z = net.add(nn.ReLU(), net.conv(y, 7, 3, (3, 2)))
    z = net.add(nn.Upsample(scale_factor=(3, 2)), net.conv(z, 10, 1, 1, 0))
    y = net.add(nn.ReLU(), net.add(Sum(), y, z))
    up = net.conv(net.add(nn.UpsamplingNearest2d(scale_factor=2), y), 6)
    x = net.add(nn.ReLU(), net.add(Sum(), x, up))
    net.add(nn.AdaptiveAvgPool2d(1), net.add(nn.ReLU(), net.conv(x, 9)))
    return net.classify(5)


TARGETS = {"first": 2, "small": 6, "sum": 10, "upsampled": 11, "last": 14, "conv": 16}


@pytest.mark.parametrize("target", TARGETS)
def test_maps_are_those_of_autograd_in_f64(target):
    for method in METHODS:
        check_derived(pyramid(), TARGETS[target], method, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_every_level_equals_the_integer_reference(target):
    net, number = pyramid(), list(TARGETS).index(target)
    options = Settings(
        f"layers.{TARGETS[target]}", METHODS[number % 3], ("4x4", "8x8", "4x8")[number % 3], range_choice="max"
    )
    compilation = Compilation(net, options)
    quantized = compilation.to("quantized")
    wanted = check_linalg(compilation, quantized, net.calibration_images)
    assert len(np.unique(wanted[0][1])) > 3


DESIGNS = [("first", "gradcam", "4x4"), ("sum", "hirescam", "8x4"), ("upsampled", "layercam", "4x8")]


@pytest.mark.parametrize(("target", "method", "pe"), DESIGNS)
def test_rtl_equals_the_integer_reference(target, method, pe, tmp_path):
    net, folder = pyramid(), tmp_path / "design"
    options = Settings(f"layers.{TARGETS[target]}", method, pe, range_choice="max")
    compile_to_folder(net, "test", options, folder)
    check_design(net, folder, inner=r".*(\.unfold|\.rows|\.columns|\.halves(\.\d+)?|\.high)")
