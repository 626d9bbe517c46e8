"""benchmarks/fidelity.py: its images, which figures it calls missed, and what it measures of a small network."""

import ast
import dataclasses
from pathlib import Path

import faithfulness
import fidelity as benchmark
import fidelity_networks
import numpy as np
import pytest
import thin_resnet
import torch
from torch import nn

from gradcam.compiler import Settings
from gradcam.data import calibration_images, load_test_images, to_input

ROOT = Path(__file__).parents[3]
GOOD = benchmark.Row("shipped", "layer3", "gradcam", [0.998, 0.999, 0.9995], 1, 0.0161)

MISSES = {
    "layer3 by gradcam, shipped images: median of Pearson 0.9979, at least 0.998": {
        "correlations": [0.9979, 0.9979, 1.0]
    },
    "10th percentile of Pearson 0.9898, at least 0.99 ": {"correlations": [0.9875, 0.999, 0.999]},
    "error of logits 0.01630, at most 0.01618": {"logit_error": 0.0163},
    "error of logits nan": {"logit_error": float("nan")},
}


def test_what_reaches_its_figures_misses_none():
    assert benchmark.missed(GOOD, benchmark.AT_8) == []


@pytest.mark.parametrize("fault", MISSES)
def test_each_figure_can_be_missed(fault):
    (found,) = benchmark.missed(dataclasses.replace(GOOD, **MISSES[fault]), benchmark.AT_8)
    assert fault in found


def test_undefined_correlations_miss_both_figures():
    faults = benchmark.missed(dataclasses.replace(GOOD, correlations=[float("nan"), 1.0, 1.0]), benchmark.AT_8)
    assert len(faults) == 2


def test_wider_numbers_have_figures_of_their_own():
    widths = {"activation_bits": 9, "gradient_bits": 9, "weight_bits": 8}
    last = {"stage3": (0.99, 0.0)}  # of the network of photographs, at any widths
    assert benchmark.figures_for(widths) == {method: {**found, **last} for method, found in benchmark.AT_9.items()}
    wanted = {method: {**found, **last} for method, found in benchmark.AT_8.items()}
    assert benchmark.figures_for(dict.fromkeys(widths, 8)) == wanted
    assert benchmark.figures_for(widths | {"weight_bits": 9}) == dict.fromkeys(benchmark.FORMULAS, last)
    assert benchmark.missed(GOOD, {}) == []
    assert "at least 0.999" in benchmark.missed(GOOD, {}, tenth=0.999)[0]


def test_a_row_of_the_table():
    cells = [cell.strip() for cell in benchmark.table([GOOD], benchmark.AT_8).splitlines()[2].strip("| ").split("|")]
    figures = ["0.9990", "0.9982", "0.9980", "0.998 / 0.99", "1", "0.01610"]
    assert cells == ["layer3", "gradcam", "3 shipped", *figures]


def _seeds(path):
    """The integers that a file calls a seed: SEED = 1, seed=1, and the third argument of compose."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "seed":
            yield node.value
        if isinstance(node, ast.Assign) and any("SEED" in ast.unparse(target) for target in node.targets):
            yield from ast.walk(node.value)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("compose"):
            yield from node.args[2:3]


def test_nothing_else_takes_the_images():
    folders = ("benchmarks", "examples", "python", "test", "tools")
    files = [f for folder in folders for f in sorted((ROOT / folder).rglob("*.py"))]
    seeds = {(f.name, n.value) for f in files for n in _seeds(f) if isinstance(n, ast.Constant)}
    assert ("data.py", 2024) in seeds
    assert [name for name, seed in seeds if seed == fidelity_networks.SEED] == ["fidelity_networks.py"]
    composed = {image.tobytes() for image in fidelity_networks.shipped(benchmark.COUNT).sets["composed"]}
    others = np.concatenate([to_input(load_test_images().pixels), calibration_images()])
    assert len(composed) == 100 and composed.isdisjoint(image.tobytes() for image in others)


def test_int8_is_compared_with_float_on_the_class_of_float():
    torch.set_num_threads(1)
    network = fidelity_networks.shipped(3)
    model, sets = network.model, network.sets
    of_float = {name: benchmark.explained(model, images, ["layer4"]) for name, images in sets.items()}
    rows = list(benchmark.compare(model, Settings("layer4"), sets, of_float))
    assert [row.images for row in rows] == list(benchmark.SETS)
    assert all(min(row.correlations) > 0.999 and row.logit_error < 0.03 and not row.others for row in rows)
    # Of other images, nothing is right.
    turned = {name: list(reversed(found)) for name, found in of_float.items()}
    (row, _) = benchmark.compare(model, Settings("layer4"), sets, turned)
    assert min(row.correlations) < 0.9 and row.logit_error > 0.1 and row.others == 2


def test_metrics_of_two_maps_by_hand():
    """The score is the first of two logits, which only the upper half of the image makes."""

    class Upper(nn.Module):
        def forward(self, x):
            upper = 20 * x[:, 0, :2].mean((1, 2))
            return torch.stack([upper, torch.full_like(upper, 10.0)], 1)

    images, right = np.ones((2, 1, 4, 4), np.float32), np.repeat([[4.0], [3.0], [2.0], [1.0]], 4, 1)
    boxes = np.array([[0, 0, 4, 2]] * 2)
    found = faithfulness.measure(("a", "gradcam", "2 b"), Upper(), images, [(right[::-1], right)] * 2, [0, 0], boxes)
    assert found.deletion[0] > 0.6 > 0.3 > found.deletion[1]  # int8's map is upside down
    assert found.hits == (0.0, 1.0) and found.iou == 0.0
    assert np.isfinite([*found.insertion, *found.road]).all()
    same = faithfulness.measure(("a", "gradcam", "2 b"), Upper(), images, [(right, right)] * 2, [0, 0], None)
    assert same.deletion == (found.deletion[1],) * 2 and same.hits is None and same.iou == 1.0
    cells = [cell.strip() for cell in faithfulness.table([same]).splitlines()[2].strip("| ").split("|")]
    assert cells[:3] == ["a", "gradcam", "2 b"] and cells[6:] == ["-", "1.000"]


def test_the_network_of_photographs_has_the_shapes_of_a_resnet_50():
    model = thin_resnet.ThinResNet()
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 53 and sum(p.numel() for p in model.parameters()) == 5_891_266
    assert model(torch.zeros(1, 3, 224, 224)).shape == (1, 2)
