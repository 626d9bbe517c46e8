"""Activations with a scale of their own, gates and products, through every level.

They are compared with torch.autograd in f64, with hand arithmetic, and with the level before.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from level_checks import check_derived, check_linalg, correlations
from random_cnn import FUNCTIONS as TORCH_FUNCTIONS
from rtl_checks import check_design
from rtl_networks import Network, Product, gated, tabulated
from torch import nn
from torch_mlir import ir

from gradcam import frontend
from gradcam.compiler import Compilation, Settings
from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.execution.float32 import KERNELS, run_float
from gradcam.execution.interpreter import run
from gradcam.functions import FUNCTIONS
from gradcam.jit import run_linalg
from gradcam.output import compile_to_folder
from gradcam.passes.backward.derive_backward import DeriveBackward
from gradcam.passes.ir.constants import dense_values, make_constant
from gradcam.passes.linalg.convert_gradcam_to_linalg import ConvertGradcamToLinalg
from gradcam.passes.linalg.fuse_epilogues import FuseEpilogues
from gradcam.pe import PE
from gradcam.quality import activation_limits
from gradcam.quant_types import scale, storage_bits
from gradcam.reference.integer import run_integer
from gradcam.sim.check import check_outputs

# The functions and their slopes.


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_and_their_slopes_are_those_of_pytorch(name):
    x = torch.linspace(-20, 20, 4001, dtype=torch.float64, requires_grad=True)
    y = TORCH_FUNCTIONS[name](x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    inputs = x.detach().numpy()
    np.testing.assert_allclose(FUNCTIONS[name].value(inputs), y.detach().numpy(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(FUNCTIONS[name].slope(inputs), slope.numpy(), rtol=1e-9, atol=1e-12)
    beyond = np.array([FUNCTIONS[name].limit, 1e3])
    if np.isfinite(beyond[0]):  # half a step of the largest value of each
        assert np.ptp(FUNCTIONS[name].value(beyond)) < 0.5 / 127
        assert np.ptp(FUNCTIONS[name].slope(beyond)) < 0.5 / 127 * slope.abs().max().item()


@pytest.mark.parametrize(
    ("op", "function"), [("hard_swish", F.hardswish), ("hard_sigmoid", F.hardsigmoid), ("prelu", None)]
)
def test_gradients_are_autograds_at_the_bends_too(op, function):
    x = torch.tensor([-3.0, 3.0, 0.0, -0.0, -3.5, 3.5, -1.0, 1.0, 2.999], dtype=torch.float64)
    x = x.reshape(1, 1, 3, 3).requires_grad_()
    slopes = np.array([-0.25])
    y = function(x) if function else F.prelu(x, torch.from_numpy(slopes))
    (wanted,) = torch.autograd.grad(y.sum(), x)
    type_ = "tensor<1x1x3x3xf32>"
    if op == "hard_sigmoid":
        text = f"""func.func @main(%x: {type_}) -> tensor<1x1x3x3xi1> {{
          %m = "gradcam.mask"(%x) {{lo = -3.0 : f64, hi = 3.0 : f64, closed = false}} : ({type_}) -> tensor<1x1x3x3xi1>
          return %m : tensor<1x1x3x3xi1> }}"""
    elif op == "hard_swish":
        text = f"""func.func @main(%x: {type_}) -> {type_} {{
          %m = "gradcam.hard_swish_slope"(%x) : ({type_}) -> {type_}
          return %m : {type_} }}"""
    else:
        text = f"""func.func @main(%x: {type_}, %s: tensor<1xf32>) -> {type_} {{
          %m = "gradcam.prelu_slope"(%x, %s) : ({type_}, tensor<1xf32>) -> {type_}
          return %m : {type_} }}"""
    with make_context():
        inputs = [x.detach().numpy(), slopes][: 2 if op == "prelu" else 1]
        (found,) = run(ir.Module.parse(text), inputs, KERNELS)
    # PyTorch has the sixth of a hard sigmoid in f32.
    np.testing.assert_allclose(found / (6 if op == "hard_sigmoid" else 1), wanted.numpy(), rtol=1e-7)


@pytest.mark.parametrize("method", ["gradcam", "hirescam"])
@pytest.mark.parametrize("make", [gated, tabulated])
def test_maps_are_those_of_autograd_in_f64(make, method):
    net = make()
    maps = [n for n, v in enumerate(net.values) if n and v.ndim == 4 and v.shape[2] > 1]
    for target in maps:
        check_derived(net, target, method, rtol=1e-4, atol=1e-5)


# The integers.

ALL_BYTES = np.arange(-128, 128, dtype=np.int8).reshape(1, 2, 8, 16)


def computed(op: str, attributes: str, x_scale: float, y_scale: float, constants: str = "") -> np.ndarray:
    """All bytes through an op, in the reference, which linalg must equal."""
    x, y = (f"tensor<1x2x8x16x!quant.uniform<i8:f32, {s:.6e}>>" for s in (x_scale, y_scale))
    more, types = (", %c", ", tensor<2xf32>") if constants else ("", "")
    text = f"""func.func @main(%image: {x}) -> {y} {{
      %c = arith.constant dense<{constants or "0.0"}> : tensor<2xf32>
      %y = "gradcam.{op}"(%image{more}) {attributes} : ({x}{types}) -> {y}
      return %y : {y}
    }}"""
    with make_context():
        module = ir.Module.parse(text)
        (found,) = run_integer(module, ALL_BYTES)
        ConvertGradcamToLinalg().run(module)
        FuseEpilogues().run(module)
        (lowered,) = run_linalg(module, np.ascontiguousarray(ALL_BYTES[0].transpose(1, 2, 0)))
    np.testing.assert_array_equal(lowered.transpose(2, 0, 1)[None], found)
    return found.astype(np.int64)


def nearest(values: torch.Tensor, y_scale: float) -> np.ndarray:
    return (values / y_scale).round().clamp(-128, 127).numpy().astype(np.int64)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_entry_of_a_table(name):
    for x_scale, y_scale in ((1e-4, 1e-4), (0.11, 0.007), (0.05, 0.03)):
        x = torch.from_numpy(ALL_BYTES * np.float64(x_scale)).requires_grad_()
        y = TORCH_FUNCTIONS[name](x)
        (slope,) = torch.autograd.grad(y.sum(), x)
        attributes = f'{{function = "{name}"}}'
        found = computed("function", attributes, x_scale, y_scale)
        np.testing.assert_array_equal(found, nearest(y.detach(), y_scale))
        found = computed("function_slope", attributes, x_scale, y_scale)
        np.testing.assert_array_equal(found, nearest(slope, y_scale))
    assert not np.array_equal(found, nearest(slope, 2 * y_scale))


@pytest.mark.parametrize("op", ["hard_sigmoid", "hard_swish", "hard_swish_slope", "prelu", "prelu_slope"])
@pytest.mark.parametrize(("x_scale", "y_scale"), [(0.04, 0.03), (0.5, 0.011), (3 / 128, 0.05), (1e-3, 1e-3)])
def test_bytes_are_within_a_step_of_the_real_function(op, x_scale, y_scale):
    x = torch.from_numpy(ALL_BYTES * np.float64(x_scale)).requires_grad_()
    slopes = torch.tensor([-0.75, 1.5], dtype=torch.float64)
    kind = op.removesuffix("_slope")
    y = {"hard_sigmoid": F.hardsigmoid, "hard_swish": F.hardswish, "prelu": lambda x: F.prelu(x, slopes)}[kind](x)
    values = torch.autograd.grad(y.sum(), x)[0] if op.endswith("slope") else y.detach()
    found = computed(op, "", x_scale, y_scale, "[-0.75, 1.5]" if kind == "prelu" else "")
    # The bend lies on an integer, which moves the function by at most half a step of x, where it is at most 1.5 steep.
    limit = 1.01 + (0.75 * x_scale / y_scale if kind.startswith("hard") else 0)
    wanted = (values / y_scale).numpy()
    jump = (np.abs(np.abs(ALL_BYTES * x_scale) - 3) < x_scale) & (op == "hard_swish_slope")
    assert (np.abs(found - wanted.clip(-128, 127)) <= limit)[~jump].all()


@pytest.mark.parametrize(
    ("op", "x", "wanted"),
    [
        # x at scale 1/16: the bend is 48. y at 1/32: (x + 48) / 96 * 32 for the hard sigmoid.
        ("hard_sigmoid", [-128, -49, -48, -47, 0, 47, 48, 127], [0, 0, 0, 0, 16, 32, 32, 32]),
        # x (x + 48) / 96 / 16 * 32
        ("hard_swish", [-128, -48, -24, -1, 0, 1, 24, 48, 60], [0, 0, -12, -1, 0, 1, 36, 96, 120]),
        # (2 x + 48) / 96 * 32
        ("hard_swish_slope", [-128, -48, -47, 0, 24, 47, 48, 127], [0, 0, -15, 16, 32, 47, 32, 32]),
    ],
)
def test_bytes_by_hand(op, x, wanted):
    found = computed(op, "", 1 / 16, 1 / 32).ravel()
    assert [found[v + 128] for v in x] == wanted


def test_a_slope_of_zero_and_negative_slopes_by_hand():
    found = computed("prelu", "", 0.5, 0.5, "[0.0, -2.0]")[0]
    assert found[0].ravel().tolist() == [0] * 128  # the bytes below 0, in channel 0
    assert found[1].ravel().tolist() == list(range(128))
    text_negative = computed("prelu", "", 0.5, 0.5, "[-2.0, 0.0]")[0][0].ravel()
    assert text_negative.tolist() == [min(-2 * v, 127) for v in range(-128, 0)]


def quantized_ops(net: Network) -> list:
    module = Compilation(net, net.settings("8x8")).to("quantized")
    return [op for op in module.body.operations[0].entry_block.operations if op.operation.name.startswith("gradcam.")]


def test_sums_before_a_hard_swish_keep_a_fraction_and_those_before_a_table_are_bytes():
    for op in quantized_ops(gated()):
        if op.operation.name in ("gradcam.hard_swish", "gradcam.prelu"):
            made_by = op.x.owner.operation.name
            assert storage_bits(op.x) == (8 if made_by == "gradcam.max_pool2d" else 32)
    for op in quantized_ops(tabulated()):
        if op.operation.name == "gradcam.function":
            assert storage_bits(op.x) == 8
            if op.function.value in ("sigmoid", "tanh"):
                assert scale(op.x) <= FUNCTIONS[op.function.value].limit / 127 * 1.00001


@pytest.mark.parametrize(("factor", "counted"), [(0.01, True), (100.0, False)])
def test_only_what_a_sigmoid_tells_apart_counts_as_saturated(factor, counted):
    net = Network(3, 8, 8)
    conv = net.conv(0, 4)
    net.layers[conv].weight.data *= factor
    net.add(nn.Sigmoid())
    net.add(nn.Flatten(), net.add(nn.AdaptiveAvgPool2d(1)))
    net.add(nn.Linear(4, 3))
    compilation = Compilation(net, net.settings("4x4"))
    simplified = compilation.to("simplified").operation.clone()
    limits = activation_limits(simplified, compilation.to("quantized"))
    assert any(value.owner.operation.name == "gradcam.conv2d" for value in limits) == counted
    assert any(value.owner.operation.name == "gradcam.function" for value in limits)


@pytest.mark.parametrize("method", ["gradcam", "hirescam"])
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("make", [gated, tabulated])
def test_linalg_equals_the_reference_and_means_the_float_map(make, target, method):
    net = make(target)
    images = net.calibration_images
    compilation = Compilation(net, Settings(f"layers.{net.target}", method, pe="8x4", range_choice="max"))
    module = compilation.to("simplified")
    floats = [run_float(module, x[None]) for x in images]
    wanted = check_linalg(compilation, compilation.to("quantized"), images)
    assert np.median(correlations(wanted, floats)) >= 0.97


# The import.


class Gate(nn.Module):
    """Squeeze-and-excite as it is written: how the map is pooled, what computes the numbers, how they are applied."""

    def __init__(self, pool, layers: nn.Module, apply) -> None:
        super().__init__()
        self.pool, self.layers, self.apply_ = pool, layers, apply

    def forward(self, x):
        return self.apply_(x, self.layers(self.pool(x))).flatten(1)


def of_linears(*end: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 6), *end)


def of_convolutions(*end: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(6, 4, 1), nn.SiLU(), nn.Conv2d(4, 6, 1), *end)


FORMS = {
    "pool": (lambda x: F.adaptive_avg_pool2d(x, 1), of_convolutions(nn.Sigmoid()), lambda x, s: s * x),
    "mean, kept": (lambda x: x.mean((2, 3), keepdim=True), of_convolutions(nn.Hardsigmoid()), lambda x, s: x.mul(s)),
    "mean": (lambda x: x.mean((2, 3)), of_linears(nn.Sigmoid()), lambda x, s: x * s.view(1, 6, 1, 1)),
    "view": (lambda x: x.mean((2, 3)).view(1, 6), of_linears(), lambda x, s: x * s[:, :, None, None].sigmoid()),
    "expand": (lambda x: x.mean((2, 3)), of_linears(nn.Sigmoid()), lambda x, s: x * s.view(1, 6, 1, 1).expand_as(x)),
    "in place": (lambda x: x.mean((2, 3), True), of_convolutions(nn.Hardsigmoid(True)), lambda x, s: (x + 0).mul_(s)),
    "channel attention": (
        lambda x: x.mean((2, 3)).view(1, 1, 6),
        nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), nn.Sigmoid()),
        lambda x, s: x * s.view(1, -1, 1, 1).expand_as(x),
    ),
    "two maps": (lambda x: x, nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.GELU()), lambda x, s: s * x),
    "own mean": (lambda x: x, nn.Identity(), lambda x, s: x * torch.tanh(x) * F.hardswish(x.mean((2, 3), True))),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_gates_compute_what_pytorch_does(form):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), Gate(*FORMS[form]), nn.Linear(6 * 36, 4)).eval()
    image = torch.randn(1, 3, 8, 8)
    module = frontend.import_model(net, (1, 3, 8, 8), "0", "hirescam")
    DeriveBackward().run(module)
    logits, heatmap = run_float(module, image.numpy())
    a = net[0](image).detach().double().requires_grad_()
    wanted = net[1:].double()(a)
    (g,) = torch.autograd.grad(wanted[0, int(wanted.argmax())], a)
    np.testing.assert_allclose(logits, wanted.detach().numpy(), rtol=1e-4, atol=1e-5)
    exact = (g * a.detach()).sum(1).numpy()
    np.testing.assert_allclose(heatmap, exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max())


@pytest.mark.parametrize("module", [nn.PReLU(3), nn.PReLU(), nn.Hardswish(inplace=True), nn.Hardsigmoid(), nn.Mish()])
def test_activations_of_permuted_maps(module):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.head = module, nn.Linear(3, 3)

        def forward(self, x):
            y = self.act(x)
            return self.act(self.head(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)).mean((2, 3))

    torch.manual_seed(0)
    net, image = Net().eval(), torch.randn(1, 3, 4, 5)
    (logits,) = run_float(frontend.import_model(net, (1, 3, 4, 5)), image.numpy())
    np.testing.assert_allclose(logits, net(image.clone()).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_what_repeats_a_tensor_other_than_for_a_product_is_refused():
    class Repeats(nn.Module):
        def forward(self, x):
            return (x + x.mean((2, 3), True).expand_as(x)).mean((2, 3))

    with pytest.raises(GradcamError, match="repeats 1x3x1x1 as 1x3x8x8; that is only supported for a factor"):
        frontend.import_model(Repeats().eval(), (1, 3, 8, 8))


def test_a_product_of_shapes_that_do_not_fit_is_refused():
    class Odd(nn.Module):
        def forward(self, x):
            return (x * x.mean(1, keepdim=True)).mean((2, 3))

    with pytest.raises(GradcamError, match="mean over"):
        frontend.import_model(Odd().eval(), (1, 3, 8, 8))
    net = Network(3, 8, 8)
    net.add(Product(), 0, net.add(nn.MaxPool2d((8, 1)), 0))
    net.add(nn.Flatten(), net.add(nn.AdaptiveAvgPool2d(1)))
    with pytest.raises(GradcamError, match=r"multiplies shapes 1x3x8x8 and 1x3x1x8; supported are equal shapes, or"):
        frontend.import_model(net)


# The hardware.


@pytest.mark.parametrize(
    ("make", "target", "method", "pe", "op", "mhz"),
    [
        (gated, 0, "gradcam", "4x4", "prelu", None),
        (tabulated, 1, "hirescam", "4x8", "function", None),
        (tabulated, 0, "gradcam", "8x4", "function", 100),
    ],
)
def test_rtl_equals_the_integer_reference(make, target, method, pe, op, mhz, tmp_path):
    net, folder = make(target), tmp_path / "design"
    settings = Settings(f"layers.{net.target}", method, pe=pe, range_choice="max", clock_mhz=mhz)
    report = compile_to_folder(net, "test", settings, folder)
    tables = [size for name, size in report.memory_bytes.items() if name.startswith("table_")]
    lanes = PE.parse(pe).oc
    assert bool(tables) == (make is tabulated) and all(size % (256 * lanes) == 0 for size in tables)
    checked = check_design(net, folder)
    body = checked.module.body.operations[0].entry_block.operations
    changed = next(o for o in body if o.operation.name == f"gradcam.{op}")
    with checked.module.context, ir.Location.unknown():
        if op == "function":  # another function must be caught
            changed.attributes["function"] = ir.StringAttr.get("mish" if changed.function.value == "silu" else "silu")
        else:  # and so must other slopes
            with ir.InsertionPoint(changed):
                changed.operands[1] = make_constant(-dense_values(changed.slopes.owner))
        with pytest.raises(GradcamError, match="in the integer reference"):
            check_outputs(checked.traced, checked.module, checked.images[0], checked.cls)
