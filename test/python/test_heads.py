"""Heads of many forms: the derived map against autograd, what is left of the backward pass, integers and RTL."""

from __future__ import annotations

import logging
import os
import re

import heads
import numpy as np
import pytest
import torch
from frontend_models import op_names
from random_cnn import relative_error
from rtl_checks import check_design
from rtl_networks import Network, design, run_affine_of
from torch import nn

from gradcam.compiler import Compilation, Settings
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float
from gradcam.quant_types import scales
from gradcam.reference.integer import quantize_image, run_integer

TOLERANCE = 1e-5
TARGETS = ("last", "earlier")

#: Heads that are simulated in RTL by default, one of each kind; GRADCAM_FUZZ_RTL simulates all of them.
SIMULATED = [("convolution, pool", "last"), ("convolution, ReLU, pool (SqueezeNet)", "earlier")]
ALL = os.environ.get("GRADCAM_FUZZ_RTL", "0") != "0"


def simplified(net):
    return Compilation(net, net.settings("4x4")).to("simplified")


def backward_ops(module) -> list[str]:
    names = op_names(module)
    return names[names.index("select_class") + 1 :]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("head", heads.HEADS)
def test_map_is_that_of_autograd(head, target):
    net = heads.network(head, target)
    image = net.calibration_images[:1]
    found, wanted = run_float(simplified(net), image), heads.oracle(net, head, image)
    assert wanted[1].any()
    for a, b in zip(found, wanted, strict=True):
        assert relative_error(a, b) <= TOLERANCE


def test_a_wrong_head_is_caught():
    """The comparison can fail: the map of another class differs."""
    net = heads.network("convolution, pool")
    image = net.calibration_images[:1]
    logits, map_ = heads.oracle(net, "convolution, pool", image)
    _, other = run_float(simplified(net), image, int(logits.argmin()))
    assert relative_error(other, map_) > 0.1


@pytest.mark.parametrize("head", heads.LINEAR)
def test_nothing_of_the_backward_pass_is_left_behind_a_linear_head(head):
    module = simplified(heads.network(head))
    left = [name for name in backward_ops(module) if name != "scale"]
    assert left == ["class_row", "weighted_sum"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("head", heads.HEADS)
def test_scheduled_integers_are_those_of_the_reference(head, target):
    net = heads.network(head, target)
    compilation, images = Compilation(net, net.settings("4x8")), net.images(2)
    quantized = compilation.to("quantized")
    expected = [run_integer(quantized, image[None]) for image in images]
    assert all(map_.any() for _, map_ in expected)
    found = run_affine_of(compilation.to("scheduled"), images)
    for outputs, wanted in zip(found, expected, strict=True):
        for a, b in zip(outputs, wanted, strict=True):
            np.testing.assert_array_equal(a, b[0])


@pytest.mark.parametrize(("head", "target"), [(h, t) for h in heads.HEADS for t in TARGETS])
def test_rtl_equals_the_integer_reference(head, target, tmp_path):
    if not ALL and (head, target) not in SIMULATED:
        pytest.skip("takes long; GRADCAM_FUZZ_RTL=1 runs every head")
    net = heads.network(head, target)
    design(net, "4x8", tmp_path / "design")
    check_design(net, tmp_path / "design", inner=".*", distinct=False)


def test_a_class_that_calibration_never_explained_has_no_smaller_range():
    """One calibration image explains two classes; the gradients of the others do not saturate."""
    net = heads.network("convolution, ReLU, pool (SqueezeNet)")
    net.calibration_images = net.calibration_images[:1]
    with torch.no_grad():  # a class that is not predicted, whose weights have the largest scale
        net.layers[-1][0].weight[3] *= 4
        net.layers[-1][0].bias[3] = -10
    module = Compilation(net, net.settings("4x4")).to("quantized")
    image, seen = quantize_image(module, net.calibration_images), {}

    def on_value(op, _index, value):
        if op.operation.name == "gradcam.avg_pool2d_adjoint":
            seen["gradient"] = value[0, :, 0, 0] * scales(op.results[0])

    for cls in range(heads.CLASSES):
        run_integer(module, image, cls, on_value)
        wanted = np.eye(heads.CLASSES)[cls] / (heads.HEIGHT * heads.WIDTH)
        np.testing.assert_allclose(seen["gradient"], wanted, rtol=0.02)


@pytest.mark.parametrize("head", heads.LEFT_OUT)
def test_a_function_behind_the_logits_is_left_out_and_said(head, caplog):
    net = heads.network(head)
    with caplog.at_level(logging.WARNING):
        logits, _ = run_float(simplified(net), net.calibration_images)
    (message,) = [r.message for r in caplog.records]
    assert message.startswith(f"the {head} at 'layers.") and "is left out: maps explain logits" in message
    with torch.no_grad():
        probabilities = net(torch.from_numpy(net.calibration_images)).reshape(len(logits), -1)
    assert np.array_equal(logits.argmax(1), probabilities.argmax(1))


def test_logits_that_are_the_target_are_refused_with_a_remedy():
    net = Network(3, 8, 6)
    net.explain(net.conv(net.add(nn.ReLU(), net.conv(0, 6)), 5, (8, 6), 1, 0))
    net.add(nn.Flatten())
    with pytest.raises(GradcamError, match="the logits have 32 bits and cannot also feed") as caught:
        Compilation(net, net.settings("4x4")).to("quantized")
    assert str(caught.value).endswith("; explain an earlier layer")


class TwoHeads(nn.Module):
    """Two linear heads of one map, and what makes logits of them."""

    def __init__(self, end):
        super().__init__()
        self.conv, self.one, self.other, self.end = nn.Conv2d(3, 8, 3), nn.Linear(8, 4), nn.Linear(8, 4), end

    def forward(self, x):
        y = torch.relu(self.conv(x))
        return self.end(self.one(y.mean((2, 3))), self.other(y.amax((2, 3))))


#: Ends of heads that are refused, their place, op, and the last words of the reason.
REFUSED = {
    "joined": (
        lambda a, b: torch.cat([a, b], 1),
        "cat",
        "concat'",
        "over the concatenation of what they read, or compile a single one",
    ),
    "reordered": (lambda a, b: torch.cat([a, b], 1).flip(1), "cat", "concat'", "or compile a single one"),
    "added": (lambda a, b: a + b, "add", "add'", "of what they read, or compile a single one"),
    "gated": (lambda a, b: a * b.sigmoid(), "mul", "mul'", "compile the model without this op"),
    "squared": (lambda a, b: a * a, "mul", "mul'", "compile the model without this op"),
    "tanh": (lambda a, b: a.tanh(), "tanh", "function' (tanh)", "compile the model without this op"),
    "silu": (lambda a, b: nn.functional.silu(a), "silu", "function' (silu)", "compile the model without this op"),
    "prelu": (lambda a, b: torch.prelu(a, torch.tensor([0.2])), "prelu", "prelu'", "compile the model without this op"),
    "normalized": (lambda a, b: a.relu() * 2 - 1, "sub", "batch_norm'", "compile the model without this op"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_heads_that_are_refused_are_so_before_the_calibration(name):
    end, place, op, remedy = REFUSED[name]
    with pytest.raises(GradcamError, match=rf"^the logits come from 'gradcam\.{re.escape(op)}, and must ") as caught:
        of_two_heads(end, lambda: pytest.fail("calibration images are read")).to("quantized")
    assert caught.value.location.name_str == place and str(caught.value).endswith(remedy)


def test_one_of_the_heads_compiles():
    """As the reasons of the others say; its calibration images are read."""
    read = []
    of_two_heads(lambda a, b: a, lambda: read.append(1) or np.ones((1, 3, 8, 8), np.float32)).to("quantized")
    assert read


def of_two_heads(end, images, method="gradcam") -> Compilation:
    """The compilation of a model whose calibration images are asked of a function."""
    model = TwoHeads(end).eval()
    model.calibration_images = images
    return Compilation(model, Settings("conv", method, input_shape=(1, 3, 8, 8), pe="4x4"))


def test_the_image_as_logits_is_refused():
    with pytest.raises(GradcamError, match=r"^the logits are those of the image, and must come from a linear layer"):
        Compilation(nn.Flatten().eval(), Settings(None, input_shape=(1, 3, 1, 1), pe="4x4")).to("quantized")


def test_methods_without_an_integer_form_are_refused_before_the_calibration():
    compilation = of_two_heads(lambda a, b: b, lambda: pytest.fail("calibration images are read"), "gradcam++")
    with pytest.raises(GradcamError, match=r"method 'gradcam\+\+' needs '.*', which has no quantized form"):
        compilation.to("quantized")
