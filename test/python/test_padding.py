"""Padding that differs from side to side, through every level: of convolutions, of pools, and by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from level_checks import check_linalg
from random_cnn import Network as RandomNetwork
from random_cnn import op_names, random_case, relative_error
from rtl_checks import check_design
from rtl_networks import Network, Sum
from torch import nn
from torch_mlir import ir

from gradcam.compiler import Compilation, Settings
from gradcam.dialect import make_context
from gradcam.execution.float32 import run_float
from gradcam.output import compile_to_folder
from gradcam.passes.backward.derive_backward import DeriveBackward
from gradcam.passes.backward.fold_padding import FoldPadding, is_pad
from gradcam.passes.backward.simplify_backward import SimplifyBackward

TOLERANCE = 1e-4
TRACED = r".*(\.unfold|\.rows|\.columns|\.halves(\.\d+)?|\.high)"


def pads(module: ir.Module) -> int:
    return sum(map(is_pad, module.body.operations[0].entry_block.operations))


def maps_after_folding(net: RandomNetwork, target: int, method: str) -> tuple[list[np.ndarray], int, int]:
    """Logits and map, and the number of pads before and after folding."""
    with make_context():
        module = net.module(target, method)
        before = pads(module)
        FoldPadding().run(module)
        after = pads(module)
        DeriveBackward().run(module)
        SimplifyBackward().run(module)
        module.operation.verify()
        return run_float(module, net.image.numpy()), before, after


def test_folded_pads_compute_the_same():
    """Generated networks with pads, against autograd; where a fold is possible, it is done in some of them."""
    seen = folded = 0
    for seed in range(200):
        net, target = random_case(seed)
        with make_context():
            if not pads(net.module(target, "gradcam")):
                continue
        (logits, found), before, after = maps_after_folding(net, target, "hirescam")
        wanted_logits, wanted = net.oracle(target, "hirescam")
        assert relative_error(logits, wanted_logits) <= TOLERANCE, seed
        assert relative_error(found, wanted) <= TOLERANCE, seed
        seen, folded = seen + 1, folded + (after < before)
    assert seen >= 20 and folded >= 5


def test_a_wrong_side_is_noticed():
    net = RandomNetwork((1, 2, 7, 6), 3)
    target = net.conv(0, 5, (3, 3), padding=(0, 0, 1, 1))
    net.linear(net.flatten(net.relu(net.conv(net.pad(target, [0, 1, 2, 0]), 6, (3, 3), (2, 2), (0, 1, 1, 0)))), 5)
    wanted_logits, wanted = net.oracle(target, "hirescam")
    with make_context():
        module = net.module(target, "hirescam")
        assert op_names(module).count("avg_pool2d") == 1
        DeriveBackward().run(module)
        logits, found = run_float(module, net.image.numpy())
        assert relative_error(logits, wanted_logits) <= TOLERANCE and relative_error(found, wanted) <= TOLERANCE
        for op in module.body.operations[0].entry_block.operations:
            if op.operation.name == "gradcam.conv2d_adjoint":
                numbers = [ir.IntegerAttr(a).value for a in op.padding]
                op.attributes["padding"] = ir.Attribute.parse(str(numbers[2:] + numbers[:2]))
        assert module.operation.verify()
        assert relative_error(run_float(module, net.image.numpy())[1], wanted) > 0.01


def padded(target: int) -> Network:
    """Pads before convolutions and pools, "same" of an even kernel, ceil_mode, a pad that nothing takes over."""
    net = Network(3, 13, 14)
    x = net.add(nn.ReLU(), net.conv(net.add(nn.ZeroPad2d((0, 1, 0, 1)), 0), 8, 3, 2, 0))
    y = net.add(nn.ReLU(), net.conv(x, 8, 4, 1, "same"))
    x = net.add(nn.ZeroPad2d((1, 2, 0, 1)), net.add(Sum(), y, x))
    x = net.add(nn.MaxPool2d(3, 2, ceil_mode=True), net.conv(x, 6, 1, 1, 0))
    x = net.add(nn.MaxPool2d(2, 2, 1, ceil_mode=True), net.add(nn.ZeroPad2d((0, 1, 1, 0)), x))
    x = net.add(nn.ReLU(), net.conv(net.add(nn.ZeroPad2d((0, 2, 1, 1)), x), 8, 3, 1, 0))
    net.add(nn.AdaptiveAvgPool2d(1), net.add(nn.AvgPool2d(2, 1, 1), x))
    net.classify(5)
    net.explain(target)
    return net


#: The ReLU of the last stage, the max-pool before it, the first sum.
TARGETS = (13, 10, 6)


def test_the_network_has_what_it_is_for():
    compilation = Compilation(padded(TARGETS[2]), Settings(f"layers.{TARGETS[2]}", range_choice="max"))
    assert pads(compilation.to("gradcam")) == 4
    module = compilation.to("simplified")
    body = module.body.operations[0].entry_block.operations
    assert pads(module) == 1
    found = {str(op.padding) for op in body if op.operation.name in ("gradcam.conv2d", "gradcam.max_pool2d")}
    assert {"[0, 0, 1, 1]", "[1, 1, 2, 2]", "[1, 0, 1, 2]"} <= {text.replace(" : i64", "") for text in found}, found


@pytest.mark.parametrize("method", ["gradcam", "hirescam"])
@pytest.mark.parametrize("target", TARGETS)
def test_linalg_equals_the_reference(target, method):
    net = padded(target)
    compilation = Compilation(net, Settings(f"layers.{target}", method, pe="8x4", range_choice="max"))
    module = compilation.to("simplified")
    image = net.calibration_images[:1]
    logits, _ = run_float(module, image)
    np.testing.assert_allclose(logits, net(torch.from_numpy(image)).detach().numpy(), rtol=1e-5, atol=1e-5)
    check_linalg(compilation, compilation.to("quantized"), net.calibration_images)


@pytest.mark.parametrize(("target", "method", "pe"), [(TARGETS[0], "gradcam", "8x8"), (TARGETS[2], "hirescam", "4x8")])
def test_rtl_equals_the_integer_reference(target, method, pe, tmp_path):
    net, folder = padded(target), tmp_path / "design"
    compile_to_folder(net, "test", Settings(f"layers.{target}", method, pe=pe, range_choice="max"), folder)
    check_design(net, folder, inner=TRACED)


def mobile(target: int) -> Network:
    """A stem, depthwise and pointwise convolutions as TensorFlow pads them: one zero more behind the map."""
    net = Network(3, 12, 14)
    x = net.add(nn.ReLU6(), net.conv(net.add(nn.ZeroPad2d((0, 1, 0, 1)), 0), 8, 3, 2, 0))
    for out, stride in ((12, 1), (10, 2)):
        padded_map = x if stride == 1 else net.add(nn.ZeroPad2d((0, 1, 0, 1)), x)
        depthwise = net.conv(padded_map, net.channels(x), 3, stride, int(stride == 1), groups=net.channels(x))
        x = net.add(nn.ReLU6(), net.conv(net.add(nn.ReLU6(), depthwise), out, 1, 1, 0))
    net.add(nn.AdaptiveAvgPool2d(1), x)
    net.classify(4)
    net.explain(target)
    return net


#: The last stage, and the pointwise convolution before the depthwise one that strides.
MOBILE_TARGETS = (12, 7)


@pytest.mark.parametrize("target", MOBILE_TARGETS)
def test_mobile_networks_of_tensorflow_in_rtl(target, tmp_path):
    net, folder = mobile(target), tmp_path / "design"
    assert isinstance(net.layers[target], nn.ReLU6)
    simplified = Compilation(net, Settings(f"layers.{target}", range_choice="max")).to("simplified")
    assert pads(simplified) == 0
    compile_to_folder(net, "test", Settings(f"layers.{target}", pe="8x8", range_choice="max"), folder)
    check_design(net, folder, inner=TRACED, distinct=False)
