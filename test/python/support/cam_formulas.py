"""The class activation methods, written in PyTorch from their papers: independent of the derivation under test."""

from __future__ import annotations

import torch

#: What pytorch-grad-cam adds to divisors, by method.
EPS = {"xgradcam": 1e-7, "gradcam++": 1e-6}


def cam(method: str, a: torch.Tensor, g: torch.Tensor, eps: float | None = None) -> torch.Tensor:
    """The raw map (1xHxW, f64) of a feature map (1xCxHxW) and the gradient of the class score at it."""
    eps = EPS.get(method, 0.0) if eps is None else eps
    a, g = a.detach().double(), g.detach().double()
    total = a.sum((2, 3), keepdim=True)
    zero = torch.zeros_like(g)
    match method:
        case "gradcam":  # Selvaraju et al. 2017, eq. 1 and 2
            weights = g.mean((2, 3), keepdim=True)
        case "hirescam":  # Draelos and Carin 2020
            weights = g
        case "xgradcam":  # Fu et al. 2020
            weights = (a / (total + eps) * g).sum((2, 3), keepdim=True)
        case "layercam":  # Jiang et al. 2021
            weights = torch.maximum(g, zero)
        case "gradcam++":  # Chattopadhay et al. 2018, eq. 19
            alpha = g.pow(2) / (2 * g.pow(2) + total * g.pow(3) + eps)
            weights = (alpha * torch.maximum(g, zero)).sum((2, 3), keepdim=True)
        case "gradcam-elementwise":  # pytorch-grad-cam, GradCAMElementWise
            return torch.maximum(g * a, zero).sum(1)
        case _:
            raise ValueError(method)
    return (weights * a).sum(1)


def is_well_conditioned(method: str, a: torch.Tensor, g: torch.Tensor, noise_level: float = 5e-7) -> bool:
    """Whether the map keeps four digits under relative noise, by default three bits of f32, in `a` and `g`.

    The divisors of xgradcam and gradcam++ can come near 0 by cancellation.
    """
    noise = torch.Generator().manual_seed(0)
    exact = cam(method, a, g)
    for _ in range(3):
        moved = cam(method, *(x.double() * (1 + noise_level * torch.randn(x.shape, generator=noise)) for x in (a, g)))
        if (moved - exact).abs().max() > 1e-4 * exact.abs().max():
            return False
    return True
