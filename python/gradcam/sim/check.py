"""Compares the outputs of a design with the integer reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch_mlir import ir

from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.passes.ir.explanations import map_names
from gradcam.reference.integer import run_integer
from gradcam.sim.simulator import Result
from gradcam.sim.trace import load_quantized


def check_outputs(result: Result, module: ir.Module, image: np.ndarray, cls: int = -1) -> None:
    """Checks that logits and maps equal the integer reference's, bit for bit.

    Args:
        result: of a run.
        module: the quantized module; see `gradcam.sim.trace.load_quantized`.
        image: int8, C x H x W.
        cls: the class that the run was asked to explain; -1 for the predicted one.

    Raises:
        GradcamError: the first element that differs, or outputs that do not correspond.
    """
    logits, *maps = run_integer(module, image[None], cls)
    names = ["logits", *map_names(len(maps))]
    expected = {name: value[0] for name, value in zip(names, [logits, *maps], strict=True)}
    if set(expected) != set(result.outputs):
        raise GradcamError(f"the design delivers {sorted(result.outputs)}, the integer reference {sorted(expected)}")
    for name, value in expected.items():
        _demand_equal(name, result.outputs[name], value)


def check_results(design: Design, results: Sequence[Result], images: np.ndarray, classes: Sequence[int]) -> None:
    """`check_outputs` of the runs of several images: int8, N x C x H x W, and the class that each was asked to explain.

    Raises:
        GradcamError: see `check_outputs`.
    """
    reference = load_quantized(design)
    for image, cls, result in zip(images, classes, results, strict=True):
        check_outputs(result, reference, image, cls)


def output_difference(result: Result, module: ir.Module, image: np.ndarray) -> str:
    """The error of `check_outputs` for a run that explains the predicted class; "" when all outputs are equal."""
    try:
        check_outputs(result, module, image)
    except GradcamError as error:
        return error.message
    return ""


def _demand_equal(name: str, got: np.ndarray, expected: np.ndarray) -> None:
    if got.shape != expected.shape:
        raise GradcamError(f"{name} has shape {got.shape}, in the integer reference {expected.shape}")
    places = np.argwhere(got != expected)
    if len(places):
        index = tuple(int(i) for i in places[0])
        raise GradcamError(
            f"{name}{list(index)} = {got[index]}, in the integer reference {expected[index]} "
            f"({len(places)} elements differ; buffers=True, or --check-buffers, finds the nest)"
        )
