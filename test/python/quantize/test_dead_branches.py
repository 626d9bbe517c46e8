"""A branch that is zero on every calibration image beside a living one: compiled, told, and right."""

import logging

import numpy as np
import pytest
import torch
from rtl_networks import Network, Sum, run_affine_of
from torch import nn

from gradcam.compiler import Compilation
from gradcam.errors import GradcamError
from gradcam.evaluate import pearson
from gradcam.reference.integer import quantize_image, run_integer


def network(explained: str, gradient: float = 1.0) -> Network:
    """x + c3(relu(c2(x))) with a relu that is never above 0; `gradient` is a factor of the classifier's weights."""
    net = Network(3, 8, 6, seed=4)
    found = {"before": net.add(nn.ReLU(), net.conv(0, 6))}
    found["inside"] = net.conv(found["before"], 6)
    with torch.no_grad():
        net.layers[-1].bias -= 1000
    found["dead"] = net.add(nn.ReLU(), found["inside"])
    dead = net.conv(found["dead"], 6)
    net.add(nn.ReLU(), net.add(Sum(), net.conv(found["before"], 6), dead))
    net.explain(found[explained])
    net.add(nn.AdaptiveAvgPool2d(1))
    net.classify(5)
    with torch.no_grad():
        net.layers[-1].weight *= gradient
    return net


def oracle(net: Network, image: np.ndarray) -> np.ndarray:
    """The map of the best class by autograd in f64."""
    kept = []
    hook = net.layers[net.target].register_forward_hook(lambda _m, _i, out: kept.append(out))
    logits = net.double()(torch.from_numpy(image).double())
    (g,) = torch.autograd.grad(logits.max(), kept[0])
    hook.remove()
    net.float()
    return (g.mean((2, 3), keepdim=True) * kept[0]).sum(1).detach().numpy()


@pytest.mark.parametrize("gradient", [1.0, 1e-5, 1e5])
def test_a_dead_branch_compiles_and_is_told(gradient, caplog):
    net = network("before", gradient)
    images, compilation = net.calibration_images, Compilation(net, net.settings("4x4"))
    with caplog.at_level(logging.WARNING):
        quantized = compilation.to("quantized")
    (told,) = [r.message for r in caplog.records]
    assert told.startswith(
        "the result of 'layers.4' and of 4 more ops is zero on every calibration image; integers may not"
    )
    integers = [quantize_image(quantized, image[None]) for image in images]
    expected = [run_integer(quantized, image) for image in integers]
    assert min(pearson(found[1], oracle(net, x[None])) for found, x in zip(expected, images, strict=True)) > 0.98
    for outputs, wanted in zip(
        run_affine_of(compilation.to("scheduled"), np.concatenate(integers)), expected, strict=True
    ):
        for a, b in zip(outputs, wanted, strict=True):
            np.testing.assert_array_equal(a, b[0])


@pytest.mark.parametrize(
    ("explained", "said"),
    [
        (
            "inside",
            ".*'gradcam.apply_mask' at .*; so is the map, since the gradient of a ReLU that always gives 0 is 0",
        ),
        ("dead", "; so is the map"),
    ],
)
def test_an_explanation_inside_the_dead_branch_is_refused(explained, said):
    net = network(explained)
    wanted = rf"^zero on every calibration image: 'gradcam.relu' at loc\(\"layers.4\"\){said}; calibrate with images "
    with pytest.raises(GradcamError, match=f"{wanted}the model will meet, or explain another layer$"):
        Compilation(net, net.settings("4x4")).to("quantized")
