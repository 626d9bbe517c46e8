"""The software beside which the compiler is measured: Grad-CAM by `torch.autograd`, and the libraries in use."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from gradcam.errors import GradcamError

INSTALL = "pip install -c constraints.txt '.[peers]'"

#: One inference with its explanation: an image (1xCxHxW) to the logits (1xK) and the map of the predicted class (hxw).
Explain = Callable[[Tensor], tuple[Tensor, Any]]

#: Prepares a model, which is then the maker's own, for one target layer by its module path.
Make = Callable[[nn.Module, str], AbstractContextManager[Explain]]


@dataclass(frozen=True)
class Peer:
    """A way to explain a model in software.

    Attributes:
        name: for readers.
        packages: the distributions that do the work, besides PyTorch.
        methods: its makers by the name of the method.
        full_size: its maps have the size of the image, not of the feature map.
        remark: what a reader of its figures must know, "" for nothing.
    """

    name: str
    packages: tuple[str, ...]
    methods: Mapping[str, Make]
    full_size: bool = False
    remark: str = ""


def load_peers() -> tuple[list[Peer], list[str]]:
    """Imports the peers; those that are not installed are left out, and a line for each says how to install it."""
    peers, left_out = [], []
    for name, load in LOADERS.items():
        try:
            peers.append(load())
        except ImportError as error:
            left_out.append(f"{name} is left out ({error}); {INSTALL} installs it")
    return peers, left_out


#: Maps (hxw) of a feature map and its gradient (1xCxhxw each), from the papers.
FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gradcam": lambda a, g: (g.mean((2, 3), keepdim=True) * a).sum((0, 1)),
    "hirescam": lambda a, g: (g * a).sum((0, 1)),
    "layercam": lambda a, g: (g.clamp(min=0) * a).sum((0, 1)),
}


def check_modules(model: nn.Module, targets: Sequence[str]) -> None:
    """Refuses target layers that are no modules, which every peer hooks; of several calls they take the last.

    Raises:
        GradcamError: the model has no such module.
    """
    modules = dict(model.named_modules())
    if unknown := [target for target in targets if target not in modules]:
        raise GradcamError(f"the model has no module '{unknown[0]}'")


def autograd_peer() -> Peer:
    """`torch.autograd` alone, without a library."""
    return Peer("torch.autograd", (), {name: functools.partial(_differentiated, name) for name in FORMULAS})


@contextlib.contextmanager
def _differentiated(method: str, model: nn.Module, target: str) -> Iterator[Explain]:
    """The least that autograd can do: nothing is recorded before the target layer, no weight gets a gradient."""
    feature_map = torch.empty(0)

    def begin(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        nonlocal feature_map
        feature_map = output.detach().requires_grad_()
        return feature_map.clone()  # an in-place op may follow

    def explain(image: Tensor) -> tuple[Tensor, Tensor]:
        logits = model(image)
        (gradient,) = torch.autograd.grad(logits.amax(), feature_map)
        return logits.detach(), FORMULAS[method](feature_map.detach(), gradient)

    model.requires_grad_(False)
    handle = model.get_submodule(target).register_forward_hook(begin)
    try:
        yield explain
    finally:
        handle.remove()


def _load_grad_cam() -> Peer:
    remark = ""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):  # RuntimeError: this torchvision was built for another build of torch
        remark = "imported without torchvision, which does not run here; no explanation uses it"
    with _torchvision_names() if remark else contextlib.nullcontext():
        library: Any = importlib.import_module("pytorch_grad_cam")
    classes = {"gradcam": library.GradCAM, "hirescam": library.HiResCAM, "layercam": library.LayerCAM}
    methods = {name: functools.partial(_hooked, found) for name, found in classes.items()}
    return Peer("pytorch-grad-cam", ("grad-cam", "opencv-python-headless"), methods, full_size=True, remark=remark)


@contextlib.contextmanager
def _hooked(library_class: Any, model: nn.Module, target: str) -> Iterator[Explain]:
    cam = library_class(model=model, target_layers=[model.get_submodule(target)])

    def explain(image: Tensor) -> tuple[Tensor, Any]:
        (heatmap,) = cam(input_tensor=image, targets=None)
        return cam.outputs.detach(), heatmap

    try:
        yield explain
    finally:
        cam.activations_and_grads.release()


@contextlib.contextmanager
def _torchvision_names() -> Iterator[None]:
    """Empty modules with the names of torchvision that pytorch-grad-cam imports, while the block runs."""
    names = {
        "torchvision": (),
        "torchvision.transforms": ("Compose", "Normalize", "ToTensor"),
        "torchvision.transforms.functional": ("resize",),
    }
    for name, members in names.items():
        module = ModuleType(name)
        module.__dict__.update(dict.fromkeys(members))
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def _load_captum() -> Peer:
    library: Any = importlib.import_module("captum.attr")
    # It has no HiResCAM by name: that is its gradient times activation, summed over the channels.
    classes = {"gradcam": library.LayerGradCam, "hirescam": library.LayerGradientXActivation}
    methods = {name: functools.partial(_attributed, found) for name, found in classes.items()}
    return Peer("Captum", ("captum",), methods)


@contextlib.contextmanager
def _attributed(library_class: Any, model: nn.Module, target: str) -> Iterator[Explain]:
    logits = torch.empty(0)

    def score(image: Tensor) -> Tensor:
        nonlocal logits
        logits = model(image)
        return logits.amax(1)  # with an index as its target, the class must be known from an inference before

    attribution = library_class(score, model.get_submodule(target))

    def explain(image: Tensor) -> tuple[Tensor, Tensor]:
        attributed = attribution.attribute(image.detach().requires_grad_())  # it warns of images that do not require it
        return logits.detach(), attributed.detach().sum((0, 1))

    yield explain


def _load_torch_cam() -> Peer:
    library: Any = importlib.import_module("torchcam.methods")
    classes = {"gradcam": library.GradCAM, "layercam": library.LayerCAM}
    return Peer("torch-cam", ("torchcam",), {n: functools.partial(_extracted, found) for n, found in classes.items()})


@contextlib.contextmanager
def _extracted(library_class: Any, model: nn.Module, target: str) -> Iterator[Explain]:
    with library_class(model, target_layer=target) as extractor:

        def explain(image: Tensor) -> tuple[Tensor, Tensor]:
            logits = model(image)
            (heatmap,) = extractor(int(logits.argmax()), logits)
            return logits.detach(), heatmap[0]

        yield explain


#: In the order of the table's columns; each raises ImportError when its library is not installed.
LOADERS: dict[str, Callable[[], Peer]] = {
    "torch.autograd": autograd_peer,
    "pytorch-grad-cam": _load_grad_cam,
    "Captum": _load_captum,
    "torch-cam": _load_torch_cam,
}
