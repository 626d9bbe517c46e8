"""Networks whose channels are put together, taken apart and reordered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rtl_networks import Cat, Network, Part
from torch import nn


def head(net: Network, x: int, classes: int = 5) -> Network:
    net.add(nn.AdaptiveAvgPool2d(1), x)
    return net.classify(classes)


def branches(first: int = 8, second: int = 4) -> Network:
    """A module as in GoogLeNet: convolutions and a pool of one map, which a last convolution reads, too."""
    net = Network(3, 8, 7, seed=1)
    x = net.add(nn.ReLU(), net.conv(0, first))
    y = net.add(nn.ReLU(), net.conv(x, second, 1, 1, 0))
    z = net.add(nn.MaxPool2d(3, 1, 1), x)
    whole = net.add(Cat(), y, net.conv(y, first), z)
    last = net.add(nn.ReLU(), net.conv(whole, 6))
    return head(net, net.add(nn.ReLU(), net.add(Cat(), net.conv(y, 5), last)))


def growing(start: int = 8, growth: int = 4) -> Network:
    """A block of a DenseNet: each layer reads all maps before it, and the image is one of them."""
    net = Network(start, 7, 6, seed=2)
    x = 0
    for _ in range(3):
        y = net.conv(net.add(nn.ReLU(), x), growth)
        x = net.add(Cat(), x, y)
    return head(net, net.add(nn.ReLU(), x))


def shuffled(half: int = 4) -> Network:
    """Two units of ShuffleNetV2: one half passes, the other one is convolved; then the channels take turns."""
    net = Network(3, 8, 7, seed=3)
    x = net.add(nn.ReLU(), net.conv(0, 2 * half))
    for _ in range(2):
        y = net.add(nn.ReLU(), net.conv(net.add(Part(half, 2 * half), x), half, 1, 1, 0))
        y = net.conv(y, half, 3, 1, 1, groups=half)
        y = net.add(nn.ReLU(), net.conv(y, half, 1, 1, 0))
        x = net.add(nn.ChannelShuffle(2), net.add(Cat(), net.add(Part(0, half), x), y))
    return head(net, net.add(nn.ReLU(), net.conv(x, 6)))


def vectors() -> Network:
    """Averages and maxima of a map, side by side before the head."""
    net = Network(3, 6, 5, seed=4)
    x = net.add(nn.ReLU(), net.conv(0, 6))
    means = net.add(nn.Flatten(), net.add(nn.AdaptiveAvgPool2d(1), x))
    maxima = net.add(nn.Flatten(), net.add(nn.AdaptiveMaxPool2d(1), x))
    whole = net.add(Cat(), means, net.add(nn.ReLU(), net.add(nn.Linear(6, 7), maxima)), maxima)
    net.add(nn.Linear(19, 5), whole)
    return net


def twice() -> Network:
    """One map in two concatenations, and twice in one; channels that nothing reads; channels in reverse order."""
    net = Network(3, 7, 6, seed=5)
    x = net.add(nn.ReLU(), net.conv(0, 4))
    y = net.add(nn.ReLU(), net.conv(x, 4))
    a = net.add(Cat(), x, y, x)
    b = net.add(Cat(), y, net.conv(a, 4))
    c = net.conv(net.add(Part(1, 7), b), 4)
    return head(net, net.add(nn.ReLU(), net.add(Cat(), net.add(Part(2, 8), b), c)))


def pooled() -> Network:
    """A map beside its own maxima, so that the pool reads one part of a buffer and writes another one."""
    net = Network(3, 7, 6, seed=6)
    x = net.add(nn.ReLU(), net.conv(0, 4))
    whole = net.add(Cat(), x, net.add(nn.MaxPool2d(3, 1, 1), x))
    return head(net, net.add(nn.ReLU(), net.conv(whole, 6)))


def activated() -> Network:
    """A map beside its own activations, so that one layer computes several parts of a buffer."""
    net = Network(3, 7, 6, seed=7)
    x = net.add(nn.ReLU(), net.conv(0, 4))
    y = net.conv(x, 4)
    z = net.add(nn.ReLU6(), y)
    net.add(Cat(), x, y, z)
    return head(net, net.add(nn.ReLU(), net.conv(len(net.values) - 1, 6)))


def cut() -> Network:
    """A part of a map beside a convolution of all of it: one row of the classifier is read whole and in part."""
    net = Network(3, 7, 6, seed=7)
    x = net.add(nn.ReLU(), net.conv(0, 16))
    return head(net, net.add(Cat(), net.add(Part(4, 8), x), net.add(nn.ReLU(), net.conv(x, 8))))


class Take(nn.Module):
    """The channels of a list, in its order."""

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.order = list(order)

    def forward(self, x):
        return x[:, self.order]


def moved() -> Network:
    """Channels that take turns, in reverse, every second one and in any order, each time before a layer of channels."""
    net = Network(3, 5, 4, seed=8)
    x = net.add(nn.ReLU(), net.conv(0, 36))
    anyhow = np.random.default_rng(8).permutation(18)[:13].tolist()
    for layer in (nn.ChannelShuffle(3), Take(range(35, -1, -1)), Take(range(1, 36, 2)), Take(anyhow)):
        y = net.add(layer, x)
        x = net.add(nn.ReLU(), net.conv(y, net.channels(y), groups=net.channels(y)))
    return head(net, x)


#: The networks and the values that are explained in each.
NETWORKS = {
    "branches": (branches, (1, 2, 4, 7)),
    "ragged branches": (lambda: branches(6, 5), (1, 2, 4, 7)),
    "growing": (growing, (2, 3, 6, 10)),
    "ragged growing": (lambda: growing(6, 3), (2, 6)),
    "shuffled": (shuffled, (2, 6, 9, 14)),
    "wide shuffled": (lambda: shuffled(20), (2, 9)),
    "vectors": (vectors, (2,)),
    "twice": (twice, (2, 4, 5, 7)),
    "pooled": (pooled, (2, 4, 6)),
    "activated": (activated, (2, 3, 5)),
    "cut": (cut, (2, 6)),
    "moved": (moved, (2, 5, 8)),
}
