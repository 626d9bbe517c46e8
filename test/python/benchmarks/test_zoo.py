"""benchmarks/zoo.py: its tables and its reasons, what it keeps, its choice of layers, and the RTL that it simulates."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
import zoo
import zoo_document
import zoo_networks
import zoo_packages
import zoo_rows
from mini_xception import SIDE, Block, Separable, mini_xception
from torch import nn
from zoo_rows import Kept, Measured, Row, Run

from gradcam.errors import GradcamError
from gradcam.faults import Faults
from gradcam.frontend import load_model
from gradcam.schema.document import read, write
from gradcam.schema.program import Cycles

ROOT = Path(__file__).parents[3]
GOOD = Row("timm a", "64", "scheduled", "", "last", "earlier", 12345, 0.5, (0.001, 0.25))
RUN = Run("timm a", "64", "last", 20000, (20000, 20000))


def cells(line):
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_a_row_has_the_level_and_the_reason():
    stopped = Row("timm b", "48x192", "quantized", "x is not supported")
    half = Row("timm c", "64", "scheduled", "", "last", "earlier", 12345, 0.5, (0.001, None), "y is not supported")
    _, _, good, bad, last, _, *notes = zoo_document.level_table([GOOD, stopped, half]).splitlines()
    assert cells(good) == ["timm a", "scheduled", "64", "12,345", "0.500", "0.0010", "0.2500"]
    assert cells(bad) == ["timm b", "quantized [1]", "48x192", "-", "-", "-", "-"]
    assert cells(last)[-1] == "- [2]"
    assert notes == ["- [1] x is not supported", "- [2] y is not supported"]


def test_a_run_has_the_cycles_and_the_difference():
    wrong = Run("timm b", "64", "last", 20000, (20000, 20001), "cycles differ from the predicted ones")
    _, _, good, bad, _, *notes = zoo_document.run_table([RUN, wrong]).splitlines()
    assert cells(good) == ["timm a", "last", "64", "20,000", "20,000", "yes"]
    assert cells(bad) == ["timm b", "last", "64", "20,000", "20,000, 20,001", "no [1]"]
    assert notes == ["- [1] cycles differ from the predicted ones"]


def test_faults_are_counted_without_their_places():
    faults = Faults([GradcamError("a is not supported"), *[GradcamError("b  is not\nsupported")] * 2])
    assert zoo_rows.reason(faults) == "b is not supported (2 times); 1 more"
    assert zoo_rows.reason(KeyError("b")).startswith("a fault of the compiler: KeyError")


def test_a_process_that_fails_or_takes_too_long_gives_its_reason():
    assert "StopIteration" in zoo.in_process(["--one", "none"], 60)
    assert zoo.in_process(["--one", "none"], 0) == "takes more than 0 s"


def one_network(monkeypatch, tmp_path, *arguments):
    """Runs the benchmark for one network of the test, and counts the processes that it starts."""
    network, asked = zoo_networks.Network("timm", "a", nn.Identity), []

    def in_process(arguments, limit):
        asked.append(arguments)
        if limit == 1:
            return "takes more than 1 s"
        return Measured(runs=(RUN,)) if "--simulate" in arguments else Measured(GOOD, revision="abc of 2026-01-01")

    monkeypatch.setattr(zoo, "networks", lambda: [network])
    monkeypatch.setattr(zoo, "small_networks", lambda: [network])
    monkeypatch.setattr(zoo, "in_process", in_process)
    assert zoo.main([*arguments, "--rows", str(tmp_path / "rows.json"), "-o", str(tmp_path / "z.md")]) == 0
    return len(asked)


def test_what_is_kept_is_not_measured_again(monkeypatch, tmp_path, capsys):
    assert one_network(monkeypatch, tmp_path, "--limit", "1") == 1
    assert "takes more than 1 s" in capsys.readouterr().out
    assert one_network(monkeypatch, tmp_path) == 1  # what took too long is tried again
    assert one_network(monkeypatch, tmp_path) == 0
    assert one_network(monkeypatch, tmp_path, "--side", "32") == 1
    assert one_network(monkeypatch, tmp_path, "--simulate", "2") == 1
    assert one_network(monkeypatch, tmp_path, "--simulate", "2") == 0
    text = (tmp_path / "z.md").read_text()
    assert "Measured on commit abc of 2026-01-01 for an array of 16x16. 1 of 1 of timm reach level `scheduled`." in text
    assert "\npython benchmarks/zoo.py --simulate 2 --rows build/zoo.json -o docs/networks.md\n" in text
    assert "## In RTL" in text and len(re.findall(r"^\| timm a ", text, re.MULTILINE)) == 2
    assert "simulate" not in (tmp_path / "z.md").read_text().split("```")[2].split("## In RTL")[0]


def test_files_of_rows_are_checked(monkeypatch, tmp_path, capsys):
    write(tmp_path / "rows.json", Kept({"a": Measured(GOOD), "b": Measured(runs=(RUN,))}))
    assert read(tmp_path / "rows.json", Kept).measured == {"a": Measured(GOOD), "b": Measured(runs=(RUN,))}
    (tmp_path / "rows.json").write_text('{"measured": 1, "format": 1}')
    assert zoo.main(["--rows", str(tmp_path / "rows.json")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "$.measured" in line and line.endswith("remove it to measure all networks again")


@pytest.mark.parametrize("arguments", [["--simulate", "-1"], ["--only", "nothing"]])
def test_refusals_are_one_line(arguments, capsys):
    assert zoo.main(arguments) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


class Stages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 2, 3, 2), nn.Conv2d(2, 3, 3, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(self.two(self.one(x))).flatten(1)


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 2, 3, 2), nn.Conv2d(1, 2, 3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.two(x), self.one(x)], 1)


def stages():
    torch.manual_seed(0)
    return Stages().eval()


def made(model, side):
    shape = 1, 1, side, side
    return zoo_networks.Prepared(model, shape, zoo_networks.random_images(2, shape))


def test_targets_are_the_last_layer_with_positions_and_the_last_larger_one():
    assert zoo_networks.targets(made(stages(), 16)) == ("two", "one")
    assert zoo_networks.targets(made(stages(), 7)) == ("one", None)
    branches = nn.Sequential(nn.Conv2d(1, 1, 3), Branches(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    assert zoo_networks.targets(made(branches, 16)) == ("1", "0")  # the block, not one of its branches
    with pytest.raises(GradcamError, match="no layer has a map of several positions"):
        zoo_networks.targets(made(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()).eval(), 3))


def test_targets_of_an_onnx_model(tmp_path):
    weights = [onnx.numpy_helper.from_array(np.ones((2, n, 3, 3), np.float32), f"w{n}") for n in (1, 2)]
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w1"], ["a"], "one", strides=[2, 2]),
        onnx.helper.make_node("Conv", ["a", "w2"], ["b"], "two", strides=[2, 2]),
        onnx.helper.make_node("GlobalAveragePool", ["b"], ["c"], "pool"),
        onnx.helper.make_node("Flatten", ["c"], ["y"], "flat"),
    ]
    ports = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes)
        for name, sizes in {"x": ["n", 1, "h", "w"], "y": ["n", 2]}.items()
    ]
    graph = onnx.helper.make_graph(nodes, "net", ports[:1], ports[1:], weights)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), tmp_path / "net.onnx")
    assert zoo_networks.targets(made(load_model(str(tmp_path / "net.onnx")), 16)) == ("two", "one")


def test_a_network_is_measured_and_simulated():
    network = zoo_networks.Network("test", "stages", stages, 16, channels=1, trained=True)
    row = zoo_rows.row(network, None, "scheduled", "4x4")
    assert (row.level, row.reason, row.last, row.earlier, row.size) == ("scheduled", "", "two", "one", "16")
    (run,) = zoo_rows.runs(network, 7, "2x2", 2)  # of so small a map the last layer has one position
    assert (run.layer, run.size, run.fault) == ("one", "7", "")
    assert run.simulated == (run.predicted,) * 2 > (0, 0)


def test_cycles_of_every_phase_are_compared_and_a_map_of_zeros_shows_nothing():
    def result(heatmap, cycles):
        return SimpleNamespace(heatmap=np.array(heatmap), cycles=cycles)

    predicted = Cycles(1, 20, 5, 3, 29)
    good, other = result([0, 1], predicted), result([0, 1], Cycles(1, 19, 6, 3, 29))
    assert zoo_rows.fault_of([good, good], predicted) == ""
    assert zoo_rows.fault_of([good, other], predicted) == "cycles differ from the predicted ones"
    assert zoo_rows.fault_of([good, result([0, 0], predicted)], predicted) == "a map is 0 everywhere"


def test_a_design_that_cannot_be_made_is_a_fault():
    def softsign():
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Softsign(), nn.Flatten(), nn.Linear(8, 2)).eval()

    network = zoo_networks.Network("test", "softsign", softsign, 4, channels=1, trained=True)
    assert all("not supported" in run.fault for run in zoo_rows.runs(network, None, "4x4", 1))


def test_every_network_of_the_list_is_named_once():
    for found in (zoo_networks.networks(), zoo_networks.small_networks()):
        assert len({network.title for network in found}) == len(found)
    packages = [network.package for network in zoo_networks.networks()]
    assert packages.count("torchvision") == 26 and packages.count("timm") == 40


def test_packages_are_pinned():
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = [name for name in project["optional-dependencies"]["zoo"] if "[" not in name]
    named = {network.package for network in (*zoo_networks.networks(), *zoo_networks.small_networks())}
    assert named <= {*extra, *zoo_packages.FILES_ALONE} <= pinned
    assert not set(extra) & set(zoo_packages.FILES_ALONE)


@pytest.mark.parametrize("side", [60, 30, 15, 8])
def test_mini_xceptions_pool_is_padded_as_keras_does(side):
    x = -torch.rand(1, 3, side, side)  # zeros as padding would be seen
    rows = -(-side // 2)
    before, after = divmod(max((rows - 1) * 2 + 3 - side, 0), 2)
    after += before
    wanted = nn.MaxPool2d(3, 2)(nn.functional.pad(x, (before, after) * 2, value=-torch.inf))
    found = Block(3, 3, side).pool(x)
    assert found.shape[2:] == (rows, rows) and found.equal(wanted)


class File(dict):
    """An HDF5 file, as `mini_xception` reads it."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_mini_xception_takes_every_weight_of_the_file():
    layers, count = {}, {"conv2d": 0, "separable_conv2d": 0, "batch_normalization": 0}
    rng = np.random.default_rng(0)

    def add(kind, **arrays):
        count[kind] += 1
        values = {f"{name}:0": rng.random(shape, np.float32) for name, shape in arrays.items()}
        layers[f"{kind}_{count[kind]}"] = {"inner": values}

    def norm(n):
        add("batch_normalization", gamma=n, beta=n, moving_mean=n, moving_variance=n)

    for inputs, outputs in ((1, 8), (8, 8)):
        add("conv2d", kernel=(3, 3, inputs, outputs))
        norm(outputs)
    for inputs, outputs in ((8, 16), (16, 32), (32, 64), (64, 128)):
        add("conv2d", kernel=(1, 1, inputs, outputs))
        norm(outputs)
        for channels in (inputs, outputs):
            add("separable_conv2d", depthwise_kernel=(3, 3, channels, 1), pointwise_kernel=(1, 1, channels, outputs))
            norm(outputs)
    add("conv2d", kernel=(3, 3, 128, 7), bias=7)

    class H5py:
        File = staticmethod(lambda _: File(model_weights=layers))

    model = mini_xception(Path("weights.hdf5"), H5py)
    assert sum(t.numel() for t in model.state_dict().values()) - 14 == sum(
        a.size for group in layers.values() for a in group["inner"].values()
    )
    kernel = layers["separable_conv2d_3"]["inner"]["depthwise_kernel:0"]
    separable = model.blocks[1].separable[0]
    assert isinstance(separable, Separable)
    np.testing.assert_array_equal(separable.rows.weight.detach()[5, 0], kernel[:, :, 5, 0])
    assert model(torch.rand(1, 1, SIDE, SIDE)).shape == (1, 7)
    assert not model.training
