"""What the float network does to its own maps where an image changes by less than anyone sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradcam.execution.float32 import run_float
from gradcam.float_network import FloatNetwork, ImageQuality, correlation
from gradcam.passes.ir.normalization import normalization_of
from gradcam.passes.ir.queries import main_function
from gradcam.quant_types import scale
from gradcam.view import resize

#: The most images on which it is measured: each costs two runs of the float network.
IMAGES = 8


class Stability:
    """Pearson of the maps of changed images with those of the images, in the class of the latter.

    Where a change makes another class one of those that are explained, its map is not compared: NaN.

    Attributes:
        noise: for each image one coefficient per map, of the image with uniform noise of up to half a level, where a
            level is the step of the quantized image, which for pixels of 8 bits is about one of theirs.
        shift: the same, of the image shifted by one pixel down and to the right, its edge repeated. Both maps are
            brought to the size of the image, as a viewer shows them, and that of the shifted image is shifted back.
    """

    def __init__(self, network: FloatNetwork, quantized: Any) -> None:
        """Of a float network and its quantized module, level 2."""
        main = main_function(quantized)
        self.noise, self.shift = list[tuple[float, ...]](), list[tuple[float, ...]]()
        self._network, self._rng = network, np.random.default_rng(0)
        own = normalization_of(main)
        factors = np.ones(1) if own is None else np.abs(own.std)
        self._half_level = (scale(main.entry_block.arguments[0]) / 2 * factors)[:, None, None]

    def add(self, images: np.ndarray, compared: Sequence[ImageQuality], requests: Sequence[int]) -> None:
        """Measures further images, up to `IMAGES` of all.

        Args:
            images: float32, N x C x H x W.
            compared: what the float network made of each.
            requests: the class that it explained first of each.
        """
        count = min(len(images), IMAGES - len(self.noise)) if self._network.explanations else 0
        if count == 0:
            return
        images, compared, requests = images[:count], compared[:count], requests[:count]
        noise = [self._half_level * self._rng.uniform(-1, 1, image.shape) for image in images]
        self.noise += self._compare(
            images + np.stack(noise), compared, requests, lambda map_, of_image: (map_, of_image)
        )
        shifted, size = np.pad(images, ((0, 0), (0, 0), (1, 0), (1, 0)), "edge")[:, :, :-1, :-1], images.shape[2:]

        def shifted_back(map_: np.ndarray, of_image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return resize(map_, size)[1:, 1:], resize(of_image, size)[:-1, :-1]

        self.shift += self._compare(shifted, compared, requests, shifted_back)

    def _compare(
        self,
        changed: np.ndarray,
        compared: Sequence[ImageQuality],
        requests: Sequence[int],
        aligned: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    ) -> list[tuple[float, ...]]:
        """For each image the coefficients of the maps of the changed one, after `aligned` has put both in one place."""
        network, found = self._network, list[tuple[float, ...]]()
        logits, *maps = run_float(network.module, changed, requests)
        for n, (image, first) in enumerate(zip(compared, requests, strict=True)):
            alike = network.alike(image.logits, logits[n], first)
            pairs = [aligned(network.shown(i, m[n]), network.shown(i, image.maps[i])) for i, m in enumerate(maps)]
            found.append(tuple(correlation(*p) if a else float("nan") for p, a in zip(pairs, alike, strict=True)))
        return found
