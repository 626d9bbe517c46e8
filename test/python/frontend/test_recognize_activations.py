"""Activations that are written out by simpler ops become one op; functions that only look like them do not."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from frontend_models import Trunk, op_names
from onnx_models import SHAPE, by_onnxruntime, classifier, node, saved

from gradcam import frontend
from gradcam.execution.float32 import run_float

X = np.random.default_rng(3).uniform(-6, 6, SHAPE).astype(np.float32)


def pooled(function):
    return Trunk(lambda x: function(x).mean((2, 3)))


WRITTEN = {
    "hard_swish": [
        lambda x: x * F.relu6(x + 3) / 6,
        lambda x: x * (F.hardtanh(3 + x, 0.0, 6.0) / 6),
        lambda x: x * F.hardsigmoid(x),
        lambda x: F.relu6(x + 3).mul(x) * (1 / 6),
        lambda x: x.clone() * F.relu6(x - (-3)) * torch.tensor(1 / 6),
    ],
    "hard_sigmoid": [lambda x: F.relu6(x + 3) / 6, lambda x: F.hardtanh(x / 6 + 0.5, 0.0, 1.0)],
    "silu": [lambda x: x * torch.sigmoid(x), lambda x: torch.sigmoid(x) * x, lambda x: x / (1 + torch.exp(-x))],
    "mish": [lambda x: x * torch.tanh(F.softplus(x)), lambda x: torch.tanh(torch.log1p(torch.exp(x))) * x],
    "gelu": [lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))), lambda x: x * (1 + torch.erf(x * 0.5**0.5)) / 2],
    "gelu_tanh": [lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))],
}  # fmt: skip


@pytest.mark.parametrize(("name", "function"), [(name, f) for name, fs in WRITTEN.items() for f in fs])
def test_activations_that_are_written_out(name, function):
    model = pooled(function)
    module = frontend.import_model(model)
    assert len(op_names(module)) == 4 and f'{name}"' in str(module)
    np.testing.assert_allclose(run_float(module, X)[0], model(torch.from_numpy(X)).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * F.relu6(x + 2.99) / 6,
        lambda x: x * F.relu6(x + 3) / 6.01,
        lambda x: x * torch.sigmoid(1.001 * x),
        lambda x: (x + 0.001) * torch.sigmoid(x),
        lambda x: (x / 6 + 0.5).clamp(0, 1),  # another gradient at -3 and 3
        lambda x: F.relu(x) * F.hardsigmoid(x),
    ],
)
def test_functions_that_are_others(function):
    model = pooled(function)
    module = frontend.import_model(model)
    assert "hard_swish" not in str(module) and '"silu"' not in str(module) and len(op_names(module)) > 4
    np.testing.assert_allclose(run_float(module, X)[0], model(torch.from_numpy(X)).detach(), rtol=1e-4, atol=1e-4)


def test_the_input_is_the_nearest_tensor_that_fits():
    def swish_of_relu(x):
        x = F.relu(x)
        return x * F.relu6(x + 3) / 6

    assert op_names(frontend.import_model(pooled(swish_of_relu)))[:3] == ["conv2d", "relu", "hard_swish"]


def test_a_target_layer_inside_stays():
    class Inside(Trunk):
        def __init__(self):
            super().__init__(lambda x: x.mean((2, 3)))
            self.gate = torch.nn.Sigmoid()

        def forward(self, x):
            x = self.conv(x)
            return self.head(x * self.gate(x))

    module = frontend.import_model(Inside().eval(), target_layer="gate")
    assert "silu" not in str(module) and "sigmoid" in str(module)


def test_of_onnx(tmp_path):
    three = {"t": np.float32(3), "l": np.float32(0), "h": np.float32(6)}
    nodes = [node("Add", "m t", "a"), node("Clip", "a l h", "c"), node("Mul", "m c", "p"), node("Div", "p h")]
    model = classifier(nodes, three)
    module = frontend.import_model(frontend.load_model(saved(model, tmp_path)))
    assert op_names(module) == ["conv2d", "hard_swish", "flatten", "linear"]
    np.testing.assert_allclose(run_float(module, X)[0], by_onnxruntime(model, X), rtol=1e-4, atol=1e-4)
