"""Average pools whose windows divide by different numbers: padding that does not count, windows over the edge."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from level_checks import check_linalg
from rtl_checks import check_design
from rtl_networks import Network
from torch import nn
from torch_mlir import ir

from gradcam.compiler import Compilation, Settings
from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float
from gradcam.jit import run_linalg
from gradcam.output import compile_to_folder
from gradcam.passes.linalg.convert_gradcam_to_linalg import ConvertGradcamToLinalg
from gradcam.quant_types import result_rescale, scale
from gradcam.reference.integer import run_integer
from gradcam.windows import average_of

#: Height and width, kernel, stride, padding, ceil_mode.
WINDOWS = [
    ((7, 8), (3, 3), (2, 2), (1, 1), False),
    ((7, 8), (2, 3), (2, 2), (0, 1), True),
    ((9, 5), (5, 4), (1, 3), (2, 2), True),
    ((6, 6), (3, 2), (1, 1), (0, 0), False),
]


def module_of(size, kernel, stride, padding, ceil_mode) -> tuple[str, list[int]]:
    """A pool of 8-bit integers of scale 1 to scale 1/4, as text, and the size of its result."""
    out = list(F.avg_pool2d(torch.zeros(1, 1, *size), kernel, stride, padding, ceil_mode).shape[2:])
    low = list(padding)
    high = [max(p, (m - 1) * s + k - n - p) for m, s, k, n, p in zip(out, stride, kernel, size, padding, strict=True)]
    x = f"tensor<1x2x{size[0]}x{size[1]}x!quant.uniform<i8:f32, 1.0>>"
    y = f"tensor<1x2x{out[0]}x{out[1]}x!quant.uniform<i8:f32, 2.5e-01>>"
    window = f"kernel = {list(kernel)}, stride = {list(stride)}, padding = {low + high}, dilation = [1, 1]"
    return (
        f"""func.func @main(%image: {x}) -> {y} {{
      %y = "gradcam.avg_pool2d"(%image) {{{window}, count_include_pad = false}} : ({x}) -> {y}
      return %y : {y} }}""",
        out,
    )


def by_hand(x: np.ndarray, size, kernel, stride, padding, out) -> np.ndarray:
    """The means, exact, times 4, rounded half up after the fixed point of the one factor 4 / divisor."""
    means = np.empty((2, *out), object)
    for c, i, j in np.ndindex(2, *out):
        rows, columns = (
            [v for v in range(o * s - p, o * s - p + k) if 0 <= v < n]
            for o, s, p, k, n in zip((i, j), stride, padding, kernel, size, strict=True)
        )
        elements = [int(x[0, c, a, b]) for a in rows for b in columns]
        means[c, i, j] = Fraction(sum(elements), len(elements)) * 4
    return means


@pytest.mark.parametrize("window", WINDOWS)
def test_integers_are_the_means_in_the_reference_and_in_linalg(window):
    size, kernel, stride, padding, _ = window
    text, out = module_of(*window)
    x = np.random.default_rng(0).integers(-25, 26, (1, 2, *size)).astype(np.int8)
    exact = by_hand(x, size, kernel, stride, padding, out)
    with make_context():
        module = ir.Module.parse(text)
        assert module.operation.verify()
        op = module.body.operations[0].entry_block.operations[0]
        average, (m, s) = average_of(op), result_rescale(op)
        (found,) = run_integer(module, x)
        ConvertGradcamToLinalg().run(module)
        (lowered,) = run_linalg(module, np.ascontiguousarray(x[0].transpose(1, 2, 0)))
    assert (average.weights is None) == (not any(padding))
    for place, mean in np.ndenumerate(exact):
        total = mean / 4 * average.divisor
        assert total.denominator == 1
        assert found[0][place] == (int(total) * int(m) + (1 << (s - 1))) >> s
        assert abs(found[0][place] - mean) <= Fraction(51, 100)
    np.testing.assert_array_equal(lowered.transpose(2, 0, 1), found[0])


def test_a_weight_that_is_too_large_is_refused():
    text, _ = module_of((40, 40), (23, 23), (1, 1), (11, 11), False)
    text = text.replace("!quant.uniform<i8:f32, 1.0>", "f32").replace("!quant.uniform<i8:f32, 2.5e-01>", "f32")
    from gradcam.passes.quantize.quantize import Quantize

    with make_context(), pytest.raises(GradcamError, match="windows of so many sizes that their least common multiple"):
        Quantize().run(ir.Module.parse(text))


class Times(nn.Module):
    """A product with a number, which no layer takes: it changes the scale of the integers alone."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


def averages(target: int) -> Network:
    net = Network(3, 11, 10)
    x = net.add(nn.ReLU(), net.conv(0, 6))
    x = net.add(nn.AvgPool2d(3, 2, 1, count_include_pad=False), x)
    x = net.add(nn.ReLU(), net.conv(x, 9))
    x = net.add(nn.AvgPool2d(2, 2, ceil_mode=True), net.add(Times(1.7), x))
    x = net.add(nn.ReLU(), net.conv(x, 7))
    net.add(nn.AdaptiveAvgPool2d(1), net.add(nn.AvgPool2d(3, 1, 1, ceil_mode=True, count_include_pad=False), x))
    net.classify(5)
    net.explain(target)
    return net


TARGETS = (9, 5, 2)


@pytest.mark.parametrize("method", ["gradcam", "hirescam"])
@pytest.mark.parametrize("target", TARGETS)
def test_linalg_equals_the_reference(target, method):
    net = averages(target)
    compilation = Compilation(net, Settings(f"layers.{target}", method, pe="8x4", range_choice="max"))
    module = compilation.to("simplified")
    image = net.calibration_images[:1]
    logits, _ = run_float(module, image)
    np.testing.assert_allclose(logits, net(torch.from_numpy(image)).detach().numpy(), rtol=1e-5, atol=1e-5)
    module = compilation.to("quantized")
    body = module.body.operations[0].entry_block.operations
    differing = [op for op in body if "count_include_pad" in op.attributes and average_of(op).weights is not None]
    assert len(differing) >= 3
    (scaled,) = (op for op in body if op.operation.name == "gradcam.scale" and len(op.x.type.shape) == 4)
    assert scale(scaled.y) == pytest.approx(1.7 * scale(scaled.x), rel=1e-5)
    check_linalg(compilation, module, net.calibration_images)


@pytest.mark.parametrize(("target", "method", "pe"), [(TARGETS[1], "gradcam", "8x8"), (TARGETS[2], "hirescam", "4x8")])
def test_rtl_equals_the_integer_reference(target, method, pe, tmp_path):
    net, folder = averages(target), tmp_path / "design"
    compile_to_folder(net, "test", Settings(f"layers.{target}", method, pe=pe, range_choice="max"), folder)
    check_design(net, folder, inner=r".*(\.unfold|\.rows|\.columns|\.halves(\.\d+)?|\.high)|layers\.5\.mask")
