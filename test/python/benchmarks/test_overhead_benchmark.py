"""benchmarks/explanation_overhead.py: its arithmetic, its table and what it leaves out. Nothing is timed here."""

import importlib
import re
import sys
import tomllib

import explanation_overhead as benchmark
import numpy as np
import overheads
import peers
import pytest
import torch
from cam_formulas import cam
from folders import ROOT
from torch import nn
from torch_mlir import ir

from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.evaluate import autograd_gradcam
from gradcam.view import normalize, resize

FIXED = overheads.Spread(1.0, 1.0, 1.0)


class Tiny(nn.Module):
    """An in-place ReLU that is called twice, and two convolutions."""

    input_shape = (1, 3, 8, 8)
    calibration_images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.body = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(4, 2)
        self.eval()

    def forward(self, x):
        return self.fc(self.relu(self.body(self.relu(self.stem(x)))).mean((2, 3)))


IMAGE = Tiny.calibration_images[:1].numpy()


def row(compiled, **measured):
    return overheads.Row("layer4", "gradcam", compiled, measured)


def peer_figures(ratio, agreement=1.0):
    return overheads.Measured(FIXED, overheads.Spread(ratio, ratio - 0.1, ratio + 0.1), agreement)


def test_overhead_is_relative_to_the_inference_of_the_same_round():
    # Ratios 0.5, 1, 2 and 4: the second round was slow for both, which must not count.
    found = overheads.overhead([3.0, 20.0, 6.0, 10.0], [2.0, 10.0, 2.0, 2.0])
    assert found == overheads.Spread(1.5, 0.875, 2.5)
    with pytest.raises(ValueError):
        overheads.overhead([1.0], [1.0, 1.0])


def test_rounds_are_interleaved_and_calls_after_others_do_not_count():
    now, calls = 0.0, []

    def subject(name, *seconds):
        def call():
            nonlocal now
            calls.append(name)
            now += seconds[min(calls.count(name) - 1, len(seconds) - 1)]

        return call

    # Slow until its fifth call, the first timed one but the warm-up and the call that refills the caches.
    fast, slow = subject("fast", *(9.0,) * (overheads.WARMUP + 1), 1.0), subject("slow", 2.0)
    seconds = overheads.interleaved({"fast": fast, "slow": slow}, 3, lambda: now)
    assert seconds == {"fast": [1.0] * 3, "slow": [2.0] * 3}
    assert calls[2 * overheads.WARMUP :] == ["fast", "fast", "slow", "slow"] * 3


def test_cycles_are_read_from_the_module():
    text = (
        "module attributes {gradcam.cycles = {explanation = 530 : i64, inference = 2120 : i64, total = 2650 : i64}} {}"
    )
    with make_context():
        cycles = benchmark.cycles_by_phase(ir.Module.parse(text))
    assert cycles == {"explanation": 530, "inference": 2120, "total": 2650}
    assert overheads.Compiled(cycles).overhead == 0.25


def test_a_compile_gives_cycles_and_the_map_of_autograd():
    model = Tiny()
    found, heatmap = benchmark.compiled(model, "relu", "gradcam", "4x4", IMAGE)
    phases = [found.cycles[name] for name in ("load", "inference", "explanation", "store")]
    # The first convolution may begin with the image: then no cycle is of the load alone.
    assert sum(phases) == found.cycles["total"] and phases[0] >= 0 and min(phases[1:]) > 0
    assert found.overhead == found.cycles["explanation"] / found.cycles["inference"] < 1
    wanted = autograd_gradcam(model, IMAGE, "relu").maps[0]
    assert np.abs(heatmap - wanted).max() <= 1e-4 * np.abs(wanted).max() > 0


def test_what_has_no_hardware_form_says_why(monkeypatch):
    class Refusing(benchmark.Compilation):
        def to(self, level):
            if level == "simplified":
                return super().to(level)
            raise GradcamError("no such engine")

    monkeypatch.setattr(benchmark, "Compilation", Refusing)
    found, heatmap = benchmark.compiled(Tiny(), "relu", "gradcam", "4x4", IMAGE)
    assert (found.cycles, found.overhead, found.reason, heatmap.shape) == ({}, None, "no such engine", (8, 8))
    line, *_, note = overheads.tables([overheads.Block(1, FIXED, [row(found)])], []).splitlines()[-3:]
    assert re.fullmatch(r"\| layer4 +\| gradcam \| +- \| +- \| +- \[1\] \|", line)
    assert note == "[1] no such engine"


def test_what_cannot_be_explained_at_all_is_an_error():
    with pytest.raises(GradcamError, match="no_such_layer"):
        benchmark.compiled(Tiny(), "no_such_layer", "gradcam", "4x4", IMAGE)
    with pytest.raises(GradcamError, match="powers of two"):
        benchmark.compiled(Tiny(), "relu", "gradcam", "3x4", IMAGE)


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.000937, "0.094"), (0.0529, "5.3"), (0.123, "12"), (0.0996, "10"), (1.0, "100"), (2.514, "251"), (-0.05, "-5")],
)
def test_percent(ratio, text):
    assert overheads.percent(ratio) == text


def test_the_table_has_figures_dashes_and_marks():
    compiled = overheads.Compiled({"inference": 565_925, "explanation": 530})
    rows = [row(compiled, A=peer_figures(0.5)), row(compiled, A=peer_figures(2.0, 0.3), B=peer_figures(1.0))]
    blocks = [overheads.Block(n, overheads.Spread(0.004, 0.0035, 0.005), rows) for n in (1, 2)]
    text = overheads.tables(blocks, ["A", "B"])
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| l")]
    ours = ["layer4", "gradcam", "565,925", "530", "0.094 %"]
    first, second = [*ours, "50 % (40 to 60)", "-"], [*ours, "200 % (190 to 210) [1]", "100 % (90 to 110)"]
    assert lines == [first, second] * 2
    assert "\n1 thread; an inference in PyTorch takes 4.00 ms (3.50 to 5.00)\n" in text
    assert "\n2 threads; " in text
    assert text.endswith("\n[1] A gives another map for layer4 by gradcam: Pearson 0.3000\n")
    assert len({len(line) for line in text.splitlines() if line.startswith("|")}) == 1


def test_maps_are_the_same_whatever_their_scale():
    rng = np.random.default_rng(0)
    ours = rng.normal(size=(4, 6))
    positive = np.maximum(ours, 0)
    assert overheads.agreement(ours, normalize(positive), False) == pytest.approx(1)
    assert overheads.agreement(ours, 3 * ours, False) == pytest.approx(1)
    assert overheads.agreement(ours, normalize(resize(positive, (8, 12))), True) == pytest.approx(1)
    assert overheads.agreement(ours, rng.normal(size=(4, 6)), False) < overheads.SAME
    with pytest.raises(GradcamError):
        overheads.agreement(ours, resize(positive, (8, 12)), False)


@pytest.mark.parametrize(("agreement", "same"), [(1.0, True), (0.9985, False), (float("nan"), False)])
def test_another_map_is_noticed(agreement, same):
    assert peer_figures(1.0, agreement).same is same


@pytest.mark.parametrize("method", peers.FORMULAS)
def test_autograd_explains_the_last_call_and_leaves_no_hook(method):
    """At `stem` an in-place op follows; `relu` is called twice."""
    image = torch.from_numpy(IMAGE)
    maker = peers.LOADERS["torch.autograd"]().methods[method]
    for target in ("stem", "relu"):
        model, kept = Tiny(), []
        model.get_submodule(target).register_forward_hook(lambda m, i, o, kept=kept: kept.append(o) or o.clone())
        wanted_logits = model(image)
        (gradient,) = torch.autograd.grad(wanted_logits.max(), kept[-1])
        wanted = cam(method, kept[-1], gradient)[0].numpy()
        explained = Tiny()
        with maker(explained, target) as explain:
            logits, heatmap = explain(image)
        assert np.abs(heatmap.numpy() - wanted).max() <= 1e-5 * np.abs(wanted).max() > 0
        assert torch.equal(logits, wanted_logits)
        assert not any(module._forward_hooks for module in explained.modules())


def test_a_missing_peer_is_one_line(monkeypatch):
    def missing():
        importlib.import_module("no_such_library")

    autograd = peers.LOADERS["torch.autograd"]
    monkeypatch.setattr(peers, "LOADERS", {"torch.autograd": autograd, "Captum": missing})
    found, (line,) = peers.load_peers()
    assert [peer.name for peer in found] == ["torch.autograd"]
    assert line == f"Captum is left out (No module named 'no_such_library'); {peers.INSTALL} installs it"


def test_every_peer_is_there_or_left_out():
    found, left_out = peers.load_peers()
    assert len(found) + len(left_out) == len(peers.LOADERS) == 4
    assert found[0].name == "torch.autograd"


def test_the_stand_ins_for_torchvision_go_again(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("torchvision")]:
        monkeypatch.delitem(sys.modules, name)
    with peers._torchvision_names():
        assert importlib.import_module("torchvision.transforms.functional").resize is None
    assert not [name for name in sys.modules if name.startswith("torchvision")]


def test_the_line_names_an_extra_with_pinned_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()}
    (extra,) = re.findall(r"\[(\w+)\]", peers.INSTALL)
    names = project["optional-dependencies"][extra]
    assert len(names) == 3
    assert set(names) <= pinned
    assert not set(names) & set(project["dependencies"])  # never a dependency of the product


@pytest.mark.parametrize("arguments", [["--repeats", "0"], ["--threads", "0"], ["--targets", "layer5"]])
def test_refusals_are_one_line(arguments, capsys):
    assert benchmark.main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("explanation_overhead: error: ")
