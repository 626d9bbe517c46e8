"""Several target layers and the best classes in one design: f32, integers, linalg and RTL."""

import re

import numpy as np
import pytest
import torch
from random_cnn import relative_error
from rtl_networks import Network
from torch import nn
from torch_mlir import ir

from gradcam.classes import explained_classes
from gradcam.compiler import Compilation, Settings
from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float
from gradcam.faults import Faults
from gradcam.frontend import import_model
from gradcam.jit import compile_linalg
from gradcam.output import compile_to_folder
from gradcam.reference.integer import run_integer
from gradcam.sim import Simulator, compare_trace, lint
from gradcam.sim.check import check_outputs
from gradcam.sim.trace import load_quantized
from gradcam.tools import gradcam_sim

CLASSES = 5


def network(tied: bool = False) -> tuple[Network, list[str]]:
    """A small residual network and two of its layers; the best two of its classes may always be equal: 1 and 3."""
    net = Network(3, 12, 10, seed=2)
    x = net.add(nn.ReLU(), net.conv(0, 6))
    middle = net.block(x, 6)
    last = net.block(middle, 9, 2)
    net.add(nn.AdaptiveAvgPool2d(1), last)
    net.classify(CLASSES)
    if tied:
        head = net.layers[-1]
        with torch.no_grad():
            head.weight[3], head.bias[3], head.bias[1] = head.weight[1], head.bias[1] + 9, head.bias[1] + 9
    return net, [f"layers.{last}", f"layers.{middle}"]


def settings(targets, top_k: int, pe: str = "4x4") -> Settings:
    return Settings(targets, pe=pe, range_choice="max", top_k=top_k)


def autograd_map(net: Network, image: np.ndarray, path: str, cls: int) -> np.ndarray:
    """Grad-CAM without ReLU of a class, by hooks and torch.autograd."""
    kept = []
    hook = net.get_submodule(path).register_forward_hook(lambda _m, _i, out: kept.append(out) or out.clone())
    logits = net(torch.from_numpy(image).requires_grad_())
    hook.remove()
    (g,) = torch.autograd.grad(logits[0, cls], kept[0])
    return (g.mean((2, 3), keepdim=True) * kept[0]).sum(1).detach().numpy()


@pytest.mark.parametrize("request_", [-1, 2])
def test_f32_maps_are_those_of_the_best_classes(request_):
    net, targets = network()
    module = Compilation(net, settings(targets, 3)).to("simplified")
    for image in net.calibration_images[:, None]:
        logits, *maps = run_float(module, image, request_)
        order = np.argsort(-logits[0]).tolist()
        classes = order[:3] if request_ < 0 else [request_, *(c for c in order if c != request_)][:3]
        wanted = [autograd_map(net, image, path, cls) for path in targets for cls in classes]
        assert all(relative_error(m, w) < 1e-4 for m, w in zip(maps, wanted, strict=True))
        assert relative_error(maps[0], wanted[1]) > 0.01


def test_the_best_class_is_what_one_map_explains():
    net, targets = network()
    image = net.calibration_images[:1]
    (_, alone), (_, *several) = (
        run_float(Compilation(net, settings(t, k)).to("simplified"), image) for t, k in ((targets[1], 1), (targets, 2))
    )
    assert len(several) == 4 and np.array_equal(several[2], alone)


CHAIN = """
func.func @main(%image: tensor<1x1x1x1x{image}>, %class: tensor<1xi32>)
    -> (tensor<1xi32>, tensor<1xi32>, tensor<1xi32>) {{
  %l = arith.constant dense<{logits}> : tensor<1x4x{element}>
  %a = "gradcam.select_class"(%l, %class) : (tensor<1x4x{element}>, tensor<1xi32>) -> tensor<1xi32>
  %b = "gradcam.next_class"(%l, %a) : (tensor<1x4x{element}>, tensor<1xi32>) -> tensor<1xi32>
  %c = "gradcam.next_class"(%l, %a, %b) : (tensor<1x4x{element}>, tensor<1xi32>, tensor<1xi32>) -> tensor<1xi32>
  return %a, %b, %c : tensor<1xi32>, tensor<1xi32>, tensor<1xi32>
}}"""


@pytest.mark.parametrize(("request_", "classes"), [(-1, [1, 2, 0]), (2, [2, 1, 0]), (3, [3, 1, 2])])
def test_of_equal_logits_the_first_comes_first(request_, classes):
    image = np.zeros((1, 1, 1, 1))
    with make_context():
        floats = ir.Module.parse(CHAIN.format(image="f32", element="f32", logits=[[3.0, 7.0, 7.0, -1.0]]))
        image_type = "!quant.uniform<i8:f32, 1.0>"
        integers = ir.Module.parse(CHAIN.format(image=image_type, element="i32", logits=[[3, 7, 7, -1]]))
        assert [int(c[0]) for c in run_float(floats, image, request_)] == classes
        assert [int(c[0]) for c in run_integer(integers, image.astype(np.int8), request_)] == classes
    assert explained_classes(np.array([3, 7, 7, -1]), request_, 3) == classes


@pytest.mark.parametrize("pe", ["4x4", "8x2"])
def test_linalg_equals_the_integer_reference(pe):
    net, targets = network(tied=True)
    images, requests, compilation = net.images(3), (-1, 3, 0), Compilation(net, settings(targets, 3, pe))
    quantized = compilation.to("quantized")
    wanted = [run_integer(quantized, x[None], c) for x, c in zip(images, requests, strict=True)]
    run = compile_linalg(compilation.to("linalg"), 0)
    for image, request, expected in zip(images, requests, wanted, strict=True):
        found = run(np.ascontiguousarray(image.transpose(1, 2, 0)), np.array([request], np.int32))
        assert all(np.array_equal(f, e[0]) for f, e in zip(found, expected, strict=True))
        assert len(found) == 7 and expected[0][0, 1] == expected[0][0, 3] == expected[0].max()
    assert not np.array_equal(wanted[0][1], wanted[2][1])


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    """The network with equal classes, and its design for two targets and two classes."""
    net, targets = network(tied=True)
    folder = tmp_path_factory.mktemp("top") / "design"
    return net, targets, folder, compile_to_folder(net, "test", settings(targets, 2, "8x8"), folder)


def test_rtl_equals_the_integer_reference(design):
    net, _, folder, report = design
    simulator, images, requests = Simulator(folder), net.images(4), (-1, 3, 0, 1)
    module = load_quantized(simulator.design)
    free, stalled = (simulator.run(images, requests, stall_seed=seed) for seed in (None, 1))
    for image, request, result, late in zip(images, requests, free, stalled, strict=True):
        assert list(result.heatmaps) == ["heatmap0", "heatmap1", "heatmap2", "heatmap3"]
        check_outputs(result, module, image, request)
        check_outputs(late, module, image, request)
        assert result.cycles == report.cycles
    with pytest.raises(GradcamError, match=r"heatmap0.* in the integer reference"):
        check_outputs(free[0], module, images[0], 0)


@pytest.mark.parametrize("request_", [-1, 0])
def test_every_buffer_equals_the_integer_reference(design, request_):
    net, _, folder, _ = design
    simulator, image = Simulator(folder), net.images(1)
    module = load_quantized(simulator.design)
    (result,) = simulator.run(image, request_, buffers=True)
    trace = compare_trace(simulator.program, result, module, image[0], request_)
    assert trace.difference is None
    assert {"explain.class", "explain.class1"} <= set(trace.compared)
    assert sum("rank1" in name for name in trace.compared) >= 3
    wrong = compare_trace(simulator.program, result, module, image[0], 2)
    assert wrong.difference is not None and wrong.difference.tensor == "explain.class"


def test_the_design_says_what_it_explains(design):
    _, targets, folder, _ = design
    program = Simulator(folder).program
    asked = [(explanation.target, explanation.rank) for explanation in program.maps.values()]
    assert asked == [(path, rank) for path in targets for rank in (0, 1)]
    assert list(program.maps) == [f"heatmap{i}" for i in range(4)] and all(program.scale(name) for name in program.maps)
    assert f"{', '.join(targets)} by gradcam, 2 classes\n" in (folder / "report.txt").read_text()
    top = (folder / "rtl" / "gradcam_top.sv").read_text()
    assert set(re.findall(r"\b(explain_\w+)(?=,?\n)", top[: top.index(");")])) == {"explain_class", "explain_class1"}
    assert lint(folder) == ""


def test_classes_and_targets_share_the_engines(design, tmp_path):
    net, targets, folder, _ = design
    compile_to_folder(net, "test", settings(targets[1], 1, "8x8"), tmp_path / "one")
    one, several = (_engines(f) for f in (tmp_path / "one", folder))
    assert one["mac"] == several["mac"] == 64
    extra = {name for name in several if name not in one and not name.startswith("store")}
    assert extra == {"elementwise2"}, "strikes out a class; all ranks run one scan"


def _engines(folder) -> dict[str, int]:
    """Products of two 8-bit operands in each engine."""
    files = (folder / "rtl").glob("engine_*.sv")
    return {f.stem.removeprefix("engine_"): len(re.findall(r"\* \{\{8\{", f.read_text())) for f in files}


def test_gradcam_sim_writes_every_map(design, tmp_path, capsys):
    net, _, folder, _ = design
    image, out = net.images(1)[0], tmp_path / "run"
    np.save(tmp_path / "image.npy", image)
    arguments = [str(folder), "--input", str(tmp_path / "image.npy"), "--class", "0", "-o", str(out)]
    assert gradcam_sim.main(arguments) == 0
    assert "explained classes 0, 1, 0, 1" in capsys.readouterr().out
    kinds = ("heatmap{}.npy", "heatmap{}_normalized.npy", "heatmap{}_image.npy", "overlay{}.png")
    names = [kind.format(i) for i in range(4) for kind in kinds]
    always = ("image.npy", "logits.npy", "report.html", "report.json", "table.csv")
    assert sorted(p.name for p in out.iterdir()) == sorted([*names, *always])
    _, *maps = run_integer(load_quantized(Simulator(folder).design), image[None], 0)
    assert all(np.array_equal(np.load(out / f"heatmap{i}.npy"), m[0]) for i, m in enumerate(maps))
    assert gradcam_sim.main([*arguments, "--force"]) == 0, "its own folder can be replaced"


def test_more_classes_than_there_are():
    net, targets = network()
    with pytest.raises(Faults, match=f"top-k {CLASSES + 1} is more than the {CLASSES} classes there are"):
        import_model(net, target_layer=targets, top_k=CLASSES + 1)
    with pytest.raises(GradcamError, match="top-k must be at least 1, got 0"):
        import_model(net, target_layer=targets, top_k=0)
