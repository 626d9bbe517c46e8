"""A small network for the pages."""

import torch
from torch import nn


class Net(nn.Module):
    """Two convolutions, of which the second is explained, and a classifier."""

    input_shape = (1, 3, 16, 16)
    calibration_images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU())
        self.fc = nn.Linear(8, 3)
        self.eval()

    def forward(self, x):
        return self.fc(self.second(self.first(x)).mean((2, 3)))
