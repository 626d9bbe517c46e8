"""`gradcam.leaky_relu` through every level, against torch.autograd, hand arithmetic, and the level before."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from level_checks import check_derived, check_linalg, correlations
from rtl_checks import Checked, check_design
from rtl_networks import leaky
from torch_mlir import ir

from gradcam.compiler import Compilation, Settings
from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.execution.float32 import KERNELS, run_float
from gradcam.execution.interpreter import run
from gradcam.jit import run_linalg
from gradcam.output import compile_to_folder
from gradcam.passes.linalg.convert_gradcam_to_linalg import ConvertGradcamToLinalg
from gradcam.passes.linalg.fuse_epilogues import FuseEpilogues
from gradcam.quant_types import scale, storage_bits
from gradcam.reference.integer import run_integer
from gradcam.sim.check import check_outputs

METHODS = ("gradcam", "hirescam", "layercam")

# The derivation.


def test_the_gradient_is_autograds_at_zeros_too():
    """f64, every element equal: both multiply once."""
    type_ = "tensor<1x1x3x3xf32>"
    text = f"""func.func @main(%g: {type_}, %x: {type_}) -> {type_} {{
      %y = "gradcam.leaky_relu"(%x) {{slope = 0.3 : f64}} : ({type_}) -> {type_}
      %gx = "gradcam.activation_adjoint"(%g, %y)
        {{closed = false, lo = 0.0 : f64, hi = 0x7FF0000000000000 : f64, slope = 0.3 : f64}}
        : ({type_}, {type_}) -> {type_}
      return %gx : {type_}
    }}"""
    x = torch.tensor([0.0, -0.0, 1.0, -1.0, 5e-324, -5e-324, 1e300, -1e300, 0.25], dtype=torch.float64)
    x = x.reshape(1, 1, 3, 3).requires_grad_()
    g = torch.randn(1, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (wanted,) = torch.autograd.grad(F.leaky_relu(x, 0.3), x, g)
    with make_context():
        (found,) = run(ir.Module.parse(text), [g.numpy(), x.detach().numpy()], KERNELS)
    np.testing.assert_array_equal(found, wanted.numpy())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", range(1, 9))
def test_maps_are_those_of_autograd_in_f64(target, method):
    check_derived(leaky(), target, method, rtol=1e-5, atol=1e-5)


# The integers.


def module_of(slope: str, y_scale: str) -> str:
    """A leaky_relu of an image with the scale 0.5."""
    x, y = (f"tensor<1x1x16x16x!quant.uniform<i8:f32, {s}>>" for s in ("5.0e-01", y_scale))
    return f"""func.func @main(%image: {x}) -> {y} {{
      %y = "gradcam.leaky_relu"(%image) {{slope = {slope} : f64}} : ({x}) -> {y}
      return %y : {y}
    }}"""


def rescaled_by_hand(x: int, m: int, s: int) -> int:
    return (x * m + (1 << (s - 1))) >> s


ALL_BYTES = np.arange(-128, 128, dtype=np.int8).reshape(1, 1, 16, 16)


@pytest.mark.parametrize(
    ("slope", "y_scale", "keep", "leak"),
    [
        # m = round(ratio * 2^s) with the largest s for which m < 2^15
        ("0.1", "5.0e-01", None, (26214, 18)),
        ("0.9999", "5.0e-01", None, (32765, 15)),
        ("1.0e-06", "5.0e-01", None, (17180, 34)),
        ("0.3", "4.0e-01", (20480, 14), (24576, 16)),  # 0.5 / 0.4, times 1 and 0.3
    ],
)
def test_every_byte_by_hand_in_the_reference_and_in_linalg(slope, y_scale, keep, leak):
    def by_hand(x: int) -> int:
        constants = keep if x > 0 else leak
        return min(max(x if constants is None else rescaled_by_hand(x, *constants), -128), 127)

    wanted = np.vectorize(by_hand)(ALL_BYTES.astype(np.int64))
    with make_context():
        module = ir.Module.parse(module_of(slope, y_scale))
        (found,) = run_integer(module, ALL_BYTES)
        np.testing.assert_array_equal(found, wanted)
        ConvertGradcamToLinalg().run(module)
        FuseEpilogues().run(module)
        (lowered,) = run_linalg(module, np.ascontiguousarray(ALL_BYTES[0].transpose(1, 2, 0)))
    np.testing.assert_array_equal(lowered.transpose(2, 0, 1)[None], wanted)
    assert math.isclose(leak[0] / 2 ** leak[1], float(slope) * 0.5 / float(y_scale), rel_tol=1e-4)


def test_sums_before_a_leaky_relu_do_not_saturate():
    module = Compilation(leaky(), Settings(None)).to("quantized")
    body = module.body.operations[0].entry_block.operations
    found = [op for op in body if op.operation.name == "gradcam.leaky_relu"]
    before = [op.x.owner.operation.name for op in found]
    assert before == [f"gradcam.{n}" for n in ("conv2d", "max_pool2d", "conv2d", "add", "linear")]
    for op, name in zip(found, before, strict=True):
        if name == "gradcam.max_pool2d":
            assert op.y.type == op.x.type
        else:
            assert storage_bits(op.x) == 32 and storage_bits(op.y) == 8
            assert math.isclose(scale(op.x) * 64, scale(op.y), rel_tol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [0, 1])
def test_linalg_equals_the_reference_and_means_the_float_map(target, method):
    net = leaky(target)
    images = net.calibration_images
    compilation = Compilation(net, Settings(f"layers.{net.target}", method, pe="8x4", range_choice="max"))
    module = compilation.to("simplified")
    floats = [run_float(module, x[None]) for x in images]
    wanted = check_linalg(compilation, compilation.to("quantized"), images)
    assert np.median(correlations(wanted, floats)) > 0.95


# The hardware.


@pytest.mark.parametrize(("target", "method", "pe"), [(0, "gradcam", "4x4"), (1, "hirescam", "4x8")])
def test_rtl_equals_the_integer_reference(target, method, pe, tmp_path):
    net, folder = leaky(target), tmp_path / "design"
    compile_to_folder(net, "test", Settings(f"layers.{net.target}", method, pe=pe, range_choice="max"), folder)
    checked = check_design(net, folder)
    assert any("adjoint" in name for name in checked.trace.compared)
    for name in ("gradcam.apply_mask", "gradcam.leaky_relu"):
        assert_other_slopes_are_caught(checked, name)


def assert_other_slopes_are_caught(checked: Checked, name: str):
    body = checked.module.body.operations[0].entry_block.operations
    changed = [(op, op.slope) for op in body if op.operation.name == name]
    assert changed
    with checked.module.context, ir.Location.unknown():
        for op, slope in changed:
            op.attributes["slope"] = ir.FloatAttr.get(ir.F64Type.get(), 1.5 * slope.value)
        with pytest.raises(GradcamError, match="in the integer reference"):
            check_outputs(checked.traced, checked.module, checked.images[0], checked.cls)
        for op, slope in changed:
            op.attributes["slope"] = slope
    check_outputs(checked.traced, checked.module, checked.images[0], checked.cls)
