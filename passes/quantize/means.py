"""The mean inputs of layers with a bias, by which rounding the weights is kept from shifting what they compute.

A weight that is rounded by d shifts every output that it adds to by d times the mean of its input. The shift is known
once the images for calibration have been run, and the bias takes it back: the bias correction of Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2, with measured means.
It matters most where few weights add up to an output, as in depthwise convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.dialect.ops import groups_of
from gradcam.dialect.traits import Product, trait

#: f64 per input channel, on a convolution or linear with a bias: the mean of its input over images and positions.
INPUT_MEAN = "gradcam.input_mean"


class InputMeans:
    """Means of the inputs of all layers with a bias, over images that come in batches."""

    def __init__(self, body: Iterable[Any]) -> None:
        layers = [op for op in body if _corrects(op)]
        self._layers = {op.results[0]: op.operands[0] for op in layers}
        self._sums: dict[ir.Value, np.ndarray | int] = dict.fromkeys(self._layers.values(), 0)
        self._counts = dict.fromkeys(self._sums, 0)

    def add(self, value: ir.Value, elements: np.ndarray) -> None:
        """Takes what a value of the function is for a batch: float32, N x C or N x C x H x W."""
        if value in self._sums:
            self._sums[value] += elements.sum((0, *range(2, elements.ndim)), dtype=np.float64)
            self._counts[value] += math.prod(elements.shape) // elements.shape[1]

    def write(self) -> None:
        """Writes `gradcam.input_mean` on every layer whose input was seen."""
        for result, value in self._layers.items():
            if self._counts[value]:
                means = self._sums[value] / self._counts[value]
                result.owner.attributes[INPUT_MEAN] = ir.DenseF64ArrayAttr.get(means.tolist())


def corrected_bias(op: Any, bias: np.ndarray, weight: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """The bias with which `op` computes, on average over the images for calibration, what it does in f32.

    What a convolution pads with counts as the mean.

    Args:
        op: a convolution or linear; without `gradcam.input_mean` its bias stays.
        bias: float32, O.
        weight: float32, O x I/groups x ...
        stored: what the rounded weights stand for, in the shape of `weight`.

    Returns:
        float64, O.
    """
    if INPUT_MEAN not in op.attributes:
        return bias.astype(np.float64)
    mean = np.array(ir.DenseF64ArrayAttr(op.attributes[INPUT_MEAN]), np.float64)
    rounded_off = (weight.astype(np.float64) - stored).sum(tuple(range(2, weight.ndim)))
    groups = groups_of(op)
    by_group = np.einsum("goi,gi->go", rounded_off.reshape(groups, -1, weight.shape[1]), mean.reshape(groups, -1))
    return bias + by_group.ravel()


def _corrects(op: Any) -> bool:
    product = trait(op, Product)
    return product is not None and not product.transposed and len(op.operands) > 2
