"""benchmarks/photographs.py: what it compares, on a small network, and its table; and the networks of benchmarks."""

import importlib
import sys

import numpy as np
import pytest
import torch

from gradcam.data import to_input
from gradcam.evaluate import autograd_gradcam

benchmark, networks = map(importlib.import_module, ("photographs", "networks"))


@pytest.fixture(scope="module")
def model():
    return networks.untrained(4, 64, 10, "imagenet")


def test_networks_are_seeded_and_scaled_by_photographs(model):
    again = networks.untrained(4, 64, 10, "imagenet")
    assert all(a.equal(b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert not any(module.training for module in model.modules())
    seen = []
    handle = model.layer4[1].bn2.register_forward_hook(lambda _m, _i, output: seen.append(output.clone()))
    with torch.no_grad():
        model(torch.from_numpy(to_input(networks.photographs(networks.STATISTICS, 64))))
    handle.remove()
    assert seen[0].mean((0, 2, 3)).abs().max() < 0.1
    assert (seen[0].std((0, 2, 3)) - 1).abs().max() < 0.1


def test_crops_are_of_both_photographs_and_differ():
    crops = networks.photographs(4, 32)
    assert crops.shape == (4, 32, 32, 3) and crops.dtype == np.uint8
    assert len({crop.tobytes() for crop in (*crops, *networks.photographs(4, 32, 1))}) == 8


def test_int8_is_compared_with_float(model):
    pixels = networks.photographs(4, 64, 1)
    found = benchmark.compare(model, pixels, networks.photographs(4, 64))
    explained = autograd_gradcam(model, to_input(pixels), "layer3")
    assert [a for a, _ in found.classes] == explained.logits.argmax(1).tolist()
    assert set(found.correlations) == {"layer4", "layer3"}
    assert all(np.median(values) > 0.8 for values in found.correlations.values())
    assert 1 <= found.near <= 4
    # Ranges of dark pictures fit no photograph: int8 then says something else.
    dark = benchmark.compare(model, pixels, pixels // 64 + 96)
    assert np.median(dark.correlations["layer3"]) < np.median(found.correlations["layer3"])


def test_the_table():
    text = str(benchmark.Agreement([(1, 1), (2, 3), (2, 2)], 3, {"layer4": [0.5, 0.9, 0.7]}))
    assert text.startswith("top-1 of int8 equals that of float: 2 of 3 (2 classes); in its top 5: 3\n\n| target layer")
    row = [cell.strip() for cell in text.splitlines()[-1].strip("|").split("|")]
    assert row == ["layer4", "gradcam", "0.7000", "0.5400", "0.5000"]


def test_twenty_photographs():
    pytest.importorskip("skimage")
    pixels = benchmark.load_photographs(32)
    assert pixels.shape == (20, 32, 32, 3)
    assert len({crop.tobytes() for crop in pixels}) == 20


def test_without_scikit_image_one_line_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "skimage", None)
    assert benchmark.main([]) == 1
    line = "photographs: error: scikit-image is missing; pip install -c constraints.txt '.[photographs]' installs it\n"
    assert capsys.readouterr() == ("", line)
