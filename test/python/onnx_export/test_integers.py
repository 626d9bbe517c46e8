"""`--emit onnx-int8`: the quantized program in onnxruntime, against the integer reference in every bit."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from normalized_models import Buffers
from normalized_models import network as normalized_network
from onnx import numpy_helper
from onnx_runs import execute
from rtl_networks import Network, gated, leaky, random_network, tabulated

from gradcam.compiler import Compilation, Settings
from gradcam.data import load_test_images, to_input
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float
from gradcam.models import tinyml_resnet18
from gradcam.onnx_export import compiled_model, integer_model
from gradcam.onnx_export.export import INTEGER_RULES
from gradcam.reference.integer import KERNELS, quantize_image, run_integer

SEEDS = range(20)


def test_every_quantized_op_has_a_rule():
    """`target` only names a value; `unfold2d` and `fold2d` lay out a map for the array, behind level 2."""
    assert set(INTEGER_RULES) - {"gradcam.target"} == set(KERNELS) - {"gradcam.unfold2d", "gradcam.fold2d"}


def faults(module, model: onnx.ModelProto, images: np.ndarray, cls: int = -1) -> int:
    """The number of integers that differ."""
    count = 0
    for image in images:
        wanted = run_integer(module, quantize_image(module, image[None]), cls)
        found = execute(model, image[None], cls)
        assert [x.dtype for x in found] == [np.int32] * len(wanted)
        count += sum(int((a != b).sum()) for a, b in zip(wanted, found, strict=True))
    return count


def quantized(model, *settings, **more):
    return Compilation(model, Settings(*settings, **more)).to("quantized")


def check(net: Network, method: str = "gradcam") -> None:
    """No integer differs, also of an image that saturates what is behind it."""
    settings = net.settings("4x4")
    module = Compilation(net, replace(settings, method=method if settings.target_layer else "gradcam")).to("quantized")
    first = net.calibration_images[:1]
    assert faults(module, integer_model(module, "test"), np.concatenate((first, 4 * first))) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks(seed):
    net = random_network(seed)[0]
    if net.target is None:  # the last map of several positions
        net.explain(max(n for n, value in enumerate(net.values) if value.ndim == 4 and value[0, 0].numel() > 1))
    check(net, ("gradcam", "hirescam", "layercam")[seed % 3])


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("make", [leaky, gated, tabulated])
def test_activations_and_gates(make, target):
    check(make(target), "hirescam")


@pytest.fixture(scope="module")
def shipped():
    return tinyml_resnet18(), to_input(load_test_images().pixels[:2])


@pytest.mark.parametrize(("targets", "method"), [(["layer4", "layer2.0"], "gradcam"), (["conv1"], "layercam")])
def test_the_shipped_network(shipped, targets, method):
    network, images = shipped
    module = quantized(network, targets, method, top_k=2)
    model = integer_model(module, "test")
    assert faults(module, model, images) == faults(module, model, images, 3) == 0
    with pytest.raises(Exception, match="out of data bounds"):
        execute(model, images[:1], 10)


def test_a_changed_weight_is_noticed(shipped):
    network, images = shipped
    module = quantized(network, "layer4")
    model = integer_model(module, "test")
    bytes_ = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.UINT8 and len(t.dims) == 4]
    weights = numpy_helper.to_array(bytes_[0]).copy()
    weights.flat[0] ^= 1
    bytes_[0].CopyFrom(numpy_helper.from_array(weights, bytes_[0].name))
    assert faults(module, model, images) > 0


def test_scales_and_pixels():
    """The scales in the metadata make real numbers of the integers; the model normalizes pixels as the float one."""
    net = normalized_network(Buffers())
    net.calibration_images = np.random.default_rng(0).random((4, *net.input_shape[1:]), np.float32)
    compilation = Compilation(net, Settings("act", preset="zero-one"))
    simplified = compilation.to("simplified").operation.clone()
    module = compilation.to("quantized")
    model = integer_model(module, "test", compilation.settings.preprocessing)
    onnx.checker.check_model(model, full_check=True)
    assert faults(module, model, net.calibration_images) == 0
    scales = json.loads({entry.key: entry.value for entry in model.metadata_props}["scales"])
    logits, heatmap = execute(model, net.calibration_images[:1])
    floats = run_float(simplified, net.calibration_images[:1])
    for found, name, wanted in zip((logits, heatmap), ("logits", "heatmap"), floats, strict=True):
        assert np.abs(found * scales[name] - wanted).max() < 0.1 * np.abs(wanted).max()


def test_a_method_without_integers_is_refused(shipped):
    with pytest.raises(GradcamError, match=r"gradcam\+\+.*; gradcam-compile --emit onnx keeps it in f32$"):
        compiled_model(Compilation(shipped[0], Settings("layer3", "gradcam++")), "test", "onnx-int8")
