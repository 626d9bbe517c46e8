"""Compares what the RTL made of images with the float network of the compile."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from gradcam.design import Design
from gradcam.execution.float32 import one_thread
from gradcam.float_network import ImageQuality, Outputs
from gradcam.folder import FLOAT
from gradcam.quality import float_network, summary
from gradcam.schema.report import Quality, Report
from gradcam.sim.inputs import DesignImage
from gradcam.sim.simulator import Result
from gradcam.sim.trace import load_module, load_quantized
from gradcam.stability import Stability
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
    quantized = load_quantized(design)
    network = float_network(module, quantized)
    found, stability = list[ImageQuality](), Stability(network, quantized)
    with one_thread():
        for image, result in zip(images, results, strict=True):
            scales = [program.scale(name) for name in result.outputs]
            outputs = Outputs.of([result.logits, *result.heatmaps.values()], scales, cls)
            found += network.compare(image.input, [outputs])
            stability.add(image.input, found[-1:], [outputs.first])
    pixels_outside = float(np.mean([image.outside for image in images]))
    return found, summary("validation", found, network, pixels_outside, stability)


def warn_of_quality(quality: Quality, report: Report) -> None:
    """Warns of what is bad about a quality of the design of a report, as a compile does."""
    for warning in quality_warnings(quality, report):
        _log.warning(warning)
