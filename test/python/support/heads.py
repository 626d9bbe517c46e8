"""Heads as people write them, behind a small network of two convolutions, and autograd's map of each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from rtl_networks import Network
from torch import nn

CHANNELS, HEIGHT, WIDTH, CLASSES = 6, 8, 6, 5


class Function(nn.Module):
    """A head that is a function of the map, with a linear layer or a 1x1 convolution if it needs one."""

    def __init__(self, function: Callable[..., torch.Tensor], layer: nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.layer = function, layer

    def forward(self, x):
        return self.function(x) if self.layer is None else self.function(x, self.layer)


def _conv(channels: int = CHANNELS, out: int = CLASSES, kernel=1, **options) -> nn.Conv2d:
    return nn.Conv2d(channels, out, kernel, **options)


def _linear(function: Callable[..., torch.Tensor]) -> nn.Module:
    return Function(lambda x, layer: layer(function(x)), nn.Linear(CHANNELS, CLASSES))


def _pool() -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def _heads(count: int, weigh: Callable[..., torch.Tensor]) -> nn.Module:
    """Several heads of the mean, each a batch norm and a linear layer, some without a bias, put together by `weigh`."""
    layers = [
        nn.Sequential(nn.BatchNorm1d(CHANNELS), nn.Linear(CHANNELS, CLASSES, bias=n % 2 == 0)) for n in range(count)
    ]
    each = Function(lambda x, heads: weigh(*(head(x) for head in heads)), nn.ModuleList(layers))
    return nn.Sequential(*_pool(), each)


def _conv_last(pool: nn.Module) -> nn.Module:
    return nn.Sequential(pool, _conv(), nn.Flatten())


#: Linear heads with a pool: a row of a table, and nothing else of the backward pass, is left at the target before them.
LINEAR: dict[str, Callable[[], nn.Module]] = {
    "pool, linear": lambda: nn.Sequential(*_pool(), nn.Linear(CHANNELS, CLASSES)),
    "convolution, pool": lambda: nn.Sequential(_conv(), *_pool()),
    "convolution, batch norm, pool": lambda: nn.Sequential(_conv(bias=False), nn.BatchNorm2d(CLASSES), *_pool()),
    "pool, convolution (DLA)": lambda: _conv_last(nn.AdaptiveAvgPool2d(1)),
    "pool of the map's size, convolution": lambda: _conv_last(nn.AvgPool2d((HEIGHT, WIDTH))),
    "pool, convolution, no flatten": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), _conv()),
    "3x3 convolution, pool": lambda: nn.Sequential(_conv(kernel=3, padding=1), *_pool()),
    "convolution of the whole map": lambda: nn.Sequential(_conv(kernel=(HEIGHT, WIDTH)), nn.Flatten()),
    "two pools, convolution between": lambda: nn.Sequential(nn.AvgPool2d(2), _conv(), *_pool()),
    "max-pool, linear": lambda: nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, CLASSES)),
    "mean over (2, 3)": lambda: _linear(lambda x: x.mean((2, 3))),
    "mean of means": lambda: _linear(lambda x: x.mean(3).mean(2)),
    "flatten(2).mean(-1)": lambda: _linear(lambda x: x.flatten(2).mean(-1)),
    "squeezes": lambda: _linear(lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1)),
    "squeeze of all": lambda: Function(
        lambda x, layer: layer(F.adaptive_avg_pool2d(x, 1).squeeze()), nn.Linear(CHANNELS, CLASSES)
    ),
    "[:, :, 0, 0]": lambda: _linear(lambda x: F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0]),
    "amax": lambda: _linear(lambda x: x.amax((2, 3))),
    "linear of the channels, mean": lambda: Function(
        lambda x, layer: layer(x.permute(0, 2, 3, 1)).mean((1, 2)), nn.Linear(CHANNELS, CLASSES)
    ),
    "mean of two heads (RepViT)": lambda: _heads(2, lambda x, y: (x + y) / 2),
    "weighed heads": lambda: _heads(3, lambda x, y, z: 1 - 0.3 * (x + 2 * y - 1.5 * z.neg())),
    "softmax": lambda: nn.Sequential(*_pool(), nn.Linear(CHANNELS, CLASSES), nn.Softmax(1)),
    "log_softmax": lambda: nn.Sequential(_conv(), nn.AdaptiveAvgPool2d(1), nn.LogSoftmax(1), nn.Flatten()),
    "sigmoid": lambda: nn.Sequential(*_pool(), nn.Linear(CHANNELS, CLASSES), nn.Sigmoid()),
}

#: Heads that are not linear, or have no layer of weights between the target and the logits.
OTHER: dict[str, Callable[[], nn.Module]] = {
    "convolution, ReLU, pool (SqueezeNet)": lambda: nn.Sequential(_conv(), nn.ReLU(), *_pool()),
    "3x3 convolution, ReLU, pool": lambda: nn.Sequential(_conv(kernel=3), nn.ReLU(), *_pool()),
    "two convolutions with ReLUs, pool (NiN)": lambda: nn.Sequential(
        _conv(out=7), nn.ReLU(), _conv(7), nn.ReLU(), *_pool()
    ),
    "pool, convolution, ReLU, convolution": lambda: nn.Sequential(
        nn.AdaptiveAvgPool2d(1), _conv(out=7), nn.ReLU(), _conv(7), nn.Flatten()
    ),
    "convolutions of the whole map": lambda: nn.Sequential(
        _conv(out=7, kernel=(HEIGHT, WIDTH)), nn.ReLU(), _conv(7), nn.Flatten()
    ),
    "pool, linear, ReLU": lambda: nn.Sequential(*_pool(), nn.Linear(CHANNELS, CLASSES), nn.ReLU()),
    "pool, linear, leaky ReLU": lambda: nn.Sequential(*_pool(), nn.Linear(CHANNELS, CLASSES), nn.LeakyReLU(0.2)),
    "pool, convolution, ReLU6": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), _conv(), nn.ReLU6(), nn.Flatten()),
    "convolution, max-pool": lambda: nn.Sequential(_conv(), nn.AdaptiveMaxPool2d(1), nn.Flatten()),
    "convolution, ReLU, max-pool": lambda: nn.Sequential(_conv(), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten()),
    "pool alone": lambda: nn.Sequential(*_pool()),
    "pool, two linear layers": lambda: nn.Sequential(*_pool(), nn.Linear(CHANNELS, 4), nn.Linear(4, CLASSES)),
    "convolution, pool, constants": lambda: Function(
        lambda x, layer: 1 - 2 * F.adaptive_avg_pool2d(layer(x), 1), _conv()
    ),
}

HEADS = LINEAR | OTHER

#: Functions behind the logits that are left out, by head; the logits are the input of the module.
LEFT_OUT = {"softmax": "3", "log_softmax": "2", "sigmoid": "3"}


def network(head: str, target: str = "last", seed: int = 0) -> Network:
    """Two convolutions and a head; the target is the "last" feature map before the head, or an "earlier" one."""
    net = Network(3, HEIGHT, WIDTH, seed)
    torch.manual_seed(seed)
    earlier = net.add(nn.ReLU(), net.conv(0, 5))
    last = net.add(nn.ReLU(), net.conv(earlier, CHANNELS))
    net.explain(last if target == "last" else earlier)
    net.add(HEADS[head]())
    return net


def oracle(net: Network, head: str, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits (1xK) and the map of the best class (1xHxW) by autograd in f64."""
    net.double()
    last = net.layers[-1]
    logits_of = last[: int(LEFT_OUT[head])] if head in LEFT_OUT else last
    values = [torch.from_numpy(image).double()]
    for number in range(1, len(net.layers) - 1):
        values.append(net.layers[number](*(values[i] for i in net.inputs[number])))
    logits = logits_of(values[-1]).reshape(1, -1)
    (g,) = torch.autograd.grad(logits.max(), values[net.target])
    net.float()
    map_ = (g.mean((2, 3), keepdim=True) * values[net.target]).sum(1)
    return logits.detach().numpy(), map_.detach().numpy()
