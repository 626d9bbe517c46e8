"""benchmarks/target_layers.py: which figures it calls missed, and its table."""

import dataclasses

import pytest
import target_layers as benchmark
from msgspec.structs import replace
from peers import check_modules

from gradcam.errors import GradcamError
from gradcam.frontend import load_model
from gradcam.schema.program import Cycles

CYCLES = Cycles(load=10, inference=1000, explanation=200, store=5, total=1215)
GOOD = benchmark.Row("layer3", "gradcam", 3, 3, CYCLES, True, [0.99, 0.985, 0.995], 64, 5000)
FIRST = benchmark.Row("layer4", "gradcam", 3, 3, replace(CYCLES, explanation=1), True, [0.999] * 3, 64, 5000)

MISSES = {
    "1 of 3 images differ": {"exact": 2},
    "other cycles than predicted": {"simulated": False},
    "65 multipliers, layer4 has 64": {"multipliers": 65},
    "5,101 bytes of weights": {"weights": 5101},
    "overhead above 0.22": {"cycles": replace(CYCLES, explanation=221)},
    "Pearson below 0.99 / 0.98": {"correlations": [0.989] * 3},
    "by gradcam: Pearson below": {"correlations": [0.9, 0.995, 0.995]},
    "layer3 by gradcam: Pearson": {"correlations": [float("nan")] * 3},
}


def test_what_reaches_its_figures_misses_none():
    assert not benchmark.missed(GOOD, FIRST, "16x16")
    assert not benchmark.missed(FIRST, FIRST, "16x16")


@pytest.mark.parametrize("fault", MISSES)
def test_each_figure_can_be_missed(fault):
    (found,) = benchmark.missed(dataclasses.replace(GOOD, **MISSES[fault]), FIRST, "16x16")
    assert fault in found


def test_overhead_is_asked_at_one_array_and_of_one_method():
    slow = dataclasses.replace(GOOD, cycles=replace(CYCLES, explanation=900))
    assert not benchmark.missed(slow, FIRST, "8x8")
    assert not benchmark.missed(dataclasses.replace(slow, method="hirescam"), FIRST, "16x16")


def test_a_row_of_the_table():
    cells = [cell.strip() for cell in benchmark.table([GOOD]).splitlines()[2].strip("| ").split("|")]
    assert cells == ["layer3", "gradcam", "3 of 3", "1,215", "equal", "0.2000", "0.9900 / 0.9860", "64", "5,000"]


def test_every_default_target_is_a_module_of_the_network():
    model = load_model(benchmark.MODEL)
    check_modules(model, benchmark.TARGETS)
    with pytest.raises(GradcamError, match="no module 'layer9'"):
        check_modules(model, ["layer4", "layer9"])
