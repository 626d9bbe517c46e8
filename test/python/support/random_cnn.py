"""Random small CNNs, written twice: as gradcam IR and as PyTorch functions, whose autograd is the oracle."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from cam_formulas import cam
from torch.overrides import TorchFunctionMode
from torch_mlir import ir
from torch_mlir.dialects import arith, func

from gradcam.dialect import activation_ops, cam_ops, channel_ops, ops, product_ops, resample_ops
from gradcam.dialect.methods import EPS, EPS_OF

#: Of a generated convolution; most have few, so that the networks stay fast.
MAX_CHANNELS = 70

#: The functions that are tables, as PyTorch computes them.
FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "mish": F.mish,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "tanh": torch.tanh,
}

# The networks are tiny: starting threads costs more than they save.


def integer(value: int) -> ir.IntegerAttr:
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)


def pair(values) -> ir.ArrayAttr:
    return ir.ArrayAttr.get([integer(v) for v in values])


def flag(value: bool) -> ir.IntegerAttr:
    # A BoolAttr `false` is falsy, which the bindings' op builders take for a missing attribute.
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(1), value)


def real(value: float) -> ir.FloatAttr:
    return ir.FloatAttr.get(ir.F64Type.get(), value)


def tensor_type(shape, element=None) -> ir.RankedTensorType:
    return ir.RankedTensorType.get(list(shape), element or ir.F32Type.get())


def constant(array: torch.Tensor | None) -> ir.Value | None:
    if array is None:
        return None
    type_ = tensor_type(array.shape)
    return arith.ConstantOp(type_, ir.DenseElementsAttr.get(array.contiguous().numpy(), type=type_)).result


def around(x: torch.Tensor, padding, value: float = 0.0) -> torch.Tensor:
    """`x` with padding of [top, left, bottom, right], or of [height, width] on both sides."""
    top, left, bottom, right = [*padding] * (4 // len(padding))
    return F.pad(x, (left, right, top, bottom), value=value)


@dataclass
class Node:
    """One op: numbers of its inputs, its two forms, and its value on the example image."""

    inputs: list[int]
    forward: Callable[..., torch.Tensor]
    build: Callable[..., Any]
    value: torch.Tensor


class _Double(TorchFunctionMode):
    """Lets PyTorch's functions compute in f64 where they are given f32."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        def double(value):
            if isinstance(value, torch.Tensor) and value.dtype == torch.float32 and function is not torch.Tensor.double:
                return value.double()
            return type(value)(map(double, value)) if type(value) in (list, tuple) else value

        return function(*map(double, args), **{n: double(v) for n, v in (kwargs or {}).items()})


class Network:
    """A graph grown node by node; node 0 is the image. Every layer method returns the number of its node."""

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.image = self.normal(*shape)
        self.nodes = [Node([], lambda: self.image, lambda: None, self.image)]

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.from_numpy(self.rng.standard_normal(shape).astype(np.float32))

    def shape(self, node: int) -> list[int]:
        return list(self.nodes[node].value.shape)

    def append(self, inputs: list[int], forward: Callable[..., Any], build: Callable[..., Any]) -> int:
        self.nodes.append(Node(inputs, forward, build, forward(*(self.nodes[i].value for i in inputs))))
        return len(self.nodes) - 1

    def pad(self, x, padding) -> int:
        def build(v, type_):
            return ops.AvgPool2dOp(v, pair([1, 1]), pair([1, 1]), pair(padding), pair([1, 1]), flag(True), type_)

        return self.append([x], lambda v: around(v, padding), build)

    def conv(self, x, out, kernel, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, bias=True) -> int:
        fan_in = self.shape(x)[1] // groups
        w = self.normal(out, fan_in, *kernel) * (2 / (fan_in * kernel[0] * kernel[1])) ** 0.5
        b = self.normal(out) if bias else None

        def build(v, type_):
            args = (pair(stride), pair(padding), pair(dilation), integer(groups))
            return ops.Conv2dOp(v, constant(w), constant(b), *args, type_)

        return self.append([x], lambda v: F.conv2d(around(v, padding), w, b, stride, 0, dilation, groups), build)

    def linear(self, x, out, bias=True) -> int:
        w = self.normal(out, self.shape(x)[1]) / self.shape(x)[1] ** 0.5
        b = self.normal(out) if bias else None
        return self.append(
            [x], lambda v: F.linear(v, w, b), lambda v, type_: ops.LinearOp(v, constant(w), constant(b), type_)
        )

    def relu(self, x) -> int:
        return self.append([x], F.relu, ops.ReluOp)

    def relu6(self, x) -> int:
        return self.append([x], F.relu6, lambda v, type_: ops.HardtanhOp(v, real(0), real(6), type_))

    def below_six(self, x) -> int:
        """relu6, or the clamp that differs from it on the bounds only."""
        return self.clamp(x, 0.0, 6.0) if x % 2 else self.relu6(x)

    def clamp(self, x, lo=-0.5, hi=1.0) -> int:
        return self.append([x], lambda v: v.clamp(lo, hi), lambda v, type_: ops.ClampOp(v, real(lo), real(hi), type_))

    def leaky_relu(self, x, slope=0.1) -> int:
        return self.append(
            [x], lambda v: F.leaky_relu(v, slope), lambda v, type_: ops.LeakyReluOp(v, real(slope), type_)
        )

    def prelu(self, x) -> int:
        slopes = self.normal(self.shape(x)[1])
        return self.append(
            [x], lambda v: F.prelu(v, slopes), lambda v, type_: activation_ops.PReluOp(v, constant(slopes), type_)
        )

    def hard_sigmoid(self, x) -> int:
        return self.append([x], F.hardsigmoid, activation_ops.HardSigmoidOp)

    def hard_swish(self, x) -> int:
        return self.append([x], F.hardswish, activation_ops.HardSwishOp)

    def function(self, x, name=None) -> int:
        """One of the functions that are tables, by its name or at random."""
        name = name or str(self.rng.choice(list(FUNCTIONS)))

        def build(v, type_):
            return activation_ops.FunctionOp(v, ir.StringAttr.get(name), type_)

        return self.append([x], FUNCTIONS[name], build)

    def scale(self, x, factor) -> int:
        return self.append([x], lambda v: factor * v, lambda v, type_: cam_ops.ScaleOp(v, real(factor), type_))

    def mul(self, x, y) -> int:
        return self.append([x, y], lambda v, w: v * w.reshape(*w.shape, *[1] * (v.ndim - w.ndim)), product_ops.MulOp)

    def squeeze_excite(self, x) -> int:
        """The numbers per channel are those of a 1x1 map, or of a vector."""
        if x % 2:
            hidden = self.hard_swish(self.conv(self.global_pool(x), 3, (1, 1)))
            return self.mul(x, self.hard_sigmoid(self.conv(hidden, self.shape(x)[1], (1, 1))))
        hidden = self.relu(self.linear(self.flatten(self.global_pool(x)), 3))
        return self.mul(x, self.function(self.linear(hidden, self.shape(x)[1]), "sigmoid"))

    def product(self, x) -> int:
        """The product of two maps, one of them scaled: by a power of two, so that its place changes no bit."""
        return self.mul(self.scale(self.conv(x, self.shape(x)[1], (1, 1)), 0.5), self.function(x))

    def add(self, x, y) -> int:
        return self.append([x, y], torch.add, ops.AddOp)

    def concat(self, x, y) -> int:
        return self.append([x, y], lambda *v: torch.cat(v, 1), channel_ops.ConcatOp)

    def take(self, x, order) -> int:
        """The channels `order` of x; -1 is zeros."""
        order = [int(c) for c in order]

        def forward(v):
            return torch.cat((v, torch.zeros_like(v[:, :1])), 1)[:, order]

        return self.append([x], forward, lambda v, type_: channel_ops.TakeChannelsOp(v, pair(order), type_))

    def flatten(self, x) -> int:
        return self.append([x], lambda v: v.flatten(1), ops.FlattenOp)

    def batch_norm(self, x) -> int:
        c = self.shape(x)[1]
        gamma, beta, mean, var = self.normal(c), self.normal(c), self.normal(c), self.normal(c) ** 2 + 0.1

        def build(v, type_):
            return ops.BatchNormOp(v, *map(constant, (gamma, beta, mean, var)), real(1e-5), type_)

        return self.append([x], lambda v: F.batch_norm(v, mean, var, gamma, beta, False, 0.0, 1e-5), build)

    def max_pool(self, x, kernel, stride, padding, dilation=(1, 1)) -> int:
        def build(v, type_):
            return ops.MaxPool2dOp(v, *map(pair, (kernel, stride, padding, dilation)), type_)

        return self.append(
            [x], lambda v: F.max_pool2d(around(v, padding, -math.inf), kernel, stride, 0, dilation), build
        )

    def avg_pool(self, x, kernel, stride, padding=(0, 0), include_pad=True) -> int:
        def build(v, type_):
            window = map(pair, (kernel, stride, padding, (1, 1)))
            return ops.AvgPool2dOp(v, *window, flag(include_pad), type_)

        def forward(v):
            mean = partial(F.avg_pool2d, kernel_size=kernel, stride=stride)
            # The mean of ones is the part of a window that counts.
            return mean(around(v, padding)) / (1 if include_pad else mean(around(torch.ones_like(v), padding)))

        return self.append([x], forward, build)

    def upsample(self, x, factor) -> int:
        return self.append(
            [x],
            lambda v: F.interpolate(v, scale_factor=tuple(map(float, factor))),
            lambda v, type_: resample_ops.Upsample2dOp(v, pair(factor), type_),
        )

    def adaptive_pool(self, x, out) -> int:
        def build(v, type_):
            return resample_ops.AdaptiveAvgPool2dOp(v, type_)

        return self.append([x], lambda v: F.adaptive_avg_pool2d(v, out), build)

    def global_pool(self, x) -> int:
        size = self.shape(x)[2:]
        return self.avg_pool(x, size, size)

    def feature_maps(self) -> list[int]:
        """Nodes that can be a target: 4-D, on a path to the last node."""
        used = {len(self.nodes) - 1}
        for i in reversed(range(len(self.nodes))):
            if i in used:
                used.update(self.nodes[i].inputs)
        return [i for i in sorted(used) if i > 0 and self.nodes[i].value.ndim == 4]

    def gradient(self, target: int, cls: int = -1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits, the target feature map, and the gradient of the class score at it by PyTorch's autograd, in f64."""
        values: list[torch.Tensor] = []
        with _Double():
            for node in self.nodes:
                value = node.forward(*(values[i] for i in node.inputs)).double()
                values.append(value.detach().requires_grad_() if len(values) == target else value)
            logits, a = values[-1], values[target]
            score = logits[0, int(logits.argmax()) if cls < 0 else cls]
        (g,) = torch.autograd.grad(score, a)
        return logits.detach(), a.detach(), g

    def oracle(self, target: int, method: str, cls: int = -1) -> tuple[np.ndarray, np.ndarray]:
        """Logits and raw map, by PyTorch's autograd."""
        logits, a, g = self.gradient(target, cls)
        return logits.numpy(), cam(method, a, g).numpy()

    def module(self, target: int, method: str) -> ir.Module:
        """The network as IR with its explanation, in the current context; node i has the location "node<i>"."""
        return self.explaining([(target, method)])

    def explaining(self, asked: list[tuple[int, str]]) -> ir.Module:
        """As `module`, with a map for each target and method in `asked`."""
        with ir.Location.unknown():
            module = ir.Module.create()
            index = tensor_type([1], ir.IntegerType.get_signless(32))
            maps = [tensor_type([1, *self.shape(target)[2:]]) for target, _ in asked]
            type_ = ir.FunctionType.get([tensor_type(self.shape(0)), index], [tensor_type(self.shape(-1)), *maps])
            with ir.InsertionPoint(module.body):
                main = func.FuncOp("main", type_)
            with ir.InsertionPoint(main.add_entry_block()):
                image, cls = main.arguments
                values = self._build(image, {target for target, _ in asked})
                results = []
                for (target, method), map_ in zip(asked, maps, strict=True):
                    conventions = ir.StringAttr.get(method), flag(True), flag(True), real(EPS_OF.get(method, EPS))
                    explain = cam_ops.ExplainOp(values[-1], values[target], cls, *conventions, map_)
                    results.append(explain.result)
                func.ReturnOp([values[-1], *results])
        return module

    def _build(self, image: ir.Value, targets: set[int]) -> list[ir.Value]:
        values = [image]
        for i, node in enumerate(self.nodes[1:], 1):
            with ir.Location.name(f"node{i}"):
                value = node.build(*(values[j] for j in node.inputs), tensor_type(node.value.shape)).result
                if i in targets:
                    value = cam_ops.TargetOp(value, ir.StringAttr.get(f"node{i}"), value.type).result
            values.append(value)
        return values


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference over the largest wanted value; zeros must be met exactly."""
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-12))


def op_names(module: ir.Module) -> list[str]:
    """Op names of the first function, in order, without the dialect."""
    return [op.operation.name.split(".")[1] for op in module.body.operations[0].entry_block.operations]


def random_case(seed: int) -> tuple[Network, int]:
    """A random network and one of its feature maps."""
    net = random_network(seed)
    maps = net.feature_maps()
    return net, maps[seed * 7 % len(maps)]


def random_network(seed: int) -> Network:
    """A network of three to six random layers and a random head; every op of the dialect occurs over a few seeds."""
    rng = np.random.default_rng([seed, 1])
    net = Network((1, int(rng.integers(1, 4)), *map(int, rng.integers(9, 18, 2))), seed)
    x = net.conv(0, 4, (3, 3), padding=(1, 1))
    for _ in range(rng.integers(3, 7)):
        x = _layer(net, rng, x)
    _head(net, rng, x)
    return net


def _layer(net: Network, rng: np.random.Generator, x: int) -> int:
    channels, *size = net.shape(x)[1:]
    simple = ["batch_norm", "relu", "below_six", "leaky_relu", "prelu", "hard_sigmoid", "hard_swish", "function"]
    pools, moves = ["max_pool", "avg_pool", "pad"], ["concat", "take", "shuffle"]
    pools += ["upsample", "adaptive_pool"] if max(size) < 9 else []
    kind = rng.choice(["conv", "conv", "conv", *simple, "squeeze_excite", "product", *pools, "residual", *moves])
    if kind == "conv":
        return net.relu(_random_conv(net, rng, x))
    if kind in ("max_pool", "avg_pool"):
        kernel = [int(min(k, n)) for k, n in zip(rng.integers(1, 4, 2), size, strict=True)]
        stride = [int(v) for v in rng.integers(1, 4, 2)]
        padding = [int(rng.integers(0, k // 2 + 1)) for k in kernel]
        if kind == "avg_pool":
            behind = _behind(rng, size, kernel, stride, padding, [1, 1])
            return net.avg_pool(x, kernel, stride, behind, bool(rng.integers(2)))
        dilation = [int(rng.integers(1, 3)) if 2 * (k - 1) < n else 1 for k, n in zip(kernel, size, strict=True)]
        return net.max_pool(x, kernel, stride, _behind(rng, size, kernel, stride, padding, dilation), dilation)
    if kind == "upsample":
        return net.upsample(x, rng.integers(1, 4, 2).tolist())
    if kind == "adaptive_pool":
        return net.adaptive_pool(x, rng.integers(1, 10, 2).tolist())
    if kind == "pad":
        return net.pad(x, rng.integers(0, 3, 4).tolist())
    if kind == "residual":
        y = net.batch_norm(net.conv(x, channels, (3, 3), padding=(1, 1), bias=False))
        return net.relu(net.add(net.conv(net.relu(y), channels, (3, 3), padding=(2, 2), dilation=(2, 2)), x))
    if kind == "concat":
        branches = net.relu(net.conv(x, channels, (1, 1))), net.conv(x, channels, (3, 3), padding=(1, 1))
        return net.concat(net.concat(*branches), x)
    if kind == "take":
        order = rng.permutation(channels)[: rng.integers(1, channels + 1)]
        return net.take(x, [-1 if rng.integers(8) == 0 and len(order) > 1 and k else c for k, c in enumerate(order)])
    if kind == "shuffle":  # a unit of ShuffleNet: one half passes, and the channels of both halves take turns
        half = channels // 2 or channels
        y = net.relu(net.conv(net.take(x, range(channels - half, channels)), half, (1, 1)))
        whole = net.concat(net.take(x, range(half)), y)
        return net.take(whole, np.arange(2 * half).reshape(2, half).T.ravel())
    return getattr(net, kind)(x)


def _behind(rng: np.random.Generator, size, kernel, stride, padding, dilation) -> list[int]:
    """The padding with one of its own behind the map, as ceil_mode has it: the last window meets the map."""
    after = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        choices = [q for q in range(d * (k - 1) + 1) if (n + p + q - d * (k - 1) - 1) // s * s < n + p]
        after.append(int(rng.choice([q for q in choices if n + p + q > d * (k - 1)])))
    return [*padding, *after]


def _random_conv(net: Network, rng: np.random.Generator, x: int) -> int:
    channels, *size = net.shape(x)[1:]
    kernel = [int(v) for v in rng.integers(1, 4, 2)]
    padding = rng.integers(0, 3, rng.choice([2, 4])).tolist()
    dilation = [int(v) for v in rng.integers(1, 3, 2)]
    for d in range(2):
        if dilation[d] * (kernel[d] - 1) + 1 > size[d] + padding[d] + padding[d - 2]:
            kernel[d] = 1
    stride = [int(v) for v in rng.integers(1, 4, 2)]
    groups = int(rng.choice([g for g in (1, 2, channels) if channels % g == 0]))
    out = groups * int(rng.integers(1, max(1, MAX_CHANNELS // groups) + 1 if rng.random() < 0.2 else 4))
    return net.conv(x, out, kernel, stride, padding, dilation, groups, bool(rng.integers(2)))


def _head(net: Network, rng: np.random.Generator, x: int) -> int:
    kind = rng.choice(["global", "flatten", "pool", "mlp", "conv"])
    size = net.shape(x)[2:]
    if kind == "global":
        return net.linear(net.flatten(net.global_pool(x)), 5)
    if kind == "flatten":
        return net.linear(net.flatten(x), 4, bias=False)
    if kind == "pool":
        kernel = [max(1, n // 2) for n in size]
        return net.linear(net.flatten(net.avg_pool(x, kernel, kernel)), 4)
    if kind == "mlp":
        return net.linear(net.relu(net.linear(net.flatten(x), 12)), 6)
    return net.flatten(net.global_pool(net.conv(x, 6, (1, 1))))
