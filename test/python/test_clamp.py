"""Clamps, and activations alike, with inputs on their bounds: the gradient is PyTorch's there, at every level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from heads import Function
from random_cnn import relative_error
from rtl_checks import check_design
from rtl_networks import Network, design, run_affine_of
from torch import nn
from torch_mlir import ir

from gradcam.compiler import Compilation
from gradcam.dialect import make_context
from gradcam.evaluate import pearson
from gradcam.execution.float32 import run_float
from gradcam.quant_types import mask_bounds
from gradcam.reference.integer import quantize_image, run_integer

#: Functions whose input is at least 0, and often exactly 0; whether the gradient passes there.
ON_BOUND = {
    "clamp(min=0)": (lambda x: x.clamp(min=0), True),
    "clamp(0, 6)": (lambda x: x.clamp(0, 6), True),
    "clamp(0, 0.5)": (lambda x: x.clamp(0, 0.5), True),
    "clamp(max=0.5)": (lambda x: x.clamp(max=0.5), True),
    "relu": (F.relu, False),
    "relu6": (F.relu6, False),
    "hardtanh(0, 0.5)": (lambda x: F.hardtanh(x, 0, 0.5), False),
}


def network(name: str) -> Network:
    """A feature map that a ReLU makes 0 in many places, the function, and the rest; the map is the target."""
    net = Network(3, 8, 6, seed=4)
    net.explain(net.add(nn.ReLU(), net.conv(0, 6)))
    x = net.add(Function(ON_BOUND[name][0]))
    net.add(nn.AdaptiveAvgPool2d(1), net.add(nn.ReLU(), net.conv(x, 6)))
    return net.classify(4)


def oracle(net: Network, image: np.ndarray) -> np.ndarray:
    """The map of the best class by autograd in f64."""
    net.double()
    a = net.layers[2](net.layers[1](torch.from_numpy(image).double())).detach().requires_grad_()
    x = a
    for layer in net.layers[3:]:
        x = layer(x)
    (g,) = torch.autograd.grad(x.max(), a)
    net.float()
    return (g.mean((2, 3), keepdim=True) * a).sum(1).detach().numpy()


@pytest.mark.parametrize("name", ON_BOUND)
def test_the_map_is_that_of_autograd(name):
    net = network(name)
    image = net.calibration_images[:1]
    _, found = run_float(Compilation(net, net.settings("4x4")).to("simplified"), image)
    assert relative_error(found, oracle(net, image)) <= 1e-5


@pytest.mark.parametrize("name", ON_BOUND)
def test_integers(name):
    """The mask is 1 at an integer 0 where the gradient passes on the bound; the scheduled IR equals the reference."""
    net = network(name)
    compilation, (image,), masks = Compilation(net, net.settings("4x4")), net.images(1), []
    quantized = compilation.to("quantized")

    def on_value(op, _index, value):
        if op.operation.name == "gradcam.mask":
            masks.append(value)
        if op.operation.name == "gradcam.relu":
            masks.append(value == 0)

    expected = run_integer(quantized, image[None], on_value=on_value)
    zero, *found = [m for m in masks if m.shape == masks[0].shape][:2]
    assert zero.any()
    if name != "relu":  # a relu of a relu: its mask is the second one
        assert found[0][zero].all() == ON_BOUND[name][1] and found[0][zero].any() == ON_BOUND[name][1]
    (outputs,) = run_affine_of(compilation.to("scheduled"), [image])
    for a, b in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(a, b[0])


def test_rtl(tmp_path):
    net = network("clamp(0, 0.5)")
    design(net, "4x4", tmp_path / "design")
    check_design(net, tmp_path / "design", inner=".*", distinct=False)


@pytest.mark.parametrize("scale", ["0.04724409", "0.047244094", "0.0472441"])
def test_an_open_mask_is_0_on_its_bounds_however_the_scale_is_rounded(scale):
    """127 stands for a bound of 6 at a scale of 6/127, whose seven digits lie below or above it."""
    type_ = f"tensor<1x1x1x1x!quant.uniform<i8:f32, {scale}>>"
    attributes = "closed = false, hi = 6.0 : f64, lo = 0.0 : f64"
    text = f"""func.func @main(%x: {type_}) -> tensor<1x1x1x1xi1> {{
      %0 = "gradcam.mask"(%x) {{{attributes}}} : ({type_}) -> tensor<1x1x1x1xi1>
      return %0 : tensor<1x1x1x1xi1>
    }}"""
    with make_context():
        module = ir.Module.parse(text)
        mask, _ = module.body.operations[0].regions[0].blocks[0].operations
        assert mask_bounds(mask) == (0, 127)


def test_relu6_of_relu6_is_explained_in_int8():
    """Many elements lie on the upper bound of the first, where the second passes no gradient."""
    net = Network(3, 8, 6, seed=4)
    net.calibration_images = net.calibration_images * 12
    net.explain(net.add(nn.ReLU6(), net.conv(0, 6)))
    net.add(nn.AdaptiveAvgPool2d(1), net.add(nn.ReLU(), net.conv(net.add(nn.ReLU6()), 6)))
    net.classify(4)
    module = Compilation(net, net.settings("4x4")).to("quantized")
    coefficients = []
    for image in net.calibration_images:
        _, found = run_integer(module, quantize_image(module, image[None]))
        coefficients.append(pearson(found, oracle(net, image[None])))
    assert np.median(coefficients) > 0.98, coefficients
