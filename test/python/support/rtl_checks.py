"""The check that every design in RTL has to pass."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rtl_networks import Network
from torch_mlir import ir

from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.sim import Result, Simulator, compare_trace
from gradcam.sim.check import check_outputs
from gradcam.sim.trace import Trace, load_quantized


@dataclass(frozen=True)
class Checked:
    """What a test may look into after `check_design`: the traced run is of the first image and the last class."""

    simulator: Simulator
    module: ir.Module
    images: np.ndarray
    traced: Result
    trace: Trace
    cls: int

    def compare(self) -> Trace:
        """The traced run against the integer reference again, after a test has changed its buffers."""
        return compare_trace(self.simulator.program, self.traced, self.module, self.images[0], self.cls)


def nest_lengths(folder: Path) -> list[int]:
    """Predicted cycles of every nest."""
    return [nest.end - nest.start for nest in Design.load(folder).program.nests]


def check_design(
    net: Network, folder: Path, count: int = 3, inner: str = r".*\.(unfold|high|sums)(\.\d+)?", distinct: bool = True
) -> Checked:
    """Outputs of several runs, free and stalled, predicted cycles nest by nest, and every buffer of a run.

    `inner` is a pattern for the names of buffers that the lowering makes and the reference has no tensor for, beside
    sums of epilogues that are set apart.
    Unless `distinct`, some images but not all may have the same logits, as in a random network, and the map of a class
    that is not the best one may be zero, as behind a ReLU.
    """
    simulator = Simulator(folder)
    module, images = load_quantized(simulator.design), net.images(count)
    last = len(net.values[-1][0]) - 1 if simulator.program.ports else -1
    classes = [(-1, last, 0)[i % 3] if simulator.program.ports else -1 for i in range(count)]
    free = simulator.run(images, classes)
    stalled = simulator.run(images, classes, stall_seed=1)
    for image, cls, result, late in zip(images, classes, free, stalled, strict=True):
        check_outputs(result, module, image, cls)
        check_outputs(late, module, image, cls)
        assert result.nest_cycles == nest_lengths(folder) and result.cycles == simulator.program.cycles
        assert len(np.unique(result.logits)) > 1
        assert result.heatmap is None or result.heatmap.any() or (cls >= 0 and not distinct)
    assert not distinct or len({r.logits.tobytes() for r in free}) == count
    other = next(r for r in free if not np.array_equal(r.logits, free[0].logits))
    with pytest.raises(GradcamError, match="in the integer reference"):
        check_outputs(other, module, images[0], classes[0])
    (traced,) = simulator.run(images[:1], last, buffers=True)
    trace = compare_trace(simulator.program, traced, module, images[0], last)
    assert trace.difference is None
    assert all(re.fullmatch(rf"({inner})|.*\.sums(\.\d+)?", name) for name in trace.skipped), trace.skipped
    return Checked(simulator, module, images, traced, trace, last)
