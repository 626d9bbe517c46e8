"""A network with layers of many kinds, each of which can be the one that is explained."""

from rtl_networks import Network, Sum
from torch import nn

from gradcam.compiler import Settings

#: The values of `network()` that are explained: stem, its norm, a strided 5x2 convolution, a clamp, two blocks, a
#: convolution of stride 3 with dilation, a last one.
TARGETS = {"stem": 1, "norm": 2, "strided": 4, "clamp": 5, "block": 12, "wide": 19, "dilated": 20, "last": 22}
METHODS = ("gradcam", "hirescam", "layercam")


def network() -> Network:
    """Strides 1 to 3, padding, dilation, kernels that are not square, odd sizes, residual sums, ReLU, ReLU6."""
    net = Network(3, 27, 22, seed=3)
    x = net.add(nn.ReLU(), net.add(nn.BatchNorm2d(5), net.conv(0, 5)))
    x = net.add(nn.ReLU6(), net.conv(x, 6, (5, 2), (2, 1), (1, 0)))
    x = net.block(x, 6)
    x = net.block(x, 9, 2)
    x = net.conv(x, 7, 3, (3, 1), 2, dilation=(1, 2))
    x = net.add(Sum(), net.conv(net.add(nn.ReLU(), x), 7), x)
    net.add(nn.AdaptiveAvgPool2d(1), net.add(nn.ReLU(), x))
    return net.classify(5, 8)


def settings(target: str, method: str, pe: str) -> Settings:
    return Settings(f"layers.{TARGETS[target]}", method, pe, range_choice="max")
