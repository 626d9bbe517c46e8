"""The report of a compile: its keys, and its figures against counts by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import rtl_networks
import torch
from msgspec.structs import asdict
from small_networks import Network, small_resnet
from torch import nn
from torch_mlir import ir

from gradcam.compiler import LEVELS, Settings, pipeline_for
from gradcam.design import Design
from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.output import compile_to_folder
from gradcam.passes.infra.pass_manager import PassManager
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.quantize.calibrate import calibrate
from gradcam.program import describe_program
from gradcam.report import count_macs, make_report, report_text
from gradcam.schema.schedule import read_schedule


class Tiny(nn.Module):
    """Two convolutions and a classifier on a global average pool."""

    input_shape = (1, 3, 8, 8)
    calibration_images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=1), nn.ReLU())
        self.fc = nn.Linear(4, 2)
        self.eval()

    def forward(self, x):
        return self.fc(self.body(self.stem(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compile") / "design"
    return SimpleNamespace(report=compile_to_folder(Tiny(), "tiny", Settings("body", pe="4x4"), folder), folder=folder)


def level2(text, shape):
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(text)
        rng = np.random.default_rng(1)
        calibrate(module, [rng.normal(size=shape).astype(np.float32) for _ in range(3)])
        return PassManager.parse("gradcam-quantize").run(module)


def test_macs_are_those_counted_by_hand():
    module = level2(small_resnet(), (1, 3, 12, 12))
    stem, first = 12 * 12 * 8 * 3 * 9, 4 * (6 * 6 * 8 * 8 * 9)
    second = 3 * 3 * 16 * (8 * 9 + 16 * 9 + 8) + 2 * (3 * 3 * 16 * 16 * 9)
    assert count_macs(module.operation) == stem + first + second + 16 * 5 == 187_856


def test_padding_channels_and_the_explanation_are_no_macs():
    net = Network((1, 3, 5, 5))
    x = net.relu(net.conv(net.image, 5, kernel=1, padding=0))
    module = level2(net.module(*net.head(x, 3)), (1, 3, 5, 5))
    assert count_macs(module.operation) == 5 * 5 * 5 * 3 + 5 * 3


def test_the_figures_follow_from_the_schedule():
    net = Network((1, 4, 6, 6))
    x = net.relu(net.conv(net.image, 8))
    asked = 'target = "layer4", rank = 0, method = "gradcam", relu = true, normalize = true, eps = 1.0e-7'
    text = net.module(*net.head(x, 4), attributes=f"{{gradcam.explain = {{{asked}}}}}")
    quantized = level2(text, (1, 4, 6, 6))
    kept = quantized.operation.clone()
    with quantized.context:
        scheduled, settings = quantized, Settings("layer4", pe="4x4")
        for level in ("linalg", "affine", "scheduled"):
            scheduled = pipeline_for(level, settings).run(scheduled)
        program = describe_program(ScheduledProgram.of(scheduled), kept)
        report = make_report("net", settings.pe, kept, program)
    cycles = asdict(report.cycles)
    assert cycles == {e.name: e.attr.value for e in ir.DictAttr(scheduled.operation.attributes["gradcam.cycles"])}
    # The convolution follows the image, and the pool the convolution: all start at once.
    image, conv, pool = program.nests[:3]
    assert [n.name for n in program.nests if n.follows is not None] == [conv.name, pool.name]
    assert (image.phase, pool.name) == ("load", "avgpool")
    end, added = 0, dict.fromkeys(("load", "inference", "explanation", "store"), 0)
    for nest in program.nests:
        assert nest.start == (end if nest.follows is None else program.nests[nest.follows].start)
        added[nest.phase] += nest.cycles
        end = max(end, nest.end)
    # The first convolution may begin with the image: then no cycle is of the load alone.
    assert cycles == added | {"total": end} and all(n for phase, n in added.items() if phase != "load")
    assert sum(added.values()) == end
    # The convolution has its steps, stages and issue, the image what the convolution waits for it.
    assert conv.cycles + image.cycles == conv.end and conv.cycles - conv.steps < 9
    assert pool.cycles == pool.end - conv.end
    assert report.macs == 6 * 6 * 8 * 4 * 9 + 8 * 4
    # 3 x 3 taps, 8 x 4 channels on 4 x 4 multipliers: 36 positions of 2 tiles of 9 steps.
    (conv,) = (n for n in program.nests if n.engine == "mac" and n.phase == "inference" and n.steps > 100)
    assert conv.steps == 36 * 2 * 9
    assert report.overhead == cycles["explanation"] / cycles["inference"]
    assert report.utilization == report.macs / 16 / cycles["inference"] < 1
    # Weights of the convolution and of the classifier, 4 x 4 int8 each.
    assert report.memory_bytes["weights"] == 2 * 9 * 16 + 2 * 16


def test_layers_add_up_to_the_whole(compiled):
    layers = {(layer.name, layer.phase): layer for layer in compiled.report.layers}
    assert sum(layer.cycles for layer in layers.values()) == compiled.report.cycles.total
    counted = {k: (v.op, v.macs, v.weights) for k, v in layers.items() if v.op}
    assert counted == {
        ("stem.1", "inference"): ("conv2d", 8 * 8 * 4 * 3 * 9, 4 * 3 * 9),
        ("body.1", "inference"): ("conv2d", 4 * 4 * 4 * 4 * 9, 4 * 4 * 9),
        ("fc", "inference"): ("linear", 4 * 2, 4 * 2),
    }
    assert sum(macs for _, macs, _ in counted.values()) == compiled.report.macs
    assert layers["stem.1", "inference"].output_bytes == 8 * 8 * 4
    assert layers["fc", "inference"].output_bytes == 11  # two logits of 21 bits, and two padding ones
    body = layers["body.1", "inference"]
    assert body.utilization == body.macs / 16 / body.cycles < 1


def test_a_layer_that_another_one_hides_adds_no_cycles_and_is_used_while_it_runs(tmp_path):
    # The convolution reads two rows of the pool, which it runs beside, and ends before it.
    net = rtl_networks.Network(4, 12, 12)
    net.conv(net.add(nn.AvgPool2d(3, 1, 1)), 4, 1, 6, 0)
    net.add(nn.AdaptiveAvgPool2d(1), net.add(nn.ReLU()))
    report = rtl_networks.design(net.classify(3), "4x4", tmp_path / "design")
    (conv,) = (layer for layer in report.layers if layer.op == "conv2d")
    nest = Design.load(tmp_path / "design").program.nests[conv.nests[0]]
    assert conv.cycles == 0 and nest.end - nest.start > 4
    assert conv.utilization == 2 * 2 * 4 * 4 / 16 / (nest.end - nest.start)


def test_a_layer_whose_mask_is_kept_has_its_convolution(tmp_path):
    report = compile_to_folder(Tiny(), "tiny", Settings("stem", pe="4x4"), tmp_path / "design")
    assert sum(layer.macs for layer in report.layers if layer.phase == "inference") == report.macs


def test_an_adjoint_is_used_by_the_products_that_lie_on_the_map(tmp_path):
    """Of 3 taps at 4 positions along an axis 11 lie on the map of 8; golden: counted by PyTorch, with ones."""
    report = compile_to_folder(Tiny(), "tiny", Settings("stem", "hirescam", "4x4"), tmp_path / "design")
    (adjoint,) = (layer for layer in report.layers if layer.op == "conv2d_adjoint")
    ones = torch.ones(1, 4, 4, 4), torch.ones(4, 4, 3, 3)
    landed = nn.functional.conv_transpose2d(*ones, stride=2, padding=1, output_padding=1)
    assert (adjoint.phase, adjoint.macs, adjoint.weights) == ("explanation", landed.sum(), 0)
    assert adjoint.macs == 4 * 4 * 11 * 11
    nests = [Design.load(tmp_path / "design").program.nests[number] for number in adjoint.nests]
    assert adjoint.utilization == adjoint.macs / 16 / sum(nest.end - nest.start for nest in nests) < 1


def test_the_report_has_what_the_readme_promises(compiled):
    report = compiled.report
    assert (report.model, report.pe, report.multipliers) == ("tiny", "4x4", 16)
    # The array; of the convolutions a rescale per output lane; of the average pool, too, which has 2 lanes.
    assert report.multiplications == {"mac": 16 + 4, "sum": 2}
    assert {"weights", "biases", "bank0"} <= set(report.memory_bytes)
    names = [p.name for p in report.passes]
    assert names[0] == "gradcam-fold-normalization" and "gradcam-assign-cycles" in names
    assert all(p.seconds >= 0 for p in report.passes)
    assert Design.load(compiled.folder).report() == report


def test_the_program_has_what_the_readme_promises(compiled):
    program = Design.load(compiled.folder).program
    assert [(e.target, e.method, e.rank) for e in program.maps.values()] == [("body", "gradcam", 0)]
    assert all(program.scale(name) > 0 for name in ("image", "logits", "heatmap"))


def test_the_readable_report_has_the_same_figures(compiled):
    schedule = read_schedule(compiled.folder / "schedule.json")
    text = report_text(compiled.report, Design.load(compiled.folder).program, schedule)
    assert text == (compiled.folder / "report.txt").read_text()
    for figure in (f"{compiled.report.macs:,}", f"{compiled.report.cycles.total:,}", "4x4"):
        assert figure in text


def test_memory_bytes_are_the_size_of_the_images(compiled):
    for name, size in compiled.report.memory_bytes.items():
        image = compiled.folder / "mem" / f"{name}.hex"
        if image.exists():
            assert 2 * size == sum(len(line) for line in image.read_text().split())


def test_a_compile_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(GradcamError, match="xgradcam"):
        compile_to_folder(Tiny(), "tiny", Settings("stem", "xgradcam", pe="4x4"), tmp_path / "new" / "design")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"), [({"pe": "3x4"}, "powers of two"), ({"method": "scorecam"}, "no static form")]
)
def test_settings_are_checked_when_they_are_made(change, message):
    with pytest.raises(GradcamError, match=message):
        Settings("body", **change)


def test_every_level_has_a_pipeline():
    assert "(gradcam-set-platform{pe=8x4 " in str(pipeline_for("linalg", Settings("layer", pe="8x4")))
    assert all(pipeline_for(level, Settings("layer")) for level in LEVELS[1:])
