"""Evaluation of heatmaps: Grad-CAM by `torch.autograd`, comparisons of two maps, and what a map says of the network.

Two maps are compared by `pearson` and `top_iou`, a map with the place of the object by `pointing_hit`. `insertion`,
`deletion` and `road` ask the network itself: they change the pixels that a map calls important and look at the score of
the class. For these an image is float32, C x H x W, as the model takes it, and a heatmap may have any size: it is
brought to that of the image. Floats of other widths are rounded to float32. Integers, as pixels are, and numbers that
are not finite are refused by a `GradcamError`, as is all else that a metric cannot use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradcam.checks import check_type
from gradcam.errors import GradcamError
from gradcam.images.arrays import shape_text
from gradcam.metric_arguments import (
    batched_logits,
    box_of,
    checked_logits,
    class_of,
    image_of,
    map_of,
    number_of,
    scores_of,
    shares_of,
    size_of,
)
from gradcam.outside import outside
from gradcam.view import resize

#: The score of a class: maps images, float32 N x C x H x W, to N numbers.
Score = Callable[[np.ndarray], np.ndarray]

#: The pixels that `road` removes first.
First = Literal["most", "least"]

#: Petsiuk et al. blur what `insertion` begins with by a Gaussian of this size and deviation, in pixels.
BLUR, DEVIATION = 11, 5.0

#: Weights of the neighbours of a pixel that `impute` solves for, straight and diagonal (Rong et al. 2022, sec. 4).
STRAIGHT, DIAGONAL = 1 / 6, 1 / 12


class Explained(NamedTuple):
    """The predictions of a float model for N images, and their explanations.

    Attributes:
        logits: float32, N x K.
        maps: Grad-CAM of the predicted class before its ReLU, in the size of the feature map; float32, N x h x w.
    """

    logits: np.ndarray
    maps: np.ndarray


def autograd_gradcam(model: nn.Module, images: np.ndarray, target_layer: str) -> Explained:
    """Grad-CAM as published (Selvaraju et al. 2017, eq. 1 and 2, without the ReLU), differentiated at run time.

    The model is left as it was: no hook stays on it.

    Args:
        model: an image classifier in eval mode.
        images: float32, N x C x H x W.
        target_layer: module path of the feature map.

    Raises:
        GradcamError: the model has no such module, it yields no feature map, or the logits do not depend on it; or the
            model fails on the images.
    """
    pixels = torch.from_numpy(image_of(images, "N x C x H x W"))
    try:
        layer = model.get_submodule(target_layer)
    except AttributeError as error:
        raise GradcamError(f"the model has no module '{target_layer}'") from error
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise GradcamError(f"the module '{target_layer}' yields no feature map, N x C x H x W")
        kept.append(output)
        return output.clone()  # a later in-place op must not change what was kept

    handle = layer.register_forward_hook(keep)
    try:
        with outside(f"the model fails on an image of {shape_text(pixels.shape[1:])}"):
            logits = checked_logits(model(pixels.requires_grad_().clone()))  # an in-place op may change it
    finally:
        handle.remove()
    if not kept:
        raise GradcamError(f"the model does not call its module '{target_layer}'")
    gradient = None
    if logits.requires_grad:
        (gradient,) = torch.autograd.grad(logits.amax(1).sum(), kept[-1], allow_unused=True)
    if gradient is None:
        raise GradcamError(f"the logits do not depend on the module '{target_layer}'")
    maps = (gradient.mean((2, 3), keepdim=True) * kept[-1]).sum(1)
    return Explained(logits.detach().numpy(), maps.detach().numpy())


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of two maps of one shape; NaN when one of them is constant, since it is not defined then.

    Raises:
        GradcamError: the shapes differ.
    """
    a, b = map_of(a, ""), map_of(b, "")
    if a.shape != b.shape:
        raise GradcamError(f"maps of {a.shape} and {b.shape} cannot be correlated")
    x, y = (m.ravel() - m.mean() for m in (a, b))
    norm = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / norm, -1, 1)) if norm else float("nan")  # it may round to more


def pointing_hit(heatmap: np.ndarray, box: Sequence[int], size: tuple[int, int]) -> bool:
    """Pointing game: whether the maximum of a map, resized to the image, lies in a box; of equal maxima the first.

    Args:
        heatmap: h x w, after ReLU; an all-zero map points nowhere.
        box: x0, y0, x1, y1 in pixels, x1 and y1 exclusive.
        size: height and width of the image.
    """
    (x0, y0, x1, y1), final = box_of(box), resize(map_of(heatmap), size_of(size))
    if not final.any():
        return False
    y, x = np.unravel_index(final.argmax(), final.shape)
    return bool(x0 <= x < x1 and y0 <= y < y1)


def top_iou(a: np.ndarray, b: np.ndarray, share: float = 0.05) -> float:
    """Intersection over union of the positions with the largest values of two maps of one shape.

    Args:
        a: h x w.
        b: h x w.
        share: of the positions, above 0 and at most 1, rounded up; of equal values the first ones count.

    Raises:
        GradcamError: the shapes differ, or the share is none.
    """
    a, b = map_of(a), map_of(b)
    if a.shape != b.shape:
        raise GradcamError(f"maps of {a.shape} and {b.shape} have no common positions")
    check_type("share", share, "float")
    if not 0 < share <= 1:
        raise GradcamError(f"the share of the positions must be above 0 and at most 1, got {share:g}")
    count = max(1, math.ceil(Fraction(float(share)).limit_denominator(10**6) * a.size))  # 7 % of 100 are 7, not 8
    some, others = (set(_most_first(m)[:count].tolist()) for m in (a, b))
    return len(some & others) / len(some | others)


def _most_first(map_: np.ndarray) -> np.ndarray:
    """The positions of a map as numbers, the largest value first; of equal values the first one."""
    return np.argsort(-map_.ravel(), kind="stable")


class Curve(NamedTuple):
    """The score of a class while more and more of the image is changed.

    Attributes:
        shares: of the pixels that are changed, ascending; float64, n.
        scores: float64, n.
    """

    shares: np.ndarray
    scores: np.ndarray

    @property
    def auc(self) -> float:
        """The area under the curve by the trapezoid rule, over the range of the shares: the mean score."""
        return float(np.trapezoid(self.scores, self.shares) / (self.shares[-1] - self.shares[0]))


def class_probability(model: nn.Module, cls: int) -> Score:
    """The softmax of a class, in batches.

    Args:
        model: an image classifier in eval mode.
        cls: the class, from 0 on.

    Raises:
        GradcamError: there is no such class, which the score says of one beyond the last; or, by the score, the model
            fails on the images.
    """
    chosen = class_of(cls)

    def score(images: np.ndarray) -> np.ndarray:
        logits = torch.cat(list(batched_logits(model, image_of(images, "N x C x H x W"))))
        return logits.softmax(1)[:, class_of(chosen, logits.shape[1])].double().numpy()

    return score


def deletion(score: Score, image: np.ndarray, heatmap: np.ndarray, steps: int = 64, fill: float = 0.0) -> Curve:
    """Pixels are replaced by `fill`, the most important ones first; a faithful map has a small area.

    Petsiuk et al., RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018, sec. 4.2.

    Args:
        score: of the explained class, such as `class_probability` gives.
        image: float32, C x H x W.
        heatmap: h x w.
        steps: of equal numbers of pixels, at least 1.
        fill: what takes the place of a pixel; 0 is the mean colour of a normalized image.

    Raises:
        GradcamError: there is no step.
    """
    image = image_of(image)
    return _replaced(score, image, np.full_like(image, number_of(fill, "fill")), heatmap, steps)


def insertion(score: Score, image: np.ndarray, heatmap: np.ndarray, steps: int = 64) -> Curve:
    """Pixels are put into a blurred copy of the image, the most important ones first; a faithful map has a large area.

    The source is that of `deletion`; the blur is its authors': a Gaussian of 11 x 11 pixels with a deviation of 5, with
    zeros around the image.

    Args:
        score: of the explained class, such as `class_probability` gives.
        image: float32, C x H x W.
        heatmap: h x w.
        steps: of equal numbers of pixels, at least 1.

    Raises:
        GradcamError: there is no step.
    """
    image = image_of(image)
    return _replaced(score, blurred(image), image, heatmap, steps)


def _replaced(score: Score, image: np.ndarray, other: np.ndarray, heatmap: np.ndarray, steps: int) -> Curve:
    """The score while the pixels of `other` take the place of those of `image`, the most important ones first."""
    check_type("steps", steps, "int")
    if steps < 1:
        raise GradcamError(f"there must be at least one step, got {steps}")
    channels, height, width = image.shape
    order = _most_first(resize(map_of(heatmap), (height, width)))
    counts = np.linspace(0, len(order), steps + 1).round().astype(np.int64)
    changed = np.repeat(image.reshape(1, channels, -1), steps + 1, 0)
    for n, count in enumerate(counts):
        changed[n, :, order[:count]] = other.reshape(channels, -1)[:, order[:count]].T
    return Curve(counts / len(order), scores_of(score, changed.reshape(-1, channels, height, width)))


def blurred(image: np.ndarray) -> np.ndarray:
    """An image (float32, C x H x W) behind the blur of `insertion`."""
    image = image_of(image)
    line = np.exp(-((np.arange(BLUR) - BLUR // 2) ** 2) / (2 * DEVIATION**2))
    kernel = torch.from_numpy(np.outer(line, line) / line.sum() ** 2).float()
    channels = len(image)
    weights = kernel.expand(channels, 1, BLUR, BLUR)
    return F.conv2d(torch.from_numpy(image)[None], weights, padding=BLUR // 2, groups=channels)[0].numpy()


def road(
    score: Score,
    image: np.ndarray,
    heatmap: np.ndarray,
    first: First = "most",
    shares: Sequence[float] = (0.2, 0.4, 0.6, 0.8),
    noise: float = 0.01,
    seed: int = 0,
) -> Curve:
    """Remove and debias: pixels are replaced by what their neighbours tell of them, so that no edge gives them away.

    Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022. With the most
    important pixels removed first the score of a faithful map falls early, with the least important ones late: half the
    difference of the areas, the latter minus the former, is one number for both.

    Args:
        score: of the explained class, such as `class_probability` gives.
        image: float32, C x H x W.
        heatmap: h x w.
        first: which pixels are removed first: "most" for the most important ones, or "least".
        shares: of the pixels that are removed, ascending, two at least, from 0 on and below 1.
        noise: deviation of the noise that is added to imputed pixels.
        seed: of the noise.

    Raises:
        GradcamError: an argument cannot be, or SciPy is missing.
    """
    if first not in get_args(First):
        raise GradcamError(f"first must be {' or '.join(get_args(First))}, got {first!r}")
    removed_shares, deviation, image = shares_of(shares), number_of(noise, "noise", 0.0), image_of(image)
    check_type("seed", seed, "int")
    number_of(seed, "seed", 0)
    _, height, width = image.shape
    map_ = resize(map_of(heatmap), (height, width))
    order = _most_first(map_ if first == "most" else -map_)
    rng, changed = np.random.default_rng(seed), []
    for share in removed_shares:
        removed = np.zeros(height * width, bool)
        removed[order[: round(share * len(order))]] = True
        removed = removed.reshape(height, width)
        filled = impute(image, removed)
        filled[:, removed] += deviation * rng.standard_normal(filled[:, removed].shape).astype(np.float32)
        changed.append(filled)
    return Curve(removed_shares, scores_of(score, np.stack(changed)))


def impute(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Replaces pixels so that each is the mean of its neighbours, straight ones with twice the weight of diagonal ones.

    The linear imputation of `road`, without its noise.

    Args:
        image: float32, C x H x W.
        removed: bool, H x W, not all of them.

    Returns:
        float32, C x H x W.

    Raises:
        GradcamError: all pixels are removed, they are no pixels of the image, or SciPy is missing.
    """
    image = image_of(image)
    try:
        from scipy.sparse import coo_array
        from scipy.sparse.linalg import spsolve
    except ImportError as error:
        raise GradcamError("ROAD needs SciPy; pip install -c constraints.txt '.[metrics]' installs it") from error
    if not isinstance(removed, np.ndarray) or removed.dtype != bool or removed.shape != image.shape[1:]:
        raise GradcamError(f"removed must be a bool for each of {shape_text(image.shape[1:])} pixels")
    if removed.all():
        raise GradcamError("all pixels are removed, so none tells of another")
    filled, count = image.copy(), int(removed.sum())
    if count:
        entries, places, known = _neighbours(image, removed)
        system = coo_array((entries, places), (count, count)).tocsc()
        filled[:, removed] = np.asarray(spsolve(system, known)).reshape(count, len(image)).T
    return filled


def _neighbours(image: np.ndarray, removed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The linear system of `impute`: its entries, their rows and columns (2 x N), and the right side, pixels x C.

    The equation of a removed pixel: the weights of its neighbours within the image times it, minus the weighted sum of
    those that are removed, is the weighted sum of the others.
    """
    (height, width), pixels = removed.shape, np.argwhere(removed)
    number = np.full(removed.shape, -1)
    number[removed] = np.arange(len(pixels))
    entries, places = [np.zeros(len(pixels))], [np.stack([np.arange(len(pixels))] * 2)]
    known = np.zeros((len(pixels), len(image)))
    for down, right in [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]:
        weight = DIAGONAL if down and right else STRAIGHT
        y, x = pixels[:, 0] + down, pixels[:, 1] + right
        inside = (y >= 0) & (x >= 0) & (y < height) & (x < width)
        own, y, x = np.flatnonzero(inside), y[inside], x[inside]
        entries[0][own] += weight
        also = removed[y, x]
        entries.append(np.full(int(also.sum()), -weight))
        places.append(np.stack([own[also], number[y, x][also]]))
        known[own[~also]] += weight * image[:, y[~also], x[~also]].T
    return np.concatenate(entries), np.concatenate(places, 1), known


def accuracy(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of images (float32, N x C x H x W) whose predicted class is the label (int, N).

    Raises:
        GradcamError: there is no label for each image, or the model fails on one.
    """
    images, labels = image_of(images, "N x C x H x W"), np.asarray(labels)
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise GradcamError(
            f"the labels of {len(images)} images must be as many integers, got {shape_text(labels.shape)}"
        )
    logits = torch.cat(list(batched_logits(model, images)))
    return float((logits.argmax(1).numpy() == labels).mean())
