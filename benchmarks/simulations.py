"""Photographs through a compiled design in Verilator, compared with the integer reference."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gradcam.figures import Figure, at_most
from gradcam.schema.program import Cycles

STALL_SEED = 1


@dataclass(frozen=True)
class Simulated:
    """What runs of a design gave.

    Attributes:
        build_seconds: wall time of Verilator and g++.
        seconds: wall time of every image.
        cycles: of every image, by phase.
        differences: of every image from the integer reference, "" for none.
        traced: buffers of the first image that were compared with the reference.
        untraced: buffers that it has no tensor for.
        trace_difference: the first difference found there, "" for none.
        stalled_equal: whether the first image's outputs are the same with a DRAM that stalls.
        stalled_cycles: what it then took.
    """

    build_seconds: float
    seconds: Sequence[float]
    cycles: Sequence[Cycles]
    differences: Sequence[str]
    traced: int
    untraced: int
    trace_difference: str
    stalled_equal: bool
    stalled_cycles: int

    def figures(self, predicted: Cycles) -> list[Figure]:
        """What was asked of the runs; `predicted` are cycles by phase."""
        images = len(self.cycles)
        exact, equal = self.differences.count(""), sum(cycles == predicted for cycles in self.cycles)
        wrong = next((d for d in self.differences if d), "")
        traced = self.trace_difference or f"{self.traced} equal, {self.untraced} without a tensor"
        stalled = f"{'equal' if self.stalled_equal else 'DIFFERENT'}, {self.stalled_cycles:,} cycles"
        found = f"{equal} of {images}, {self.cycles[0].total:,} of {predicted.total:,}"
        more = self.stalled_cycles > predicted.total  # else nothing stalled
        return [
            Figure("logits and heatmap bit-exact", f"{images} of {images}", wrong or f"{exact} of {images}", not wrong),
            Figure("cycles predicted and simulated", "equal in every phase", found, equal == images),
            Figure("buffers, nest by nest", "no difference", traced, self.traced > 0 and not self.trace_difference),
            Figure("outputs with a DRAM that stalls", "equal", stalled, self.stalled_equal and more),
            at_most("Verilator and g++", 150, self.build_seconds, ".1f", " s"),
            at_most("one image in the simulator", 60, max(self.seconds), ".1f", " s"),
        ]


def simulate(folder: Path, images: int, say: Callable[[str], None] = lambda _: None) -> Simulated:
    """Builds the simulator of a compile's output folder and runs photographs.

    Raises:
        GradcamError: the simulator cannot be built, or the design misbehaves.
    """
    from networks import SEED, photographs

    from gradcam.data import to_input
    from gradcam.numerics import quantize
    from gradcam.sim.check import output_difference
    from gradcam.sim.simulator import DramModel, Simulator
    from gradcam.sim.trace import compare_trace, load_quantized

    say("build the simulator")
    start = time.perf_counter()
    simulator = Simulator(folder)
    build_seconds = time.perf_counter() - start
    program = simulator.program
    pixels = to_input(photographs(images, program.inputs[0].shape[0], SEED + 1))
    quantized = quantize(pixels, program.scale("image"))
    say("simulate")
    results = simulator.run(quantized)
    say("simulate with a trace")
    (traced,) = simulator.run(quantized[:1], buffers=True)
    say("simulate with a DRAM that stalls")
    (stalled,) = simulator.run(quantized[:1], dram=DramModel(stall_seed=STALL_SEED))
    say("compare with the integer reference")
    module = load_quantized(simulator.design)
    trace = compare_trace(program, traced, module, quantized[0])
    return Simulated(
        build_seconds,
        [r.seconds for r in results],
        [r.cycles for r in results],
        [output_difference(r, module, image) for r, image in zip(results, quantized, strict=True)],
        len(trace.compared),
        len(trace.skipped),
        "" if trace.difference is None else str(trace.difference),
        all(np.array_equal(stalled.outputs[name], value) for name, value in results[0].outputs.items()),
        stalled.cycles.total,
    )
