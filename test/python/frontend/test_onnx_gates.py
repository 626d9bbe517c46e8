"""What PyTorch exports of gates and of channels that are taken: by onnxruntime, and maps by autograd."""

import warnings

import numpy as np
import pytest
import torch
from onnx_models import by_onnxruntime
from torch import nn

from gradcam import PassManager, frontend
from gradcam.execution.float32 import run_float

IMAGE = (1, 3, 9, 9)


class Excite(nn.Module):
    """Squeeze-and-excite as Hu et al. (2018) published it, by `expand_as`."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 6), nn.Sigmoid())

    def forward(self, x):
        return x * self.fc(x.mean((2, 3))).view(1, 6, 1, 1).expand_as(x)


class Along(nn.Module):
    """Efficient channel attention (Wang et al. 2020)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        y = nn.functional.adaptive_avg_pool2d(x, 1)
        y = self.conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * torch.sigmoid(y).expand_as(x)


class Take(nn.Module):
    def __init__(self, take):
        super().__init__()
        self.take = take

    def forward(self, x):
        return self.take(x)


#: Modules that read a map of six channels.
BODIES = {
    "squeeze-and-excite": Excite,
    "channel attention": Along,
    "repeat": lambda: Take(lambda x: x * torch.tanh(x.mean((2, 3), True)).repeat(1, 1, 7, 7)),
    "flip": lambda: Take(lambda x: x.flip(1)),
    "list": lambda: Take(lambda x: x[:, [3, 1, 0, 5]]),
}


def exported(folder, name, dynamo):
    """A network and the file that PyTorch exports of it."""
    torch.manual_seed(2)
    rest = [nn.LazyConv2d(6, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4)]
    net, path = nn.Sequential(nn.Conv2d(3, 6, 3), BODIES[name](), *rest).eval(), folder / "net.onnx"
    net(torch.zeros(IMAGE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.zeros(IMAGE),), path, dynamo=dynamo, verbose=False)
    return net, path


def by_autograd(net, image):
    """The HiResCAM map of the first convolution, in f64."""
    a = net[0](torch.from_numpy(image)).detach().double().requires_grad_()
    logits = net[1:].double()(a)
    (gradient,) = torch.autograd.grad(logits[0, int(logits.argmax())], a)
    return (gradient * a.detach()).sum(1).numpy()


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", BODIES)
def test_logits_and_map(tmp_path, name, dynamo):
    net, path = exported(tmp_path, name, dynamo)
    model, image = frontend.load_model(path), np.random.default_rng(0).standard_normal(IMAGE).astype(np.float32)
    layer = frontend.target_layers(model)[0]
    module = frontend.import_model(model, target_layer=layer, method="hirescam")
    logits, found = run_float(PassManager.parse("gradcam-backward-pipeline").run(module), image)
    wanted, exact = by_onnxruntime(path, image), by_autograd(net, image)
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max())
    assert np.abs(found - exact[:, ::-1]).max() > 1e-2 * np.abs(exact).max()
