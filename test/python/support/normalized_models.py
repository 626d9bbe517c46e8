"""Models that apply constants to their image, in front of a padded convolution."""

import torch
from torch import nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Buffers(nn.Module):
    """(x - mean) / std, as torchvision's Normalize in a model."""

    def __init__(self, mean=MEAN, std=STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x):
        return (x - self.mean) / self.std


class Scalars(nn.Module):
    """x * 2 - 1."""

    def forward(self, x):
        return x * 2 - 1


class Shift(nn.Module):
    """(x - 0.3) / 0.32."""

    def forward(self, x):
        return (x - 0.3) / 0.32


class Reverse(nn.Module):
    """1 - x: the sign changes."""

    def forward(self, x):
        return 1 - x


class Gains(nn.Module):
    """A channel times 0: no image makes it vary."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor([0.5, 0.0, 2.0]).view(1, -1, 1, 1))

    def forward(self, x):
        return x * self.factor + 0.25


class Network(nn.Module):
    """A padded convolution with ReLU, one without padding, `act`, a global average and a linear layer.

    `norm` is what is done to the image. `twice` adds a convolution of the image as it is.
    """

    def __init__(self, norm, channels=3, twice=False) -> None:
        super().__init__()
        self.input_shape = (1, channels, 4, 8)
        self.norm, self.twice = norm, twice
        self.first, self.second = nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(4, 4, 3)
        self.raw, self.act, self.fc = nn.Conv2d(channels, 4, 1), nn.ReLU(), nn.Linear(4, 3)

    def forward(self, x):
        y = self.first(self.norm(x))
        if self.twice:
            y = y + self.raw(x)
        return self.fc(self.act(self.second(torch.relu(y))).mean((2, 3)))


def network(norm=None, **options) -> Network:
    """The network with weights of a seed, in eval mode; without `norm` the image is taken as it is."""
    torch.manual_seed(0)
    return Network(norm or nn.Identity(), **options).eval()


def input_norm() -> nn.BatchNorm2d:
    """A batch norm of 3 channels with statistics and parameters."""
    norm = nn.BatchNorm2d(3)
    numbers = {norm.weight.data: -1.5, norm.bias.data: -1, norm.running_mean: 0, norm.running_var: 0.5}
    for values, low in numbers.items():
        values.copy_(torch.linspace(low, low + 1, 3))
    return norm
