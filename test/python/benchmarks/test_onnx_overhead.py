"""benchmarks/onnx_overhead.py and benchmarks/onnx_autograd.py: what they ask for. Nothing is timed here."""

import numpy as np
import onnx_autograd
import onnx_overhead as benchmark
import pytest
from onnx_overhead import RUNTIME, Row

from gradcam.errors import GradcamError
from gradcam.models import tinyml_resnet18


def rows(ours=(0.005, 0.33), autograd=0.31, peak=1e6):
    def row(subject, target, ratio, peak):
        return Row(subject, target, 20.0, (ratio, ratio - 0.01, ratio + 0.01), int(peak), 35_000_000)

    return [
        *(row(RUNTIME, target, ratio, peak) for target, ratio in zip(benchmark.TARGETS, ours, strict=True)),
        *(row("torch.autograd", target, autograd, 7e6) for target in benchmark.TARGETS),
        *(row("pytorch-grad-cam", target, 1.7, 100e6) for target in benchmark.TARGETS),
    ]


def test_what_is_asked_is_met_or_named():
    assert benchmark.faults(rows()) == []
    assert benchmark.faults(rows(ours=(0.011, 0.33))) == [
        "an explanation at layer4 takes 0.0110 of an inference, more than 0.01"
    ]
    assert benchmark.faults(rows(ours=(0.005, 0.342))) == [
        "an explanation at layer3 takes 0.342 of an inference, autograd's 0.310"
    ]
    assert len(benchmark.faults(rows(peak=10.1e6))) == 2


def test_the_table():
    lines = benchmark.table(rows()).splitlines()
    assert lines[2] == "| `layer4` | `--emit onnx` | 20.0 | 0.0050 (-0.0050 to 0.0150) | 1.0 | 35.0 |"
    assert len(lines) == 8


def test_the_comparison_with_autograd_notices_a_changed_weight(monkeypatch):
    (row,) = onnx_autograd.compared("tinyml_resnet18", None, ["hirescam"])
    assert row.maps == 8 and row.is_met and row.excused == 0 and 0 < row.error < 1e-5
    compile_model = onnx_autograd.compiled_model

    def changed(compilation, name):
        model = compile_model(compilation, name)
        weights = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
        values = np.frombuffer(weights.raw_data, np.float32).copy()
        values[values.argmax()] += 1
        weights.raw_data = values.tobytes()
        return model

    monkeypatch.setattr(onnx_autograd, "compiled_model", changed)
    (row,) = onnx_autograd.compared("tinyml_resnet18", None, ["hirescam"])
    assert not row.is_met


def test_images_at_a_bound_are_not_taken(monkeypatch):
    monkeypatch.setattr(onnx_autograd, "NOISE", 0.3)
    with pytest.raises(GradcamError, match="keeps its maps"):
        monkeypatch.setattr(onnx_autograd, "SEEDS", 2)
        onnx_autograd.stable_image(tinyml_resnet18(), (1, 3, 64, 64), ["layer3"])


@pytest.mark.parametrize("main", [benchmark.main, onnx_autograd.main])
def test_refusals_are_one_line(main, capsys):
    assert main(["--repeats", "0"] if main is benchmark.main else ["--networks", "nobody"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
