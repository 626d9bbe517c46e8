"""Calibration: image sources, the growing histogram, the chosen ranges."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_networks import Network, small_resnet
from torch import nn
from torch_mlir import ir

from gradcam.compiler import Compilation
from gradcam.compiler import Settings as CompileSettings
from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.histogram import BINS, Histogram
from gradcam.passes.ir.queries import main_function
from gradcam.passes.quantize.calibrate import RANGE, Calibrate, calibrate
from gradcam.quantiles import KEPT, Quantiles


def test_histogram_does_not_depend_on_the_order():
    rng = np.random.default_rng(0)
    batches = [rng.normal(0, scale, 1000).astype(np.float32) for scale in (1e-6, 1.0, 0.3, 70.0)]
    up, down = Histogram(), Histogram()
    for batch in batches:
        up.add(batch)
    for batch in reversed(batches):
        down.add(batch)
    np.testing.assert_array_equal(up.counts, down.counts)
    assert up.count == up.counts.sum() == 4000
    assert up.largest == down.largest == np.abs(np.concatenate(batches)).max()


def plain_counts(values):
    """The histogram of all values at once, as its docstring says it: exact arithmetic on each value."""
    magnitudes = [abs(float(v)) for v in values]
    end = math.frexp(max(magnitudes))[1]
    bins = [math.floor(Fraction(m) * BINS / Fraction(2) ** end) for m in magnitudes]
    return np.bincount(bins, minlength=BINS)


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(st.lists(st.lists(finite, min_size=1, max_size=20), min_size=1, max_size=4))
@example([[1e-45, 3e-45], [0.0]])  # smaller than any normal f32
@example([[1.0], [-3.4028234663852886e38]])
@example([[2.0, 1.9999998807907104, -2.0]])  # around a bin's edge
def test_histogram_counts_exactly(parts):
    values = [np.array(part, np.float32) for part in parts]
    joined = np.concatenate(values)
    at_once = Histogram()
    at_once.add(joined)
    grown = Histogram()
    for part in values:
        assert grown.add(part.reshape(1, -1))
    assert grown.largest == at_once.largest == np.abs(joined).max()
    np.testing.assert_array_equal(grown.counts, at_once.counts)
    if at_once.largest:
        np.testing.assert_array_equal(at_once.counts, plain_counts(joined))
        assert not np.array_equal(at_once.counts, plain_counts([*joined, 0.0]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_histogram_of_a_value_that_is_not_finite(bad):
    histogram = Histogram()
    assert histogram.add(np.ones(3, np.float32))
    assert not histogram.add(np.array([1.0, bad, 2.0], np.float32))
    assert histogram.count == histogram.counts.sum() == 3 and histogram.largest == 1


def test_choices():
    rng = np.random.default_rng(1)
    values = np.abs(rng.normal(0, 1, 100_000)).astype(np.float32)
    values[0] = 40.0  # one outlier
    histogram = Histogram()
    for part in np.split(values, 10):
        histogram.add(part)
    assert histogram.choose("max") == 40.0
    bin_width = 64 / BINS
    assert histogram.choose("percentile", 99.0) == pytest.approx(np.quantile(values, 0.99), abs=2 * bin_width)
    assert histogram.choose("percentile", 100.0) == 40.0

    def error(clip):
        step = clip / 127
        return ((np.clip(np.rint(values / step), 0, 127) * step - values) ** 2).sum()

    chosen = histogram.choose("mse")
    assert chosen < 40.0
    assert error(chosen) <= 1.02 * min(error(clip) for clip in np.linspace(0.4, 40, 400))


def test_histogram_of_zeros_and_tiny_values():
    histogram = Histogram()
    histogram.add(np.zeros(10, np.float32))
    assert histogram.largest == 0 and histogram.choose("mse") == 0
    histogram.add(np.array([1e-30], np.float32))
    for choice in ("mse", "percentile", "max"):
        assert 0 < histogram.choose(choice, 100.0) <= 1.001e-30


def parse(text):
    return ir.Module.parse(text)


def ranges(module):
    main = main_function(module)
    found = [a.attr.value for a in main.arg_attrs[0] if a.name == RANGE]
    for op in main.entry_block.operations:
        if RANGE in op.attributes:
            found.append((op.operation.name, op.attributes[RANGE].value))
    return found


def test_ranges_are_those_of_the_tensors():
    net = Network((1, 1, 1, 3))
    x = net.conv(net.image, 1, 1, padding=0, bias=False, weight=[[[[2.0]]]])
    text = net.module(net.clamp(net.relu(x), 0.0, 3.0))
    images = np.array([[[[[1, -4, 2]]]], [[[[0, 1, 0.5]]]]], np.float32)
    with make_context():
        module = parse(text)
        calibrate(module, images, "max")
        assert ranges(module) == [4.0, ("gradcam.conv2d", 8.0), ("gradcam.relu", 4.0), ("gradcam.clamp", 3.0)]
        calibrate(module, images[1:], "max")  # a second calibration replaces the first
        assert ranges(module) == [1.0, ("gradcam.conv2d", 2.0), ("gradcam.relu", 2.0), ("gradcam.clamp", 2.0)]


def test_the_pass_reads_files_and_skips_the_explanation(tmp_path):
    images = np.random.default_rng(0).normal(0, 1, (2, 3, 6, 6)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    with make_context():
        module, again = parse(small_resnet(6)), parse(small_resnet(6))
        Calibrate(images=str(tmp_path / "images.npy"), range="percentile", percentile=99.0).run(module)
        calibrate(again, images[:, None], "percentile", 99.0)
        assert str(module) == str(again)
        names = {op for op, _ in ranges(module)[1:]}
        assert "gradcam.linear" in names
        assert names.isdisjoint({"gradcam.weighted_sum", "gradcam.scale", "gradcam.class_row"})


def test_silent_feature_maps_are_refused():
    net = Network((1, 1, 2, 2))
    x = net.relu(net.conv(net.image, 1, 1, padding=0, bias=[-1.0], weight=[[[[0.5]]]]), path="dead")
    text = net.module(net.conv(x, 2, 2, padding=0))
    with make_context():
        module = parse(text)
        with pytest.raises(GradcamError, match=r"zero on every calibration image: 'gradcam.relu' at loc\(\"dead\"\)"):
            calibrate(module, np.ones((1, 1, 1, 2, 2), np.float32))
        assert RANGE not in str(module)  # nothing was changed
        with pytest.raises(GradcamError, match="every calibration image is zero"):
            calibrate(module, np.zeros((2, 1, 1, 2, 2), np.float32))


def test_what_constants_make_zero_is_no_fault():
    """A convolution without weights gives the same on every image, here a value below 0, and a relu makes it 0."""
    net = Network((1, 1, 2, 2))
    x = net.relu(net.conv(net.image, 1, 1, padding=0, bias=[-1.0], weight=[[[[0.0]]]]), path="dead")
    text = net.module(net.conv(x, 2, 2, padding=0))
    with make_context():
        module = parse(text)
        calibrate(module, np.ones((1, 1, 1, 2, 2), np.float32))
        assert ranges(module)[:3] == [1.0, ("gradcam.conv2d", 1.0), ("gradcam.relu", 1.0)]


def test_values_that_are_not_finite_are_refused():
    net = Network((1, 1, 2, 2))
    text = net.module(net.conv(net.image, 1, 1, padding=0, bias=[0.0], weight=[[[[3e38]]]], path="huge"))
    with make_context(), np.errstate(over="ignore"):
        with pytest.raises(GradcamError, match=r"'gradcam.conv2d' yields values that are not finite"):
            calibrate(parse(text), np.full((1, 1, 1, 2, 2), 3.0, np.float32))
        with pytest.raises(GradcamError, match="image has values that are not finite"):
            calibrate(parse(text), np.full((1, 1, 1, 2, 2), np.nan, np.float32))
        with pytest.raises(GradcamError, match="needs at least one image"):
            calibrate(parse(text), [])
        with pytest.raises(GradcamError, match="range must be mse, percentile or max"):
            calibrate(parse(text), [], "percentile", 0.0)


def gradient_ranges(model, images, choice="mse"):
    """The range of each channel of the gradient at the result of `first`, after a calibration."""
    module = Compilation(model, CompileSettings("first", method="hirescam", pe="4x4")).to("simplified")
    calibrate(module, images, choice)
    masks = [op for op in main_function(module).entry_block.operations if op.operation.name == "gradcam.apply_mask"]
    return np.array(list(ir.DenseF64ArrayAttr(masks[-1].attributes[RANGE])))


class Classifier(nn.Module):
    """Two convolutions, whose ReLUs pass other elements of a gradient in every image, and a linear head."""

    input_shape = (1, 3, 6, 6)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.act = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.second, self.last, self.fc = nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        return self.fc(self.behind(self.first(x)))

    def behind(self, first):
        return self.last(self.second(self.act(first))).mean((2, 3))


def largest_by_image(model, images):
    """The largest gradients of each image: of the predicted class and another one, at a growing distance; N x C."""
    rows = []
    for number, image in enumerate(images):
        first = model.first(torch.from_numpy(image)).detach().requires_grad_()
        logits = model.fc(model.behind(first))[0]
        best = int(logits.argmax())
        classes = best, (best + 1 + number % 4) % 5
        gradients = [torch.autograd.grad(logits[c], first, retain_graph=True)[0] for c in classes]
        rows.append(np.maximum(*(gradient.abs().amax((0, 2, 3)).numpy() for gradient in gradients)))
    return np.array(rows)


@pytest.mark.parametrize("count", [1, 2, 8, 100])
def test_the_range_of_a_gradient_is_that_of_most_images(count):
    model = Classifier()
    images = np.random.default_rng(3).normal(0, 1, (count, 1, 3, 6, 6)).astype(np.float32)
    rows = largest_by_image(model, images)
    np.testing.assert_allclose(gradient_ranges(model, iter(images)), np.quantile(rows, 0.95, axis=0), rtol=1e-5)
    np.testing.assert_allclose(gradient_ranges(model, images, "max"), rows.max(0), rtol=1e-5)
    if count == 100:  # a check of the check: single images have larger gradients, and the other class counts
        assert (rows.max(0) > 1.01 * np.quantile(rows, 0.95, axis=0)).any()
        assert not np.allclose(rows, largest_by_image(model, np.roll(images, 1, axis=0)))


@given(st.integers(1, 700), st.floats(0, 1))
@settings(deadline=None, max_examples=30)
@example(KEPT - 1, 0.95)
@example(KEPT, 0.95)
@example(20 * KEPT + 7, 0.95)
@example(556, 0.0)
def test_quantiles_of_a_stream(count, share):
    values = np.random.default_rng(count).lognormal(0, 2, (count, 3)).astype(np.float32)
    quantiles = Quantiles()
    for row in values:
        quantiles.add(row)
    found = quantiles.at(share)
    if count < KEPT:
        np.testing.assert_allclose(found, np.quantile(values, share, axis=0), rtol=1e-6)
    slack = (1 + math.log2(count / KEPT)) / KEPT if count > KEPT else 1 / KEPT
    for channel, value in zip(values.T.astype(np.float64), found, strict=True):
        lowest, highest = (np.quantile(channel, min(1, max(0, q))) for q in (share - slack, share + slack))
        assert lowest * (1 - 1e-6) <= value <= highest * (1 + 1e-6)
        assert count < 300 or not np.quantile(channel, min(1, share + 0.1)) < value


def test_a_long_stream_keeps_few_arrays():
    quantiles = Quantiles()
    for n in range(30 * KEPT):
        quantiles.add(np.array([n]))
    assert sum(len(level) for level in quantiles._levels) <= KEPT * (1 + math.log2(30))
