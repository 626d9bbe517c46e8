"""What every target layer costs and is worth in RTL: `python benchmarks/target_layers.py [--images 10] [--maps FILE]`.

For each target layer and method the shipped network is compiled and simulated. Logits and heatmap of the RTL are
compared with the integer reference in every element, cycles with the predicted ones, and the maps of all shipped images
with `torch.autograd`'s (by the integer reference, which the RTL equals). It fails when a figure is missed.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from overheads import aligned
from peers import FORMULAS, autograd_peer, check_modules

from gradcam.command import run
from gradcam.compiler import Settings
from gradcam.data import load_test_images, to_input
from gradcam.errors import GradcamError
from gradcam.evaluate import pearson
from gradcam.faults import Faults
from gradcam.files import write_output
from gradcam.frontend import load_model
from gradcam.output import compile_to_folder
from gradcam.progress import stages
from gradcam.reference.integer import run_integer

MODEL = "gradcam.models:tinyml_resnet18"
TARGETS = ("layer4", "layer3", "layer2", "layer1", "layer1.0.relu", "conv1")

#: What `gradcam` has to reach at 16x16: the most cycles of an explanation by those of an inference, the least median
#: and 10th percentile of the correlation.
OVERHEAD = {"layer4": 0.002, "layer3": 0.22, "layer2": 0.47, "layer1": 0.72}
FIDELITY = {"layer4": (0.995, 0.99), "layer3": (0.99, 0.98), "layer2": (0.97, 0.90)}
WEIGHTS = 1.02  # of the first row's weight memory


@dataclass(frozen=True)
class Row:
    """One design.

    Attributes:
        target: module path of the feature map.
        method: name of the method.
        images: simulated images.
        exact: of these, how many have logits and heatmap equal to the integer reference's in every element.
        cycles: by phase, as predicted.
        simulated: whether every run took exactly these.
        correlations: Pearson, of each shipped image's map with autograd's, both before ReLU.
        multipliers: of the engines that multiply and accumulate, counted in the SystemVerilog.
        weights: bytes of their memories.
    """

    target: str
    method: str
    images: int
    exact: int
    cycles: dict[str, int]
    simulated: bool
    correlations: list[float]
    multipliers: int
    weights: int

    @property
    def overhead(self) -> float:
        """Explanation by inference cycles."""
        return self.cycles.explanation / self.cycles.inference

    @property
    def fidelity(self) -> tuple[float, float]:
        """Median and 10th percentile of the correlations."""
        return float(np.median(self.correlations)), float(np.quantile(self.correlations, 0.1))


#: A factor that is extended by eight copies of its sign: a name, or a part of it; with its highest and lowest bit.
_EXTENDED = re.compile(r"\* \{\{8\{(\w+)\[(\d+)\]\}\}, \1(?:\[\d+:(\d+)\])?\}")


def multipliers(rtl: Path, engine: str = "mac") -> int:
    """Multiplications of int8 values in the engines of a name, of a design's folder of SystemVerilog."""
    factors = [f for file in rtl.glob(f"engine_{engine}*.sv") for f in _EXTENDED.findall(file.read_text())]
    return sum(int(high) - int(low or 0) == 7 for _, high, low in factors)


def measure(model: Any, settings: Settings, images: int, say: Callable[[str], None]) -> tuple[Row, np.ndarray]:
    """Compiles, simulates and compares.

    Returns:
        The row, and the map of every shipped image, int32, N x h x w: of the RTL as far as it was simulated.
    """
    from gradcam.numerics import quantize
    from gradcam.sim.simulator import Simulator
    from gradcam.sim.trace import load_quantized

    pixels = to_input(load_test_images().pixels)
    with tempfile.TemporaryDirectory(prefix="gradcam-targets-") as temporary:
        folder = Path(temporary) / "design"
        say("compile")
        report = compile_to_folder(model, MODEL, settings, folder)
        say("build the simulator")
        simulator = Simulator(folder)
        quantized = quantize(pixels, simulator.program.scale("image"))
        say("simulate")
        results = simulator.run(quantized[:images])
        say("compare")
        module, count = load_quantized(simulator.design), multipliers(folder / "rtl")
    wanted = [run_integer(module, image[None]) for image in quantized]
    maps = np.stack([heatmap[0] for _, heatmap in wanted])
    pairs = list(zip(results, wanted, strict=False))
    exact = [np.array_equal(r.logits, w[0]) and np.array_equal(r.heatmap, h[0]) for r, (w, h) in pairs]
    row = Row(
        str(settings.target_layer),
        settings.method,
        len(results),
        sum(exact),
        report.cycles,
        all(result.cycles == report.cycles for result in results),
        [pearson(a, b) for a, b in zip(maps, software(model, settings, pixels), strict=True)],
        count,
        sum(size for name, size in report.memory_bytes.items() if name.startswith("weights")),
    )
    return row, np.stack([r.heatmap for r in results] + list(maps[len(results) :]))


def software(model: Any, settings: Settings, pixels: np.ndarray) -> list[np.ndarray]:
    """The method's maps by `torch.autograd`, before ReLU, pooled as the design's."""
    with autograd_peer().methods[settings.method](model, str(settings.target_layer)) as explain:
        maps = [explain(torch.from_numpy(image[None]))[1] for image in pixels]
    return [F.avg_pool2d(map_[None], settings.pool_map)[0].numpy() for map_ in maps]


def missed(row: Row, first: Row, pe: str, pool_map: int = 1) -> list[str]:
    """The figures of a row that are not reached; `first` has the least hardware. Of pooled maps none is asked."""
    faults = []
    if row.exact != row.images:
        faults.append(f"{row.images - row.exact} of {row.images} images differ from the integer reference")
    if not row.simulated:
        faults.append("the simulation takes other cycles than predicted")
    if row.multipliers != first.multipliers:
        faults.append(f"{row.multipliers} multipliers, {first.target} has {first.multipliers}")
    if row.weights > WEIGHTS * first.weights:
        faults.append(f"{row.weights:,} bytes of weights, {first.target} has {first.weights:,}")
    if row.method == "gradcam" and pool_map == 1:
        if pe == "16x16" and not row.overhead <= OVERHEAD.get(row.target, np.inf):
            faults.append(f"overhead above {OVERHEAD[row.target]}")
        if not all(f >= least for f, least in zip(row.fidelity, FIDELITY.get(row.target, ()), strict=False)):
            faults.append("Pearson below {} / {}".format(*FIDELITY[row.target]))
    return [f"{row.target} by {row.method}: {fault}" for fault in faults]


def table(rows: Sequence[Row]) -> str:
    """A Markdown table that is aligned for reading, too."""
    head = [
        "target layer",
        "method",
        "bit-exact",
        "cycles",
        "predicted",
        "overhead",
        "Pearson",
        "multipliers",
        "weights",
    ]
    lines = [
        [
            row.target,
            row.method,
            f"{row.exact} of {row.images}",
            f"{row.cycles.total:,}",
            "equal" if row.simulated else "DIFFERENT",
            f"{row.overhead:.4f}",
            "{:.4f} / {:.4f}".format(*row.fidelity),
            f"{row.multipliers}",
            f"{row.weights:,}",
        ]
        for row in rows
    ]
    return "\n".join(aligned([head, *lines])) + "\n"


def _measure_all(options: argparse.Namespace) -> None:
    if options.images < 1:
        raise GradcamError("--images must be at least 1")
    torch.set_num_threads(1)
    model: Any = load_model(MODEL)
    check_modules(model, options.targets)
    rows, maps = [], {}
    with stages("target_layers") as say:
        for target in options.targets:
            for method in options.methods:
                name = f"{target}, {method}"
                settings = Settings(target, method, options.pe, pool_map=options.pool_map)
                row, maps[f"{target} {method}"] = measure(
                    model, settings, options.images, lambda stage, name=name: say(f"{name}: {stage}")
                )
                rows.append(row)
    print(f"array {options.pe}; Pearson of the maps before ReLU, median / 10th percentile\n")
    print(table(rows), end="")
    if options.maps:
        archive = io.BytesIO()
        np.savez_compressed(archive, **maps)
        write_output(options.maps, [archive.getvalue()])
    if faults := [GradcamError(fault) for row in rows for fault in missed(row, rows[0], options.pe, options.pool_map)]:
        raise Faults(faults)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=TARGETS, metavar="PATH", help="target layers")
    parser.add_argument("--methods", nargs="+", default=tuple(FORMULAS), choices=tuple(FORMULAS), metavar="METHOD")
    parser.add_argument("--pe", default="16x16", metavar="OCxIC", help="the array")
    parser.add_argument("--pool-map", type=int, default=1, metavar="P", help="maps as means of blocks of PxP")
    parser.add_argument("--images", type=int, default=10, metavar="N", help="images to simulate")
    parser.add_argument("--maps", metavar="FILE.npz", help="also write the maps of all shipped images, int32")
    options = parser.parse_args(argv)
    return run("target_layers", lambda: _measure_all(options))


if __name__ == "__main__":
    sys.exit(main())
