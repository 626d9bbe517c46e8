"""Upsampling by nearest neighbours and adaptive pools through every level, against autograd and the level before."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from level_checks import check_derived, check_linalg
from rtl_checks import check_design
from rtl_networks import Network, Sum
from torch import nn
from torch_mlir import ir

from gradcam.compiler import Compilation, Settings
from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.jit import compile_affine, run_linalg
from gradcam.output import compile_to_folder
from gradcam.passes.linalg.convert_gradcam_to_linalg import ConvertGradcamToLinalg
from gradcam.passes.quantize.quantize import Quantize
from gradcam.reference.integer import quantize_image, run_integer

HALF = "!quant.uniform<i8:f32, 5.0e-01>"
EIGHTH = "!quant.uniform<i8:f32, 1.25e-01>"
#: Height and width, and the block of each element.
SIZES = st.tuples(*[st.integers(1, 4)] * 4)


def module_of(op: str, size, out, scale: str) -> str:
    """An op on an image of 5 channels and scale 1/2, as text; `scale` is the element type of the result."""
    name, *attributes = op.split(" ", 1)
    x, y = (f"tensor<1x5x{n[0]}x{n[1]}x{e}>" for n, e in ((size, HALF), (out, scale)))
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
    up = integers_of(module_of(f"upsample2d {{kernel = {block}}}", size, large, HALF), x)
    assert all(up[0, c, i, j] == x[0, c, i // block[0], j // block[1]] for c, i, j in np.ndindex(5, *large))
    sums = integers_of(module_of(f"upsample2d_adjoint {{kernel = {block}}}", large, size, EIGHTH), g)
    for c, i, j in np.ndindex(5, *size):
        rows, columns = (slice(n * k, (n + 1) * k) for n, k in zip((i, j), block, strict=True))
        assert sums[0, c, i, j] == np.clip(4 * int(g[0, c, rows, columns].astype(int).sum()), -128, 127)


def exact_means(x: np.ndarray, out) -> np.ndarray:
    """The means of PyTorch's windows as fractions."""
    means = np.empty((*x.shape[:2], *out), object)
    for place in np.ndindex(*out):
        rows, columns = (
            slice(i * n // m, -(-(i + 1) * n // m)) for i, n, m in zip(place, x.shape[2:], out, strict=True)
        )
        for c in range(x.shape[1]):
            window = x[0, c, rows, columns]
            means[0, c, *place] = Fraction(int(window.astype(int).sum()), window.size)
    return means


@given(SIZES, SIZES, st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_integers_of_adaptive_pools(sizes, more, seed):
    """The means at twice as many steps, rounded once; gradients against the sums of the windows' shares."""
    size, out = (
        [n * m for n, m in zip(sizes[:2], more[:2], strict=True)],
        [n * m for n, m in zip(sizes[2:], more[2:], strict=True)],
    )
    x, g = bytes_of(size, seed) // 8, bytes_of(out, seed) // 64
    means = integers_of(module_of("adaptive_avg_pool2d", size, out, EIGHTH), x)
    for place, mean in np.ndenumerate(exact_means(x, out)):
        assert abs(means[place] - 4 * mean) <= Fraction(51, 100)
    shares = integers_of(module_of("adaptive_avg_pool2d_adjoint", out, size, HALF), g)
    v = torch.zeros(1, 5, *size, dtype=torch.float64, requires_grad=True)
    F.adaptive_avg_pool2d(v, out).backward(torch.from_numpy(g.astype(np.float64)))
    np.testing.assert_allclose(shares, np.clip(v.grad.numpy(), -128, 127), atol=0.52)


def test_weights_that_are_too_large_are_refused():
    """Windows of 201 and 202 rows and columns have weights of up to 202 * 202."""
    text = module_of("adaptive_avg_pool2d", [602, 602], [3, 3], HALF).replace(HALF, "f32")
    with make_context(), pytest.raises(GradcamError, match="has weights up to 40804, for its sizes; give it an output"):
        Quantize().run(ir.Module.parse(text))


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


def adaptive() -> Network:
    """Adaptive pools to fewer and to more elements than there are, in the middle of a network and before its head."""
    net = Network(3, 11, 9, seed=2)
    x = net.add(nn.ReLU(), net.conv(0, 6))
    x = net.add(nn.AdaptiveAvgPool2d((6, 4)), x)
    x = net.add(nn.ReLU(), net.conv(x, 9, 3, 2))
    net.add(nn.AdaptiveAvgPool2d((7, 5)), x)
    return net.classify(5, 12)


#: The networks and the values that are explained in each.
NETWORKS = {"pyramid": (pyramid, (2, 6, 10, 11, 14, 16)), "adaptive": (adaptive, (2, 3, 5))}
CASES = [(name, target) for name, (_, targets) in NETWORKS.items() for target in targets]


@pytest.mark.parametrize(("name", "target"), CASES)
def test_maps_are_those_of_autograd_in_f64(name, target):
    for method in METHODS:
        check_derived(NETWORKS[name][0](), target, method, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "target"), CASES)
def test_linalg_equals_the_integer_reference(name, target):
    net, number = NETWORKS[name][0](), CASES.index((name, target))
    pe = ("4x4", "8x8", "4x8", "8x4")[number % 4]
    compilation = Compilation(net, Settings(f"layers.{target}", METHODS[number % 3], pe, range_choice="max"))
    wanted = check_linalg(compilation, compilation.to("quantized"), net.calibration_images)
    assert len(np.unique(wanted[0][1])) > 3


def few() -> Network:
    """An adaptive pool of a map of three channels, uneven on both axes; the map is explained."""
    net = Network(1, 5, 5, seed=3)
    net.explain(net.conv(0, 3))
    net.add(nn.AdaptiveAvgPool2d((3, 3)))
    net.conv(2, 8)
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(5)


@pytest.mark.parametrize("pe", ["4x16", "1x2"])
def test_channels_that_are_a_part_of_the_lanes(pe, tmp_path):
    """The sums of one step, or of three steps of one lane each, and of four for the gradient, in words of two lanes."""
    net, folder = few(), tmp_path / "design"
    compilation = Compilation(net, net.settings(pe))
    quantized = compilation.to("quantized")
    inputs = [quantize_image(quantized, image[None])[0].transpose(1, 2, 0) for image in net.calibration_images]
    wanted = check_linalg(compilation, quantized, net.calibration_images)
    scheduled = compile_affine(compilation.to("scheduled"), 2, 0)
    for x, exact in zip(inputs, wanted, strict=True):
        found = scheduled(np.ascontiguousarray(x), np.array([-1], np.int32))
        assert all(np.array_equal(f.ravel(), e.ravel()) for f, e in zip(found, exact, strict=True))
    compile_to_folder(net, "test", net.settings(pe), folder)
    check_design(net, folder)


#: Halves of sums, and the gradient of a flattened map, which is stored as a map.
INNER = r".*\.(unfold|rows|columns|halves(\.\d+)?|high|sums)|layers\.8\.adjoint"

DESIGNS = [
    ("pyramid", 2, "gradcam", "4x4"),
    ("pyramid", 10, "hirescam", "8x4"),
    ("pyramid", 11, "layercam", "4x8"),
    ("adaptive", 2, "hirescam", "4x4"),
    ("adaptive", 5, "gradcam", "8x8"),
]


@pytest.mark.parametrize(("name", "target", "method", "pe"), DESIGNS)
def test_rtl_equals_the_integer_reference(name, target, method, pe, tmp_path):
    net, folder = NETWORKS[name][0](), tmp_path / "design"
    compile_to_folder(net, "test", Settings(f"layers.{target}", method, pe, range_choice="max"), folder)
    check_design(net, folder, inner=INNER)
