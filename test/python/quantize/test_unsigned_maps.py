"""Feature maps that are never negative: which ones are stored unsigned, and what every op computes of such bytes."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rtl_checks import check_design
from rtl_networks import Network, design
from torch import nn
from torch_mlir import ir

from gradcam.compiler import Compilation, Settings
from gradcam.design import Design
from gradcam.dialect import (
    activation_ops,
    adjoint_ops,
    cam_ops,
    channel_ops,
    make_context,
    ops,
    product_ops,
    resample_ops,
)
from gradcam.dialect.traits import Forward, Quantized, has
from gradcam.errors import GradcamError
from gradcam.jit import run_linalg
from gradcam.output import compile_to_folder
from gradcam.passes.hw import shapes
from gradcam.passes.ir.queries import main_function
from gradcam.passes.linalg.convert_gradcam_to_linalg import ConvertGradcamToLinalg
from gradcam.passes.linalg.fuse_epilogues import FuseEpilogues
from gradcam.quant_types import is_unsigned, scale, storage_bits
from gradcam.reference.integer import run_integer

# Which maps are unsigned.


class Mixed(nn.Module):
    """Maps of every kind."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("a", "b", "c", "d", "e", "f", "gate"):
            setattr(self, name, nn.Conv2d(8 if name in "cd" else 4, 4, 1))
        self.head = nn.Linear(4, 3)

    def forward(self, image):
        a, b = F.relu(self.a(image)), F.hardswish(self.b(image))
        joined = torch.cat((a, F.relu6(self.e(image))), 1)
        mixed = torch.cat((F.relu(self.f(image)), b), 1)
        c = F.relu(self.c(joined)) * torch.sigmoid(self.gate(a))
        d = F.max_pool2d(torch.clamp(self.d(mixed), 0.0, 1.5), 3, 2, 1)
        total = F.avg_pool2d(c, 2) + d
        return self.head(torch.flatten(F.adaptive_avg_pool2d(total, 1), 1))


def quantized(model, **settings):
    torch.manual_seed(1)
    images = np.random.default_rng(1).normal(size=(6, 4, 8, 8)).astype(np.float32)
    return Compilation(model(), Settings(**settings, calibration=images, input_shape=(1, 4, 8, 8), pe="4x4")).to(
        "quantized"
    )


def signs(module):
    """Whether the result of each op with bytes is unsigned, in program order, with the op's name."""
    ops = [op for op in main_function(module).entry_block.operations if op.operation.name.startswith("gradcam.")]
    return [(op.operation.name[8:], is_unsigned(op.results[0])) for op in ops if is_byte(op.results[0])]


def is_byte(value):
    return "quant" in str(value.type) and storage_bits(value) == 8


def test_maps_that_are_never_negative_are_unsigned():
    module = quantized(Mixed, target_layer=None)
    assert not is_unsigned(main_function(module).entry_block.arguments[0]), "the image"
    found = signs(module)
    always = {"avg_pool2d", "clamp", "flatten", "max_pool2d", "function", "mul"}
    assert all(unsigned for name, unsigned in found if name in always) and always <= {name for name, _ in found}
    assert [unsigned for name, unsigned in found if name == "concat"] == [True, False], "one with a signed part"
    assert [unsigned for name, unsigned in found if name == "relu"].count(False) == 1, "in that one"
    assert ("hard_swish", False) in found


class Padded(nn.Module):
    """A max-pool behind two ReLUs, of which one is a target layer."""

    padding = 0

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Linear(4, 3)

    def forward(self, image):
        pooled = F.max_pool2d(self.relu(self.conv(image)), 2, 2, self.padding)
        return self.head(torch.flatten(F.adaptive_avg_pool2d(F.relu(pooled), 1), 1))


@pytest.mark.parametrize(
    ("padding", "method", "unsigned"), [(0, "hirescam", True), (1, "hirescam", False), (1, "gradcam", True)]
)
def test_a_map_is_signed_where_padding_must_be_less_than_zero(padding, method, unsigned, monkeypatch):
    monkeypatch.setattr(Padded, "padding", padding)
    module = quantized(Padded, target_layer="relu", method=method)
    assert [sign for name, sign in signs(module) if name == "max_pool2d"] == [unsigned]
    assert str(module).count("gradcam.max_pool2d_index") == (method == "hirescam")


def test_the_range_stands_for_255():
    ranged = {}
    for target in (None, "relu"):
        module = quantized(Padded, target_layer=target)
        (relu, *_) = (op for op in main_function(module).entry_block.operations if op.operation.name == "gradcam.relu")
        ranged[target] = scale(relu.results[0])
        assert is_unsigned(relu.results[0])
    image = np.random.default_rng(1).normal(size=(6, 4, 8, 8)).astype(np.float32)
    torch.manual_seed(1)
    largest = F.relu(Padded().conv(torch.from_numpy(image))).max().item()
    assert all(0.5 * largest / 255 < step <= largest / 255 * 1.000001 for step in ranged.values())


# What ops compute of them.

UNSIGNED, SIGNED = np.arange(256, dtype=np.uint8), np.arange(-128, 128, dtype=np.int8)
X, Y = 0.04, 0.03


def computed(body: str, bytes_: np.ndarray, stored: str, result: str, size: str = "2x8x16") -> np.ndarray:
    """All bytes through ops at level 2, in the reference, which linalg must equal."""
    x, y = f"tensor<1x2x8x16x!quant.uniform<{stored}:f32, {X:e}>>", f"tensor<1x{size}x{result}>"
    text = f"func.func @main(%x: {x}) -> {y} {{\n{body.replace('$X', x).replace('$Y', y)}\nreturn %y : {y} }}"
    image = bytes_.reshape(1, 2, 8, 16)
    with make_context():
        module = ir.Module.parse(text)
        (found,) = run_integer(module, image)
        ConvertGradcamToLinalg().run(module)
        FuseEpilogues().run(module)
        (lowered,) = run_linalg(module, np.ascontiguousarray(image[0].transpose(1, 2, 0)).view(np.int8))
    lowered = lowered.view(found.dtype) if found.itemsize == 1 else lowered
    np.testing.assert_array_equal(lowered.reshape(found[0, 0].shape + found.shape[1:2]).transpose(2, 0, 1)[None], found)
    return found.astype(np.int64)


WINDOW = "kernel = [2, 2], stride = [2, 2], padding = [0, 0], dilation = [1, 1]"
CONVOLUTION = "stride = [1, 1], padding = [1, 1], dilation = [1, 1], operandSegmentSizes = array<i32: 1, 1, 0>"


def unary(op, attributes=""):
    return f'%y = "gradcam.{op}"(%x) {{{attributes}}} : ($X) -> $Y'


DIALECT = (activation_ops, adjoint_ops, cam_ops, channel_ops, ops, product_ops, resample_ops)

#: By name: ops on a map, what they compute in real numbers, and the size of the result.
OPS: dict[str, tuple[str, Any, str]] = {
    "relu": (unary("relu"), F.relu, "2x8x16"),
    "clamp": (unary("clamp", "lo = 1.0 : f64, hi = 4.0 : f64"), lambda x: x.clamp(1, 4), "2x8x16"),
    "hardtanh": (unary("hardtanh", "lo = 0.0 : f64, hi = 2.0 : f64"), lambda x: x.clamp(0, 2), "2x8x16"),
    "leaky_relu": (unary("leaky_relu", "slope = 0.25 : f64"), lambda x: F.leaky_relu(x, 0.25), "2x8x16"),
    "hard_sigmoid": (unary("hard_sigmoid"), F.hardsigmoid, "2x8x16"),
    "hard_swish": (unary("hard_swish"), F.hardswish, "2x8x16"),
    "silu": (unary("function", 'function = "silu"'), F.silu, "2x8x16"),
    "sigmoid": (unary("function", 'function = "sigmoid"'), torch.sigmoid, "2x8x16"),
    "add": ('%y = "gradcam.add"(%x, %x) : ($X, $X) -> $Y', lambda x: x + x, "2x8x16"),
    "mul": ('%y = "gradcam.mul"(%x, %x) : ($X, $X) -> $Y', lambda x: x * x, "2x8x16"),
    "concat": ('%y = "gradcam.concat"(%x, %x) : ($X, $X) -> $Y', lambda x: torch.cat((x, x), 1), "4x8x16"),
    "avg_pool2d": (unary("avg_pool2d", f"{WINDOW}, count_include_pad = true"), lambda x: F.avg_pool2d(x, 2), "2x4x8"),
    "adaptive_avg_pool2d": (unary("adaptive_avg_pool2d"), lambda x: F.adaptive_avg_pool2d(x, (3, 5)), "2x3x5"),
    "prelu": ("""%c = arith.constant dense<[0.5, -1.5]> : tensor<2xf32>
      %y = "gradcam.prelu"(%x, %c) : ($X, tensor<2xf32>) -> $Y""",
      lambda x: F.prelu(x, torch.tensor([0.5, -1.5], dtype=torch.float64)), "2x8x16"),
    "batch_norm": ("""%c = arith.constant dense<[0.5, 1.5]> : tensor<2xf32>
      %y = "gradcam.batch_norm"(%x, %c, %c, %c, %c) {eps = 0.25 : f64}
        : ($X, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> $Y""",
      lambda x: F.batch_norm(x, *[torch.tensor([0.5, 1.5], dtype=torch.float64)] * 4, eps=0.25), "2x8x16"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize(("stored", "result"), [("u8", "u8"), ("u8", "i8"), ("i8", "u8")])
def test_bytes_are_within_a_step_of_the_real_function(name, stored, result):
    body, real, size = OPS[name]
    bytes_ = UNSIGNED if stored == "u8" else SIGNED
    found = computed(body, bytes_, stored, f"!quant.uniform<{result}:f32, {Y:e}>", size)
    exact = real(torch.from_numpy(bytes_.reshape(1, 2, 8, 16) * np.float64(X))).numpy() / Y
    low, high = (0, 255) if result == "u8" else (-128, 127)
    # The bends of a hard sigmoid or swish lie on integers.
    limit = 1.01 + (0.75 * X / Y if name.startswith("hard_s") else X / Y / 2 if name in ("clamp", "hardtanh") else 0)
    assert np.abs(found - exact.clip(low, high)).max() <= limit
    assert np.ptp(found) > 15


#: Ops whose result has the storage of the operand.
KEEPING: dict[str, tuple[str, Any, str]] = {
    **{name: OPS[name] for name in ("relu", "clamp")},
    "max_pool2d": (unary("max_pool2d", WINDOW), lambda x: F.max_pool2d(x, 2), "2x4x8"),
    "upsample2d": (unary("upsample2d", "kernel = [2, 3]"), lambda x: F.interpolate(x, scale_factor=(2, 3)), "2x16x48"),
    "take_channels": (unary("take_channels", "order = [1, 0]"), lambda x: x.flip(1), "2x8x16"),
}


@pytest.mark.parametrize("name", KEEPING)
def test_ops_that_keep_the_storage(name):
    body, real, size = KEEPING[name]
    found = computed(body, UNSIGNED, "u8", f"!quant.uniform<u8:f32, {X:e}>", size)
    exact = real(torch.from_numpy(UNSIGNED.reshape(1, 2, 8, 16) * np.float64(X))).numpy() / X
    np.testing.assert_array_equal(found, np.rint(exact))


def test_every_op_that_reads_feature_maps_is_tried():
    """A new op says here what it computes of bytes without a sign."""
    tried = {*OPS, *KEEPING, "conv2d", "linear", "flatten", "scale", "function"}  # linear is a convolution
    slopes = {"function_slope", "hard_swish_slope", "prelu_slope"}  # beside their activations, in RTL
    forward = {
        cls.OPERATION_NAME.removeprefix("gradcam.")
        for cls in (value for module in DIALECT for value in vars(module).values())
        if isinstance(cls, type) and has(cls, Forward) and has(cls, Quantized)
    }
    assert forward - slopes == tried - {"silu", "sigmoid"}


@pytest.mark.parametrize("groups", [1, 2])
def test_sums_of_products_with_weights(groups):
    weight = np.random.default_rng(0).integers(-128, 128, (2, 2 // groups, 3, 3))
    kind = f"tensor<2x{2 // groups}x3x3x"
    body = f"""%c = arith.constant dense<{weight.tolist()}> : {kind}i8>
      %w = quant.scast %c : {kind}i8> to {kind}!quant.uniform<i8:f32, 1.0>>
      %y = "gradcam.conv2d"(%x, %w) {{{CONVOLUTION}, groups = {groups}}}
        : ($X, {kind}!quant.uniform<i8:f32, 1.0>>) -> $Y"""
    found = computed(body, UNSIGNED, "u8", f"!quant.uniform<i32:f32, {X:e}>")
    x = torch.from_numpy(UNSIGNED.reshape(1, 2, 8, 16).astype(np.float64))
    exact = F.conv2d(x, torch.from_numpy(weight.astype(np.float64)), padding=1, groups=groups)
    np.testing.assert_array_equal(found, exact.numpy())


@pytest.mark.parametrize(("stored", "bytes_"), [("u8", UNSIGNED), ("i8", SIGNED)])
def test_a_mask_is_where_the_input_is_between_its_bounds(stored, bytes_):
    body = """%m = "gradcam.mask"(%x) {lo = 1.0 : f64, hi = 6.0 : f64, closed = false} : ($X) -> tensor<1x2x8x16xi1>
      %y = "gradcam.apply_mask"(%x, %m) {slope = 0.0 : f64} : ($X, tensor<1x2x8x16xi1>) -> $Y"""
    found = computed(body, bytes_, stored, f"!quant.uniform<{stored}:f32, {X:e}>")
    x = bytes_.reshape(1, 2, 8, 16).astype(np.int64)
    np.testing.assert_array_equal(found, np.where((x > 25) & (x < 150), x, 0))


# Hardware: engines whose nests read bytes with and without a sign.


def mixing():
    """A network whose layers read the image, an unsigned map and a signed one; gradients are signed."""
    net = Network(3, 8, 8, seed=2)
    first = net.add(nn.ReLU(), net.conv(0, 8))
    signed = net.add(nn.Hardswish(), net.conv(first, 8))
    last = net.add(nn.ReLU(), net.conv(net.add(nn.MaxPool2d(2), signed), 12))
    net.add(nn.AdaptiveAvgPool2d(1), net.gate(last, 4, nn.Sigmoid()))
    net.explain(first)
    return net.classify(5)


def engines(folder):
    return {nest.engine for nest in Design.load(folder).program.nests}


@pytest.mark.parametrize("packing", [False, True])
def test_signed_and_unsigned_bytes_share_an_engine(tmp_path, packing):
    net = mixing()
    settings = dataclasses.replace(net.settings("4x4"), dsp_packing=packing, method="layercam")
    compile_to_folder(net, "test", settings, tmp_path / "design")
    check_design(net, tmp_path / "design", inner=".*", distinct=False)
    assert len([engine for engine in engines(tmp_path / "design") if engine.startswith("mac")]) == 1


def test_a_clock_keeps_the_signs(tmp_path):
    net = mixing()
    settings = dataclasses.replace(net.settings("4x4"), clock_mhz=100, family="ecp5")
    compile_to_folder(net, "test", settings, tmp_path / "design")
    check_design(net, tmp_path / "design", inner=".*", distinct=False)


def test_an_engine_that_gives_every_byte_a_sign_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "_has_sign", lambda _node: 1)
    net = mixing()
    design(net, "4x4", tmp_path / "design")
    with pytest.raises(GradcamError, match="in the integer reference"):
        check_design(net, tmp_path / "design", inner=".*", distinct=False)
