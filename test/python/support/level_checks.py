"""Comparisons of one level with another, for networks of `rtl_networks.Network`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rtl_networks import Network, double_oracle

from gradcam import frontend
from gradcam.compiler import Compilation
from gradcam.evaluate import pearson
from gradcam.execution.float32 import run_float
from gradcam.jit import compile_linalg
from gradcam.passes.backward.derive_backward import DeriveBackward
from gradcam.passes.backward.simplify_backward import SimplifyBackward
from gradcam.reference.integer import quantize_image, run_integer

#: Logits and map of an image.
Outputs = Sequence[np.ndarray]


def check_derived(net: Network, target: int, method: str, rtol: float, atol: float) -> None:
    """The derived map of layer `target`, before and after its simplification, is that of `torch.autograd` in f64.

    `atol` is a part of the largest magnitude.
    """
    wanted = double_oracle(net, target, method)
    module = frontend.import_model(net, target_layer=f"layers.{target}", method=method)
    DeriveBackward().run(module)
    for simplify in (False, True):
        if simplify:
            SimplifyBackward().run(module)
        found = run_float(module, net.calibration_images[:1])
        for value, exact in zip(found, wanted, strict=True):
            np.testing.assert_allclose(value, exact, rtol=rtol, atol=atol * np.abs(exact).max())


def check_linalg(compilation: Compilation, quantized: Any, images: np.ndarray, cls: int = -1) -> list[Outputs]:
    """Level 3 computes what the integer reference does for each image; returns that.

    Args:
        compilation: the compilation, which has reached level 2.
        quantized: its module there.
        images: float32, N x C x H x W.
        cls: the class to explain.
    """
    codes = [quantize_image(quantized, x[None]) for x in images]
    wanted = [run_integer(quantized, x, cls) for x in codes]
    execute = compile_linalg(compilation.to("linalg"), 0)
    for code, (logits, heatmap) in zip(codes, wanted, strict=True):
        found = execute(np.ascontiguousarray(code[0].transpose(1, 2, 0)), np.array([cls], np.int32))
        assert np.array_equal(found[0], logits[0]) and np.array_equal(found[1], heatmap[0])
    return wanted


def float_and_int8(compilation: Compilation, images: np.ndarray) -> tuple[list[Outputs], list[Outputs]]:
    """What levels 1 and 2 compute for each image."""
    simplified = compilation.to("simplified")
    floats = [run_float(simplified, x[None]) for x in images]
    module = compilation.to("quantized")
    return floats, [run_integer(module, quantize_image(module, x[None])) for x in images]


def correlations(some: Sequence[Outputs], others: Sequence[Outputs]) -> list[float]:
    """Pearson of the maps, pair by pair, as far as there are pairs."""
    return [pearson(a[1][0], b[1][0]) for a, b in zip(some, others, strict=False)]
