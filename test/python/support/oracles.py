"""The explanations of a PyTorch module by `torch.autograd` in f64."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def gradients(
    model: nn.Module, image: Tensor, paths: Sequence[str], cls: int = -1
) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """Logits, and by path the last feature map of a module and the gradient of the logit of a class at it.

    Args:
        model: stays as it is.
        image: 1xCxHxW.
        paths: of modules.
        cls: the class, -1 for the best.
    """
    model, seen = copy.deepcopy(model).double(), dict[str, Tensor]()

    def keep(path: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            seen[path] = output
            return output.clone()  # what follows may write in place

        return hook

    for path in paths:
        model.get_submodule(path).register_forward_hook(keep(path))
    logits = model(image.double().requires_grad_())
    score = logits.max() if cls < 0 else logits[0, cls]
    found = torch.autograd.grad(score, [seen[path] for path in paths])
    return logits.detach(), {path: (seen[path].detach(), g) for path, g in zip(paths, found, strict=True)}
