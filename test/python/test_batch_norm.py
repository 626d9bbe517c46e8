"""Batch norms that do not fold, through every level, against torch.autograd, hand arithmetic, and the level before."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from level_checks import check_linalg, correlations
from rtl_checks import check_design
from rtl_networks import Network, Sum, double_oracle
from torch import nn
from torch_mlir import ir

from gradcam import frontend
from gradcam.compiler import Compilation, Settings
from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float
from gradcam.jit import run_linalg
from gradcam.numerics import affine_fixed_point
from gradcam.output import compile_to_folder
from gradcam.passes.backward.derive_backward import DeriveBackward
from gradcam.passes.backward.extract_masks import ExtractMasks
from gradcam.passes.backward.fold_batch_norm import FoldBatchNorm
from gradcam.passes.backward.simplify_backward import SimplifyBackward
from gradcam.passes.linalg.convert_gradcam_to_linalg import ConvertGradcamToLinalg
from gradcam.passes.linalg.fuse_epilogues import FuseEpilogues
from gradcam.reference.integer import run_integer
from gradcam.sim.check import check_outputs

METHODS = ("gradcam", "hirescam", "layercam")


def norm(net: Network, x: int) -> int:
    """A batch norm with factors of both signs, one of them 0, and statistics."""
    channels = net.channels(x)
    layer = nn.BatchNorm2d(channels)
    layer.running_mean.data = torch.from_numpy(net.rng.normal(0, 0.5, channels).astype(np.float32))
    layer.running_var.data = torch.from_numpy(net.rng.uniform(0.3, 2, channels).astype(np.float32))
    number = net.add(layer, x)
    layer.weight.data[0] = 0
    with torch.no_grad():
        net.values[number] = layer(net.values[x])
    return number


def preactivated(target: int = 0) -> Network:
    """Batch norms behind a pool, a residual sum with other readers, a ReLU and a target, before ReLUs and a sum."""
    net = Network(3, 14, 12, seed=2)
    x = net.add(nn.MaxPool2d(3, 2, 1), net.add(nn.ReLU(), net.conv(0, 10)))
    first = x
    for out, stride in ((10, 1), (18, 2)):
        y = net.add(nn.ReLU(), norm(net, x))
        shortcut = x if out == net.channels(x) else net.conv(y, out, 1, stride, 0)
        y = net.add(nn.ReLU(), norm(net, net.conv(y, out, 3, stride)))
        x = net.add(Sum(), net.conv(y, out), shortcut)
    x = net.add(Sum(), norm(net, x), x)
    last = net.add(nn.ReLU(), norm(net, x))
    net.explain((last, first + 1, first, first + 3)[target])
    net.add(nn.AdaptiveAvgPool2d(1), last)
    return net.classify(5)


# The derivation.


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", range(4))
def test_maps_are_those_of_autograd_in_f64(target, method):
    net = preactivated(target)
    wanted = double_oracle(net, net.target, method)
    module = frontend.import_model(net, target_layer=f"layers.{net.target}", method=method)
    for transform in (FoldBatchNorm(), DeriveBackward(), SimplifyBackward(), ExtractMasks()):
        transform.run(module)
        if 'gradcam.explain"' not in str(module):
            for value, exact in zip(run_float(module, net.calibration_images[:1]), wanted, strict=True):
                np.testing.assert_allclose(value, exact, rtol=1e-4, atol=1e-4 * np.abs(exact).max())


# The integers.


ALL_BYTES = np.tile(np.arange(-128, 128, dtype=np.int8), 2).reshape(1, 2, 16, 16)


def module_of(factors: tuple[float, float], offsets: tuple[float, float]) -> str:
    """A batch norm of an image with the scale 0.5, to the scale 0.25."""
    x, y = (f"tensor<1x2x16x16x!quant.uniform<i8:f32, {s}>>" for s in ("5.0e-01", "2.5e-01"))
    gamma, beta = (", ".join(map(repr, numbers)) for numbers in (factors, offsets))
    v = "tensor<2xf32>"
    return f"""func.func @main(%image: {x}) -> {y} {{
      %gamma = arith.constant dense<[{gamma}]> : {v}
      %beta = arith.constant dense<[{beta}]> : {v}
      %zero = arith.constant dense<0.0> : {v}
      %one = arith.constant dense<1.0> : {v}
      %y = "gradcam.batch_norm"(%image, %gamma, %beta, %zero, %one) {{eps = 0.0 : f64}}
        : ({x}, {v}, {v}, {v}, {v}) -> {y}
      return %y : {y}
    }}"""


@pytest.mark.parametrize(
    ("factors", "offsets", "m", "b", "s"),
    [
        # m = round(factor * 0.5 / 0.25 * 2^s) with the largest s for which |m| < 2^15; b = round(4 offset 2^s) + half
        ((0.25, -0.5), (1.0, 0.0), (8192, -16384), (4 << 14, 0), 14),
        ((1.0, 0.0), (0.125, -3.0), (16384, 0), (4096, -12 << 13), 13),
        ((0.0, 0.0), (1.0, 1.0), (0, 0), (4 << 28, 4 << 28), 28),  # only the offset, below 2^31
    ],
)
def test_every_byte_by_hand_in_the_reference_and_in_linalg(factors, offsets, m, b, s):
    x = ALL_BYTES[0].astype(np.int64)
    by_channel = (np.array(v).reshape(2, 1, 1) for v in (m, b))
    wanted = np.clip((x * next(by_channel) + next(by_channel) + (1 << (s - 1))) >> s, -128, 127)
    with make_context():
        module = ir.Module.parse(module_of(factors, offsets))
        (found,) = run_integer(module, ALL_BYTES)
        np.testing.assert_array_equal(found[0], wanted)
        ConvertGradcamToLinalg().run(module)
        FuseEpilogues().run(module)
        (lowered,) = run_linalg(module, np.ascontiguousarray(ALL_BYTES[0].transpose(1, 2, 0)))
    np.testing.assert_array_equal(lowered.transpose(2, 0, 1), wanted)


@given(
    st.lists(st.tuples(st.floats(-(2.0**13), 2.0**13), st.floats(-(2.0**20), 2.0**20)), min_size=1, max_size=4),
    st.sampled_from([7, 31]),
)
@settings(deadline=None)
def test_the_fixed_point_is_near_and_never_overflows(numbers, bits):
    factors, offsets = zip(*numbers, strict=True)
    try:
        m, b, s = affine_fixed_point(factors, offsets, 1 << bits)
    except GradcamError:
        assert bits == 31 or max(map(abs, offsets)) >= 2**15
        return
    assert 1 <= s <= 46 and (np.abs(m) < 1 << 15).all()
    for factor, offset, mi, bi in zip(factors, offsets, m.tolist(), b.tolist(), strict=True):
        assert (abs(mi) << bits) + abs(bi) < min(1 << (31 if bits == 7 else 47), 1 << (31 + s))
        for x in (-(1 << bits), -1, 0, 1, (1 << bits) - 1):
            exact = Fraction(factor) * x + Fraction(offset)
            assert abs(Fraction(x * mi + bi - (1 << (s - 1)), 1 << s) - exact) <= Fraction(abs(x) + 1, 2 << s)


@pytest.mark.parametrize(("factor", "offset"), [(2.0**14, 0.0), (1.0, 2.0**31), (np.inf, 0.0), (1.0, np.nan)])
def test_numbers_that_do_not_fit_are_refused(factor, offset):
    with pytest.raises(GradcamError, match=r"must be less than|is not finite"):
        affine_fixed_point([factor, 1.0], [offset, 0.0], 128)


def compiled(net: Network, method: str, pe: str) -> Compilation:
    return Compilation(net, Settings(f"layers.{net.target}", method, pe=pe, range_choice="max"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", range(4))
def test_linalg_equals_the_reference_and_means_the_float_map(target, method):
    net = preactivated(target)
    images = net.calibration_images
    compilation = compiled(net, method, "8x4")
    module = compilation.to("simplified")
    floats = [run_float(module, x[None], np.array([1], np.int32)) for x in images]
    module = compilation.to("quantized")
    assert str(module).count('gradcam.conv2d"') == 6  # no batch norm has become a convolution
    wanted = check_linalg(compilation, module, images, cls=1)
    assert np.median(correlations(wanted, floats)) > 0.95


# The hardware.


@pytest.mark.parametrize(
    ("target", "method", "pe"), [(0, "gradcam", "4x4"), (1, "hirescam", "4x8"), (2, "layercam", "8x4")]
)
def test_rtl_equals_the_integer_reference(target, method, pe, tmp_path):
    net, folder = preactivated(target), tmp_path / "design"
    compile_to_folder(net, "test", Settings(f"layers.{net.target}", method, pe=pe, range_choice="max"), folder)
    checked = check_design(net, folder, inner=r".*\.unfold|.*\.adjoint|explain\.map\.high")
    body = checked.module.body.operations[0].entry_block.operations
    for name in ("gradcam.batch_norm", "gradcam.batch_norm_adjoint")[: 1 if target == 0 else 2]:
        op = next(op for op in body if op.operation.name == name)
        gamma = op.operands[1].owner
        kept = gamma.attributes["value"]
        with checked.module.context, ir.Location.unknown():
            gamma.attributes["value"] = ir.DenseElementsAttr.get(np.array(kept) * 1.5, type=gamma.result.type)
            with pytest.raises(GradcamError, match="in the integer reference"):
                check_outputs(checked.traced, checked.module, checked.images[0], checked.cls)
            gamma.attributes["value"] = kept


def test_an_offset_is_not_taken_for_a_bias(tmp_path):
    """The epilogue of the first convolution reads an offset where those of the others read a bias, and has none."""
    net = Network(3, 9, 8, seed=4)
    x = net.conv(0, 8, bias=False)
    x = net.add(Sum(), net.conv(net.add(nn.ReLU(), norm(net, x)), 8), x)
    net.explain(net.add(nn.ReLU(), x))
    net.add(nn.AdaptiveAvgPool2d(1))
    compile_to_folder(net.classify(3), "test", net.settings("8x8"), tmp_path / "design")
    check_design(net, tmp_path / "design")


def cost(with_norm: bool, folder) -> tuple[int, int]:
    """Cycles of the inference, and multiply-adds, of two convolutions with or without a batch norm between ReLUs."""
    net = Network(3, 8, 8)
    x = net.add(nn.ReLU(), net.conv(0, 32))
    x = norm(net, x) if with_norm else x
    x = net.add(nn.ReLU(), net.conv(net.add(nn.ReLU(), x), 8, 1, 1, 0))
    net.explain(x)
    net.add(nn.AdaptiveAvgPool2d(1), x)
    compile_to_folder(net.classify(3), "test", net.settings("8x8"), folder)
    report = json.loads((folder / "report.json").read_text())
    return report["cycles"]["inference"], report["macs"]


def test_a_batch_norm_between_convolutions_takes_no_step_and_no_multiplier_of_the_array(tmp_path):
    (cycles, macs), (bare, wanted) = cost(True, tmp_path / "norm"), cost(False, tmp_path / "bare")
    assert macs == wanted and cycles <= bare + 8  # the stages of one more product
