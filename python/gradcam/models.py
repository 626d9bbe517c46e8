"""ResNet-18 with torchvision's parameter names, and the small trained network that ships with the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gradcam import data
from gradcam.errors import GradcamError
from gradcam.state import load_state

TINYML_WEIGHTS = Path(__file__).parent / "assets" / "tinyml_resnet18.safetensors"


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut. As in torchvision, both activations are one shared `relu` module."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Maps float N x in_channels x H x W to N x channels x H/stride x W/stride (rounded up)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += shortcut
        return self.relu(y)


class ResNet18(nn.Module):
    """ResNet-18 of any width; see `resnet18`.

    Attributes:
        input_shape: example input shape, (1, in_channels, H, W).
        calibration_images: makes model inputs (float32, N x in_channels x H x W) to calibrate with, or None.
    """

    calibration_images: Callable[[], np.ndarray] | None = None

    def __init__(self, width: int, num_classes: int, stem: str, in_channels: int) -> None:
        super().__init__()
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(in_channels, width, 7, 2, 3, bias=False)
            side = 224
        else:
            self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
            side = 32
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else None
        self.layer1 = _stage(width, width, 1)
        self.layer2 = _stage(width, 2 * width, 2)
        self.layer3 = _stage(2 * width, 4 * width, 2)
        self.layer4 = _stage(4 * width, 8 * width, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width, num_classes)
        self.input_shape = (1, in_channels, side, side)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Maps float N x in_channels x H x W to logits, float N x num_classes."""
        x = self.relu(self.bn1(self.conv1(x)))
        if self.maxpool is not None:
            x = self.maxpool(x)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _stage(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(in_channels, channels, stride), BasicBlock(channels, channels, 1))


def resnet18(
    width: int = 64,
    num_classes: int = 1000,
    stem: str = "imagenet",
    in_channels: int = 3,
    weights: str | Path | None = None,
) -> ResNet18:
    """Makes a ResNet-18: with fresh weights in training mode, with the weights of a file in eval mode.

    Args:
        width: channels of the first stage; the stages have 1, 2, 4 and 8 times as many.
        num_classes: number of logits.
        stem: "imagenet" (7x7 stride 2, then 3x3 max-pool stride 2) or "cifar" (3x3 stride 1, no max-pool).
        in_channels: channels of the input image.
        weights: a state dict of these names and shapes, such as torchvision's `resnet18` weights; see `load_state`.

    Returns:
        The module. With the default arguments its state dict has exactly the names and shapes of torchvision's.

    Raises:
        GradcamError: an argument has no meaning, or the file does not hold the weights.
    """
    for name, value in (("width", width), ("num_classes", num_classes), ("in_channels", in_channels)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise GradcamError(f"resnet18: {name} must be a positive integer, got {value!r}")
    if stem not in ("imagenet", "cifar"):
        raise GradcamError(f"resnet18: stem must be 'imagenet' or 'cifar', got {stem!r}")
    model = ResNet18(width, num_classes, stem, in_channels)
    if weights is None:
        return model
    load_state(model, weights)
    return model.eval()


def tinyml_architecture() -> ResNet18:
    """Makes the untrained network of `tinyml_resnet18`: width 16, 10 classes, 3x64x64 input, no max-pool."""
    model = resnet18(width=16, num_classes=data.CLASSES, stem="cifar")
    model.input_shape = (1, 3, data.SIZE, data.SIZE)
    model.calibration_images = data.calibration_images
    return model


def tinyml_resnet18(weights: str | Path = TINYML_WEIGHTS) -> ResNet18:
    """Loads the digit classifier that `gradcam.tools.train_tinyml` trained, in eval mode, as float32.

    Its `calibration_images` attribute is `data.calibration_images`, which makes inputs from the training split.

    Args:
        weights: a file with the state dict; see `load_state`.

    Raises:
        GradcamError: the file is missing or does not hold this network's parameters.
    """
    model = tinyml_architecture()
    load_state(model, weights)
    return model.eval()
