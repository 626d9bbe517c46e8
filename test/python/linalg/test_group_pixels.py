"""Pixels side by side in the channels: the integers stay the same, forward and backward, at every level."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from level_checks import check_linalg
from rtl_checks import check_design
from rtl_networks import Network, Product, Sum, design, second_network
from torch import nn
from torch_mlir import ir

from gradcam.compiler import Compilation
from gradcam.dialect import make_context
from gradcam.dialect.verify import shape
from gradcam.execution import float32
from gradcam.execution.interpreter import run
from gradcam.passes.ir.attributes import PIXELS, PLATFORM
from gradcam.passes.linalg.group_pixels import GroupPixels
from gradcam.passes.linalg.pixel_choice import PRODUCTS
from gradcam.passes.linalg.pixel_groups import GroupedAxis, grouped_weights
from gradcam.passes.linalg.set_platform import SetPlatform
from gradcam.reference import integer
from gradcam.reference.integer import quantize_image, run_integer
from gradcam.sim.header import dumps
from gradcam.sim.trace import compare_buffers, reference_tensors

PAIRS = st.tuples(*[st.integers(1, 3)] * 2)


def grouped(x: torch.Tensor, rows: int, columns: int, lanes: int) -> torch.Tensor:
    """N x C x H x W with groups of pixels in the channels, each pixel in so many of them, by slices."""
    lanes = x.shape[1] if (rows, columns) == (1, 1) else lanes
    filled = torch.cat([x, x.new_zeros(len(x), lanes - x.shape[1], *x.shape[2:])], 1)
    return torch.cat([filled[:, :, i::rows, j::columns] for i in range(rows) for j in range(columns)], 1)


# The op.


@pytest.mark.parametrize("kernels", [integer.KERNELS, float32.KERNELS], ids=["integer", "float32"])
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), PAIRS, PAIRS)
def test_fold2d_puts_the_pixels_of_a_group_apart(kernels, channels, kernel, size):
    lanes = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8}[channels]
    pixels = torch.arange(channels * size[0] * kernel[0] * size[1] * kernel[1]).float()
    pixels = pixels.reshape(1, channels, size[0] * kernel[0], size[1] * kernel[1])
    filled = torch.cat([pixels, torch.full((1, lanes - channels, *pixels.shape[2:]), 99.0)], 1)
    x = grouped(filled, *kernel, lanes)
    types = [f"tensor<{'x'.join(map(str, v.shape))}xf32>" for v in (x, pixels)]
    with make_context():
        module = ir.Module.parse(
            f"func.func @main(%x: {types[0]}) -> {types[1]} {{\n"
            f'%y = "gradcam.fold2d"(%x) {{kernel = {list(kernel)}}} : ({types[0]}) -> {types[1]}\n'
            f"return %y : {types[1]} }}"
        )
        (got,) = run(module, [x.numpy()], kernels)
    np.testing.assert_array_equal(got, pixels.numpy())


# The weights.


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=2),
    st.lists(st.tuples(*[st.integers(1, n) for n in (5, 3, 3)], st.integers(0, 3)), min_size=2, max_size=2),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5)), min_size=2, max_size=2),
)
def test_a_convolution_of_groups_is_that_of_pixels_and_so_is_its_adjoint(channels, windows, groups):
    axes = []
    for (kernel, stride, dilation, padding), (inputs, outputs, count) in zip(windows, groups, strict=True):
        out = count * outputs
        size = (out - 1) * stride + dilation * (kernel - 1) + 1 - 2 * padding
        assume(size >= 1)
        size += -size % inputs
        out = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        assume(out % outputs == 0)
        axes.append(GroupedAxis(size, out, kernel, stride, padding, dilation, inputs, outputs))
    assume(not any(a.stride * a.outputs % a.inputs for a in axes))
    rng = np.random.default_rng(0)
    w = rng.integers(-9, 9, (channels[1], channels[0], *(a.kernel for a in axes)))
    x = rng.integers(-9, 9, (1, channels[0], *(a.size for a in axes)))
    window = {n: [getattr(a, n) for a in axes] for n in ("stride", "padding", "dilation")}
    lanes = [{1: 1, 2: 2, 3: 4, 4: 4}[n] for n in channels]

    def convolved(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, torch.from_numpy(w).double(), **window)

    def convolved_groups(x: torch.Tensor) -> torch.Tensor:
        (_, *rows), (_, *columns) = (a.window for a in axes)
        (down, top, bottom, tall), (across, left, right, broad) = rows, columns
        weights = torch.from_numpy(grouped_weights(w, axes)).double()
        return F.conv2d(F.pad(x, (left, right, top, bottom)), weights, None, (down, across), 0, (tall, broad))

    pixels = torch.from_numpy(x).double().requires_grad_()
    apart = [a.inputs for a in axes], [a.outputs for a in axes]
    together = grouped(pixels.detach(), *apart[0], lanes[0]).requires_grad_()
    y, z = convolved(pixels), convolved_groups(together)
    assert torch.equal(grouped(y, *apart[1], lanes[1]), z)
    g = torch.from_numpy(rng.integers(-9, 9, y.shape)).double()
    y.backward(g)
    z.backward(grouped(g, *apart[1], lanes[1]))
    assert torch.equal(grouped(pixels.grad, *apart[0], lanes[0]), together.grad)


def test_the_steps_of_an_adjoint_are_the_taps_that_reach_each_position():
    axis = GroupedAxis(7, 4, 3, 2, 1, 1)
    reaching = [(y * 2 + k - 1) for y in range(-9, 9) for k in range(3)]
    assert axis.adjoint_steps == sum(reaching.count(q) for q in range(7))


# The pass.


def branches(target: int = 0) -> Network:
    """Narrow maps between everything that a group can meet; the target is one of five."""
    net = Network(3, 16, 24)
    x = net.add(nn.ReLU(), net.conv(0, 6, 3, 1, 1))
    x = first = net.block(x, 6)  # what the pool reads
    x = second = net.add(nn.MaxPool2d(2), x)
    y = net.add(nn.Hardswish(), net.conv(x, 5, 3, 1, 2, dilation=2))
    x = third = net.add(Product(), net.conv(y, 6, 5, 1, 2), x)
    y = net.add(nn.LeakyReLU(0.1), net.conv(x, 8, 3, 1, 1, groups=2))
    x = fourth = net.add(Sum(), net.conv(y, 8), y)
    x = fifth = net.block(x, 12, 2)
    net.explain((first, second, third, fourth, fifth)[target])
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(5)


def quantized(net: Network, pe: str, method: str = "gradcam"):
    return Compilation(net, dataclasses.replace(net.settings(pe), method=method)).to("quantized")


def with_groups(single: ir.Module, pe: str):
    """A copy of a module of level 2 with pixels in groups."""
    module = ir.Module.parse(single.operation.get_asm(enable_debug_info=True), single.context)
    SetPlatform(pe=pe).run(module)
    GroupPixels().run(module)
    assert module.operation.verify()
    return module


def check_equal(net: Network, single: ir.Module, groups: ir.Module, cls: int = -1):
    image = quantize_image(single, net.calibration_images[:1])
    for before, after in zip(run_integer(single, image, cls), run_integer(groups, image, cls), strict=True):
        np.testing.assert_array_equal(after, before)
        assert before.any()


@pytest.mark.parametrize("target", range(5))
def test_every_target_and_array_keeps_its_integers(target):
    net = branches(target)
    single = quantized(net, "32x32")
    for pe in ("16x16", "32x32", "64x16", "16x64", "128x128"):
        groups = with_groups(single, pe)
        assert len(PIXELS.get(groups.operation)) > 5
        check_equal(net, single, groups, target - 1)


@pytest.mark.parametrize("method", ["hirescam", "layercam"])
@pytest.mark.parametrize("target", [0, 2])
def test_every_method_keeps_its_integers(target, method):
    net = branches(target)
    single = quantized(net, "32x32", method)
    groups = with_groups(single, "32x32")
    assert PIXELS.is_on(groups.operation)
    check_equal(net, single, groups)


def test_odd_sides_keep_single_pixels():
    net = second_network()  # 20 channels of 23x19 pixels, then 36 of 12x10
    single = quantized(net, "64x64")
    assert not PIXELS.is_on(with_groups(single, "64x64").operation)
    groups = with_groups(single, "128x128")
    assert {lanes for *_, lanes in PIXELS.get(groups.operation).values()} == {64}
    check_equal(net, single, groups)


@pytest.mark.parametrize("target", [0, 2, 4])
def test_level_3_computes_the_same(target):
    net = branches(target)
    compilation = Compilation(net, net.settings("32x32"))
    check_linalg(compilation, compilation.to("quantized"), net.calibration_images)


def test_as_many_channels_as_lanes_stay():
    single = quantized(branches(), "4x8")
    groups = with_groups(single, "4x8")
    del groups.operation.attributes[PLATFORM.key]
    assert str(groups) == str(single)


def test_what_saves_nothing_stays():
    """A 1x1 convolution to as many channels as lanes; the copies would take more than the few channels save."""
    net = Network(20, 8, 8)
    x = net.add(nn.MaxPool2d(2), net.conv(0, 4, 1, 1, 0))
    net.explain(net.add(nn.ReLU(), net.conv(x, 32, 1, 1, 0)))
    net.add(nn.AdaptiveAvgPool2d(1))
    groups = with_groups(quantized(net.classify(3), "32x32"), "32x32")
    assert not PIXELS.is_on(groups.operation)


def test_ops_without_a_name_have_groups_too():
    single = quantized(branches(1), "32x32")
    groups = with_groups(ir.Module.parse(str(single), single.context), "32x32")  # whose locations are those in the text
    assert not PIXELS.is_on(groups.operation)
    assert any(op.operation.name == "gradcam.fold2d" for op in groups.body.operations[0].entry_block.operations)


def test_one_set_of_weights_for_a_convolution_and_its_adjoint():
    groups = with_groups(quantized(branches(1), "32x32"), "32x32")
    ops = list(groups.body.operations[0].entry_block.operations)
    read = {name: [o.operands[1] for o in ops if o.operation.name == name] for name in PRODUCTS}
    both = [w for w in read["gradcam.conv2d_adjoint"] if w in read["gradcam.conv2d"]]
    assert [32, 32, 3, 3] in map(shape, both)  # of 6 channels, in groups of 4 pixels


# RTL.


def pairs_of_pixels() -> Network:
    """Groups that the image leads to, a pool reads and makes, and a gradient goes through, behind a target with groups.

    They end where the stride is 2.
    """
    net = Network(3, 8, 8)
    x = net.add(nn.ReLU(), net.conv(0, 4))
    net.explain(net.add(Sum(), net.conv(x, 4), x))
    x = net.add(nn.MaxPool2d(3, 1, 1))
    x = net.add(nn.ReLU(), net.add(Sum(), net.conv(x, 4), x))
    net.add(nn.ReLU(), net.conv(x, 8, 3, 2, 1))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(3)


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """Its design, simulated."""
    net, folder = pairs_of_pixels(), tmp_path_factory.mktemp("groups") / "design"
    design(net, "8x8", folder)
    return check_design(net, folder, inner=r".*\.(unfold|high|sums|rows|halves|pixels|groups)(\.\d+)?")


def test_rtl_equals_the_integer_reference_in_every_buffer(checked):
    assert sum(b.pixels == (1, 2, 4) for b in checked.simulator.program.buffers) > 3
    assert {name.rpartition(".")[2] for name in checked.trace.skipped} >= {"pixels", "groups"}


def test_a_wrong_element_of_any_pixel_of_a_group_is_found(checked):
    """Also where its neighbours are right: a comparison must not read the pixels of one column alone."""
    program, trace = checked.simulator.program, checked.trace
    tensors = reference_tensors(checked.module, checked.images[0], checked.cls)
    written = dumps(program)
    last = {d.buffer.name: n for n, d in enumerate(written)}
    groups = [n for n in last.values() if written[n].buffer.pixels and written[n].buffer.name not in trace.skipped]
    assert len(groups) > 3
    for number in groups:
        rows, columns, lanes = written[number].buffer.pixels
        for pixel in range(rows * columns):
            buffers = [b.copy() for b in checked.traced.buffers]
            buffers[number][0, 0, pixel * lanes] ^= 1
            found = compare_buffers(program, buffers, tensors).difference
            assert found is not None and found.count == 1
