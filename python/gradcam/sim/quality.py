"""Compares what the RTL made of images with the float network of the compile."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from gradcam.design import Design
from gradcam.execution.float32 import one_thread
from gradcam.folder import FLOAT
from gradcam.quality import FloatNetwork, ImageQuality, Outputs, summary
from gradcam.schema.report import Quality
from gradcam.sim.inputs import DesignImage
from gradcam.sim.simulator import Result
from gradcam.sim.trace import load_module, load_quantized
from gradcam.verdict import quality_warnings

_log = logging.getLogger(__name__)


def compare_with_float(
    design: Design, images: Sequence[DesignImage], results: Sequence[Result], cls: int = -1
) -> tuple[list[ImageQuality], Quality]:
    """The quality of each result, and of all.

    Args:
        design: the design that ran.
        images: one or more.
        results: one for each image.
        cls: the class that the runs were asked to explain; -1 for the predicted one.

    Raises:
        GradcamError: the float network is missing or damaged.
    """
    program, module = design.program, load_module(design, FLOAT)
    network = FloatNetwork.of(module, load_quantized(design))
    found = []
    with one_thread():
        for image, result in zip(images, results, strict=True):
            scales = [program.scale(name) for name in result.outputs]
            outputs = Outputs.of([result.logits, *result.heatmaps.values()], scales, cls)
            found += network.compare(image.input, [outputs])
    return found, summary("validation", found, network, float(np.mean([image.outside for image in images])))


def warn_of_quality(quality: Quality) -> None:
    """Warns of what is bad about a quality, as a compile does."""
    for warning in quality_warnings(quality):
        _log.warning(warning)
