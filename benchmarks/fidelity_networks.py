"""The networks of `benchmarks/fidelity.py`, with their images, calibration and target layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import efficientnet
import numpy as np
import photographs
import thin_resnet
import zoo_packages

from gradcam.data import Images, compose, load_test_images, to_input
from gradcam.frontend import load_model
from gradcam.images import Preprocessing

SHIPPED = "gradcam.models:tinyml_resnet18"

#: The sets of the shipped network: images that the project's generator composes, of a seed that nothing else takes, and
#: those that ship with the package.
SETS = ("composed", "shipped")
SEED = 1801


@dataclass(frozen=True)
class Network:
    """A network and what it is measured on.

    Attributes:
        name: for readers.
        model: in eval mode.
        targets: module paths of the feature maps to explain.
        sets: images as the network takes them, float32, N x C x H x W, by the name of the set.
        boxes: of the objects in the images of a set, int, N x 4: x0, y0, x1, y1 in pixels, x1 and y1 exclusive.
        settings: of the compile, where they are not the default.
    """

    name: str
    model: Any
    targets: tuple[str, ...]
    sets: Mapping[str, np.ndarray]
    boxes: Mapping[str, np.ndarray] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def shipped(count: int) -> Network:
    """The network that ships with the package, on at most `count` images of each set."""
    sets: dict[str, Images] = dict(zip(SETS, (compose("test", count, SEED), load_test_images()), strict=True))
    inputs = {name: to_input(images.pixels[:count]) for name, images in sets.items()}
    boxes = {name: images.boxes[:count] for name, images in sets.items()}
    targets = ("layer4", "layer3", "layer2", "layer1", "layer1.0.relu")
    return Network(SHIPPED, load_model(SHIPPED), targets, inputs, boxes)


def efficientnet_lite0(count: int) -> Network:
    """EfficientNet-Lite0 with its ImageNet weights."""
    model = zoo_packages.efficientnet_lite0()
    return _on_photographs("EfficientNet-Lite0", model, efficientnet.TARGETS, efficientnet.inputs, count)


def thin_resnet50(count: int) -> Network:
    """A ResNet-50 with half the channels and the weights of open_nsfw."""
    levels = 255
    prepared = Preprocessing.of(tuple(m / levels for m in thin_resnet.MEAN), (1 / levels,) * 3)
    model = zoo_packages.thin_resnet50()
    return _on_photographs(
        "ResNet-50-thin",
        model,
        ("stage3", "stage2", "stage1", "stage0"),
        lambda pixels: prepared.normalized(pixels, levels),
        count,
    )


def _on_photographs(
    name: str, model: Any, targets: tuple[str, ...], inputs: Callable[[np.ndarray], np.ndarray], count: int
) -> Network:
    """A network for 224x224 pixels on at most `count` photographs, other crops of which calibrate."""
    pictures = photographs.whole_photographs(efficientnet.NAMES)
    pixels = np.stack([efficientnet.centre(picture) for picture in pictures.values()])
    calibration = inputs(efficientnet.crops(list(pictures.values())))
    settings = {"calibration": calibration, "input_shape": (1, *calibration.shape[1:])}
    return Network(name, model, targets, {"photographs": inputs(pixels[:count])}, settings=settings)


#: By the name that `--network` takes.
NETWORKS: dict[str, Callable[[int], Network]] = {
    "shipped": shipped,
    "efficientnet-lite0": efficientnet_lite0,
    "thin-resnet50": thin_resnet50,
}
