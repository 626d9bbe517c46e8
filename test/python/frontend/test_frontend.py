"""The front end: structure and numbers of what is imported, models by name, the tool."""

import copy
import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from frontend_models import SHAPE, Classifier, Lambda, Trunk, body_ops, faults_of, locations, op_names
from torch import nn
from torch_mlir import ir

from gradcam import frontend, models
from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float
from gradcam.tools import gradcam_import


def randomized(model):
    generator = torch.Generator().manual_seed(0)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(generator=generator)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2, generator=generator)
    return model


def _copies(x):
    return x.contiguous().detach().clone()


def _dense(x):
    """Two layers of a DenseNet: the second concatenation grows the first."""
    y = F.relu(x)
    z = F.relu(torch.cat([x, y], 1))
    return torch.cat([x, y, z], 1)


def _two_pools(x):
    return torch.cat([x.mean((2, 3)), x.amax((2, 3))], -1)


def _shuffled_vector(x):
    return x.mean((2, 3)).view(1, 2, 2).transpose(1, 2).reshape(1, 4)


def _shuffled(x):
    """As torchvision writes a channel shuffle."""
    batch, channels, height, width = x.shape
    x = x.view(batch, 2, channels // 2, height, width)
    return torch.transpose(x, 1, 2).contiguous().view(batch, channels, height, width)


LINEAR = nn.Linear(4, 5)
BRANCHES = ["relu", "concat", "take_channels", "take_channels"]
REORDERED = nn.Linear(256, 5)
BAND = torch.tensor([[[0.5, -1, 0.25]]])


def _along_channels(x):
    """ECA: a convolution along the channels of a pooled map gives the gates."""
    gates = F.conv1d(x.mean((2, 3)).view(1, 1, -1), BAND, torch.ones(1), padding=1)
    return x * torch.sigmoid(gates).view(1, -1, 1, 1).expand_as(x)


CHANNELS = torch.tensor([0.5, 1, 2, 4])[:, None, None]
MATRIX = torch.arange(16.0).reshape(4, 4) / 8


class Standardized(nn.Conv2d):
    """A convolution whose kernels are standardized, by a batch norm of the weight with its own statistics."""

    def forward(self, x):
        kernels = self.weight.reshape(1, len(self.weight), -1)
        kernels = F.batch_norm(kernels, None, None, torch.ones(len(self.weight)), training=True).view_as(self.weight)
        return F.conv2d(x, kernels * 0.7, self.bias, self.stride, self.padding)


class Merged(nn.Module):
    """A 3x3 and a 1x1 convolution as one, as in RepVGG; the 1x1 kernel is one part of a larger tensor."""

    def __init__(self):
        super().__init__()
        self.three, self.one = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 12, 1)
        self.register_buffer("gain", torch.rand(6, 1, 1, 1), persistent=False)

    def forward(self, x):
        one, _ = (self.one.weight.chunk(2)[0] * self.gain).split([6, 0])
        bias = self.three.bias + self.one.bias[:6] + torch.arange(6).float()
        return F.conv2d(x, self.three.weight + F.pad(one, (1, 1, 1, 1)), bias, padding=1)


BODIES = {
    "standardized kernels": (Standardized(4, 6, 3, padding=1), ["conv2d"]),
    "merged kernels": (Merged(), ["conv2d"]),
    "weight norm": (nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3)), ["conv2d"]),
    "conv": (nn.Conv2d(4, 6, (3, 1), (2, 1), (1, 0), bias=False), ["conv2d"]),
    "grouped": (nn.Conv2d(4, 8, 3, groups=4, dilation=2), ["conv2d"]),
    "same": (nn.Conv2d(4, 4, 3, padding="same", dilation=2), ["conv2d"]),
    "valid": (nn.Conv2d(4, 4, 3, padding="valid"), ["conv2d"]),
    "even same": (nn.Conv2d(4, 4, (4, 2), padding="same"), ["conv2d"]),
    "pad": (lambda x: F.pad(x, (0, 1, 2, 0)), ["avg_pool2d"]),
    "pad of columns": (nn.ZeroPad2d((1, 2, 0, 0)), ["avg_pool2d"]),
    "pad of nothing": (lambda x: F.pad(x, (0, 0, 0, 0)), []),
    "pad of a max-pool": (
        lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-float("inf")), 3, 2, 1, ceil_mode=True),
        ["max_pool2d"],
    ),
    "batch_norm": (nn.BatchNorm2d(4), ["batch_norm"]),
    "columns flattened first": (lambda x: REORDERED(x.permute(0, 3, 2, 1).reshape(1, -1)), ["flatten", "linear"]),
    "along channels": (_along_channels, ["avg_pool2d", "flatten", "linear", "function", "mul", "flatten"]),
    "batch norm of a vector": (
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4)),
        ["avg_pool2d", "flatten", "batch_norm"],
    ),
    "constants of a vector": (
        lambda x: x.mean((2, 3)) / 2 - CHANNELS[:, 0, 0],
        ["avg_pool2d", "flatten", "batch_norm", "batch_norm"],
    ),
    "batch_norm_plain": (nn.BatchNorm2d(4, affine=False, eps=0.01), ["batch_norm"]),
    "relu": (nn.ReLU(), ["relu"]),
    "relu_inplace": (nn.ReLU(inplace=True), ["relu"]),
    "relu6": (nn.ReLU6(), ["hardtanh"]),
    "functional_relu6": (F.relu6, ["hardtanh"]),
    "leaky_relu": (nn.LeakyReLU(0.2), ["leaky_relu"]),
    "leaky_relu_inplace": (nn.LeakyReLU(inplace=True), ["leaky_relu"]),
    "functional_leaky_relu": (lambda x: F.leaky_relu(x, 0.3), ["leaky_relu"]),
    "functional_leaky_relu_": (lambda x: F.leaky_relu_(x.clone(), 0.3), ["leaky_relu"]),
    "leaky_relu_of_slope_0": (nn.LeakyReLU(0), ["relu"]),
    "hardtanh": (nn.Hardtanh(-0.5, 2), ["hardtanh"]),
    "clamp": (lambda x: x.clamp(-0.25, 0.5), ["clamp"]),
    "clip": (lambda x: torch.clip(x, -0.25, 0.5), ["clamp"]),
    "clamp_min": (lambda x: x.clamp(min=0), ["clamp"]),
    "clamp_min_function": (lambda x: torch.clamp_min(x, 0), ["clamp"]),
    "clamp_max": (lambda x: x.clamp(max=0.5), ["clamp"]),
    "clamp_max_function": (lambda x: torch.clamp_max(x, -0.5), ["clamp"]),
    "add": (lambda x: x + F.relu(x), ["relu", "add"]),
    "max_pool": (nn.MaxPool2d(3, 2, 1), ["max_pool2d"]),
    "max_pool_ceil_same": (nn.MaxPool2d(2, ceil_mode=True), ["max_pool2d"]),
    "max_pool_ceil": (nn.MaxPool2d(3, 2, ceil_mode=True), ["max_pool2d"]),
    "max_pool_ceil_padded": (nn.MaxPool2d(3, 2, 1, ceil_mode=True), ["max_pool2d"]),
    "max_pool_ceil_dilated": (nn.MaxPool2d((2, 3), (3, 2), 1, (3, 2), ceil_mode=True), ["max_pool2d"]),
    "avg_pool_ceil": (nn.AvgPool2d(3, 2, ceil_mode=True), ["avg_pool2d"]),
    "avg_pool_ceil_padded": (nn.AvgPool2d(3, 2, 1, ceil_mode=True), ["avg_pool2d", "avg_pool2d"]),
    "avg_pool_ceil_own": (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), ["avg_pool2d"]),
    "avg_pool_divisor": (nn.AvgPool2d(2, 3, 1, divisor_override=3), ["avg_pool2d", "batch_norm"]),
    "avg_pool": (nn.AvgPool2d(3, 2, 1, count_include_pad=False), ["avg_pool2d"]),
    "avg_pool_included": (nn.AvgPool2d(3, 2, 1), ["avg_pool2d"]),
    "adaptive": (nn.AdaptiveAvgPool2d(1), ["avg_pool2d"]),
    "adaptive_even": (nn.AdaptiveAvgPool2d((2, 4)), ["avg_pool2d"]),
    "adaptive of equal windows": (nn.AdaptiveAvgPool2d((7, 4)), ["avg_pool2d"]),
    "adaptive of other windows": (nn.AdaptiveAvgPool2d((3, 4)), ["adaptive_avg_pool2d"]),
    "adaptive to more": (nn.AdaptiveAvgPool2d((8, 11)), ["adaptive_avg_pool2d"]),
    "adaptive to a multiple": (nn.AdaptiveAvgPool2d((16, 8)), ["upsample2d"]),
    "adaptive_max of equal windows": (nn.AdaptiveMaxPool2d((7, 1)), ["max_pool2d"]),
    "adaptive_max to a multiple": (nn.AdaptiveMaxPool2d(16), ["upsample2d"]),
    "difference": (lambda x: x - F.relu(x), ["relu", "batch_norm", "add"]),
    "multiple of a map": (lambda x: torch.add(x, F.relu(x), alpha=2), ["relu", "batch_norm", "add"]),
    "sum": (lambda x: x.sum((2, 3)), ["avg_pool2d", "flatten", "batch_norm"]),
    "stack": (lambda x: torch.stack([x, F.relu(x)], 1).sum(1), [*BRANCHES, "add"]),
    "stack in front": (lambda x: torch.stack([x, F.relu(x)]).sum(0, keepdim=True).squeeze(1), [*BRANCHES, "add"]),
    "mean of a stack": (lambda x: torch.stack([x, F.relu(x)], -1).mean(-1), [*BRANCHES, "add", "batch_norm"]),
    "sum of groups": (lambda x: x.view(1, 2, 2, 8, 8).sum(2), [*["take_channels"] * 2, "add"]),
    "upsample": (nn.Upsample(scale_factor=(2, 3)), ["upsample2d"]),
    "upsample to": (nn.Upsample((16, 8)), ["upsample2d"]),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=2), ["upsample2d"]),
    "interpolate to": (lambda x: F.interpolate(x, (24, 16), mode="nearest-exact"), ["upsample2d"]),
    "interpolate to the same": (lambda x: F.interpolate(x, x.shape[2:]), []),
    "mean": (lambda x: x.mean((-1, 2)), ["avg_pool2d", "flatten"]),
    "mean_keepdim": (lambda x: x.mean((2, 3), keepdim=True), ["avg_pool2d"]),
    "mean of rows": (lambda x: x.mean(3), ["avg_pool2d"]),
    "mean of means": (lambda x: x.mean(-1).mean(-1), ["avg_pool2d", "avg_pool2d", "flatten"]),
    "mean of a flattened map": (lambda x: x.flatten(2).mean(-1), ["avg_pool2d", "flatten"]),
    "squeezes": (lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1), ["avg_pool2d", "flatten"]),
    "squeeze of all": (lambda x: F.adaptive_avg_pool2d(x, 1).squeeze()[None], ["avg_pool2d", "flatten"]),
    "element 0, 0": (lambda x: x.mean((2, 3), keepdim=True)[:, :, 0, 0], ["avg_pool2d", "flatten"]),
    "matmul": (lambda x: x.mean((2, 3)) @ MATRIX, ["avg_pool2d", "flatten", "linear"]),
    "mm": (lambda x: torch.mm(x.mean((2, 3)), LINEAR.weight.t()), ["avg_pool2d", "flatten", "linear"]),
    "addmm": (lambda x: torch.addmm(CHANNELS.view(-1), x.mean((2, 3)), MATRIX), ["avg_pool2d", "flatten", "linear"]),
    "matmul of the channels": (lambda x: (x.movedim(1, -1) @ MATRIX).mean((1, 2)), ["conv2d", "avg_pool2d", "flatten"]),
    "amax": (lambda x: x.amax((2, 3)), ["max_pool2d", "flatten"]),
    "max of a flattened map": (lambda x: x.view(1, 4, -1).max(2).values, ["max_pool2d", "flatten"]),
    "adaptive_max": (nn.AdaptiveMaxPool2d((2, 1)), ["max_pool2d"]),
    "channels last": (lambda x: LINEAR(x.permute(0, 2, 3, 1)).mean((1, 2)), ["conv2d", "avg_pool2d", "flatten"]),
    "channels last and back": (lambda x: F.relu(LINEAR(x.movedim(1, -1))).permute(0, 3, 1, 2), ["conv2d", "relu"]),
    "there and back": (lambda x: x.transpose(1, 3).transpose(3, 1), []),
    "relu of a flattened map": (lambda x: F.relu(x.flatten(2)).unflatten(2, (8, 8)), ["relu"]),
    "constants": (lambda x: 2 - (x - CHANNELS) / (2 * CHANNELS) * 3, ["batch_norm"] * 4),
    "constant first": (lambda x: -(CHANNELS * (CHANNELS[:, 0, 0].view(1, 4, 1, 1) - x)), ["batch_norm"] * 3),
    "alpha of a constant": (lambda x: torch.sub(torch.add(x, 1, alpha=2), CHANNELS, alpha=3), ["batch_norm"] * 2),
    "view": (lambda x: x.view(x.size(0), -1), ["flatten"]),
    "reshape": (lambda x: x.reshape(1, -1), ["flatten"]),
    "cat": (lambda x: torch.cat([x, F.relu(x), x], 1), ["relu", "concat", "concat"]),
    "cat of one": (lambda x: torch.cat([x], 1), []),
    "cat that grows": (_dense, ["relu", "concat", "relu", "concat"]),
    "cat of vectors": (_two_pools, ["avg_pool2d", "flatten", "max_pool2d", "flatten", "concat"]),
    "some channels": (lambda x: x[:, 1:4:2], ["take_channels"]),
    "last channels": (lambda x: x[:, -3:], ["take_channels"]),
    "narrow": (lambda x: x.narrow(1, 1, 2), ["take_channels"]),
    "all channels": (lambda x: x[:, :9], []),
    "channels last slice": (lambda x: x.permute(0, 2, 3, 1)[..., 2:].permute(0, 3, 1, 2), ["take_channels"]),
    "split": (lambda x: torch.cat(torch.split(x, [1, 3], 1)[::-1], 1), ["take_channels", "take_channels", "concat"]),
    "split of one": (lambda x: torch.split(x, 4, 1)[0], []),
    "uneven split": (lambda x: torch.split(x, 3, 1)[1], ["take_channels"]),
    "chunk": (lambda x: x.chunk(2, 1)[1], ["take_channels"]),
    "channel shuffle": (lambda x: F.channel_shuffle(x, 2), ["take_channels"]),
    "shuffle by view": (_shuffled, ["take_channels"]),
    "shuffle by flatten": (lambda x: x.unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2), ["take_channels"]),
    "split channels in order": (lambda x: F.relu(x.view(1, 2, 2, 8, 8)).view(1, 4, 8, 8), ["relu"]),
    "shuffle of a vector": (_shuffled_vector, ["avg_pool2d", "flatten", "take_channels"]),
    "flip": (lambda x: x.flip(1), ["take_channels"]),
    "index by a list": (lambda x: x[:, [3, 0, -2]], ["take_channels"]),
    "index_select": (lambda x: x.clone().index_select(-3, torch.tensor([2])), ["take_channels"]),
    "gate that repeats": (lambda x: x * x.amax((2, 3), True).repeat(1, 1, 8, 8), ["max_pool2d", "mul"]),
    "vanish": (nn.Sequential(nn.Dropout(), nn.Identity(), nn.Dropout2d(), Lambda(_copies)), []),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_every_op_is_converted_and_computes_what_pytorch_computes(name):
    body, wanted = BODIES[name]
    torch.manual_seed(1)
    model = randomized(Classifier(copy.deepcopy(body)))
    module = frontend.import_model(model)
    wanted = [*wanted, "linear"] if "flatten" in wanted else [*wanted, "flatten", "linear"]
    assert op_names(module) == wanted
    image = torch.randn(SHAPE)
    (logits,) = run_float(module, image.numpy())
    np.testing.assert_allclose(logits, model(image).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_a_program_of_core_operators_computes_the_same():
    torch.manual_seed(1)
    body = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(), nn.MaxPool2d(2), Lambda(_along_channels))
    body.append(nn.AdaptiveAvgPool2d(1))
    model, image = randomized(Classifier(body)), torch.randn(SHAPE)
    program = torch.export.export(model, (image,)).run_decompositions()
    assert "aten.addmm" in str(program.graph)
    (logits,) = run_float(frontend.import_model(program, target_layer=None), image.numpy())
    np.testing.assert_allclose(logits, model(image).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_numbers_notice_one_changed_weight():
    model = Classifier(nn.Conv2d(4, 4, 3))
    module = frontend.import_model(model)
    image = torch.randn(SHAPE)
    with torch.no_grad():
        model.body.weight[0, 0, 0, 0] += 0.5
    (logits,) = run_float(module, image.numpy())
    assert not np.allclose(logits, model(image).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_writes_in_place_reach_every_alias():
    def body(x):
        y = F.relu(x)
        view = y.detach()
        y += x
        return torch.cat([view, y], 1)

    model = Classifier(body)
    image = torch.randn(SHAPE)
    (logits,) = run_float(frontend.import_model(model), image.numpy())
    np.testing.assert_allclose(logits, model(image).detach().numpy(), rtol=1e-5, atol=1e-5)


def small_resnet():
    torch.manual_seed(0)
    model = randomized(models.resnet18(width=4, num_classes=5, stem="cifar")).eval()
    model.input_shape = (1, 3, 16, 16)
    return model


@pytest.fixture(scope="module")
def resnet():
    return small_resnet()


@pytest.fixture(scope="module")
def resnet_module(resnet):
    return frontend.import_model(resnet, target_layer="layer4")


def test_resnet_has_the_level_1_form(resnet_module):
    function = resnet_module.body.operations[0]
    signature = "(tensor<1x3x16x16xf32>, tensor<1xi32>) -> (tensor<1x5xf32>, tensor<1x2x2xf32>)"
    assert str(ir.TypeAttr(function.attributes["function_type"]).value) == signature
    *_, target, pool, flatten, linear, explain = [
        op for op in body_ops(resnet_module) if op.name.startswith("gradcam.")
    ]
    assert [op.name for op in (target, pool, flatten, linear)] == [
        "gradcam.target", "gradcam.avg_pool2d", "gradcam.flatten", "gradcam.linear"
    ]  # fmt: skip
    assert list(explain.operands)[:2] == [linear.results[0], target.results[0]]
    assert pool.operands[0] == target.results[0]
    values = {name: str(explain.attributes[name]) for name in ("method", "relu", "normalize")}
    assert values == {"method": '"gradcam"', "relu": "true", "normalize": "true"}
    assert ir.FloatAttr(explain.attributes["eps"]).value == 1e-7


def test_resnet_computes_what_pytorch_computes(resnet):
    image = torch.randn(1, 3, 16, 16)
    (logits,) = run_float(frontend.import_model(resnet), image.numpy())
    np.testing.assert_allclose(logits, resnet(image).detach().numpy(), rtol=1e-4, atol=1e-4)


def test_locations_are_unique_module_paths(resnet_module):
    found = locations(resnet_module)
    assert len(set(found)) == len(found)
    wanted = {
        "conv1",
        "conv1.weight",
        "layer1.0.conv1",
        "layer1.0.add",
        "layer1.0.relu",
        "layer1.0.relu_1",
        "fc.bias",
        "fc",
    }
    assert wanted <= set(found)
    assert "layer2.0.downsample.0" in found and "flatten" in found and "layer4.target" in found


@pytest.mark.parametrize(
    ("path", "before"), [("layer4", "layer4.1.relu_1"), ("layer3.1", "layer3.1.relu_1"), ("layer4.1.conv2",) * 2]
)
def test_target_marks_the_output_of_the_named_module(resnet, path, before):
    module = frontend.import_model(resnet, target_layer=path, method="hirescam")
    (target,) = [op for op in body_ops(module) if op.name == "gradcam.target"]
    assert target.attributes["path"].value == path
    made = target.operands[0]
    assert made.owner.location.name_str == before
    assert [use.owner.operation.name for use in made.uses] == ["gradcam.target"]


def target_operand(model, name):
    """The location of what a target layer marks, and its path in the IR."""
    module = frontend.import_model(model, target_layer=name)
    (target,) = [op for op in body_ops(module) if op.name == "gradcam.target"]
    return target.operands[0].owner.location.name_str, target.attributes["path"].value


def test_a_module_called_twice_is_explained_at_its_last_call(resnet, caplog):
    with caplog.at_level(logging.WARNING):
        found = target_operand(resnet, "layer4.1.relu")
    assert "'layer4.1.relu' is ambiguous, called 2 times; the last call is explained, 'layer4.1.relu@1'" in caplog.text
    assert found == ("layer4.1.relu_1", "layer4.1.relu")


def test_a_call_of_a_module_called_twice_is_named(resnet):
    assert target_operand(resnet, "layer4.1.relu@0") == ("layer4.1.relu", "layer4.1.relu@0")
    assert target_operand(resnet, "layer4.1.relu@1") == ("layer4.1.relu_1", "layer4.1.relu@1")
    message = "target layer 'layer4.1.relu@2' does not exist: 'layer4.1.relu' is called 2 times"
    assert faults_of(resnet, target_layer="layer4.1.relu@2")[0].startswith(message)
    listed = frontend.target_layers(resnet)
    assert {"layer4.1.relu@0", "layer4.1.relu@1"} <= set(listed) and "layer4.1.relu" not in listed


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("model.layer4[-1]", "layer4.1"),
        ("layer4[1].conv2", "layer4.1.conv2"),
        ("self.layer4[-2].relu@1", "layer4.0.relu@1"),
        ("module.layer3", "layer3"),
        ("layer2.-1", "layer2.1"),
    ],
)
def test_layers_as_python_reaches_them(resnet, written, path):
    assert target_operand(resnet, written) == target_operand(resnet, path)
    program = torch.export.export(resnet, (torch.randn(1, 3, 16, 16),))
    assert target_operand(program, written) == target_operand(resnet, path)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_layers_of_a_model_in_a_wrapper(resnet, wrap):
    wrapped = wrap(resnet)
    wrapped.input_shape = resnet.input_shape
    assert target_operand(wrapped, "layer4[-1]")[1].endswith(".layer4.1")


def test_layers_that_python_does_not_reach(resnet):
    for name in ("layer4[2]", "layer4[-3]", "model.layer9", "model"):
        assert f"target layer '{name}' is not a module" in faults_of(resnet, target_layer=name)[0]
    assert "did you mean 'layer4'" in faults_of(resnet, target_layer="Layer4")[0]


class TwoNames(nn.Module):
    """A block with two names, both used, and a ReLU with two names, one used."""

    input_shape = SHAPE

    def __init__(self):
        super().__init__()
        self.first = self.second = nn.Sequential(nn.Conv2d(4, 4, 3))
        self.once = nn.ReLU()
        self.other = self.once

    def forward(self, x):
        return self.second(self.other(self.first(x))).mean((2, 3))


def test_a_module_with_two_names_is_found_by_both():
    model = TwoNames().eval()
    assert target_operand(model, "once") == target_operand(model, "other") == ("other", "other")
    assert target_operand(model, "first") == ("first.0", "first")
    assert target_operand(model, "second[0]") == ("second.0", "second.0")


def test_paths_match_whole_not_by_suffix(resnet):
    (message,) = faults_of(resnet, target_layer="conv2")
    assert message.startswith("target layer 'conv2' is not a module") and "did you mean 'conv1'" in message


def test_target_layers_lists_what_can_be_named(resnet):
    listed = frontend.target_layers(resnet)
    assert {"layer4", "layer4.1", "layer4.1.conv2", "avgpool"} <= set(listed)
    assert "fc" not in listed and "" not in listed


def test_saved_program_imports_to_the_same_ir(resnet, resnet_module, tmp_path):
    program = torch.export.export(resnet, (torch.randn(1, 3, 16, 16),))
    torch.export.save(program, tmp_path / "model.pt2")
    loaded = frontend.load_model(str(tmp_path / "model.pt2"))
    graph = str(loaded.graph)
    module = frontend.import_model(loaded, target_layer="layer4")
    assert module.operation.get_asm(enable_debug_info=True) == resnet_module.operation.get_asm(enable_debug_info=True)
    assert str(loaded.graph) == graph, "the user's program was changed"
    assert faults_of(loaded, input_shape=(1, 3, 9, 9))[0].startswith("the program was exported for")


def test_the_model_is_left_alone(resnet):
    model = small_resnet()
    before = copy.deepcopy(model.state_dict())
    hooked = []
    handle = model.layer4.register_forward_hook(lambda *_: hooked.append(1))
    frontend.import_model(model, target_layer="layer4")
    assert list(model.layer4._forward_hooks) == [handle.id]
    assert not any(m._forward_hooks for name, m in model.named_modules() if name != "layer4")
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not model.training


def test_import_uses_the_given_context():
    context = make_context()
    assert frontend.import_model(Trunk(lambda x: x.mean((2, 3))), context=context).context is context


def make_small():
    return Classifier(nn.Conv2d(4, 4, 3))


def make_training():
    return make_small().train()


def make_nothing():
    return None


def make_error():
    raise ValueError("first\nsecond")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("missing.pt2", "no file missing.pt2"),
        ("model", "is none that is known; give package.module:callable, path/file.py:callable or a .pt2 or .onnx file"),
        ("no_such_package:f", "cannot import no_such_package: ModuleNotFoundError"),
        ("gradcam.models:nope", "module gradcam.models has no nope"),
        (f"{__name__}:SHAPE", "is not callable"),
        (f"{__name__}:make_nothing", "gave NoneType"),
        (f"{__name__}:make_error", "failed: ValueError: first"),
    ],
)
def test_models_that_cannot_be_loaded(spec, message):
    with pytest.raises(GradcamError, match=message) as caught:
        frontend.load_model(spec)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_no_program(tmp_path):
    path = tmp_path / "bad.pt2"
    path.write_bytes(b"not a zip")
    with pytest.raises(GradcamError, match=r"bad\.pt2 is not a program saved by torch\.export\.save"):
        frontend.load_model(str(path))


def test_models_by_name_come_in_eval_mode_with_a_warning(caplog):
    assert not frontend.load_model(f"{__name__}:make_training").training
    assert "in training mode; it is taken in eval mode" in caplog.text
    caplog.clear()
    frontend.load_model(f"{__name__}:make_small")
    assert caplog.text == ""


SPEC = f"{__name__}:make_small"


def test_tool_writes_bytecode_and_text(tmp_path, capfd):
    target = tmp_path / "out.mlirbc"
    assert gradcam_import.main([SPEC, "--target-layer", "body", "--emit-bytecode", "-o", str(target)]) == 0
    with make_context() as context:
        module = ir.Module.parse(target.read_bytes(), context)
    assert "body" in locations(module)
    assert gradcam_import.main([SPEC, "--mlir-elide-elementsattrs-if-larger", "4"]) == 0
    assert "dense_resource<__elided__>" in (text := capfd.readouterr().out) and "gradcam.explain" not in text
    layers = ["--target-layer", "layer4", "--target-layer", "layer3", "--method", "layercam", "--eps", "1e-6"]
    assert gradcam_import.main([f"{__name__}:small_resnet", *layers, "--mlir-elide-elementsattrs-if-larger", "4"]) == 0
    text = capfd.readouterr().out
    assert text.count('"gradcam.explain"') == 2 and text.index('path = "layer3"') < text.index('path = "layer4"')
    assert text.count('{eps = 9.9999999999999995E-7 : f64, method = "layercam"') == 2
    assert "-> (tensor<1x5xf32>, tensor<1x2x2xf32>, tensor<1x4x4xf32>)" in text
    assert gradcam_import.main([SPEC, "--level", "torch"]) == 0
    assert "torch.aten.conv2d" in capfd.readouterr().out
    assert gradcam_import.main([SPEC, "--list-layers"]) == 0
    assert capfd.readouterr().out == "body\n"


def test_tool_reports_lines_and_keeps_the_old_output(tmp_path, capfd):
    target = tmp_path / "out.mlir"
    target.write_text("old")
    assert gradcam_import.main([SPEC, "--target-layer", "bdy", "-o", str(target)]) == 1
    error = capfd.readouterr().err
    assert error.startswith("gradcam-import: error: target layer 'bdy'") and "did you mean 'body'?" in error
    assert error.count("\n") == 1 and target.read_text() == "old" and list(tmp_path.iterdir()) == [target]
    assert gradcam_import.main([SPEC, "--input-shape", "2,4,8,8"]) == 1
    assert "batch size 2; it must be 1" in capfd.readouterr().err
