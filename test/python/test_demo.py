"""The demonstration's measures against independent ones, and its table: every missed figure must show."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from measures import CYCLES, GOOD
from msgspec.structs import replace
from torch import nn

from gradcam import demonstration
from gradcam.comparison import Compared, grid, overlay, sheet
from gradcam.errors import GradcamError
from gradcam.evaluate import accuracy, autograd_gradcam, pearson, pointing_hit
from gradcam.figures import Figure, ShapeRun, figures, table
from gradcam.measure import run_measured
from gradcam.tools import demo


class Double(nn.Module):
    def forward(self, x):
        return x.mul_(2)  # in place, behind the target layer


def gap_network():
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Hardtanh(0, 1))
    return nn.Sequential(features, Double(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval()


def images(count):
    return np.random.default_rng(3).normal(size=(count, 3, 5, 7)).astype(np.float32)


def test_autograd_gradcam_is_the_closed_form_of_this_head():
    model, x = gap_network(), images(9)
    explained = autograd_gradcam(model, x, "0")
    with torch.no_grad():
        features = model[0](torch.from_numpy(x)).numpy()
        logits = model(torch.from_numpy(x)).numpy()
    weights = model[4].weight.detach().numpy()[logits.argmax(1)] * 2 / 35
    np.testing.assert_allclose(explained.logits, logits, atol=1e-6)
    np.testing.assert_allclose(explained.maps, np.einsum("nc,nchw->nhw", weights, features), atol=1e-6)
    other = np.roll(weights, 1, axis=1)
    assert not np.allclose(explained.maps, np.einsum("nc,nchw->nhw", other, features), atol=1e-3)


def test_autograd_gradcam_leaves_the_model_alone():
    model = gap_network().requires_grad_(False)
    autograd_gradcam(model, images(1), "0.0")
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(GradcamError, match="no module 'layer4'"):
        autograd_gradcam(model, images(1), "layer4")


def test_pearson_equals_numpy():
    a, b = np.random.default_rng(0).normal(size=(2, 8, 8))
    assert pearson(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=1e-12)
    assert pearson(a, 3 * a + 2) == pytest.approx(1)
    assert pearson(a, -a) == pytest.approx(-1)
    assert pearson(np.array([[0, 0], [0, 1]]), np.array([[0, 1], [0, 0]])) == pytest.approx(-1 / 3)


def test_pearson_of_a_constant_map_is_undefined():
    assert np.isnan(pearson(np.zeros((2, 2)), np.eye(2)))
    with pytest.raises(GradcamError, match="cannot be correlated"):
        pearson(np.eye(2), np.eye(3))


@pytest.mark.parametrize(
    ("box", "hit"),
    [
        ((16, 8, 24, 16), True),
        ((0, 0, 64, 64), True),
        ((0, 0, 16, 64), False),
        ((24, 0, 64, 64), False),
        ((0, 0, 64, 8), False),
        ((0, 16, 64, 64), False),
    ],
)
def test_pointing_game(box, hit):
    heatmap = np.zeros((8, 8))
    heatmap[1, 2] = 1  # its maximum in 64 x 64 is within rows 8 to 15 and columns 16 to 23
    assert pointing_hit(heatmap, box, (64, 64)) is hit


def test_pointing_game_looks_where_torch_does():
    rng = np.random.default_rng(5)
    for heatmap in np.pad(rng.random((20, 4, 4)), ((0, 0), (1, 1), (1, 1))):  # at a border maxima would repeat
        final = nn.functional.interpolate(torch.from_numpy(heatmap)[None, None], (48, 40), mode="bilinear")[0, 0]
        y, x = divmod(int(final.argmax()), 40)
        assert pointing_hit(heatmap, (x, y, x + 1, y + 1), (48, 40))
        assert not pointing_hit(heatmap, (x + 1, y + 1, 40, 48), (48, 40))


def test_a_zero_map_points_nowhere():
    assert not pointing_hit(np.zeros((4, 4)), (0, 0, 16, 16), (16, 16))


def test_accuracy():
    class First(nn.Module):
        def forward(self, x):
            return x[:, :, 0, 0]

    x = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    assert accuracy(First(), x, np.arange(4)) == 1
    assert accuracy(First(), x, np.array([0, 1, 3, 2])) == 0.5


def test_figures_that_are_just_reached():
    rows = figures(GOOD)
    assert all(row.ok for row in rows), table(rows)
    assert len({row.what for row in rows}) == len(rows)


def wrong_cycles(part):
    return replace(CYCLES, **{part: getattr(CYCLES, part) + 1})


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ({"shapes": [ShapeRun("16x16", CYCLES, [CYCLES] * 50, 49)]}, "bit-exact, 16x16"),
        ({"shapes": [GOOD.shapes[0], ShapeRun("8x8", CYCLES, [CYCLES] * 2, 1)]}, "bit-exact, 8x8"),
        ({"shapes": [ShapeRun("16x16", CYCLES, [CYCLES] * 49 + [wrong_cycles("load")], 50)]}, "simulated, 16x16"),
        ({"shapes": [GOOD.shapes[0], ShapeRun("8x8", CYCLES, [wrong_cycles("total")], 1)]}, "simulated, 8x8"),
        ({"traced": 0}, "buffers"),
        ({"trace_difference": "nest 3 wrote 1, expected 2"}, "buffers"),
        ({"same_class": 48}, "class equal"),
        ({"correlations": [0.97] * 26 + [1.0] * 24}, "median"),
        ({"correlations": [0.9699] + [1.0] * 49}, "minimum"),
        ({"hits": 45}, "pointing game"),
        ({"multipliers": 257}, "utilization"),
        ({"compile_seconds": 60.0}, "compile time"),
        ({"compile_peak": 4_000_000_000}, "peak memory"),
        ({"build_seconds": 90.0}, "Verilator"),
        ({"cycles_per_second": 200_000}, "cycles/s"),
        ({"accuracy": 0.9799}, "accuracy"),
    ],
)
def test_each_missed_figure_shows(change, row):
    (missed,) = [f for f in figures(dataclasses.replace(GOOD, **change)) if not f.ok]
    assert row in missed.what


def test_an_expensive_explanation_shows():
    costly = replace(CYCLES, explanation=3)
    rows = figures(dataclasses.replace(GOOD, shapes=[ShapeRun("16x16", costly, [costly], 1)], same_class=0))
    assert [row.what for row in rows if not row.ok] == ["explanation / inference, 16x16"]


def test_an_undefined_correlation_is_a_miss():
    rows = figures(dataclasses.replace(GOOD, correlations=[float("nan")] + [1.0] * 49))
    assert len([row for row in rows if not row.ok and "Pearson" in row.what]) == 2


def test_a_wrong_phase_is_named():
    (missed,) = [
        f
        for f in figures(dataclasses.replace(GOOD, shapes=[ShapeRun("4x4", CYCLES, [wrong_cycles("store")], 1)]))
        if "cycles predicted" in f.what
    ]
    assert missed.measured == "3 and 4 (store)"


def test_buffers_without_a_tensor_are_counted():
    rows = figures(dataclasses.replace(GOOD, untraced=2))
    assert "40 equal, 2 no tensor" in [row.measured for row in rows]


def test_table():
    text = table([Figure("a", ">= 1", "2", True), Figure("longer", "< 3", "4", False)])
    assert text.splitlines() == [
        "| what   | asked | measured | ok  |",
        "|--------|-------|----------|-----|",
        "| a      | >= 1  | 2        | yes |",
        "| longer | < 3   | 4        | NO  |",
    ]


@pytest.mark.parametrize(("ok", "status"), [(True, 0), (False, 1)])
def test_a_missed_figure_fails_the_demo_after_the_table(monkeypatch, capsys, tmp_path, ok, status):
    rows = [Figure("a", ">= 1", "2", ok)]
    monkeypatch.setattr(demonstration, "demonstrate", lambda _folder, _say: rows)
    assert demo.main(["--output", str(tmp_path)]) == status
    out, err = capsys.readouterr()
    assert out == table(rows)
    assert ("1 of 1 figures missed" in err) is not ok


def test_an_error_is_one_line(capsys, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert demo.main(["--output", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"demo: error: {tmp_path} exists and holds 'notes.txt', which the demonstration did not write\n"
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_earlier_demonstration_may_be_replaced(tmp_path):
    demonstration.check_target(tmp_path / "new")
    (tmp_path / "design-16x16").mkdir()
    (tmp_path / "table.md").touch()
    demonstration.check_target(tmp_path)
    (tmp_path / "design-16x16" / "notes").touch()
    with pytest.raises(GradcamError, match="holds 'design-16x16/notes', which the demonstration did not write"):
        demonstration.check_target(tmp_path)
    with pytest.raises(GradcamError, match=r"table\.md is no folder; name another"):
        demonstration.check_target(tmp_path / "table.md")


def test_measured_command():
    usage = run_measured([sys.executable, "-c", "x = bytearray(300_000_000); x[::4096] = bytes(len(x[::4096]))"])
    assert usage.peak >= 300_000_000
    assert usage.seconds > 0


def test_a_command_that_fails_is_an_error():
    with pytest.raises(GradcamError, match=r"^the reason$"):
        run_measured([sys.executable, "-c", "print('first'); raise SystemExit('the reason')"])
    with pytest.raises(GradcamError, match="cannot run no-such-command"):
        run_measured(["no-such-command"])


def test_pictures():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
    heatmap = rng.random((4, 4))
    item = Compared(pixels, (heatmap, heatmap), (2, 3, 10, 12), "caption")
    first, second, third = np.split(np.asarray(sheet([item], 1, "title").crop((4, 24, 4 + 60, 40))), (20, 40), axis=1)
    assert (first[:, :16][~box_edge()] == pixels[~box_edge()]).all()
    assert (first[:, :16][box_edge()] == 255).all()
    assert (second[:, :16] == third[:, :16]).all()
    assert (first[:, :16] != second[:, :16]).any()
    other = dataclasses.replace(item, maps=(heatmap, heatmap.T))
    assert (np.asarray(overlay(item, ("a", "b", "c"))) != np.asarray(overlay(other, ("a", "b", "c")))).any()
    assert grid([item, item], ("a", "b", "c")).height == 4 + 3 * 20 + 20
    bare = Compared(pixels, (heatmap, heatmap))
    assert grid([bare, bare], ("a", "b", "c")).height == 4 + 3 * 20


def box_edge():
    edge = np.zeros((16, 16), bool)
    edge[3:12, 2:10] = True
    edge[4:11, 3:9] = False
    return edge
