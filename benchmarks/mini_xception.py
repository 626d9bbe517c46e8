"""Mini-Xception, the classifier of facial expressions that the package `fer` brings as an HDF5 file of Keras."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SIDE = 64  # height and width of its images, which are grey, with levels from 0 to 1
CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
CHANNELS = (8, 16, 32, 64, 128)  # behind the stem and behind every block


class MiniXception(nn.Module):
    """The network of O. Arriaga et al., arXiv:1710.07557, for 7 expressions and without its last softmax."""

    def __init__(self) -> None:
        super().__init__()
        stem = CHANNELS[0]
        self.stem = nn.Sequential(
            *_normalized(nn.Conv2d(1, stem, 3, bias=False)), *_normalized(nn.Conv2d(stem, stem, 3, bias=False))
        )
        blocks, side = [], SIDE - 4
        for inputs, outputs in itertools.pairwise(CHANNELS):
            blocks.append(Block(inputs, outputs, side))
            side = -(-side // 2)
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Conv2d(CHANNELS[-1], len(CLASSES), 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images, Nx1x64x64, to the logits of `CLASSES`, Nx7."""
        return self.head(self.blocks(self.stem(x))).mean((2, 3))


class Block(nn.Module):
    """Two separable convolutions and a max-pool, beside a convolution of 1x1; both halve a map of height `side`.

    Keras pads the pool so that it gives ceil(side / 2) rows, and puts the odd row of padding at the end.
    """

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.separable = nn.Sequential(
            Separable(inputs, outputs), _norm(outputs), nn.ReLU(), Separable(outputs, outputs), _norm(outputs)
        )
        self.pool = nn.MaxPool2d(3, 2, padding=side % 2, ceil_mode=side % 2 == 0)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), _norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Maps NxCxHxW to NxKxH/2xW/2, rounded up."""
        return self.pool(self.separable(x)) + self.shortcut(x)


class Separable(nn.Module):
    """A convolution of every channel by itself, then one of 1x1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.rows = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.points = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps NxCxHxW to NxKxHxW."""
        return self.points(self.rows(x))


def mini_xception(file: Path, h5py: Any) -> MiniXception:
    """The network with the weights of Keras.

    Args:
        file: the HDF5 file.
        h5py: the package that reads it.
    """
    model = MiniXception()
    with h5py.File(file) as opened:
        weights = _Weights(opened["model_weights"])
        for layers in (model.stem, *(half for b in model.blocks for half in (b.shortcut, b.separable)), [model.head]):
            weights.put_into(layers)
    return model.eval()


class _Weights:
    """Weights by the names that Keras gives layers: a kind, and a number that counts the layers of that kind."""

    def __init__(self, groups: Any) -> None:
        self._groups = groups
        self._used = {"conv2d": 0, "separable_conv2d": 0, "batch_normalization": 0}

    def put_into(self, layers: Any) -> None:
        """Gives layers that stand in the order in which Keras made them the weights of the next ones in the file."""
        for layer in layers:
            if isinstance(layer, Separable):
                rows, points = self._next("separable_conv2d", "depthwise_kernel", "pointwise_kernel")
                layer.rows.load_state_dict({"weight": rows.permute(2, 3, 0, 1)})
                layer.points.load_state_dict({"weight": points.permute(3, 2, 0, 1)})
            elif isinstance(layer, nn.Conv2d):
                kernel, *bias = self._next("conv2d", "kernel", *(() if layer.bias is None else ("bias",)))
                layer.load_state_dict({"weight": kernel.permute(3, 2, 0, 1)} | ({"bias": bias[0]} if bias else {}))
            elif isinstance(layer, nn.BatchNorm2d):
                values = self._next("batch_normalization", "gamma", "beta", "moving_mean", "moving_variance")
                names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
                layer.load_state_dict(dict(zip(names, (*values, torch.tensor(0)), strict=True)))

    def _next(self, kind: str, *names: str) -> list[Tensor]:
        self._used[kind] += 1
        layer = f"{kind}_{self._used[kind]}"
        (group,) = self._groups[layer].values()
        return [torch.from_numpy(np.array(group[f"{name}:0"])) for name in names]


def _normalized(convolution: nn.Conv2d) -> tuple[nn.Module, ...]:
    return convolution, _norm(convolution.out_channels), nn.ReLU()


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
