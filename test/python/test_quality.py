"""The comparison of int8 with float: against PyTorch and counts by hand, and what is warned of."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from torch import nn

from gradcam.compiler import Compilation, Settings
from gradcam.errors import GradcamError
from gradcam.evaluate import autograd_gradcam
from gradcam.float_network import FloatNetwork, Outputs
from gradcam.output import compile_to_folder
from gradcam.passes.ir.queries import location_name, main_function
from gradcam.quality import Spread, evenly, measure, rounded_weights
from gradcam.quant_types import scales
from gradcam.reference.integer import quantize_image, run_integer
from gradcam.schema.program import Explanation
from gradcam.schema.report import MapQuality, Quality, Rounding, Saturation
from gradcam.verdict import quality_line, quality_rows, quality_warnings, warnings


class Net(nn.Module):
    """Two convolutions, a ReLU6 and a classifier; `bias` of the first convolution."""

    input_shape = (1, 3, 8, 8)

    def __init__(self, bias=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.act = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()
        self.second, self.last = nn.Conv2d(6, 8, 3, padding=1), nn.ReLU6()
        self.fc = nn.Linear(8, 4)
        self.first.bias.data += bias
        self.eval()

    def forward(self, x):
        return self.fc(self.last(self.second(self.act(self.first(x)))).mean((2, 3)))

    def calibration_images(self):
        return images(24)


def images(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 3, 8, 8)).astype(np.float32)


def levels(model, target_layer="last", **options):
    """The float module and the quantized one."""
    compilation = Compilation(model, Settings(target_layer, pe="4x4", **options))
    return compilation.to("simplified").operation.clone(), compilation.to("quantized")


@pytest.fixture(scope="module")
def network():
    return levels(Net())


@given(st.integers(0, 200), st.integers(1, 20))
def test_a_spread_sample_is_even_and_changes_nothing(length, limit):
    spread = Spread(limit)
    assert list(spread.passing(range(length))) == list(range(length))
    steps = set(np.diff(spread.kept))
    assert len(spread.kept) <= limit and len(steps) <= 1 and spread.kept[:1] == [0][:length]
    if length > limit:
        assert 2 * len(spread.kept) > limit - 1
        assert length - spread.kept[-1] <= (steps.pop() if steps else length)


@given(st.integers(0, 50), st.integers(1, 20))
def test_evenly_takes_no_more_than_the_limit(length, limit):
    taken = evenly(range(length), limit)
    assert len(taken) <= limit and (length > limit or list(taken) == list(range(length)))


def test_the_figures_are_those_of_pytorch_and_the_integer_reference(network):
    float_module, quantized = network
    inputs = images(7, seed=1)
    found = measure(float_module, quantized, [image[None] for image in inputs], "validation")
    scales = [t.element_type.scale for t in quantized_types(quantized)]
    explained = autograd_gradcam(Net(), inputs, "last")
    errors, correlations, same = [], [], 0
    for image, logits, cam in zip(inputs, explained.logits, explained.maps, strict=True):
        integers, heatmap = run_integer(quantized, quantize_image(quantized, image[None]))
        same += int(integers.argmax() == logits.argmax())
        errors.append(np.abs(integers[0] * scales[0] - logits).max())
        assert integers.argmax() == logits.argmax()  # or the maps would be of different classes
        pair = np.maximum(heatmap[0].ravel() * scales[1], 0), np.maximum(cam.ravel(), 0)
        correlations.append(np.corrcoef(*pair)[0, 1])
    assert (found.source, found.images, found.same_class) == ("validation", 7, same)
    assert found.logit_error == pytest.approx(max(errors), rel=1e-4)
    assert found.largest_logit == pytest.approx(np.abs(explained.logits).max(), rel=1e-5)
    (cam,) = found.maps.values()
    assert cam.images == 7
    expected = np.median(correlations), np.quantile(correlations, 0.1), min(correlations)
    assert (cam.median, cam.tenth, cam.least) == pytest.approx(expected, abs=1e-5)


def quantized_types(module):
    from torch_mlir import ir

    from gradcam.passes.ir.queries import main_function

    with module.context:
        return [ir.RankedTensorType(v.type) for v in main_function(module).entry_block.operations[-1].operands]


def test_outputs_that_are_wrong_are_told(network):
    float_network = FloatNetwork(network[0])
    inputs = images(3, seed=2)
    explained = autograd_gradcam(Net(), inputs, "last")
    right = [Outputs(a.astype(float), [b]) for a, b in zip(explained.logits, explained.maps, strict=True)]
    for image in float_network.compare(inputs, right):
        assert image.same_class and image.logit_error < 1e-5
        assert image.correlations == pytest.approx((1,))
    # Classes and maps of another image, a logit that is off by 3, and a map of zeros.
    best = explained.logits[0].argmax()
    wrong = [
        Outputs(-right[0].logits, right[0].maps),
        Outputs(right[1].logits + 3 * np.eye(4)[right[1].logits.argmax()], [right[1].maps[0][::-1, ::-1]]),
        Outputs(right[2].logits, [np.zeros((8, 8))]),
    ]
    first, second, third = float_network.compare(inputs, wrong)
    assert not first.same_class and first.logit_error == pytest.approx(2 * np.abs(explained.logits[0]).max(), rel=1e-4)
    assert (-explained.logits[0]).argmax() != best
    assert second.same_class and second.logit_error == pytest.approx(3, rel=1e-4) and second.correlations[0] < 0.99
    assert third.correlations == (0.0,)


def test_a_requested_class_is_compared_with_the_map_of_that_class(network):
    inputs = images(1, seed=3)
    logits = torch.from_numpy(inputs)
    model, kept = Net(), []
    model.last.register_forward_hook(lambda _m, _i, out: kept.append(out))
    scores = model(logits.requires_grad_())
    worst = int(scores.argmin())
    (gradient,) = torch.autograd.grad(scores[0, worst], kept[0])
    cam = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1)[0].detach().numpy()
    output = Outputs(scores[0].detach().numpy().astype(float), [cam], worst)
    assert FloatNetwork(network[0]).compare(inputs, [output])[0].correlations == pytest.approx((1,))
    other = FloatNetwork(network[0]).compare(inputs, [Outputs(output.logits, [cam])])[0].correlations
    assert not other[0] > 0.99


def test_saturated_activations_and_pixels_are_those_counted_by_hand(network):
    float_module, quantized = network
    inputs = 2 * images(5, seed=4)  # beyond the calibrated range
    found = measure(float_module, quantized, [image[None] for image in inputs], "validation")
    model = Net()
    with torch.no_grad():
        first = model.act(model.first(torch.from_numpy(inputs)))
        last = model.last(model.second(first))
    ranges = {name: stored(quantized, name) for name in ("act", "last")}
    shares = {layer.layer: layer.share for layer in found.saturated}
    for name, values in (("act", first.numpy()), ("last", last.numpy())):
        expected = (values > 255.5 * ranges[name]).mean()  # they are unsigned
        assert shares[name] == pytest.approx(expected)
    assert shares["act"] > 0.0001
    # A ReLU6 whose bound is its range does not saturate, however many values lie on it.
    assert shares["last"] == 0 or ranges["last"] < 6 / 255.5
    # What a ReLU reads, and the logits, saturate nowhere.
    assert not {"first", "second", "fc"} & set(shares)
    step = stored(quantized, None)
    assert found.pixels_outside == pytest.approx(((inputs > 127.5 * step) | (inputs < -128.5 * step)).mean())
    assert found.pixels_outside > 0


@pytest.mark.parametrize("factor", [1.0, 8.0])
def test_saturated_gradients_are_those_counted_by_hand(factor):
    """The gradient behind a mask, of the classes that int8 predicts; with `factor` beyond what calibration has seen."""
    _, quantized = levels(Net(), "act")
    model, kept, inputs = Net(), [], images(20, seed=6)
    model.fc.weight.data *= factor
    found = measure(levels(model, "act")[0], quantized, [image[None] for image in inputs], "validation")
    model.last.register_forward_hook(lambda _m, _i, out: kept.append(out))
    logits = model(torch.from_numpy(inputs).requires_grad_())
    classes = [run_integer(quantized, quantize_image(quantized, image[None]))[0].argmax() for image in inputs]
    (gradient,) = torch.autograd.grad(logits[range(len(inputs)), classes].sum(), kept[0])
    masked = gradient * ((kept[0] > 0) & (kept[0] < 6))
    ops = main_function(quantized).entry_block.operations
    limits = next(127.5 * scales(op.results[0]) for op in ops if location_name(op) == "last.adjoint")
    expected = (masked.abs().numpy() > limits.reshape(-1, 1, 1)).mean()
    shares = {layer.layer: layer.share for layer in found.saturated_gradients}
    assert shares["last.adjoint"] == pytest.approx(expected, abs=1e-4)
    assert (expected > 0.1) == (factor > 1)
    # What the mask removes is not counted, nor the gradients in the list of layers.
    assert "mean.adjoint" not in shares and set(shares).isdisjoint(layer.layer for layer in found.saturated)


def stored(module, name):
    """The scale of a layer's result, of the image for None."""
    from gradcam.passes.ir.queries import location_name, main_function

    main = main_function(module)
    value = main.entry_block.arguments[0]
    for op in main.entry_block.operations:
        if name is not None and location_name(op) == name and op.operation.name in ("gradcam.relu", "gradcam.hardtanh"):
            value = op.results[0]
    return value.type.element_type.scale


def test_an_inner_value_on_a_bound_of_relu6_does_not_saturate():
    model = Net()
    model.second.weight.data *= 40  # most outputs lie beyond 6
    float_module, quantized = levels(model, range_choice="max")
    found = measure(float_module, quantized, [image[None] for image in images(4)], "validation")
    with torch.no_grad():
        last = model.last(model.second(model.act(model.first(torch.from_numpy(images(4))))))
    assert (last == 6).float().mean() > 0.2
    assert {layer.layer: layer.share for layer in found.saturated}["last"] == 0


def test_weights_that_a_huge_bias_rounds_to_zero_are_counted(caplog, tmp_path):
    found = {layer.layer: layer for layer in rounded_weights(*levels(Net()))}
    assert set(found) == {"first", "second", "fc"}
    weight = Net().first.weight.detach().numpy()
    steps = np.abs(weight).reshape(6, -1).max(1) / 127
    assert found["first"].nonzero == weight.size
    assert found["first"].zeroed == (np.abs(weight) < 0.5 * steps.reshape(-1, 1, 1, 1)).sum() < 0.05 * weight.size
    # A bias takes at most 2^30 of the accumulator, at the scale of the weights times that of the image.
    huge = Net(bias=1e7)
    float_module, quantized = levels(huge)
    steps = huge.first.bias.detach().double().numpy() / (stored(quantized, None) * 2**30)
    expected = (np.abs(weight) < 0.5 * steps.reshape(-1, 1, 1, 1)).sum()
    lost = {layer.layer: layer for layer in rounded_weights(float_module, quantized)}
    assert lost["first"].zeroed == expected > 0.8 * weight.size
    with caplog.at_level(logging.WARNING):
        compile_to_folder(huge, "net", Settings("last", pe="4x4"), tmp_path / "design")
    assert f"{100 * expected / weight.size:.2g} % of the weights of 'first' round to 0 in int8" in caplog.text


def test_a_pruned_network_counts_its_other_weights_only():
    model = Net()
    model.second.weight.data[:, :3] = 0
    second = {layer.layer: layer for layer in rounded_weights(*levels(model))}["second"]
    assert second.nonzero == model.second.weight.numel() // 2


def test_a_compile_compares_on_calibration_images_on_others_or_not_at_all(tmp_path):
    def compiled(**options):
        name = str(len(list(tmp_path.iterdir())))
        return compile_to_folder(Net(), "net", Settings("last", pe="4x4", **options), tmp_path / name)

    quality = compiled().quality
    assert (quality.source, quality.images) == ("calibration", 12)  # every second of the 24
    assert quality.same_class == 12 and quality.maps["heatmap"].median > 0.99
    np.save(tmp_path / "others.npy", images(5, seed=9))
    quality = compiled(validate=tmp_path / "others.npy").quality
    assert (quality.source, quality.images) == ("validation", 5)
    assert compiled(validate=False).quality is None
    with pytest.raises(GradcamError, match=r"none\.npy"):
        compiled(validate=tmp_path / "none.npy")
    with pytest.raises(GradcamError, match="validate must be images, None"):
        compiled(validate=True)


def test_validation_images_are_looked_at_before_the_calibration():
    """The first of them is read once, also of an iterator, and is compared like the others."""
    read = []
    calibration = (read.append(i) or image for i, image in enumerate(images(4)))
    wrong = Settings("last", pe="4x4", calibration=calibration, validate=np.zeros((1, 3, 99, 5), np.float32))
    with pytest.raises(GradcamError, match="has shape 1x3x99x5"):
        Compilation(Net(), wrong).to("quantized")
    assert not read
    right = Settings("last", pe="4x4", calibration=calibration, validate=(image for image in images(3, seed=9)))
    compilation = Compilation(Net(), right)
    simplified = compilation.to("simplified").operation.clone()
    assert compilation.quality(simplified, compilation.to("quantized")).images == 3
    assert read == [0, 1, 2, 3]


def test_a_design_without_explanation_has_no_map(tmp_path):
    report = compile_to_folder(Net(), "net", Settings(None, pe="4x4"), tmp_path / "design")
    assert report.quality.maps == {} and "Pearson" not in quality_line(report.quality)


def test_several_maps_have_a_figure_each(tmp_path):
    report = compile_to_folder(Net(), "net", Settings(["act", "last"], pe="4x4", top_k=2), tmp_path / "design")
    assert list(report.quality.maps) == ["heatmap0", "heatmap1", "heatmap2", "heatmap3"]
    assert all(m.median > 0.9 for m in report.quality.maps.values())
    text = (tmp_path / "design" / "report.txt").read_text()
    assert all(f"quality, heatmap{i} " in text for i in range(4))


EXPLAINS = {name: Explanation("last", 0, "gradcam", True, True, 1e-7) for name in ("heatmap", "other")}

BITS = {"activation_bits": 8, "gradient_bits": 8, "weight_bits": 8}
REPORT = SimpleNamespace(explains=EXPLAINS, bits=BITS)

GOOD = Quality(
    source="calibration",
    images=20,
    same_class=18,
    logit_error=0.5,
    largest_logit=5.0,
    pixels_outside=0.01,
    maps={"heatmap": MapQuality(20, 0.95, 0.8, -1.0)},
    noise={},
    shift={},
    saturated=(Saturation("a", 0.01),),
    saturated_gradients=(Saturation("g", 0.01),),
)

BAD = [
    ({"same_class": 17}, "int8 and float disagree: the class of float in 17 of 20 calibration images"),
    ({"logit_error": 0.51}, "the logits of int8 are off by up to 0.51, 10 % of the largest"),
    ({"largest_logit": 0.0}, "the logits of int8 are off by up to 0.5"),
    ({"pixels_outside": 0.02}, "2 % of the pixels lie outside of the calibrated range and saturate"),
    (
        {"maps": {"heatmap": MapQuality(20, 0.949, 0.8, 0.5)}},
        "heatmap of int8 differs from the map of float: Pearson 0.9490 (median), 0.8000 (10th percentile), "
        "0.5000 (least)",
    ),
    (
        {"maps": {"heatmap": MapQuality(20, 0.95, 0.79, 0.5)}},
        "heatmap of int8 differs from the map of float: Pearson 0.9500 (median), 0.7900 (10th percentile), "
        "0.5000 (least)",
    ),
    ({"saturated": (Saturation("a", 0.02),)}, "2 % of the activations of 'a' saturate"),
    (
        {"saturated": (Saturation("a", 0.02), Saturation("b", 0.5), Saturation("c", 0.001))},
        "50 % of the activations of 'b' saturate, and more than 1 % in 1 other layers",
    ),
    ({"saturated_gradients": (Saturation("g", 0.02),)}, "2 % of the gradients of 'g' saturate"),
]


def test_warnings_name_integers_of_other_widths():
    bits = BITS | {"activation_bits": 9, "weight_bits": 10}
    report = SimpleNamespace(explains=EXPLAINS, bits=bits, quality=None, rounding=(Rounding("a", 100, 51),))
    assert warnings(report) == ["51 % of the weights of 'a' round to 0 in int10"]
    bad = replace(GOOD, same_class=17, logit_error=0.51, maps={"heatmap": MapQuality(20, 0.94, 0.8, 0.5)})
    starts = [
        "the integers and float disagree: ",
        "the logits of the integers are off",
        "heatmap of the integers differs",
    ]
    found = list(quality_warnings(bad, report))
    assert len(found) == 3 and all(map(str.startswith, found, starts))


@pytest.mark.parametrize(("change", "warning"), BAD)
def test_what_is_bad_is_warned_of(change, warning):
    assert list(quality_warnings(GOOD, REPORT)) == []
    assert list(quality_warnings(replace(GOOD, **change), REPORT)) == [warning]


#: int8's median and 10th percentile, the 10th percentile of float's own with noise, the method, what is said behind the
#: coefficients: nothing of a map that looks the same, or that is not clearly below float's own.
BESIDE_FLOAT = [
    (0.99, 0.95, 0.9999, "gradcam", None),
    (0.99, 0.94, 0.981, "gradcam", "float's own with noise of half a level has 0.9810 (10th percentile); remedies: "
     "method (--method) hirescam or layercam, a target layer behind 'layer1'"),
    (0.99, 0.94, 0.9799, "gradcam", None),
    (0.94, 0.81, 0.5, "gradcam", "so does float's own with noise of half a level, 0.5000 (10th percentile)"),
    (0.94, 0.81, 0.99, "hirescam", "float's own with noise of half a level has 0.9900 (10th percentile); remedies: "
     "method (--method) layercam, a target layer behind 'layer1'"),
    (0.94, 0.81, 0.99, "layercam", "float's own with noise of half a level has 0.9900 (10th percentile); remedies: "
     "a target layer behind 'layer1'"),
    (0.94, 0.92, 0.97, "layercam", "float's own with noise of half a level has 0.9700 (10th percentile); remedies: "
     "a target layer behind 'layer1'"),
    (0.94, 0.92, 0.79, "layercam", "so does float's own with noise of half a level, 0.7900 (10th percentile)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        ((8, 8), "gradient_bits (--gradient-bits) 9 or more, activation_bits (--activation-bits) 9 or more, "),
        ((9, 12), "activation_bits (--activation-bits) 10 or more, "),
        ((12, 16), ""),
    ],
)
@pytest.mark.parametrize(("median", "tenth", "own", "method", "remedies"), BESIDE_FLOAT)
def test_a_map_is_warned_of_where_float_itself_is_steadier(median, tenth, own, method, remedies, bits, said):
    bits = dict(zip(("activation_bits", "gradient_bits"), bits, strict=True))
    said = remedies and remedies.replace("remedies: ", f"remedies: {said}")
    noise = {"heatmap": MapQuality(8, 1.0, own, own)}
    quality = replace(GOOD, maps={"heatmap": MapQuality(20, median, tenth, 0.1)}, noise=noise, shift=noise)
    explains = {"heatmap": Explanation("layer1", 0, method, True, True, 1e-7)}
    found = list(quality_warnings(quality, SimpleNamespace(explains=explains, bits=bits)))
    start = f"heatmap of {'int8' if set(bits.values()) == {8} else 'the integers'} differs from the map of float: Pears"
    assert all(line.startswith(start) and line.endswith(f"(least); {said}") for line in found)
    assert len(found) == (said is not None)


def test_rows_name_layers_and_methods_and_say_what_float_does_to_itself():
    maps = {"heatmap0": MapQuality(20, 0.95, 0.8, -1.0), "heatmap1": MapQuality(0, None, None, None)}
    explains = {name: Explanation("layer1", i, "gradcam", True, True, 1e-7) for i, name in enumerate(maps)}
    shift = dict.fromkeys(maps, MapQuality(8, 0.9, 0.7, 0.1))
    rows = dict(quality_rows(replace(GOOD, maps=maps, noise=maps, shift=shift), explains))
    assert rows["quality, heatmap0"].startswith("layer1 by gradcam: Pearson 0.9500 (median)")
    assert rows["quality, heatmap1"].startswith("layer1 by gradcam, class 2 of those explained: Pearson undefined")
    text = "Pearson 0.9500, 0.8000 with noise of half a level, 0.9000, 0.7000 after a shift by a pixel (median, 10th "
    assert rows["float's own, heatmap0"] == f"{text}percentile)"
    assert "Pearson undefined with noise" in rows["float's own, heatmap1"]
    assert "float's own, the map" not in dict(quality_rows(GOOD, EXPLAINS))


def test_weights_are_warned_of_beyond_half(tmp_path):
    report = compile_to_folder(Net(), "net", Settings("last", pe="4x4", validate=False), tmp_path / "design")
    assert warnings(report) == []
    lost = replace(report, rounding=(Rounding("a", 100, 50), Rounding("b", 0, 0), Rounding("c", 200, 101)))
    assert warnings(lost) == ["50 % of the weights of 'c' round to 0 in int8"]


def test_the_rows_say_what_the_line_leaves_out():
    rows = dict(quality_rows(replace(GOOD, maps=GOOD.maps | {"other": MapQuality(0, None, None, None)}), EXPLAINS))
    assert rows["quality"] == quality_line(GOOD)
    assert (
        rows["quality, other"] == "last by gradcam: Pearson undefined: no image has a map of float that is not constant"
    )
    assert rows["saturated activations"] == "at most 1 % of a layer, a"
    assert rows["saturated gradients"] == "at most 1 % of a gradient, g"
    assert rows["pixels outside of the range"] == "1 %"
