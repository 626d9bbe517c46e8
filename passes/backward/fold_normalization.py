"""gradcam-fold-normalization: constants that a model applies to its image become part of how the image enters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch_mlir import ir

from gradcam.dialect import ops
from gradcam.dialect.verify import shape
from gradcam.images.preprocessing import Normalization
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.channel_affine import affine
from gradcam.passes.ir.constants import erase_if_unused
from gradcam.passes.ir.normalization import normalization_of, set_normalization
from gradcam.passes.ir.queries import main_function, users


@dataclass(frozen=True)
class FoldNormalization(Pass):
    """Takes batch norms of the image out of the function; the image is normalized before it enters.

    A network applies constants such as x * 2 - 1 or (x - mean) / std to its image as batch norms. In the convolution
    behind them they could be folded only without padding, since zeros are padded after the normalization. Before the
    image becomes int8 they are exact with any padding, and cost nothing. The argument's attribute
    `gradcam.normalization` holds them; whoever runs the function applies it to the image first. Several behind each
    other are composed in f64. A batch norm stays where the image has another reader that does something else, and where
    it makes a channel constant.

    This pass turns:

        func.func @main(%image: tensor<1x3x8x8xf32>) -> tensor<1x4xf32> {
          %x = "gradcam.batch_norm"(%image, %gamma, %beta, %mean, %var) {eps = 0.0 : f64}
          %y = "gradcam.conv2d"(%x, %w) {...}

    into:

        func.func @main(%image: tensor<1x3x8x8xf32> {gradcam.normalization = {mean = [...], std = [...]}}) -> ... {
          %y = "gradcam.conv2d"(%image, %w) {...}
    """

    name: ClassVar[str] = "gradcam-fold-normalization"

    def run(self, module: ir.Module) -> None:
        """Transforms `module` in place.

        Raises:
            GradcamError: a channel's var + eps is not positive.
        """
        with module.context, ir.Location.unknown():
            for function in module.body.operations:
                if function.operation.name == "func.func" and function.regions[0].blocks:
                    while _fold(function):
                        pass


def _fold(function: Any) -> bool:
    """Folds the batch norms that read the image; returns whether there were any to fold."""
    image, *_ = [*function.regions[0].blocks[0].arguments, None]
    norms = users(image) if image is not None else []
    numbers = _affine_of_all(norms)
    if numbers is None:
        return False
    channels = shape(image)[1]
    old = normalization_of(function) or Normalization((0.0,) * channels, (1.0,) * channels)
    new = old.then(*numbers)
    if not new.is_exact:
        return False
    set_normalization(function, new)
    for norm in norms:
        parameters = set(list(norm.operands)[1:])
        norm.y.replace_all_uses_with(image)
        norm.erase()
        for value in parameters:
            erase_if_unused(value)
    return True


def _affine_of_all(norms: list[Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Factor and offset per channel, f64, of batch norms that all do the same; None where that is not so."""
    if not norms or not all(isinstance(norm, ops.BatchNormOp) for norm in norms):
        return None
    first, *others = map(affine, norms)
    same = first is not None and all(other is not None and np.array_equal(first, other) for other in others)
    return first if same and first is not None and first[0].all() else None


def reads_normalized(module: ir.Module) -> bool:
    """Whether a model of level 1 normalizes its image: a batch norm reads it, or one was folded."""
    main = main_function(module)
    readers = users(main.entry_block.arguments[0])
    return normalization_of(main) is not None or any(isinstance(op, ops.BatchNormOp) for op in readers)
