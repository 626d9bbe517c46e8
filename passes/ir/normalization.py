"""The model's own normalization of its image, as an attribute of the image argument at levels 1 and 2."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.images.preprocessing import Normalization
from gradcam.passes.ir.attributes import NORMALIZATION, decode, encode


def normalization_of(main: Any) -> Normalization | None:
    """What is done to the image before it enters the function `main`; None for nothing."""
    if "arg_attrs" not in main.attributes:
        return None
    entries = ir.DictAttr(ir.ArrayAttr(main.attributes["arg_attrs"])[0])
    if NORMALIZATION.key not in entries:
        return None
    numbers = decode(entries[NORMALIZATION.key])
    return Normalization(tuple(numbers["mean"]), tuple(numbers["std"]))


def set_normalization(main: Any, normalization: Normalization) -> None:
    """Sets what is done to the image before it enters the function `main`."""
    numbers = encode({"mean": normalization.mean, "std": normalization.std})
    set_image_attribute(main, NORMALIZATION.key, numbers)


def set_image_attribute(main: Any, name: str, attribute: ir.Attribute) -> None:
    """Sets an attribute of the image argument."""
    attributes = [{a.name: a.attr for a in argument} for argument in main.arg_attrs]
    attributes[0][name] = attribute
    main.arg_attrs = ir.ArrayAttr.get([ir.DictAttr.get(a) for a in attributes])


def entering(main: Any, images: np.ndarray) -> np.ndarray:
    """The images, float N x C x H x W, as the function `main` takes them: after the model's own normalization."""
    normalization = normalization_of(main)
    return images if normalization is None else normalization.applied(images)
