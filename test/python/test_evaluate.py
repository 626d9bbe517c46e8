"""The metrics of gradcam.evaluate, against cases by hand and pytorch-grad-cam."""

import importlib
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradcam import evaluate, metric_arguments
from gradcam.errors import GradcamError


def mean_of_first_row(images):
    """A score that only the first row of the image makes."""
    return images[:, 0, 0].mean(1)


ROWS = np.ones((1, 4, 4), np.float32)
RIGHT = np.array([[4.0] * 4, [3.0] * 4, [2.0] * 4, [1.0] * 4])


def test_deletion_by_hand():
    """Four steps of a row each: the score falls to 0 at once where the map is right, and at last where it is wrong."""
    found = evaluate.deletion(mean_of_first_row, ROWS, RIGHT, steps=4)
    assert found.shares.tolist() == [0, 0.25, 0.5, 0.75, 1] and found.scores.tolist() == [1, 0, 0, 0, 0]
    assert found.auc == 0.125
    wrong = evaluate.deletion(mean_of_first_row, ROWS, -RIGHT, steps=4)
    assert wrong.scores.tolist() == [1, 1, 1, 1, 0] and wrong.auc == 0.875
    assert evaluate.deletion(mean_of_first_row, ROWS, RIGHT, steps=4, fill=-1).scores.tolist() == [1, -1, -1, -1, -1]
    assert (ROWS == 1).all()


def test_insertion_begins_with_the_blurred_image_and_ends_with_the_image():
    image = np.random.default_rng(0).standard_normal((1, 4, 4)).astype(np.float32)
    found = evaluate.insertion(mean_of_first_row, image, RIGHT, steps=4)
    end = image[0, 0].mean()
    assert found.scores == pytest.approx([evaluate.blurred(image)[0, 0].mean(), end, end, end, end], abs=1e-6)
    late = evaluate.insertion(mean_of_first_row, image, -RIGHT, steps=4)
    assert late.scores == pytest.approx([*[found.scores[0]] * 4, end], abs=1e-6)


def test_the_blur_is_a_gaussian_of_11_pixels_with_zeros_around():
    weights = [math.exp(-(i**2 + j**2) / 50) for i in range(-5, 6) for j in range(-5, 6)]
    point = np.zeros((2, 23, 23), np.float32)
    point[1, 11, 11] = 1
    found = evaluate.blurred(point)
    assert not found[0].any()
    assert found[1, 6:17, 6:17] == pytest.approx(np.reshape(weights, (11, 11)) / sum(weights), rel=1e-5)
    assert found[1].sum() == pytest.approx(1) and np.count_nonzero(found[1]) == 121
    assert evaluate.blurred(np.ones((1, 23, 23), np.float32))[0, 0, 0] < 0.5


def test_a_heatmap_of_any_size_is_brought_to_that_of_the_image():
    small = np.array([[1.0], [0.0]])
    assert evaluate.deletion(mean_of_first_row, ROWS, small, steps=4).scores.tolist() == [1, 0, 0, 0, 0]


def test_the_probability_of_a_class(monkeypatch):
    monkeypatch.setattr(metric_arguments, "BATCH", 2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    images = np.random.default_rng(1).standard_normal((5, 1, 4, 4)).astype(np.float32)
    wanted = F.softmax(model(torch.from_numpy(images)), 1)[:, 2].detach().numpy()
    assert evaluate.class_probability(model, 2)(images) == pytest.approx(wanted, abs=1e-6)


def test_the_largest_positions_of_two_maps():
    a = np.arange(100.0).reshape(10, 10)
    b = a.copy()
    assert evaluate.top_iou(a, b) == 1 and evaluate.top_iou(a, -b) == 0
    b.flat[[95, 96]] = -1  # 97, 98, 99, 94 and 93 are left
    assert evaluate.top_iou(a, b) == 3 / 7
    assert evaluate.top_iou(a, -b, 1.0) == 1
    assert evaluate.top_iou(np.zeros((3, 3)), np.eye(3), 0.01) == 1  # of equal values the first one, of 0.09 one
    for share, count in ((0.07, 7), (0.29, 29), (0.1 + 0.2, 30), (np.float32(0.07), 7), (0.071, 8), (1e-9, 1)):
        order = np.arange(100.0)
        order[100 - count] = -1  # the last one of those that count gives way to the next
        wanted = (count - 1) / (count + 1)
        assert evaluate.top_iou(a, order.reshape(10, 10), share) == pytest.approx(wanted), share
    with pytest.raises(GradcamError, match="no common positions"):
        evaluate.top_iou(a, a[:5])
    for share in (0, 1.1, float("nan")):
        with pytest.raises(GradcamError, match="above 0 and at most 1"):
            evaluate.top_iou(a, a, share)


def test_imputed_pixels_by_hand():
    """One pixel is the weighted mean of its neighbours; at a corner of the three that it has."""
    image = np.arange(9, dtype=np.float32).reshape(1, 3, 3) ** 2
    removed = np.zeros((3, 3), bool)
    removed[1, 1] = True
    x = image[0]
    centre = (x[0, 1] + x[1, 0] + x[1, 2] + x[2, 1]) / 6 + (x[0, 0] + x[0, 2] + x[2, 0] + x[2, 2]) / 12
    assert evaluate.impute(image, removed)[0, 1, 1] == pytest.approx(centre)
    corner = np.zeros((3, 3), bool)
    corner[0, 0] = True
    assert evaluate.impute(image, corner)[0, 0, 0] == pytest.approx((2 * (x[0, 1] + x[1, 0]) + x[1, 1]) / 5)
    # A plane is imputed as it is, away from the edge of the image.
    plane = np.add.outer(np.arange(8.0), 2 * np.arange(8.0)).astype(np.float32)[None]
    inner = np.zeros((8, 8), bool)
    inner[2:6, 3:5] = True
    assert evaluate.impute(plane, inner) == pytest.approx(plane, abs=1e-5)
    assert (evaluate.impute(image, np.zeros((3, 3), bool)) == image).all()
    with pytest.raises(GradcamError, match="all pixels are removed"):
        evaluate.impute(image, np.ones((3, 3), bool))


def library():
    """pytorch-grad-cam's ROAD."""
    peers = importlib.import_module("peers")
    try:
        peers.LOADERS["pytorch-grad-cam"]()
    except ImportError as error:
        pytest.skip(str(error))
    return importlib.import_module("pytorch_grad_cam.metrics.road")


def test_imputation_is_that_of_pytorch_grad_cam():
    rng = np.random.default_rng(2)
    image = rng.standard_normal((3, 12, 17)).astype(np.float32)
    for share in (0.1, 0.5, 0.9):
        removed = rng.random((12, 17)) < share
        removed[:3, :4] = removed[-2:] = True
        kept = torch.from_numpy((~removed).astype(np.float32))
        wanted = library().NoisyLinearImputer(noise=0.0)(torch.from_numpy(image), kept).numpy()
        np.testing.assert_allclose(evaluate.impute(image, removed), wanted, atol=1e-5)


def test_road_is_that_of_pytorch_grad_cam():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 8, 3)).eval()
    rng = np.random.default_rng(3)
    image, heatmap = rng.standard_normal((2, 10, 10)).astype(np.float32), rng.random((10, 10)).astype(np.float32)
    road, x = library(), torch.from_numpy(image[None])
    score, target = evaluate.class_probability(model, 1), lambda logits: logits.softmax(-1)[1]
    for first, metric, percentiles in (
        ("most", road.ROADMostRelevantFirst, (80, 60, 40)),
        ("least", road.ROADLeastRelevantFirst, (80, 60, 40)),
    ):
        wanted = []
        for percentile in percentiles:
            measure = metric(percentile)
            measure.perturbation.imputer.noise = 0.0
            wanted.append(measure(x, heatmap[None], [target], model, return_diff=False)[0])
        found = evaluate.road(score, image, heatmap, first, (0.2, 0.4, 0.6), noise=0.0)
        assert found.scores == pytest.approx(wanted, abs=1e-5)
    most, least = (evaluate.road(score, image, heatmap, first).scores for first in ("most", "least"))
    assert np.abs(most - least).max() > 1e-3


def test_noise_is_that_of_a_seed():
    image, heatmap = np.ones((1, 6, 6), np.float32), np.arange(36.0).reshape(6, 6)
    noisy = [evaluate.road(lambda x: x.std((1, 2, 3)), image, heatmap, seed=s).scores for s in (0, 0, 1)]
    assert (noisy[0] == noisy[1]).all() and (noisy[0] != noisy[2]).all()
    quiet = evaluate.road(lambda x: x.std((1, 2, 3)), image, heatmap, noise=0.0)
    assert quiet.scores == pytest.approx(np.zeros(4), abs=1e-6) and (noisy[0] > 1e-3).all()


@pytest.mark.parametrize("shares", [(0.5,), (0.5, 0.2), (0.2, 0.2), (-0.1, 0.5), (0.5, 1.0), ()])
def test_shares_that_cannot_be(shares):
    with pytest.raises(GradcamError, match="must ascend from 0 on and stay below 1"):
        evaluate.road(mean_of_first_row, ROWS, RIGHT, shares=shares)


def test_at_least_one_step():
    for metric in (evaluate.deletion, evaluate.insertion):
        with pytest.raises(GradcamError, match="at least one step, got 0"):
            metric(mean_of_first_row, ROWS, RIGHT, steps=0)


class Small(nn.Module):
    """Three classes of a map of 2 channels; its first op writes into its input."""

    def __init__(self):
        super().__init__()
        self.act, self.conv, self.relu, self.fc = nn.ReLU(inplace=True), nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(8, 3)
        self.unused = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        self.unused(x)
        return self.fc(self.relu(self.conv(self.act(x))).flatten(1))


MODEL = Small().eval()
IMAGE = np.random.default_rng(5).standard_normal((1, 4, 4)).astype(np.float32)
HEATMAP = np.arange(16.0).reshape(4, 4)
SCORE = evaluate.class_probability(MODEL, 1)


def of_image(image):
    """What every function that takes images makes of one."""
    curves = [
        evaluate.deletion(SCORE, image, HEATMAP, 4),
        evaluate.insertion(SCORE, image, HEATMAP, 4),
        evaluate.road(SCORE, image, HEATMAP),
    ]
    explained = evaluate.autograd_gradcam(MODEL, image[None], "relu")
    removed = np.eye(4, dtype=bool)
    others = [evaluate.blurred(image), evaluate.impute(image, removed), *explained, SCORE(image[None])]
    return [curve.scores for curve in curves] + others + [evaluate.accuracy(MODEL, image[None], np.array([1]))]


@pytest.mark.parametrize(
    "image",
    [
        IMAGE.astype(np.float64),
        np.ascontiguousarray(IMAGE[:, ::-1, ::-1])[:, ::-1, ::-1],
        np.asfortranarray(IMAGE),
        np.broadcast_to(IMAGE, IMAGE.shape),
    ],
    ids=["float64", "negative strides", "Fortran", "read-only"],
)
def test_an_image_of_any_memory_is_the_same_image(image):
    before = image.copy()
    for found, wanted in zip(of_image(image), of_image(IMAGE), strict=True):
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(image, before)


NAN, INFINITE = np.where(HEATMAP == 3, np.nan, HEATMAP), np.where(HEATMAP == 3, np.inf, HEATMAP)
PIXELS = (IMAGE * 20).astype(np.uint8)
WRONG = [
    (lambda: evaluate.deletion(SCORE, PIXELS, HEATMAP), r"an image must be float32, .* got uint8; gradcam.images.load"),
    (lambda: evaluate.insertion(SCORE, IMAGE[0], HEATMAP), r"an image must be C x H x W, got 4x4"),
    (lambda: evaluate.road(SCORE, IMAGE[None], HEATMAP), r"an image must be C x H x W, got 1x1x4x4"),
    (lambda: evaluate.blurred(IMAGE * np.float32(np.nan)), r"an image has values that are not finite"),
    (lambda: evaluate.blurred(np.full((1, 4, 4), 1e300)), r"an image has values that are not finite"),
    (lambda: evaluate.blurred(np.zeros((1, 0, 4), np.float32)), r"an image must be C x H x W, got 1x0x4"),
    (lambda: evaluate.blurred([[1.0], [1.0, 2.0]]), r"an image must be an array: ValueError: "),
    (lambda: SCORE(IMAGE), r"an image must be N x C x H x W, got 1x4x4"),
    (lambda: SCORE(np.zeros((1, 2, 4, 4), np.float32)), r"the model fails on an image of 2x4x4: RuntimeError: "),
    (lambda: evaluate.deletion(SCORE, IMAGE, NAN), r"a map has values that are not finite"),
    (lambda: evaluate.road(SCORE, IMAGE, INFINITE), r"a map has values that are not finite"),
    (lambda: evaluate.insertion(SCORE, IMAGE, HEATMAP[0]), r"a map must be h x w, got 4"),
    (lambda: evaluate.insertion(SCORE, IMAGE, HEATMAP.astype(str)), r"a map must hold numbers, got <U"),
    (lambda: evaluate.pearson(NAN, HEATMAP), r"a map has values that are not finite"),
    (lambda: evaluate.pearson(HEATMAP[:0], HEATMAP[:0]), r"a map must be an array with elements, got 0x4"),
    (lambda: evaluate.top_iou(HEATMAP, NAN), r"a map has values that are not finite"),
    (lambda: evaluate.top_iou(HEATMAP, HEATMAP, "0.1"), r"share must be a number, got '0.1'"),
    (lambda: evaluate.pointing_hit(NAN, (0, 0, 1, 1), (4, 4)), r"a map has values that are not finite"),
    (lambda: evaluate.pointing_hit(HEATMAP[None], (0, 0, 1, 1), (4, 4)), r"a map must be h x w, got 1x4x4"),
    (lambda: evaluate.pointing_hit(HEATMAP, (0, 0, 1), (4, 4)), r"a box must be x0, y0, x1, y1 .* got \[0, 0, 1\]"),
    (lambda: evaluate.pointing_hit(HEATMAP, (1, 0, 1, 1), (4, 4)), r"a box must be x0, y0, x1, y1 with x0 < x1"),
    (lambda: evaluate.pointing_hit(HEATMAP, (0, 0, 1, 1), (1, 4, 4)), r"the size of an image must be its height and"),
    (lambda: evaluate.pointing_hit(HEATMAP, (0, 0, 1, 1), (4, 4.0)), r"a side of an image must be an integer, got 4.0"),
    (lambda: evaluate.class_probability(MODEL, -1), r"class -1 does not exist; the predicted one is the largest"),
    (lambda: evaluate.class_probability(MODEL, 1.0), r"a class must be an integer, got 1.0"),
    (lambda: evaluate.class_probability(MODEL, 3)(IMAGE[None]), r"class 3 does not exist; .* classes 0 to 2"),
    (lambda: evaluate.class_probability(nn.Identity(), 0)(IMAGE[None]), r"logits of a model must be N x K, got 1x1"),
    (lambda: evaluate.deletion(lambda x: x, IMAGE, HEATMAP, 1), r"the score of 2 images must be as many numbers"),
    (lambda: evaluate.deletion(lambda x: x[:, 0, 0, 0] / 0, IMAGE, HEATMAP), r"the score has values that are not fin"),
    (lambda: evaluate.deletion(SCORE, IMAGE, HEATMAP, 2.5), r"steps must be an integer, got 2.5"),
    (lambda: evaluate.deletion(SCORE, IMAGE, HEATMAP, fill=np.nan), r"fill must be a finite number, got nan"),
    (lambda: evaluate.road(SCORE, IMAGE, HEATMAP, "First"), r"first must be most or least, got 'First'"),
    (lambda: evaluate.road(SCORE, IMAGE, HEATMAP, noise=-1), r"noise must be a finite number of at least 0, got -1"),
    (lambda: evaluate.road(SCORE, IMAGE, HEATMAP, seed=-1), r"seed must be a finite number of at least 0, got -1"),
    (lambda: evaluate.road(SCORE, IMAGE, HEATMAP, shares=0.5), r"must ascend from 0 on and stay below 1, got 0.5"),
    (lambda: evaluate.impute(IMAGE, np.eye(4)), r"removed must be a bool for each of 4x4 pixels"),
    (lambda: evaluate.accuracy(MODEL, IMAGE[None], np.array([0, 1])), r"labels of 1 images must be as many integers"),
    (lambda: evaluate.autograd_gradcam(MODEL, IMAGE, "relu"), r"an image must be N x C x H x W, got 1x4x4"),
    (lambda: evaluate.autograd_gradcam(MODEL, IMAGE[None], "fc"), r"'fc' yields no feature map, N x C x H x W"),
    (lambda: evaluate.autograd_gradcam(MODEL, IMAGE[None], "unused"), r"the logits do not depend on .* 'unused'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), WRONG)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_arguments_that_cannot_be_are_one_line(call, message):
    with pytest.raises(GradcamError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
