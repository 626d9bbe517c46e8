"""Biases that take back what rounding the weights adds, on average, to the output of a layer."""

import numpy as np
import pytest
from small_networks import Network
from torch import from_numpy
from torch.nn import functional
from torch_mlir import ir

from gradcam.passes.ir.constants import dense_values
from gradcam.passes.ir.queries import main_function
from gradcam.passes.quantize.calibrate import calibrate
from gradcam.passes.quantize.means import INPUT_MEAN
from gradcam.passes.quantize.quantize import Quantize
from gradcam.quant_types import scales

pytestmark = pytest.mark.usefixtures("context")

SHAPE = (1, 6, 5, 5)


def images(seed):
    """Images whose channels have means of their own, so that rounded weights shift what a layer computes."""
    rng = np.random.default_rng(seed)
    means = np.linspace(3, -2, SHAPE[1])[:, None, None]
    return [rng.normal(means, 0.3, SHAPE).astype(np.float32) for _ in range(8)]


def network(groups):
    """A convolution of the image with a few large weights, beside which the others are rounded coarsely, and a head."""
    net = Network(SHAPE)
    weight = net.rng.uniform(-0.02, 0.02, (6, 6 // groups, 3, 3))
    weight[:, 0, 0, 0] = 1.0
    y = net.conv(net.image, 6, weight=weight, padding=0, groups=groups, path="conv")
    return net.module(*net.head(net.relu(y), 3))


def stored(value):
    """What the integers of a quantized constant stand for: float64, scales by its first axis."""
    integers = dense_values(value.owner.operands[0].owner).astype(np.float64)
    return integers * scales(value).reshape(-1, *[1] * (integers.ndim - 1))


def shift(text, groups, corrected):
    """Mean over images and positions by which each channel of the quantized convolution differs from the f32 one."""
    module, reference = ir.Module.parse(text), ir.Module.parse(text)
    calibrate(module, images(1), "max")
    layers = [op for op in main_function(module).entry_block.operations if INPUT_MEAN in op.attributes]
    assert [op.operation.name for op in layers] == ["gradcam.conv2d", "gradcam.linear"]
    if not corrected:
        for op in layers:
            del op.attributes[INPUT_MEAN]
    Quantize().run(module)
    assert INPUT_MEAN not in str(module)
    (conv,) = [op for op in main_function(module).entry_block.operations if op.operation.name == "gradcam.conv2d"]
    (plain,) = [op for op in main_function(reference).entry_block.operations if op.operation.name == "gradcam.conv2d"]
    x = from_numpy(np.concatenate(images(1)).astype(np.float64))
    found, wanted = (
        functional.conv2d(x, from_numpy(weight), from_numpy(bias), groups=groups).mean((0, 2, 3)).numpy()
        for weight, bias in (
            (stored(conv.operands[1]), stored(conv.operands[2])),
            [dense_values(v.owner).astype(np.float64) for v in list(plain.operands)[1:]],
        )
    )
    return np.abs(found - wanted).max()


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_the_bias_takes_back_what_rounded_weights_add(groups):
    text = network(groups)
    without, with_means = shift(text, groups, corrected=False), shift(text, groups, corrected=True)
    assert without > 0.02
    assert with_means < without / 10
