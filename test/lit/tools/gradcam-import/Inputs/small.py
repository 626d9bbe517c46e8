"""Small models for the tests of gradcam-import."""

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """A convolution, a global average pool and a classifier with fixed weights."""

    input_shape = (1, 3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, 2)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Maps 1x3x8x8 to 1x2."""
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


class Faulty(Small):
    """Two ops that are not supported."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.ConvTranspose2d(4, 4, 2)
        self.act = nn.Softplus()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Maps 1x3x8x8 to 1x2."""
        return self.fc(self.act(self.pool(self.conv(x))).mean((2, 3)))
