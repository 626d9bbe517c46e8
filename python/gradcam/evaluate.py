"""Evaluation of heatmaps against software: Grad-CAM by `torch.autograd`, correlation, pointing game, accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gradcam.errors import GradcamError
from gradcam.view import resize

#: Images per forward pass.
BATCH = 250


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
        GradcamError: the model has no such module, or the logits do not depend on it.
    """
    try:
        layer = model.get_submodule(target_layer)
    except AttributeError as error:
        raise GradcamError(f"the model has no module '{target_layer}'") from error
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()  # a later in-place op must not change what was kept

    handle = layer.register_forward_hook(keep)
    try:
        logits = model(torch.from_numpy(images).requires_grad_())
    finally:
        handle.remove()
    if not kept:
        raise GradcamError(f"the model does not call its module '{target_layer}'")
    (gradient,) = torch.autograd.grad(logits.amax(1).sum(), kept[-1])
    maps = (gradient.mean((2, 3), keepdim=True) * kept[-1]).sum(1)
    return Explained(logits.detach().numpy(), maps.detach().numpy())


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of two maps of one shape; NaN when one of them is constant, since it is not defined then.

    Raises:
        GradcamError: the shapes differ.
    """
    if a.shape != b.shape:
        raise GradcamError(f"maps of {a.shape} and {b.shape} cannot be correlated")
    x, y = (np.asarray(m, np.float64).ravel() - np.mean(m, dtype=np.float64) for m in (a, b))
    norm = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / norm, -1, 1)) if norm else float("nan")  # it may round to more


def pointing_hit(heatmap: np.ndarray, box: Sequence[int], size: tuple[int, int]) -> bool:
    """Pointing game: whether the maximum of a map, resized to the image, lies in a box; of equal maxima the first.

    Args:
        heatmap: h x w, after ReLU; an all-zero map points nowhere.
        box: x0, y0, x1, y1 in pixels, x1 and y1 exclusive.
        size: height and width of the image.
    """
    final = resize(np.asarray(heatmap, np.float64), size)
    if not final.any():
        return False
    y, x = np.unravel_index(final.argmax(), final.shape)
    x0, y0, x1, y1 = box
    return bool(x0 <= x < x1 and y0 <= y < y1)


def accuracy(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of images (float32, N x C x H x W) whose predicted class is the label (int, N)."""
    with torch.inference_mode():
        logits = [model(torch.from_numpy(images[i : i + BATCH])) for i in range(0, len(images), BATCH)]
    return float((torch.cat(logits).argmax(1).numpy() == labels).mean())
