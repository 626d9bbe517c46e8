"""Any layer of a network as the target, several at once, in both stems of ResNet-18, against PyTorch's autograd."""

from __future__ import annotations

import copy
import itertools
import logging

import numpy as np
import pytest
import torch
from cam_formulas import cam, is_well_conditioned
from frontend_models import body_ops, faults_of
from random_cnn import relative_error
from torch_mlir import ir

from gradcam.dialect.methods import METHODS
from gradcam.execution.float32 import run_float
from gradcam.frontend import import_model, target_layers
from gradcam.models import resnet18
from gradcam.passes.backward.derive_backward import DeriveBackward
from gradcam.passes.backward.fold_batch_norm import FoldBatchNorm
from gradcam.passes.backward.simplify_backward import SimplifyBackward
from gradcam.passes.ir.explanations import explanations
from gradcam.program import maps_of
from gradcam.schema.program import Explanation

TOLERANCE = 1e-4
#: What twenty layers of f32 arithmetic lose.
NOISE = 1e-6
#: Side of the image, and a seed of one that keeps the divisors of xgradcam and gradcam++ from cancelling at any target.
STEMS = {"cifar": (16, 10), "imagenet": (64, 1)}
#: What a ResNet-18 has, whatever `target_layers` says.
BLOCKS = [f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)]
INSIDE = [f"{block}.{name}" for block in BLOCKS for name in ("conv1", "bn1", "conv2", "bn2")]
SHORTCUTS = [f"layer{stage}.0.downsample{name}" for stage in range(2, 5) for name in ("", ".0", ".1")]
STAGES = [f"layer{stage}" for stage in range(1, 5)]
CALLS = [f"{block}.relu@{number}" for block in BLOCKS for number in range(2)]
COMMON = {"conv1", "bn1", "relu", "avgpool", *STAGES, *BLOCKS, *INSIDE, *CALLS, *SHORTCUTS}


def resnet(stem: str) -> torch.nn.Module:
    """ResNet-18 of width 8 whose batch norms do something."""
    torch.manual_seed(0)
    model = resnet18(width=8, num_classes=5, stem=stem).eval()
    model.input_shape = tuple(image_for(stem).shape)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    return model


def image_for(stem: str) -> torch.Tensor:
    side, seed = STEMS[stem]
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def oracle(model: torch.nn.Module, image: torch.Tensor, paths: list[str]):
    """Feature map and gradient of the highest logit per path, by autograd in f64."""
    model, image, seen = copy.deepcopy(model).double(), image.double(), {}

    def hooked(path):
        name, _, wanted = path.partition("@")
        calls = itertools.count()

        def capture(module, args, out):
            if str(next(calls)) == wanted or not wanted:
                seen[path] = out
            return out.clone()  # what follows writes in place

        return model.get_submodule(name).register_forward_hook(capture)

    hooks = [hooked(path) for path in paths]
    logits = model(image)
    for hook in hooks:
        hook.remove()
    gradients = torch.autograd.grad(logits.max(), [seen[path] for path in paths])
    return logits.detach(), {path: (seen[path].detach(), g) for path, g in zip(paths, gradients, strict=True)}


@pytest.fixture(scope="module")
def small() -> torch.nn.Module:
    return resnet("cifar")


@pytest.fixture(scope="module", params=STEMS)
def case(request):
    """Stem, model, image, all target layers, and the oracle's feature map and gradient at each."""
    model, image = resnet(request.param), image_for(request.param)
    paths = target_layers(model)
    return request.param, model, image, paths, *oracle(model, image, paths)


def derived(model, paths, method="gradcam") -> ir.Module:
    module = import_model(model, target_layer=paths, method=method)
    FoldBatchNorm().run(module)
    DeriveBackward().run(module)
    module.operation.verify()
    return module


def simplified(model, paths, method="gradcam") -> ir.Module:
    module = derived(model, paths, method)
    SimplifyBackward().run(module)
    module.operation.verify()
    return module


def test_every_module_output_can_be_named(case):
    stem, _, _, paths, *_ = case
    assert set(paths) == COMMON | ({"maxpool"} if stem == "imagenet" else set())


@pytest.mark.parametrize("method", METHODS)
def test_every_target(case, method):
    """All targets in one module, before and after simplification."""
    _, model, image, paths, wanted_logits, wanted = case
    module = derived(model, paths, method)
    for simplify in (False, True):
        if simplify:
            SimplifyBackward().run(module)
        logits, *maps = run_float(module, image.numpy())
        assert relative_error(logits, wanted_logits.numpy()) <= TOLERANCE
        for path, found in zip(paths, maps, strict=True):
            error = relative_error(found, cam(method, *wanted[path]).numpy())
            assert error <= TOLERANCE or not is_well_conditioned(method, *wanted[path], NOISE), (path, simplify, error)


@pytest.mark.parametrize("method", METHODS)
def test_the_tolerance_is_asked_for(case, method):
    """Always but where cancellation leaves a quotient fewer than four digits."""
    *_, wanted = case
    excused = [path for path, pair in wanted.items() if not is_well_conditioned(method, *pair, NOISE)]
    assert len(excused) <= (6 if method in ("xgradcam", "gradcam++") else 0), excused


@pytest.mark.parametrize(("path", "method"), [("layer2.0.bn1", "layercam"), ("conv1", "gradcam")])
def test_a_target_alone_is_what_it_is_among_others(small, path, method):
    image = image_for("cifar").numpy()
    _, alone = run_float(simplified(small, path, method), image)
    _, *maps = run_float(simplified(small, ["layer4", path, "layer1"], method), image)
    assert relative_error(maps[1], alone) <= 1e-5


def count(module: ir.Module, name: str) -> int:
    return sum(op.name == f"gradcam.{name}" for op in body_ops(module))


@pytest.mark.parametrize("method", ["gradcam", "layercam"])
def test_several_targets_share_the_backward_pass(small, method):
    together, alone = derived(small, ["layer4", "layer3"], method), derived(small, "layer3", method)
    for _ in range(2):  # before and after simplification
        for name in ("conv2d_adjoint", "activation_adjoint", "select_class", "tap_sums"):
            assert count(together, name) == count(alone, name), name
        assert count(alone, "conv2d_adjoint") == 5
        assert count(together, "weighted_sum") == 2
        for module in (together, alone):
            SimplifyBackward().run(module)


def test_a_gradient_that_goes_on_is_not_collapsed(small):
    """The mean of a gradient that another target needs whole is taken of that gradient."""
    module = simplified(small, ["layer3", "layer2"])
    assert count(module, "conv2d_adjoint") == count(simplified(small, "layer2"), "conv2d_adjoint") == 10
    assert count(module, "channel_weights") == 1 and count(module, "tap_sums") == 2


def test_two_names_of_one_feature_map_are_explained_once(small):
    module = simplified(small, ["layer3", "layer3.1", "layer3.1.relu"])
    assert count(module, "weighted_sum") == 1
    results = list(body_ops(module)[-1].operands)
    assert len(results) == 4 and results[1] == results[2] == results[3]


def test_maps_come_in_the_order_asked_for(small):
    module = import_model(small, target_layer=["layer4", "layer2", "layer3"])
    explains = [op for op in body_ops(module) if op.name == "gradcam.explain"]
    assert [op.location.name_str for op in explains] == ["explain.layer4", "explain.layer2", "explain.layer3"]
    shapes = [ir.RankedTensorType(v.type).shape for v in body_ops(module)[-1].operands]
    assert shapes[1:] == [[1, 2, 2], [1, 8, 8], [1, 4, 4]]


def test_the_function_keeps_what_each_map_explains(small):
    one, two = derived(small, "layer4", "layercam"), derived(small, ["layer4", "layer3"], "layercam")
    asked = [[e.name for e in explanations(m.body.operations[0])[0]] for m in (one, two)]
    assert asked == [["eps", "method", "normalize", "rank", "relu", "target"]] * 2
    assert isinstance(one.body.operations[0].attributes["gradcam.explain"], ir.DictAttr), "not an array for one map"
    wanted = [
        Explanation(target=path, rank=0, method="layercam", relu=True, normalize=True, eps=1e-7)
        for path in ("layer4", "layer3")
    ]
    assert maps_of(one.operation) == {"heatmap": wanted[0]}
    assert maps_of(two.operation) == {"heatmap0": wanted[0], "heatmap1": wanted[1]}


def test_target_layers_that_cannot_be_marked_are_all_named(small):
    faults = faults_of(small, target_layer=["layer4", "layer4", "layer9", "fc"])
    assert faults[0] == "target layer 'layer4' is named twice"
    assert faults[1].startswith("target layer 'layer9' is not a module")
    assert faults[2].startswith("target layer 'fc' gives a tensor of 2 dimensions")


def test_a_shared_module_is_explained_at_its_last_call(small, caplog):
    with caplog.at_level(logging.WARNING):
        module = derived(small, ["layer1.0.relu", "layer1.0"])
    assert "called 2 times" in caplog.text
    _, first, second = run_float(module, image_for("cifar").numpy())
    assert np.array_equal(first, second)


def test_a_wrong_gradient_is_caught(case):
    """The comparison can fail: the maps of the gradient of another class are far off."""
    _, model, image, paths, wanted_logits, wanted = case
    other = int(wanted_logits.argmin())
    _, *maps = run_float(derived(model, paths), image.numpy(), other)
    errors = [relative_error(m, cam("gradcam", *wanted[p]).numpy()) for p, m in zip(paths, maps, strict=True)]
    assert min(errors) > 0.05
