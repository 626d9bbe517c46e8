"""The network of docs/architecture.md: one residual block, a global average pool and a linear head."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class Block(nn.Module):
    """relu(x + conv2(x)) with x = relu(bn1(conv1(image)))."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4, eps=0.25)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """image: 1x3x4x8, result: 1x4x4x8."""
        x = torch.relu(self.bn1(self.conv1(image)))
        return torch.relu(x + self.conv2(x))


class Network(nn.Module):
    """Maps an image (1x3x4x8, 0 to 1) to three logits (1x3)."""

    input_shape = (1, 3, 4, 8)

    def __init__(self) -> None:
        super().__init__()
        self.block = Block()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of an image."""
        return self.fc(torch.flatten(self.pool(self.block(image)), 1))

    @staticmethod
    def calibration_images() -> np.ndarray:
        """Four images, float32, 4x3x4x8."""
        return _sixteenths(4 * 3 * 4 * 8, 0, 17).reshape(4, 3, 4, 8)


def network() -> Network:
    """The network in eval mode.

    Weights and pixels are short binary fractions and the pool has 32 elements: f32 arithmetic is exact, so that every
    machine calibrates the same scales and prints the same IR.
    """
    model = Network()
    with torch.no_grad():
        for parameter in model.parameters():
            values = _sixteenths(parameter.numel(), -6, 7)
            parameter.copy_(torch.from_numpy(values).reshape(parameter.shape))
        model.block.bn1.get_buffer("running_mean").fill_(0.125)
        model.block.bn1.get_buffer("running_var").fill_(0.75)  # with eps: 1
        for values in (model.block.bn1.weight, model.block.conv2.weight):
            _scale_channels(values)
    return model.eval()


def _scale_channels(values: torch.Tensor) -> None:
    """Makes the output channels differ in range, so that each gets a weight scale of its own. values: 4x..."""
    values *= torch.tensor([1.0, 0.75, 0.5, 0.25]).reshape(4, *[1] * (values.ndim - 1))


def _sixteenths(count: int, low: int, high: int) -> np.ndarray:
    """`count` multiples of 1/16 from `low`/16 to below `high`/16, in no obvious order; float32."""
    return ((np.arange(count) * 37 // 5 % (high - low) + low) / 16).astype(np.float32)
