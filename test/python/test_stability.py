"""What the float network does to its own maps, against torch.autograd, torch's resize and padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradcam.compiler import Compilation, Settings
from gradcam.evaluate import autograd_gradcam
from gradcam.passes.ir.queries import main_function
from gradcam.quality import measure
from gradcam.quant_types import scale
from gradcam.stability import IMAGES


class Net(nn.Module):
    """A stride before the target, so that its maps are smaller than the image; its own normalization if asked for."""

    input_shape = (1, 2, 12, 10)

    def __init__(self, std: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.std = std
        self.first, self.act, self.last = nn.Conv2d(2, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)
        self.eval()

    def forward(self, x):
        x = x / self.std if self.std != 1 else x
        return self.fc(F.relu(self.last(self.act(self.first(x)))).mean((2, 3)))

    def calibration_images(self):
        return images(12, self.std)


def images(count, std=1.0, seed=0):
    return (std * np.random.default_rng(seed).standard_normal((count, 2, 12, 10))).astype(np.float32)


def measured(model, inputs, **settings):
    compilation = Compilation(model, Settings(**{"target_layer": "act", "pe": "4x4"} | settings))
    simplified = compilation.to("simplified").operation.clone()
    quantized = compilation.to("quantized")
    return measure(simplified, quantized, [image[None] for image in inputs], "validation"), quantized


def shown(model, inputs):
    found = autograd_gradcam(model, inputs, "act")
    return found.logits.argmax(1), F.relu(torch.from_numpy(found.maps))


def figures(some, others):
    found = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(some, others, strict=True)]
    return np.median(found), np.quantile(found, 0.1), min(found)


@pytest.mark.parametrize("std", [1.0, 40.0])
def test_the_figures_are_those_of_pytorch(std):
    model, inputs = Net(std), images(6, std, seed=3)
    quality, quantized = measured(model, inputs)
    classes, maps = shown(model, inputs)
    rng, step = np.random.default_rng(0), std * scale(main_function(quantized).entry_block.arguments[0])
    noisy = np.stack([image + step * (rng.random(image.shape) - 0.5) for image in inputs]).astype(np.float32)
    # uniform(-1, 1) is 2 * random() - 1
    moved = F.pad(torch.from_numpy(inputs), (1, 0, 1, 0), mode="replicate")[:, :, :-1, :-1].numpy()
    (other, with_noise), (third, shifted) = shown(model, noisy), shown(model, moved)
    assert (classes == other).all() and (classes == third).all()  # or the classes below were others
    large, back = (F.interpolate(m[:, None], (12, 10), mode="bilinear")[:, 0] for m in (maps, shifted))
    for found, wanted in (
        (quality.noise, figures(with_noise.numpy(), maps.numpy())),
        (quality.shift, figures(back[:, 1:, 1:].numpy(), large[:, :-1, :-1].numpy())),
    ):
        (found,) = found.values()
        assert found.images == 6
        assert (found.median, found.tenth, found.least) == pytest.approx(wanted, abs=2e-5)
    assert quality.noise["heatmap"].tenth > 0.99 > quality.shift["heatmap"].median


def test_a_map_of_another_class_is_not_compared():
    """Classes that are nearly alike change places with noise; the requested one, the first, stays."""
    model = Net()
    model.fc.weight.data[1:] = model.fc.weight.data[1] + 1e-4 * model.fc.weight.data[1:]
    model.fc.bias.data[1:] = 0
    quality, _ = measured(model, images(IMAGES, seed=4), top_k=2)
    assert quality.noise["heatmap0"].images == IMAGES > quality.noise["heatmap1"].images


def test_no_more_images_than_the_limit_and_the_same_in_any_batch(monkeypatch):
    many, _ = measured(Net(), images(IMAGES + 3, seed=5))
    assert many.images == IMAGES + 3 and many.noise["heatmap"].images == many.shift["heatmap"].images == IMAGES
    monkeypatch.setattr("gradcam.quality.batch_size", lambda _main: 3)
    assert measured(Net(), images(IMAGES + 3, seed=5))[0].noise == many.noise


def test_nothing_is_measured_without_an_explanation():
    quality, _ = measured(Net(), images(2), target_layer=None)
    assert quality.noise == quality.shift == quality.maps == {}
