"""benchmarks/fidelity.py: its images, which figures it calls missed, and what it measures of a small network."""

import ast
import dataclasses
from pathlib import Path

import fidelity as benchmark
import numpy as np
import pytest
import torch

from gradcam.compiler import Settings
from gradcam.data import calibration_images, load_test_images, to_input
from gradcam.frontend import load_model

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
    assert benchmark.figures_for(widths) is benchmark.AT_9
    assert benchmark.figures_for(dict.fromkeys(widths, 8)) is benchmark.AT_8
    assert benchmark.figures_for(widths | {"weight_bits": 9}) == {}
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
    assert [name for name, seed in seeds if seed == benchmark.SEED] == ["fidelity.py"]
    composed = {image.tobytes() for image in benchmark.image_sets(benchmark.COUNT)["composed"]}
    others = np.concatenate([to_input(load_test_images().pixels), calibration_images()])
    assert len(composed) == 100 and composed.isdisjoint(image.tobytes() for image in others)


def test_int8_is_compared_with_float_on_the_class_of_float():
    torch.set_num_threads(1)
    model = load_model(benchmark.MODEL)
    sets = benchmark.image_sets(3)
    of_float = {name: benchmark.explained(model, images, ["layer4"]) for name, images in sets.items()}
    rows = list(benchmark.compare(model, Settings("layer4"), sets, of_float))
    assert [row.images for row in rows] == list(benchmark.SETS)
    assert all(min(row.correlations) > 0.999 and row.logit_error < 0.03 and not row.others for row in rows)
    # Of other images, nothing is right.
    turned = {name: list(reversed(found)) for name, found in of_float.items()}
    (row, _) = benchmark.compare(model, Settings("layer4"), sets, turned)
    assert min(row.correlations) < 0.9 and row.logit_error > 0.1 and row.others == 2
