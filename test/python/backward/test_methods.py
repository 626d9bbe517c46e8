"""Every class activation method, derived and simplified, on generated networks against PyTorch's autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cam_formulas import cam, is_well_conditioned
from frontend_models import Trunk, faults_of
from oracles import gradients
from random_cnn import Network, op_names, random_case, relative_error
from torch_mlir import ir

from gradcam.dialect import adjoints, make_context
from gradcam.dialect.methods import METHODS, WITHOUT_STATIC_FORM
from gradcam.execution.float32 import KERNELS, run_float
from gradcam.execution.interpreter import run
from gradcam.frontend import import_model
from gradcam.passes.backward import cam_methods
from gradcam.passes.backward.derive_backward import DeriveBackward
from gradcam.passes.backward.simplify_backward import SimplifyBackward

TOLERANCE = 1e-4
NETWORKS = 300


def maps_of(net: Network, target: int, methods=METHODS, cls: int = -1, simplify: bool = False) -> list[np.ndarray]:
    """Logits and one map per method."""
    with make_context():
        module = net.explaining([(target, method) for method in methods])
        DeriveBackward().run(module)
        if simplify:
            SimplifyBackward().run(module)
        module.operation.verify()
        return run_float(module, net.image.numpy(), cls)


@pytest.mark.parametrize("block", range(10))
def test_generated_networks(block):
    """300 networks, each at a random target, all methods: derived equals autograd, simplified equals derived."""
    size = NETWORKS // 10
    for seed in range(size * block, size * (block + 1)):
        net, target = random_case(seed)
        wanted_logits, a, g = net.gradient(target)
        logits, *derived = maps_of(net, target)
        same_logits, *simplified = maps_of(net, target, simplify=True)
        assert relative_error(logits, wanted_logits.numpy()) <= TOLERANCE, seed
        assert np.array_equal(logits, same_logits), seed
        for method, before, after in zip(METHODS, derived, simplified, strict=True):
            if is_well_conditioned(method, a, g):
                wanted = cam(method, a, g).numpy()
                assert relative_error(before, wanted) <= TOLERANCE, (seed, target, method)
                assert relative_error(after, wanted) <= TOLERANCE, (seed, target, method)


def test_generated_networks_mean_something():
    """The comparison is not on zeros, is left out of few cases, and covers what it says."""
    seen, convolutions, pools, channels, nonzero, excused = set(), set(), set(), set(), 0, 0
    with make_context():
        for seed in range(NETWORKS):
            net, target = random_case(seed)
            _, a, g = net.gradient(target)
            nonzero += bool(cam("gradcam", a, g).abs().max() > 1e-6)
            excused += sum(not is_well_conditioned(method, a, g) for method in METHODS)
            module = net.module(target, "gradcam")
            seen.update(op_names(module))
            for op in module.body.operations[0].entry_block.operations:
                kind = op.operation.name.removeprefix("gradcam.")
                if kind in ("conv2d", "max_pool2d"):
                    window = [[ir.IntegerAttr(v).value for v in op.attributes[n]] for n in ("stride", "padding")]
                    {"conv2d": convolutions, "max_pool2d": pools}[kind].add(tuple(map(tuple, window)))
                    channels.add(ir.RankedTensorType(op.results[0].type).shape[1])
    assert nonzero >= 0.9 * NETWORKS
    assert excused <= 0.01 * NETWORKS * len(METHODS)
    assert {op.OPERATION_NAME.split(".")[1] for op in adjoints.ADJOINTS} <= seen
    assert {stride for strides, _ in convolutions for stride in strides} == {1, 2, 3}
    assert {padding > 0 for _, paddings in pools for padding in paddings} == {False, True}
    for windows in (convolutions, pools):
        assert any(paddings[:2] != paddings[-2:] for _, paddings in windows)
    assert 1 in channels and max(channels) >= 64


def signed_network() -> tuple[Network, int]:
    """The target is of either sign, also where its gradient is not 0, and the gradient is not the same everywhere."""
    net = Network((1, 2, 7, 6), 3)
    target = net.conv(0, 5, (3, 3), padding=(1, 1))
    net.linear(net.flatten(net.relu(net.conv(target, 6, (3, 3), (2, 2), (1, 1)))), 5)
    return net, target


def test_methods_are_told_apart():
    """The comparison can fail: no method passes for another."""
    net, target = signed_network()
    _, a, g = net.gradient(target)
    _, *maps = maps_of(net, target)
    errors = np.array([[relative_error(found, cam(m, a, g).numpy()) for m in METHODS] for found in maps])
    assert errors.diagonal().max() <= TOLERANCE
    assert errors[~np.eye(len(METHODS), dtype=bool)].min() > 0.01


def test_the_sum_of_eq_19_is_outside_the_power():
    """A Grad-CAM++ whose sum is of a * g^3, as one library has it, is another map."""
    net, target = signed_network()
    _, a, g = (x.double() for x in net.gradient(target))
    inside = g**2 / (2 * g**2 + (a * g**3).sum((2, 3), keepdim=True) + 1e-6)
    wrong = ((inside * g.clamp(min=0)).sum((2, 3), keepdim=True) * a).sum(1)
    _, found = maps_of(net, target, ["gradcam++"])
    assert relative_error(found, wrong.numpy()) > 0.01


@pytest.mark.parametrize(
    ("op", "wanted"),
    [
        # g = (1, -2), a = (3, 1): (1*3 - 2*1) / (3 + 1 + 1)
        ("xgradcam_weights", 1 / 5),
        # alpha of the first element: 1 / (2 + 4 + 1); the second has no positive part
        ("gradcam_plus_plus_weights", 1 / 7),
    ],
)
def test_weights_by_hand(op, wanted):
    text = f"""func.func @main(%g: tensor<1x1x1x2xf32>, %a: tensor<1x1x1x2xf32>) -> tensor<1x1xf32> {{
      %y = "gradcam.{op}"(%g, %a) {{eps = 1.0 : f64}} : (tensor<1x1x1x2xf32>, tensor<1x1x1x2xf32>) -> tensor<1x1xf32>
      return %y : tensor<1x1xf32>
    }}"""
    with make_context():
        inputs = [np.array([[[values]]], np.float32) for values in ([1, -2], [3, 1])]
        (y,) = run(ir.Module.parse(text), inputs, KERNELS)
    assert y.item() == pytest.approx(wanted, rel=1e-6)


def test_tap_sums_by_hand():
    """A 3-wide kernel at stride 2 and padding 1 on 4 columns: taps read columns -1 1, 0 2, 1 3; the last tap first."""
    text = """func.func @main(%g: tensor<1x1x1x2xf32>) -> tensor<1x1x1x3xf32> {
      %y = "gradcam.tap_sums"(%g)
        {kernel = [1, 3], stride = [1, 2], padding = [0, 1], dilation = [1, 1], size = [1, 4]}
        : (tensor<1x1x1x2xf32>) -> tensor<1x1x1x3xf32>
      return %y : tensor<1x1x1x3xf32>
    }"""
    with make_context():
        (y,) = run(ir.Module.parse(text), [np.array([[[[10, 1]]]], np.float32)], KERNELS)
    assert y.tolist() == [[[[11, 11, 1]]]]


def pooled_network() -> tuple[Network, int]:
    """A positive feature map, a global average pool, a linear layer."""
    net = Network((1, 3, 9, 8), 1)
    target = net.relu(net.conv(net.relu(net.conv(0, 8, (3, 3))), 12, (3, 3)))
    net.linear(net.flatten(net.global_pool(target)), 5)
    return net, target


@pytest.mark.parametrize("simplify", [False, True])
def test_methods_that_agree_behind_a_global_pool(simplify):
    """Golden: a constant gradient makes Grad-CAM, HiResCAM and XGrad-CAM one map; LayerCAM is the elementwise one."""
    net, target = pooled_network()
    found = dict(zip(METHODS, maps_of(net, target, simplify=simplify)[1:], strict=True))
    for method in ("hirescam", "xgradcam"):
        assert relative_error(found[method], found["gradcam"]) <= 1e-5
    assert relative_error(found["gradcam-elementwise"], found["layercam"]) <= 1e-5
    assert relative_error(found["layercam"], found["gradcam"]) > 0.01
    assert relative_error(found["gradcam++"], found["gradcam"]) > 0.01


def test_nothing_of_the_backward_pass_is_left_behind_a_global_pool():
    net, target = pooled_network()
    with make_context():
        module = net.explaining([(target, method) for method in METHODS if method != "gradcam++"])
        DeriveBackward().run(module)
        SimplifyBackward().run(module)
        names = [name for name in op_names(module) if name != "constant"]
    left = ["select_class", *["class_row", "weighted_sum", "scale"] * 2, "return"]
    assert names[names.index("select_class") :] == left, "two maps: of the row, and of its positive part"


def test_eps_is_that_of_the_explanation():
    model = Trunk(lambda x: torch.relu(x).mean((2, 3)))
    image = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
    maps = []
    for eps in (1e-7, 1.0):
        module = import_model(model, target_layer="conv", method="gradcam++", eps=eps)
        DeriveBackward().run(module)
        maps.append(run_float(module, image)[1])
    assert relative_error(maps[1], maps[0]) > 0.1
    assert faults_of(model, eps=0.0) == ["eps must be positive and finite, got 0.0"]
    assert faults_of(model, eps=float("inf")) == ["eps must be positive and finite, got inf"]


@pytest.mark.parametrize("method", METHODS)
def test_the_default_eps_is_that_of_pytorch_grad_cam(method):
    """With gradients of 1e-4, beside whose squares it counts."""
    model = Trunk(lambda x: (torch.relu(x) * 0.005).mean((2, 3)))
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32))
    module = import_model(model, target_layer="conv", method=method)
    DeriveBackward().run(module)
    _, found = gradients(model, image, ["conv"])
    wanted = cam(method, *found["conv"]).numpy()
    assert relative_error(run_float(module, image.numpy())[1], wanted) <= TOLERANCE
    if method == "gradcam++":
        assert relative_error(cam(method, *found["conv"], eps=1e-7).numpy(), wanted) > 0.5


@pytest.mark.parametrize("method", WITHOUT_STATIC_FORM)
def test_methods_without_a_static_form_are_refused_by_name(method):
    (line,) = faults_of(Trunk(lambda x: x.mean((2, 3))), method=method)
    assert line.startswith(f"method '{method}' has no static form: ")
    assert line.endswith(f"choose one of {', '.join(METHODS)}")


def test_every_method_has_a_builder():
    assert set(cam_methods.METHODS) == set(METHODS)
