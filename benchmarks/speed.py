"""How fast compile and simulation are on this machine: `python benchmarks/speed.py [--pe 16x16] [--images 10]`."""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gradcam.errors import GradcamError
from gradcam.faults import line
from gradcam.measure import measured_compile, run_measured


def measure(model: str, target_layer: str, pe: str, images: int) -> list[tuple[str, str]]:
    """Compiles a model, builds its simulator and runs random images; rows of what was measured.

    Raises:
        GradcamError: a step fails.
    """
    with tempfile.TemporaryDirectory(prefix="gradcam-speed-") as temporary:
        folder = Path(temporary) / "design"
        usage = measured_compile(model, target_layer, pe, folder)  # before this process loads much; see Usage.peak
        from gradcam.sim.simulator import Simulator

        start = time.perf_counter()
        simulator = Simulator(folder)
        build = time.perf_counter() - start
        height, width, channels = simulator.program.inputs[0].shape
        pixels = np.random.default_rng(0).integers(-128, 128, (images, channels, height, width)).astype(np.int8)
        results = simulator.run(pixels)
        cycles, seconds = sum(r.cycles.total for r in results), math.fsum(r.seconds for r in results)
        memories = simulator.design.report().memory_bytes
        together, alone = simulated(folder, pixels)
    return [
        ("cores", f"{os.cpu_count()}"),
        ("compile", f"{usage.seconds:.1f} s, at most {usage.peak / 1e6:,.0f} MB"),
        ("Verilator and g++", f"{build:.1f} s"),
        ("memories of the design", f"{sum(memories.values()):,} bytes"),
        ("cycles per image", f"{cycles // images:,}"),
        ("simulation", f"{cycles / seconds:,.0f} cycles/s, {images / seconds:.2f} images/s"),
        ("gradcam-sim", f"CPU: {together:.2f} s for all images, {alone:.2f} s one by one, {together / alone:.3f}"),
    ]


def simulated(folder: Path, pixels: np.ndarray) -> tuple[float, float]:
    """CPU seconds of `gradcam-sim` on images (int8, N x C x H x W): of one call with all, and of a call for each.

    Raises:
        GradcamError: a call fails.
    """
    names = [folder.parent / f"{number}.npy" for number in range(len(pixels))]
    for name, image in zip(names, pixels, strict=True):
        np.save(name, image)

    def call(*inputs: Path) -> float:
        command = [sys.executable, "-m", "gradcam.tools.gradcam_sim", str(folder), "--force"]
        return run_measured([*command, "-o", str(folder.parent / "run"), "--input", *map(str, inputs)]).cpu

    return call(*names), math.fsum(call(name) for name in names)


def main() -> int:
    """Prints the measurements; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="gradcam.models:tinyml_resnet18", help="as for gradcam-compile")
    parser.add_argument("--target-layer", default="layer4", metavar="PATH")
    parser.add_argument("--pe", default="16x16", metavar="OCxIC")
    parser.add_argument("--images", type=int, default=10, metavar="N")
    options = parser.parse_args()
    try:
        if options.images < 1:
            raise GradcamError("--images must be at least 1")
        rows = measure(options.model, options.target_layer, options.pe, options.images)
    except GradcamError as error:
        print(f"speed: error: {line(error)}", file=sys.stderr)
        return 1
    for name, value in rows:
        print(f"{name:<24}{value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
