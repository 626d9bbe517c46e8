"""Tiny models for the tests of gradcam-compile."""

import torch
from torch import Tensor, nn


class Tiny(nn.Module):
    """Two convolutions, a global average pool and a classifier with fixed weights; brings its calibration images."""

    input_shape = (1, 3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.ReLU())
        self.fc = nn.Linear(4, 2)
        self.eval()

    def calibration_images(self) -> Tensor:
        """Four images, 3x8x8 each."""
        return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps 1x3x8x8 to 1x2."""
        return self.fc(self.body(self.stem(x)).mean((2, 3)))


class Bare(Tiny):
    """The same without calibration images."""

    calibration_images = None  # pyright: ignore[reportAssignmentType]


class Shapeless(Tiny):
    """The same without an input shape."""

    input_shape = None  # pyright: ignore[reportAssignmentType]


def touch() -> Tiny:
    """Leaves a file `loaded`, to show that the model was loaded."""
    open("loaded", "w").close()  # noqa: PTH123
    return Tiny()


def broken() -> Tiny:
    """Fails."""
    raise RuntimeError("out of ideas")


def number() -> int:
    """Gives no model."""
    return 3
