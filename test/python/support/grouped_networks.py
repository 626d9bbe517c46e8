"""A network of depthwise and grouped convolutions, whose layers can be the one that is explained."""

from rtl_networks import Network, Sum
from torch import nn

from gradcam.compiler import Settings

#: The values of `network()` that are explained: before a depthwise convolution, before one of stride 2 and dilation,
#: before groups of several channels, and the last one.
TARGETS = {"stem": 2, "expanded": 8, "multiplied": 11, "last": 14}


def network() -> Network:
    """Depthwise convolutions of several windows, one with two outputs per channel, and groups of three and six."""
    net = Network(3, 13, 11, seed=4)
    stem = net.add(nn.ReLU(), net.conv(0, 6, 3, 2))
    x = net.add(nn.ReLU6(), net.conv(stem, 6, groups=6))
    x = net.add(Sum(), net.conv(x, 6, 1, 1, 0), stem)
    x = net.add(nn.ReLU(), net.conv(x, 10, 1, 1, 0))
    x = net.add(nn.ReLU(), net.conv(x, 10, (5, 2), (2, 1), (2, 1), dilation=(1, 2), groups=10))
    x = net.conv(x, 20, groups=10)
    x = net.add(nn.ReLU(), net.conv(x, 12, (3, 2), (1, 2), groups=4))
    net.conv(x, 8, groups=2)
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(5)


def settings(target: str, method: str, pe: str, **options) -> Settings:
    return Settings(f"layers.{TARGETS[target]}", method, pe, range_choice="max", **options)
