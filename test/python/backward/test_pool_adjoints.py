"""The backward pass through pools: kernels against autograd, linalg and RTL against the integer reference."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rtl_checks import check_design
from rtl_networks import Network
from torch import nn
from torch_mlir import ir

from gradcam.compiler import Compilation, Settings
from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.evaluate import pearson
from gradcam.execution import float32
from gradcam.execution.float32 import run_float
from gradcam.jit import compile_linalg
from gradcam.output import compile_to_folder
from gradcam.reference import integer
from gradcam.reference.integer import quantize_image, run_integer
from gradcam.sim.header import dumps

#: Height and width, kernel, stride, padding, dilation.
WINDOWS = [
    ((8, 7), (3, 3), (2, 2), (1, 1), (1, 1)),
    ((9, 6), (2, 3), (1, 1), (1, 0), (1, 1)),
    ((7, 11), (2, 2), (3, 3), (0, 1), (1, 1)),
    ((5, 9), (3, 1), (3, 2), (1, 0), (1, 1)),
    ((10, 9), (3, 2), (2, 3), (1, 1), (2, 3)),
    ((4, 4), (4, 4), (4, 4), (2, 0), (1, 1)),
    ((16, 16), (16, 16), (16, 16), (0, 0), (1, 1)),  # the last tap has the number 255
]


def first_op(op, operands, result, window, more=""):
    """A module of one op, and the op, whose attributes and types a kernel reads; it lives as long as its module."""
    names = ", ".join(f"%{i}" for i in range(len(operands)))
    arguments = ", ".join(f"%{i}: {t}" for i, t in enumerate(operands))
    attributes = ", ".join(
        f"{n} = {list(v)}" for n, v in zip(("kernel", "stride", "padding", "dilation"), window, strict=True)
    )
    text = f"""func.func @main({arguments}) -> {result} {{
      %r = "gradcam.{op}"({names}) {{{attributes}{more}}} : ({", ".join(operands)}) -> {result}
      return %r : {result} }}"""
    module = ir.Module.parse(text, make_context())
    return module, module.body.operations[0].entry_block.operations[0]


def quantized(shape, scale=1.0):
    return f"tensor<{'x'.join(map(str, shape))}x!quant.uniform<i8:f32, {scale}>>"


def plain(shape, element):
    return f"tensor<{'x'.join(map(str, shape))}x{element}>"


def max_pool_gradient(x, g, window):
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    F.max_pool2d(x, *window).backward(torch.tensor(g, dtype=torch.float64))
    return x.grad.numpy()


def pooled_gradient(x, g, window, kernels, element):
    """The gradient by index and unpool."""
    value = quantized if element == "i8" else lambda shape: plain(shape, "f32")
    pool_module, index = first_op("max_pool2d_index", [value(x.shape)], plain(g.shape, "i8"), window)
    adjoint_module, unpool = first_op("max_unpool2d", [value(g.shape), plain(g.shape, "i8")], value(x.shape), window)
    assert pool_module.operation.verify() and adjoint_module.operation.verify()
    at = kernels["gradcam.max_pool2d_index"](index, x)
    assert at.dtype == np.int8
    return kernels["gradcam.max_unpool2d"](unpool, g, at)


@pytest.mark.parametrize("levels", [2, 5, 200], ids=["ties", "some ties", "few ties"])
@pytest.mark.parametrize(("size", *("kernel", "stride", "padding", "dilation")), WINDOWS)
def test_index_and_unpool_are_the_gradient_of_max_pool(size, kernel, stride, padding, dilation, levels):
    rng, window = np.random.default_rng(levels), (kernel, stride, padding, dilation)
    x = rng.integers(-levels // 2, levels // 2, (1, 3, *size)).astype(np.int8)
    g = rng.integers(-9, 10, F.max_pool2d(torch.zeros(x.shape), *window).shape).astype(np.int8)
    wanted = max_pool_gradient(x, g, window)
    assert wanted.any()
    assert np.array_equal(pooled_gradient(x, g, window, integer.KERNELS, "i8"), wanted)
    as_float = pooled_gradient(x.astype(np.float32), g.astype(np.float32), window, float32.KERNELS, "f32")
    assert np.array_equal(as_float, wanted)


def test_gradients_that_meet_saturate():
    window, x = ((2, 2), (1, 1), (0, 0), (1, 1)), np.zeros((1, 1, 3, 3), np.int8)
    x[0, 0, 1, 1] = 5
    g = np.array([[[[100, 100], [-128, 20]]]], np.int8)
    assert pooled_gradient(x, g, window, integer.KERNELS, "i8")[0, 0].tolist() == [[0, 0, 0], [0, 92, 0], [0, 0, 0]]
    assert pooled_gradient(x, np.abs(g.clip(-100)), window, integer.KERNELS, "i8").max() == 127


def test_padding_wins_over_what_saturated_to_the_smallest_integer():
    window, x = ((2, 2), (2, 2), (1, 1), (1, 1)), np.array([[[[-128, -128], [-128, -127]]]], np.int8)
    module, op = first_op("max_pool2d_index", [quantized(x.shape)], plain((1, 1, 2, 2), "i8"), window)
    assert module.operation.verify()
    assert integer.KERNELS["gradcam.max_pool2d_index"](op, x)[0, 0].tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(("size", *("kernel", "stride", "padding", "dilation")), [w for w in WINDOWS if w[4] == (1, 1)])
def test_average_pool_adjoint_is_its_gradient(size, kernel, stride, padding, dilation):
    x = torch.zeros((1, 2, *size), dtype=torch.float64, requires_grad=True)
    y = F.avg_pool2d(x, kernel, stride, padding)
    g = np.random.default_rng(1).integers(-9, 10, y.shape).astype(np.int8)
    y.backward(torch.tensor(g, dtype=torch.float64))
    # With a divisor that the scales take, the integers are the exact sums.
    area, window = int(np.prod(kernel)), (kernel, stride, padding, dilation)
    result = quantized(x.shape, 1 / 64)
    module, op = first_op(
        "avg_pool2d_adjoint", [quantized(g.shape, area / 64)], result, window, ", count_include_pad = true"
    )
    assert module.operation.verify()
    found = integer.KERNELS["gradcam.avg_pool2d_adjoint"](op, g)
    assert np.array_equal(found, np.rint(x.grad.numpy() * area))
    assert found.any()


# Networks. Two pools between target and logits, one of each kind, padded and overlapping; and one of a stride of 3.

TARGETS = {"stem": 1, "norm": 2, "relu": 3, "pool": 4, "block": 11, "average": 12}
METHODS = ("gradcam", "hirescam", "layercam")


def network() -> Network:
    net = Network(3, 23, 19, seed=3)
    x = net.add(nn.ReLU(), net.add(nn.BatchNorm2d(6), net.conv(0, 6, 5, 1, 2)))
    x = net.block(net.add(nn.MaxPool2d(3, 2, 1), x), 6)
    x = net.add(nn.AvgPool2d((3, 2), (2, 1), (1, 0)), x)
    x = net.add(nn.MaxPool2d(2, (1, 3), 1, (2, 1)), net.block(x, 9))
    net.add(nn.AdaptiveAvgPool2d(1), net.add(nn.ReLU(), net.conv(x, 8)))
    return net.classify(5, 8)


def settings(target: str, method: str, pe: str) -> Settings:
    return Settings(f"layers.{TARGETS[target]}", method, pe, range_choice="max")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", TARGETS)
def test_linalg_equals_the_integer_reference_and_means_the_float_map(target, method):
    net = network()
    images, classes = net.images(3), (-1, 4, 0)
    pe = ("4x4", "8x2", "2x8")[(list(TARGETS).index(target) + METHODS.index(method)) % 3]
    compilation = Compilation(net, settings(target, method, pe))
    module = compilation.to("simplified")
    floats = [run_float(module, x[None])[1] for x in net.calibration_images]
    module = compilation.to("quantized")
    found = [run_integer(module, quantize_image(module, x[None]))[1] for x in net.calibration_images]
    wanted = [run_integer(module, x[None], c) for x, c in zip(images, classes, strict=True)]
    run = compile_linalg(compilation.to("linalg"), 0)
    for image, cls, (logits, heatmap) in zip(images, classes, wanted, strict=True):
        got = run(np.ascontiguousarray(image.transpose(1, 2, 0)), np.array([cls], np.int32))
        assert np.array_equal(got[0], logits[0]) and np.array_equal(got[1], heatmap[0])
    assert not np.array_equal(wanted[1][1], wanted[2][1])
    correlations = [pearson(a[0], b[0]) for a, b in zip(found, floats, strict=True)]
    assert np.median(correlations) > 0.9, correlations


DESIGNS = [("norm", "gradcam", "4x4"), ("relu", "hirescam", "8x4"), ("pool", "layercam", "4x8")]


@pytest.mark.parametrize(("target", "method", "pe"), DESIGNS, ids=["-".join(d) for d in DESIGNS])
def test_rtl_equals_the_integer_reference(target, method, pe, tmp_path):
    net, folder = network(), tmp_path / "design"
    compile_to_folder(net, "test", settings(target, method, pe), folder)
    checked = check_design(net, folder)
    assert {"layers.21", "layers.21.index", "layers.20.mask", "layers.20.adjoint.requantized"} <= set(
        checked.trace.compared
    )
    # One wrong index is seen where it is kept.
    buffers = zip(dumps(checked.simulator.program), checked.traced.buffers, strict=True)
    index = next(b for dump, b in buffers if dump.buffer.name.endswith(".index") and b.any())
    index[0, 0, 0] ^= 1
    assert "index[0, 0, 0, 0]" in str(checked.compare().difference)


def largest(height: int, width: int) -> Network:
    """The largest element of each channel of a map; value 2, in front of it, is explained."""
    net = Network(3, height, width, seed=6)
    net.explain(net.add(nn.ReLU(), net.conv(0, 6)))
    net.add(nn.MaxPool2d((height, width)), net.add(nn.ReLU(), net.conv(net.target, 6)))
    return net.classify(5)


def test_a_maximum_of_more_than_128_elements(tmp_path):
    """Tap numbers from 128 on are bytes below 0."""
    net = largest(13, 14)
    compile_to_folder(net, "test", Settings("layers.2", "hirescam", "4x4", range_choice="max"), tmp_path / "design")
    checked = check_design(net, tmp_path / "design")
    buffers = zip(dumps(checked.simulator.program), checked.traced.buffers, strict=True)
    assert any(dump.buffer.name == "layers.5.index" and b.min() < 0 < b.max() for dump, b in buffers)


def test_a_maximum_of_too_many_elements_is_refused():
    with pytest.raises(GradcamError, match="a maximum of 272 elements; the most are 256: explain a layer"):
        Compilation(largest(17, 16), Settings("layers.2", "hirescam", "4x4", range_choice="max")).to("quantized")
