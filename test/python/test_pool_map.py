"""`--pool-map`: maps as means of blocks at every level, against torch.autograd and avg_pool2d in f64."""

from __future__ import annotations

import numpy as np
import pytest
import small_networks as text
import torch
import torch.nn.functional as F
from cam_formulas import cam
from level_checks import check_linalg
from oracles import gradients
from rtl_checks import check_design
from rtl_networks import Network, leaky
from torch import nn
from torch_mlir import ir

from gradcam.compiler import Compilation, Settings
from gradcam.dialect import make_context
from gradcam.dialect.methods import METHODS
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float
from gradcam.faults import Faults
from gradcam.output import compile_to_folder
from gradcam.passes.backward.simplify_backward import SimplifyBackward
from gradcam.passes.quantize.checks import check_rescale
from gradcam.passes.quantize.quantize import Quantize
from gradcam.reference.integer import quantize_image, run_integer


def ends_in_pool() -> Network:
    """A map of 7x9 behind a stride of 2 that a global pool and one linear layer read: its weights are a class's row."""
    net = Network(3, 14, 17)
    x = net.add(nn.ReLU(), net.conv(0, 6, stride=2))
    net.explain(x)
    net.add(nn.Flatten(), net.add(nn.AdaptiveAvgPool2d(1)))
    net.add(nn.Linear(6, 5))
    return net


def settings(net: Network, method: str, size: int, **more) -> Settings:
    return Settings(f"layers.{net.target}", method, range_choice="max", pool_map=size, **({"pe": "4x4"} | more))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("make", "size", "shape"), [(leaky, 2, (4, 4)), (leaky, 3, (3, 2)), (ends_in_pool, 4, (1, 2))])
def test_blocks_are_those_of_avg_pool2d(make, size, shape, method):
    net = make()
    image, path = net.calibration_images[:1], f"layers.{net.target}"
    _, layers = gradients(net, torch.from_numpy(image), [path])
    wanted = F.avg_pool2d(cam(method, *layers[path]), size).numpy()
    module = Compilation(net, settings(net, method, size)).to("simplified")
    _, found = run_float(module, image)
    assert found.shape == wanted.shape == (1, *shape)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


def blocks_by_hand(map_: np.ndarray, size: int) -> np.ndarray:
    rows, columns = (range(n // size) for n in map_.shape)
    cut = [slice(i * size, (i + 1) * size) for i in range(max(map_.shape) // size)]
    return np.array([[map_[cut[i], cut[j]].sum() for j in columns] for i in rows])


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam"])
@pytest.mark.parametrize(("make", "size"), [(leaky, 2), (leaky, 4), (ends_in_pool, 3)])
def test_integers_are_exact_sums_at_a_smaller_scale(make, size, method):
    net = make()
    compilation = Compilation(net, settings(net, method, size, pe="8x4"))
    module, images = compilation.to("quantized"), net.calibration_images
    whole = Compilation(net, settings(net, method, 1)).to("quantized")
    step, whole_step = (
        ir.RankedTensorType(m.body.operations[0].entry_block.operations[-1].operands[1].type) for m in (module, whole)
    )
    assert step.element_type.scale == pytest.approx(whole_step.element_type.scale / size**2, rel=1e-6)
    maps = [run_integer(whole, quantize_image(whole, x[None]))[1][0] for x in images]
    for (_, found), map_ in zip(check_linalg(compilation, module, images), maps, strict=True):
        np.testing.assert_array_equal(found[0], blocks_by_hand(map_, size))
        assert found.any() and not np.array_equal(found[0], blocks_by_hand(map_[::-1], size))


@pytest.mark.parametrize(
    ("make", "method", "size", "more"),
    [(leaky, "hirescam", 2, {}), (ends_in_pool, "gradcam", 3, {"weights": "dram"})],
)
def test_rtl_equals_the_integer_reference(make, method, size, more, tmp_path):
    net, reports = make(), {}
    for pool in (1, size):
        folder = tmp_path / f"design{pool}"
        reports[pool] = compile_to_folder(net, "test", settings(net, method, pool, **more), folder)
    check_design(net, folder, inner=r".*\.(unfold|high|sums)")
    # The sums over blocks are those over channels with more terms: no step more, and no engine.
    assert reports[size].cycles.explanation <= reports[1].cycles.explanation
    assert reports[size].multiplications == reports[1].multiplications


def test_onnx_models_compute_the_same():
    onnx_export = pytest.importorskip("gradcam.onnx_export")
    execute = pytest.importorskip("onnx_runs").execute
    net = leaky()
    image, compilation = net.calibration_images[:1], Compilation(net, settings(net, "hirescam", 2))
    simplified = compilation.to("simplified")
    floats, found = run_float(simplified, image), execute(onnx_export.float_model(simplified, "test"), image)
    np.testing.assert_allclose(found[1], floats[1], rtol=1e-4, atol=1e-5)
    module = compilation.to("quantized")
    wanted, found = (
        run_integer(module, quantize_image(module, image)),
        execute(onnx_export.integer_model(module, "test"), image),
    )
    np.testing.assert_array_equal(found[1], wanted[1])


# What is refused, and what is warned of.


def test_a_map_without_a_block_is_refused_in_one_line():
    net = leaky()
    with pytest.raises(Faults) as caught:
        Compilation(net, settings(net, "gradcam", 9)).to("gradcam")
    (fault,) = caught.value.faults
    assert "is 9x8 and has no block of 9x9; pool-map can be at most 8 here" in str(fault)
    assert f"layers.{net.target}" in str(fault)


@pytest.mark.parametrize(("size", "warned"), [(2, True), (1, False)])
def test_what_is_left_out_is_said(size, warned, caplog):
    net = leaky()
    Compilation(net, settings(net, "gradcam", size)).to("gradcam")
    said = [r.getMessage() for r in caplog.records]
    wanted = "the map at target layer 'layers.2' is 9x8; pool-map 2 leaves out what is behind its first 8x8"
    assert said == ([wanted] if warned else [])


def test_a_pool_of_a_map_that_is_read_elsewhere_too_is_refused():
    """The map as it is would not be computed."""
    net = text.Network((1, 2, 4, 4))
    a = net.relu(net.conv(net.image, 3))
    logits, _ = net.head(a, 5)
    map_ = net.op("weighted_sum", [a, a], (1, 4, 4))
    pooled = net.op("pool_map", [map_], (1, 2, 2), "size = 2 : i64")
    with make_context():
        module = ir.Module.parse(net.module(logits, pooled, map_))
        reason = "'gradcam.pool_map' must be the only reader of 'gradcam.weighted_sum'; run gradcam-simplify-backward"
        with pytest.raises(GradcamError, match=reason):
            Quantize().run(module)


def quantized_pool(channels: int) -> str:
    a, g = (f"tensor<1x{channels}x4x4x!quant.uniform<{kind}:f32, 0.5>>" for kind in ("u8", "i8"))
    map_, pooled = (f"tensor<1x{n}x{n}x!quant.uniform<i32:f32, {step}>>" for n, step in ((4, 0.25), (1, 0.015625)))
    return f"""func.func @main(%a: {a}, %g: {g}) -> {pooled} {{
      %map = "gradcam.weighted_sum"(%g, %a) : ({g}, {a}) -> {map_}
      %y = "gradcam.pool_map"(%map) {{size = 4 : i64}} : ({map_}) -> {pooled}
      return %y : {pooled}
    }}"""


def test_sums_over_blocks_that_could_overflow_are_refused():
    """255 * 128 * 16 * 4112 is the last product below 2^31."""
    with make_context():
        modules = [ir.Module.parse(quantized_pool(channels)) for channels in (4112, 4113)]
    within, beyond = ([*m.body.operations[0].entry_block.operations][:2] for m in modules)
    for op in (*within, beyond[0]):
        check_rescale(op)
    with pytest.raises(GradcamError, match=r"pool_map' cannot be quantized: its accumulator can reach 2\.148e"):
        check_rescale(beyond[1])


def test_a_pool_behind_a_scale_is_simplified_before_it():
    net = text.Network((1, 2, 4, 4))
    map_ = net.op("weighted_sum", [net.image, net.image], (1, 4, 4))
    scaled = net.op("scale", [map_], (1, 4, 4), "factor = 0.25 : f64")
    pooled = net.op("pool_map", [scaled], (1, 2, 2), "size = 2 : i64")
    with make_context():
        module = ir.Module.parse(net.module(pooled))
        SimplifyBackward().run(module)
        names = [op.operation.name for op in module.body.operations[0].entry_block.operations]
    assert names == ["gradcam.weighted_sum", "gradcam.pool_map", "gradcam.scale", "func.return"]
