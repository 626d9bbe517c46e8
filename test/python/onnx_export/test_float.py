"""`--emit onnx`: the float program in onnxruntime, against PyTorch's autograd in f64."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterator

import numpy as np
import onnx
import onnx_models
import pytest
import torch
import torch.nn.functional as functional
from cam_formulas import cam, is_well_conditioned
from normalized_models import Buffers
from normalized_models import network as normalized_network
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_runs import execute, exported, level1
from oracles import gradients
from random_cnn import Network, op_names, random_case, relative_error
from torch_mlir import ir

import gradcam
from gradcam.compiler import Compilation, Settings
from gradcam.data import load_test_images, to_input
from gradcam.dialect import layout_ops, make_context
from gradcam.dialect.methods import METHODS
from gradcam.errors import GradcamError
from gradcam.execution.float32 import KERNELS
from gradcam.models import tinyml_resnet18
from gradcam.onnx_export import compiled_model, float_model
from gradcam.onnx_export.export import RULES
from gradcam.passes.backward.derive_backward import DeriveBackward

TOLERANCE = 1e-4
SEEDS = range(100)


def test_every_op_of_level_1_has_a_rule():
    """The others lay out a map for the array, at level 2."""
    assert set(RULES) == set(KERNELS) - {op.OPERATION_NAME for op in (layout_ops.Unfold2dOp, layout_ops.Fold2dOp)}


def forms(seed: int) -> Iterator[ir.Module]:
    """A random network with its explanation as it is derived and as it is simplified, in the current context."""
    net, target = random_case(seed)
    module = net.module(target, METHODS[seed % len(METHODS)])
    DeriveBackward().run(module)
    yield module
    yield level1(module)


def test_the_random_networks_have_every_op():
    """But for names, and for what other tests have."""
    with make_context():
        seen = {name for seed in SEEDS for module in forms(seed) for name in op_names(module)}
    others = {"target", "requantize", "next_class", "scale", "pool_map"}
    assert {name.removeprefix("gradcam.") for name in RULES} - seen <= others


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks(seed):
    """Any op and target."""
    net, target = random_case(seed)
    method = METHODS[seed % len(METHODS)]
    logits, a, g = net.gradient(target)
    wanted = cam(method, a, g).numpy()
    with make_context():
        for module in forms(seed):
            found = exported(module, net.image.numpy())
            assert relative_error(found[0], logits.numpy()) <= TOLERANCE
            assert relative_error(found[1], wanted) <= TOLERANCE or not is_well_conditioned(method, a, g)


@pytest.mark.parametrize("seed", range(5, 15))
def test_another_runtime(seed):
    """The evaluator of the package onnx, which shares nothing with onnxruntime."""
    net, target = random_case(seed)
    with make_context():
        model = float_model(level1(net.module(target, "hirescam")), "test")
    found = ReferenceEvaluator(model).run(None, {"image": net.image.numpy(), "class": np.array([-1])})
    for value, wanted in zip(found, net.oracle(target, "hirescam"), strict=True):
        assert relative_error(np.asarray(value), wanted) <= TOLERANCE


def test_transposed_convolutions_have_equal_padding_on_both_sides(shipped):
    """As PyTorch writes them; onnx2torch takes no other."""
    nodes = [node for node in model_of(shipped[0], "layer1").graph.node if node.op_type == "ConvTranspose"]
    found = [{a.name: list(a.ints) for a in node.attribute if a.ints} for node in nodes]
    assert any(any(attributes["output_padding"]) for attributes in found)
    assert all(attributes["pads"][:2] == attributes["pads"][2:] for attributes in found)


@pytest.fixture(scope="module")
def shipped():
    return tinyml_resnet18(), to_input(load_test_images().pixels[:3])


def model_of(model, *settings, name="shipped", **more) -> onnx.ModelProto:
    return compiled_model(Compilation(model, Settings(*settings, **more)), name)


@pytest.mark.parametrize("method", METHODS)
def test_every_block_output_of_the_shipped_network(shipped, method):
    network, images = shipped
    paths = [name for name, module in network.named_modules() if type(module).__name__ == "BasicBlock"]
    logits, wanted = gradients(network, torch.from_numpy(images[:1]), paths)
    found = execute(model_of(network, paths, method), images[:1])
    assert len(paths) == 8 and relative_error(found[0], logits.numpy()) <= TOLERANCE
    for path, heatmap in zip(paths, found[1:], strict=True):
        assert relative_error(heatmap, cam(method, *wanted[path]).numpy()) <= TOLERANCE, path


@pytest.mark.parametrize("cls", [0, 7])
def test_a_requested_class_and_the_next_best(shipped, cls):
    network, images = shipped
    model = model_of(network, "layer3", top_k=3)
    logits, *maps = execute(model, images[1:2], cls)
    others = [c for c in np.argsort(-logits[0]) if c != cls]
    for chosen, heatmap in zip([cls, *others], maps, strict=False):
        _, wanted = gradients(network, torch.from_numpy(images[1:2]), ["layer3"], int(chosen))
        assert relative_error(heatmap, cam("gradcam", *wanted["layer3"]).numpy()) <= TOLERANCE
    assert len(maps) == 3


@pytest.mark.parametrize("target", ["layer4", "layer3"])
def test_a_class_that_does_not_exist_is_an_error(shipped, target):
    network, images = shipped
    model = model_of(network, target)
    for cls in (10, 1000):
        with pytest.raises(Exception, match="out of data bounds"):
            execute(model, images[:1], cls)


def test_an_error_in_the_model_is_noticed(shipped):
    """The comparison of these tests fails where one number of the classifier, or the weights of an adjoint, differ."""
    network, images = shipped
    logits, wanted = gradients(network, torch.from_numpy(images[:1]), ["layer3"])
    model = model_of(network, "layer3")

    def errors():
        found = execute(model, images[:1])
        map_ = cam("gradcam", *wanted["layer3"]).numpy()
        return relative_error(found[0], logits.numpy()), relative_error(found[1], map_)

    assert max(errors()) <= TOLERANCE
    weights = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    numbers = numpy_helper.to_array(weights).copy()
    numbers.flat[0] += 1
    weights.CopyFrom(numpy_helper.from_array(numbers, weights.name))
    assert max(errors()) > TOLERANCE


def test_a_wrong_adjoint_is_noticed(shipped, monkeypatch):
    """A mask that passes everything changes the maps behind it."""
    network, images = shipped
    _, wanted = gradients(network, torch.from_numpy(images[:1]), ["layer3"])
    monkeypatch.setitem(RULES, "gradcam.apply_mask", lambda graph, op, g, mask: g)
    found = execute(model_of(network, "layer3"), images[:1])
    assert relative_error(found[1], cam("gradcam", *wanted["layer3"]).numpy()) > 100 * TOLERANCE


def test_pixels_where_a_mean_and_a_std_are_given(shipped):
    """Both that of the settings and the model's own normalization are in the graph."""
    rng = np.random.default_rng(0)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    for network, target in ((shipped[0], "layer4"), (normalized_network(Buffers()), "act")):
        pixels = rng.random(network.input_shape, np.float32)
        image = (pixels - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))
        plain, normalizing = model_of(network, target), model_of(network, target, mean=mean, std=std)
        for found, wanted in zip(execute(normalizing, pixels), execute(plain, image), strict=True):
            assert relative_error(found, wanted) <= 1e-5
        _, wanted = gradients(network, torch.from_numpy(image), [target])
        assert relative_error(execute(plain, image)[1], cam("gradcam", *wanted[target]).numpy()) <= TOLERANCE
        assert [p.value for m in (plain, normalizing) for p in m.metadata_props if p.key == "image"] == [
            "as the imported model takes it",
            "pixels from 0 to 1",
        ]


def test_what_a_model_says_of_itself(shipped):
    model = model_of(shipped[0], ["layer4", "layer3"], "hirescam", name="tiny", top_k=2)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert {node.domain for node in model.graph.node} == {""}
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert (told["model"], told["target"], told["method"]) == ("tiny", "layer4, layer3", "hirescam")
    assert json.loads(told["maps"])[1] == {"output": "heatmap1", "target": "layer4", "rank": 1}
    assert f"gradcam-mlir {importlib.metadata.version('gradcam-mlir')}" in told["versions"]
    assert [x.name for x in model.graph.input] == ["image", "class"]
    assert [x.name for x in model.graph.output] == ["logits", "heatmap0", "heatmap1", "heatmap2", "heatmap3"]
    assert [x.name for x in model_of(shipped[0], None).graph.input] == ["image"]


def test_an_op_without_a_rule_is_named(shipped, monkeypatch):
    monkeypatch.delitem(RULES, "gradcam.max_pool2d", raising=True)
    net = Network((1, 2, 6, 6), 0)
    net.linear(net.flatten(net.max_pool(net.conv(0, 3, (1, 1)), (2, 2), (2, 2), (0, 0))), 3)
    with make_context(), pytest.raises(GradcamError, match=r"'gradcam.max_pool2d' has no form in ONNX"):
        float_model(level1(net.module(1, "gradcam")), "x")


def test_an_onnx_model_gets_its_explanation(tmp_path):
    """From a file of ONNX to one of ONNX, by the one function of the package."""
    model = onnx_models.classifier([onnx_models.node("Relu", "m")])
    image = np.random.default_rng(1).standard_normal(onnx_models.SHAPE, np.float32)
    file = gradcam.export_onnx(onnx_models.saved(model, tmp_path), tmp_path / "explained.onnx", "Relu y", "hirescam")
    logits, heatmap = execute(onnx.load(file), image)
    assert relative_error(logits, onnx_models.by_onnxruntime(model, image)) <= TOLERANCE
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    gradient = weights["fc.weight"][logits.argmax()].reshape(1, 4, 8, 8)
    convolved = functional.conv2d(torch.from_numpy(image), torch.tensor(weights["conv.weight"]), padding=1)
    wanted = cam("hirescam", convolved.relu(), torch.tensor(gradient)).numpy()
    assert relative_error(heatmap, wanted) <= TOLERANCE


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(GradcamError) as caught:
        gradcam.export_onnx(tinyml_resnet18(), tmp_path / "a.onnx", "layer4")
    assert str(caught.value) == "an ONNX model needs the package onnx; install it by pip install 'gradcam-mlir[onnx]'"
    assert list(tmp_path.iterdir()) == []
