"""Small PyTorch networks with seeded weights, by hand and at random, and their way through the compiler."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cam_formulas import cam
from torch import nn

from gradcam.compiler import Compilation, Settings
from gradcam.jit import compile_affine
from gradcam.output import compile_to_folder
from gradcam.reference.integer import run_integer

CHOICES = ("4x4", "8x8", "16x16", "16x8", "8x16", "32x32", "4x16", "2x8", "16x2")


class Sum(nn.Module):
    def forward(self, x, y):
        return x + y


class Cat(nn.Module):
    def forward(self, *parts):
        return torch.cat(parts, 1)


class Part(nn.Module):
    """The channels from one on to another one."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x):
        return x[:, self.start : self.stop]


class Product(nn.Module):
    def forward(self, x, y):
        return x * y


class Selected(nn.Module):
    """Selective kernels: a softmax of numbers per channel weighs two branches (Li et al. 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, 2 * channels, 1)

    def forward(self, x, y):
        both = torch.stack([x, y], 1)
        weights = self.fc(both.sum(1).mean((2, 3), keepdim=True))
        return (both * weights.unflatten(1, (2, -1)).softmax(1)).sum(1)


class Difference(nn.Module):
    def forward(self, x, y):
        return x - 0.5 * y


class Network(nn.Module):
    """A graph grown layer by layer. Value 0 is the image, value i the result of layer i, module path "layers.i".

    It knows all values on its example images, which also calibrate it, so that shapes need no arithmetic.
    """

    def __init__(self, channels: int, height: int, width: int, seed: int = 0) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.input_shape = (1, channels, height, width)
        self.calibration_images = self.rng.standard_normal((4, channels, height, width)).astype(np.float32)
        self.layers = nn.ModuleList([nn.Identity()])
        self.inputs = [(0,)]
        self.values = [torch.from_numpy(self.calibration_images)]
        self.target: int | None = None
        self.eval()

    def forward(self, image):
        values = [image]
        for number in range(1, len(self.layers)):
            values.append(self.layers[number](*(values[i] for i in self.inputs[number])))
        return values[-1]

    def add(self, layer: nn.Module, *inputs: int) -> int:
        """Appends a layer that reads the values `inputs` (default: the last one); returns the number of its result."""
        inputs = inputs or (len(self.values) - 1,)
        for name, parameter in layer.named_parameters():
            # Residual sums must not grow without bound, and biases must matter.
            scale = 0.3 if name.endswith("bias") else (2 / parameter[0].numel()) ** 0.5
            parameter.data = torch.from_numpy((scale * self.rng.standard_normal(parameter.shape)).astype(np.float32))
        self.layers.append(layer.eval())
        self.inputs.append(inputs)
        with torch.no_grad():
            self.values.append(layer(*(self.values[i] for i in inputs)))
        return len(self.values) - 1

    def channels(self, value: int = -1) -> int:
        return self.values[value].shape[1]

    def size(self, value: int = -1) -> tuple[int, int]:
        return tuple(self.values[value].shape[2:])

    def conv(self, x: int, out: int, kernel: Any = 3, stride: Any = 1, padding: Any = 1, **options: Any) -> int:
        return self.add(nn.Conv2d(self.channels(x), out, kernel, stride, padding, **options), x)

    def block(self, x: int, out: int, stride: int = 1) -> int:
        """A residual block with batch norms; returns its result."""
        shortcut = x
        if stride != 1 or out != self.channels(x):
            shortcut = self.add(nn.Sequential(nn.Conv2d(self.channels(x), out, 1, stride), nn.BatchNorm2d(out)), x)
        y = self.add(nn.ReLU(), self.add(nn.BatchNorm2d(out), self.conv(x, out, 3, stride, 1, bias=False)))
        y = self.add(nn.BatchNorm2d(out), self.conv(y, out, 3, 1, 1, bias=False))
        return self.add(nn.ReLU(), self.add(Sum(), y, shortcut))

    def gate(self, x: int, hidden: int, gate: nn.Module, act: nn.Module | None = None) -> int:
        """Squeeze-and-excite; returns its result."""
        y = self.conv(self.add(nn.AdaptiveAvgPool2d(1), x), hidden, 1, 1, 0)
        y = self.conv(self.add(act or nn.ReLU(), y), self.channels(x), 1, 1, 0)
        return self.add(Product(), x, self.add(gate, y))

    def explain(self, value: int = -1) -> int:
        """Makes the value (default: the last one) the target; without one there is no heatmap."""
        self.target = value % len(self.values)
        return self.target

    def classify(self, classes: int, *hidden: int) -> Network:
        """A head of linear layers behind the last value."""
        self.add(nn.Flatten())
        for features in hidden:
            self.add(nn.ReLU(), self.add(nn.Linear(self.channels(), features)))
        self.add(nn.Linear(self.channels(), classes))
        return self

    def settings(self, pe: str) -> Settings:
        target: Any = None if self.target is None else f"layers.{self.target}"
        return Settings(target, pe=pe, range_choice="max")

    def images(self, count: int, seed: int = 1) -> np.ndarray:
        """Random int8 images: some within the calibrated range, some that saturate everything behind them."""
        rng = np.random.default_rng(seed)
        spread = np.resize([40, 127], (count, 1, 1, 1))
        return np.clip(rng.normal(0, spread, (count, *self.input_shape[1:])), -128, 127).astype(np.int8)


def second_network() -> Network:
    """What the demo is not: 45x37 pixels, widths 20 and 36, biases, a strided stem, two average pools, 7 classes."""
    net = Network(3, 45, 37, seed=5)
    x = net.add(nn.ReLU(), net.conv(0, 20, 5, 2, 2))
    x = net.block(x, 20)
    x = net.block(x, 36, 2)
    net.block(x, 36)
    net.explain(net.add(nn.AvgPool2d(2)))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(7)


# One network per array, dense in what the hardware must get right.


def windows() -> Network:
    """Kernels 1, 2, 3 and 5, strides 1 to 3, padding, dilation, none of them square; more channels than lanes."""
    net = Network(20, 13, 17)
    x = net.add(nn.ReLU(), net.conv(0, 12, (3, 2), (1, 2), (1, 0)))
    x = net.add(nn.ReLU6(), net.conv(x, 17, (2, 5), 1, (1, 2), bias=False))
    x = net.conv(x, 9, 3, (2, 1), 2, dilation=2)
    x = net.add(nn.ReLU(), net.conv(x, 20, 1, (1, 2), 0))
    net.explain(net.conv(x, 11, (5, 1), 3, (2, 0), dilation=(1, 2), bias=False))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(17)


def sums() -> Network:
    """Sums of all kinds, of values with several readers; a module called twice; one input channel, two classes."""
    net, relu = Network(1, 9, 7), nn.ReLU()
    x = net.add(relu, net.conv(0, 6))
    x = net.add(relu, net.add(Sum(), net.conv(x, 6, 2, 1, 1, dilation=2), x))
    x = net.add(Sum(), x, net.conv(x, 6))
    x = net.add(Sum(), net.conv(x, 6), net.conv(x, 6))
    x = net.add(Sum(), x, x)
    y = net.add(Sum(), net.conv(x, 6), net.add(nn.MaxPool2d(3, 1, 1), x))
    x = net.add(Sum(), net.add(nn.Hardtanh(-1.5, 0.7), x), net.add(nn.Hardtanh(-0.3, 1.9), x))
    net.explain(net.add(nn.ReLU6(), net.add(Sum(), y, x)))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(2)


def pools() -> Network:
    """Overlapping and padded pools; an image whose words are written in other parts than a convolution's."""
    net = Network(20, 19, 15)
    x = net.add(nn.MaxPool2d((3, 2), 2, (1, 0)), net.conv(0, 16))
    x = net.add(nn.AvgPool2d(3, 2, 1), x)
    x = net.add(nn.AvgPool2d((1, 2), (1, 1)), x)
    net.explain(net.add(nn.MaxPool2d(2, 1, 1, 2), net.add(nn.ReLU(), net.conv(x, 20))))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(40)


def wide() -> Network:
    """70 channels, 40 classes, a heatmap with one row."""
    net = Network(3, 5, 11)
    net.explain(net.add(nn.ReLU(), net.conv(net.conv(0, 70, 3, 2, 1), 70, (3, 1), 1, 0)))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(40)


def point() -> Network:
    """Maps of one pixel."""
    net = Network(70, 1, 1)
    x = net.conv(net.add(nn.ReLU(), 0), 20, 1, 1, 0)
    net.explain(net.add(nn.ReLU(), net.conv(x, 12)))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(3)


def flat() -> Network:
    """Linear layers behind maps of more than one pixel; nothing to explain."""
    net = Network(3, 8, 7)
    net.add(nn.MaxPool2d(2), net.add(nn.ReLU(), net.conv(0, 10)))
    return net.classify(5, 18)


def table() -> Network:
    """An average pool and a flatten before the head: the explanation reads a table of its own, one row per class."""
    net = Network(3, 9, 8)
    net.explain(net.add(nn.ReLU(), net.conv(0, 10)))
    net.add(nn.AvgPool2d(2))
    return net.classify(5)


def single() -> Network:
    """A map of one channel: with one lane its bias and its multiplier are constants of one element."""
    net = Network(2, 6, 5, seed=1)
    net.conv(net.add(nn.ReLU(), net.conv(0, 1)), 3)
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(5)


def last_layer() -> Network:
    """The explanation of the last of several stages, on a large array."""
    net = Network(2, 6, 5)
    net.explain(net.add(nn.ReLU(), net.conv(0, 40)))
    net.add(nn.AvgPool2d((6, 5)))
    return net.classify(3)


def residual() -> Network:
    """Residual blocks behind a target layer, of ops whose integers all follow from the types of their operands."""
    net = Network(1, 9, 7)
    net.explain(net.block(net.add(nn.ReLU(), net.conv(0, 6)), 6))
    net.block(net.add(nn.MaxPool2d(2)), 10, 2)
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(3)


def leaky(target: int = 0) -> Network:
    """Leaky ReLUs behind a convolution, a pool, a sum and a linear layer; one of the first two is the target."""
    net = Network(3, 9, 8)
    x = first = net.add(nn.LeakyReLU(0.1), net.conv(0, 6))
    x = second = net.add(nn.LeakyReLU(0.3), net.add(nn.MaxPool2d(2), x))
    y = net.add(nn.LeakyReLU(inplace=True), net.conv(x, 6))
    net.add(nn.LeakyReLU(0.2), net.add(Sum(), x, y))
    net.explain((first, second)[target])
    net.add(nn.Flatten(), net.add(nn.AdaptiveAvgPool2d(1)))
    net.add(nn.LeakyReLU(0.5), net.add(nn.Linear(6, 7)))
    net.add(nn.Linear(7, 5))
    return net


def gated(target: int = 0) -> Network:
    """Squeeze-and-excite, products of maps, PReLU, hard sigmoid and hard swish behind layers of every kind."""
    net = Network(3, 9, 8)
    x = first = net.add(nn.Hardswish(), net.conv(0, 6))
    x = second = net.gate(x, 5, nn.Hardsigmoid())
    x = net.add(nn.PReLU(6), net.add(nn.MaxPool2d(2), x))
    y = net.add(nn.Hardswish(), net.conv(x, 6))
    x = net.add(Product(), net.add(nn.Hardsigmoid(), net.conv(x, 6)), y)
    net.add(nn.Hardswish(), net.add(Sum(), x, net.gate(y, 3, nn.Hardsigmoid(), nn.PReLU())))
    net.explain((first, second)[target])
    net.add(nn.Flatten(), net.add(nn.AdaptiveAvgPool2d(1)))
    net.add(nn.Hardswish(), net.add(nn.Linear(6, 7)))
    net.add(nn.PReLU(), net.add(nn.Linear(7, 6)))
    net.add(nn.Linear(6, 5))
    return net


def tabulated(target: int = 0) -> Network:
    """Every function that is a table, behind layers of every kind."""
    net = Network(3, 9, 8)
    x = first = net.add(nn.SiLU(), net.conv(0, 6))
    x = second = net.gate(x, 5, nn.Sigmoid(), nn.SiLU())
    x = net.add(nn.GELU(), net.add(nn.MaxPool2d(2), x))
    y = net.add(nn.Mish(), net.conv(x, 6))
    net.add(nn.GELU("tanh"), net.add(Sum(), x, net.add(nn.Tanh(), net.conv(y, 6))))
    net.explain((first, second)[target])
    net.add(nn.Flatten(), net.add(nn.AdaptiveAvgPool2d(1)))
    net.add(nn.SiLU(), net.add(nn.Linear(6, 7)))
    net.add(nn.Linear(7, 5))
    return net


def double_oracle(net: Network, target: int, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits and raw map of the first example image by PyTorch's autograd in f64."""
    layers = [copy.deepcopy(layer).double() for layer in net.layers]
    values = [torch.from_numpy(net.calibration_images[:1]).double()]
    for number in range(1, len(layers)):
        value = layers[number](*(values[i].clone() for i in net.inputs[number]))  # one layer writes in place
        values.append(value.requires_grad_() if number == target else value)
    logits, a = values[-1], values[target]
    (g,) = torch.autograd.grad(logits[0, int(logits.argmax())], a)
    return logits.detach().numpy(), cam(method, a.detach(), g).numpy()


# Through the compiler.


def scheduled(net: Network, pe: str, images: np.ndarray, cls: int = -1) -> tuple[Any, list[tuple[np.ndarray, Any]]]:
    """The level-4 module, and what the integer reference gives for the images."""
    compilation = Compilation(net, net.settings(pe))
    quantized = compilation.to("quantized")
    expected = [run_integer(quantized, image[None], cls) for image in images]
    return compilation.to("scheduled"), expected


def run_affine_of(module: Any, images: np.ndarray, cls: int = -1) -> list[list[np.ndarray]]:
    """Outputs of a level-4 module with an explanation, for int8 images."""
    run = compile_affine(module, 2, optimize=0)
    request = np.array([cls], np.int32)
    return [run(np.ascontiguousarray(image.transpose(1, 2, 0)), request) for image in images]


def design(net: Network, pe: str, folder: Path) -> dict[str, Any]:
    """Compiles to a folder; returns the report."""
    return compile_to_folder(net, "test", net.settings(pe), folder)


# Random networks.


def random_network(seed: int) -> tuple[Network, str]:
    """A network of a few random layers and a random head, and an array to compile it for."""
    attempts = (_attempt(np.random.default_rng([seed, 7, attempt]), seed) for attempt in range(100))
    # A value that is zero or infinite on all examples cannot be calibrated.
    return next((n, pe) for n, pe in attempts if all(v.isfinite().all() and v.any() for v in n.values))


def _attempt(rng: np.random.Generator, seed: int) -> tuple[Network, str]:
    net = Network(int(rng.choice([1, 2, 3, 5, 17, 20])), *map(int, rng.integers(5, 15, 2)), seed)
    x = 0
    for _ in range(rng.integers(2, 7)):
        x = _random_layer(net, rng, x)
    if x == 0:
        x = net.conv(0, 5)
    _random_head(net, rng, x)
    return net, str(rng.choice(CHOICES))


def _window(rng: np.random.Generator, size: tuple[int, int], dilate: bool) -> dict[str, tuple[int, int]]:
    kernel = [int(v) for v in rng.choice([1, 2, 3, 3, 5], 2)]
    dilation = [int(v) if dilate else 1 for v in rng.choice([1, 1, 2], 2)]
    padding = [int(rng.integers(0, k // 2 + 1)) for k in kernel]
    for d in range(2):
        if dilation[d] * (kernel[d] - 1) + 1 > size[d] + 2 * padding[d]:
            kernel[d], padding[d] = 1, 0
    stride = [int(v) for v in rng.choice([1, 1, 2, 3], 2)]
    window = {"kernel_size": kernel, "stride": stride, "padding": padding}
    return {n: tuple(v) for n, v in (window | ({"dilation": dilation} if dilate else {})).items()}


def _random_conv(net: Network, rng: np.random.Generator, x: int, **options: Any) -> int:
    out = int(rng.choice([1, 3, 4, 7, 8, 16, 17, 20, 33]))
    options = _window(rng, net.size(x), True) | options
    if rng.integers(4) == 0:
        options["padding"] = (3, 1)  # a whole window may lie in the padding
    return net.add(nn.Conv2d(net.channels(x), out, bias=bool(rng.integers(2)), **options), x)


def _random_groups(net: Network, rng: np.random.Generator, x: int, depthwise: bool) -> int:
    channels = net.channels(x)
    groups = channels if depthwise else int(rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
    out = groups * (1 if depthwise or groups > 20 else int(rng.integers(1, 4)))
    options = _window(rng, net.size(x), True)
    return net.add(nn.Conv2d(channels, out, groups=groups, bias=bool(rng.integers(2)), **options), x)


def _random_layer(net: Network, rng: np.random.Generator, x: int) -> int:
    sums = ["block", "plus", "minus", "twice", "two", "mix", "clamps", "old"]
    simple = ["max", "avg", "relu", "relu6", "leaky", "norm", "gate", "curve", "cat", "take"]
    size = net.size(x)
    larger = ["up", "adaptive"] if max(size) < 9 else []
    sums += ["select"] if net.channels(x) > 1 else []
    kind = rng.choice(["conv", "conv", "conv", "depthwise", "groups", *simple, *sums, *larger])
    same: dict[str, Any] = {"kernel_size": 3, "stride": 1, "padding": 1, "dilation": 1}
    if kind == "conv":
        return _random_activation(net, rng, _random_conv(net, rng, x))
    if kind in ("depthwise", "groups"):
        return _random_activation(net, rng, _random_groups(net, rng, x, kind == "depthwise"))
    if kind == "max":
        return net.add(nn.MaxPool2d(**_window(rng, size, True)), x)
    if kind == "up":
        return net.add(nn.Upsample(scale_factor=tuple(map(float, rng.integers(1, 4, 2)))), x)
    if kind == "adaptive":
        return net.add(nn.AdaptiveAvgPool2d(tuple(map(int, rng.integers(1, 10, 2)))), x)
    if kind == "avg":
        return net.add(nn.AvgPool2d(**_window(rng, size, False)), x)
    if kind in ("relu", "relu6", "leaky"):
        return net.add({"relu": nn.ReLU, "relu6": nn.ReLU6, "leaky": nn.LeakyReLU}[kind](), x)
    if kind == "cat":
        y = _random_activation(net, rng, net.add(nn.Conv2d(net.channels(x), int(rng.choice([3, 8, 16])), **same), x))
        fitting = [i for i, v in enumerate(net.values) if v.ndim == 4 and v.shape[2:] == net.values[x].shape[2:]]
        return net.add(Cat(), *rng.permutation([y, int(rng.choice(fitting)), x]).tolist())
    if kind == "take":
        groups = [n for n in (2, 3, 5) if net.channels(x) % n == 0]
        if groups and rng.integers(2):
            return net.add(nn.ChannelShuffle(groups[0]), x)
        start = int(rng.integers(net.channels(x)))
        return net.add(Part(start, int(rng.integers(start, net.channels(x))) + 1), x)
    if kind == "curve":
        return net.add(_random_curve(net, rng, x), x)
    if kind == "gate":
        gate = [nn.Sigmoid(), nn.Hardsigmoid(), nn.Tanh()][rng.integers(3)]
        return net.gate(x, int(rng.integers(1, 9)), gate, _random_curve(net, rng, x, shared=True))
    if kind == "block":
        return net.block(x, int(rng.choice([net.channels(x), 4, 20])), int(rng.integers(1, 3)))
    if kind == "plus":
        y = net.add(nn.Conv2d(net.channels(x), net.channels(x), **same), x)
        return _random_activation(net, rng, net.add(Sum(), *rng.permutation([y, x]).tolist()))
    if kind == "twice":
        return _random_activation(net, rng, net.add(Sum(), x, x))
    if kind == "two":
        options = _window(rng, size, True)
        y, z = (net.add(nn.Conv2d(net.channels(x), 6, **options), x) for _ in range(2))
        return _random_activation(net, rng, net.add(Sum(), y, z))
    if kind == "minus":
        y = net.add(nn.Conv2d(net.channels(x), net.channels(x), **same), x)
        return _random_activation(net, rng, net.add(Difference(), *rng.permutation([y, x]).tolist()))
    if kind == "select":
        y = net.add(nn.Conv2d(net.channels(x), net.channels(x), **same), x)
        return net.add(Selected(net.channels(x)), x, y)
    if kind == "mix":
        layers = [nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1), nn.Conv2d(net.channels(x), net.channels(x), **same)]
        y, z = (net.add(layers[i], x) for i in rng.permutation(3)[:2])
        return _random_activation(net, rng, net.add(Sum(), y, z))
    if kind == "clamps":
        return net.add(Sum(), net.add(nn.Hardtanh(-1.5, 0.7), x), net.add(nn.ReLU6(), x))
    if kind == "norm":
        return _random_activation(net, rng, net.add(nn.BatchNorm2d(net.channels(x)), x))
    fitting = [i for i, v in enumerate(net.values) if v.shape == net.values[x].shape]
    return net.add(Sum(), x, int(rng.choice(fitting)))


def _random_activation(net: Network, rng: np.random.Generator, x: int) -> int:
    simple = [nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(rng.choice([0.01, 0.1, 0.7])), None]
    layer = [*simple, _random_curve(net, rng, x)][rng.integers(5)]
    return x if layer is None else net.add(layer, x)


def _random_curve(net: Network, rng: np.random.Generator, x: int, shared: bool = False) -> nn.Module:
    """An activation that is more than a line with two ends; its slopes are `shared` by all channels."""
    slopes = nn.PReLU(1 if shared else net.channels(x))
    tables = nn.SiLU(), nn.GELU(), nn.GELU("tanh"), nn.Mish(), nn.Tanh(), nn.Sigmoid()
    return [slopes, nn.Hardswish(), nn.Hardsigmoid(), *tables][rng.integers(9)]


def _random_head(net: Network, rng: np.random.Generator, x: int) -> None:
    """Explained where the explanation has a quantized form: behind a global pool and one linear layer."""
    kind = rng.choice(["global", "global", "adaptive", "pools", "flatten", "hidden", "conv"])
    classes = int(rng.choice([2, 3, 17, 40]))
    if kind == "pools" and min(net.size(x)) > 1:
        x = net.add(nn.AvgPool2d(2), x)
    if kind == "flatten":
        net.classify(classes, *map(int, rng.integers(3, 20, rng.integers(3))))
        return
    if kind in ("global", "adaptive", "pools"):
        net.explain(x)
    net.add(nn.AvgPool2d(net.size(x)) if kind == "global" else nn.AdaptiveAvgPool2d(1), x)
    if kind == "conv":
        net.add(nn.Flatten(), net.conv(len(net.values) - 1, classes, 1, 1, 0))
        return
    net.classify(classes, *([11] if kind == "hidden" else []))
