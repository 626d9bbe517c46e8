"""int8 beside floating point on photographs: `python benchmarks/photographs.py [--width 64] [--side 224]`.

An untrained ResNet-18 (`networks.untrained`), with 1000 classes, classifies and explains 20 photographs: in float by
`torch.autograd`, in int8 by the integer reference, which the RTL equals bit for bit. Both explain the class that float
predicts. Batch norms and ranges come from crops of two photographs, which 16 of the 20 do not show.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from networks import SEED, photographs, random_crop, untrained
from overheads import aligned
from torch import nn

from gradcam.command import run
from gradcam.compiler import Compilation, Settings
from gradcam.data import to_input
from gradcam.errors import GradcamError
from gradcam.evaluate import autograd_gradcam, pearson
from gradcam.passes.ir.queries import main_function
from gradcam.progress import stages
from gradcam.quant_types import quantize_array
from gradcam.reference.integer import run_integer

TARGETS = ("layer4", "layer3")
COUNT, CLASSES, CALIBRATION = 20, 1000, 16
INSTALL = "pip install -c constraints.txt '.[photographs]'"

#: What scikit-image brings in its wheel, in the names of `skimage.data`; two more come from scikit-learn.
NAMES = (
    "astronaut",
    "brick",
    "camera",
    "cat",
    "cell",
    "clock",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "retina",
    "rocket",
    "stereo_motorcycle",
)


def whole_photographs(names: Sequence[str]) -> dict[str, np.ndarray]:
    """The two photographs of scikit-learn and some of scikit-image, by name; uint8, H x W x 3.

    Raises:
        GradcamError: scikit-image is missing.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise GradcamError(f"scikit-image is missing; {INSTALL} installs it") from error
    from sklearn.datasets import load_sample_images

    loaded = {name: getattr(data, name)() for name in names}
    pictures = dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    pictures |= {name: p[0] if isinstance(p, tuple) else p for name, p in loaded.items()}
    return {name: np.repeat(p[:, :, None], 3, 2) if p.ndim == 2 else p for name, p in pictures.items()}


def load_photographs(side: int) -> np.ndarray:
    """The two photographs of scikit-learn and those of scikit-image, then two crops more; uint8, 20 x side x side x 3.

    Raises:
        GradcamError: scikit-image is missing.
    """
    colour = list(whole_photographs(NAMES).values())
    rng = np.random.default_rng(SEED + 1)  # other crops than those that calibrate
    return np.stack([random_crop(colour[i % len(colour)], side, rng) for i in range(COUNT)])


@dataclass(frozen=True)
class Agreement:
    """What int8 keeps.

    Attributes:
        classes: that float and int8 predict, one pair per image.
        near: images for which the class of int8 is among the five best of float.
        correlations: by target layer, Pearson of the maps before ReLU, one per image.
    """

    classes: Sequence[tuple[int, int]]
    near: int
    correlations: dict[str, list[float]]

    def __str__(self) -> str:
        same, distinct = sum(a == b for a, b in self.classes), len({a for a, _ in self.classes})
        lines = [["target layer", "", "Pearson, median", "10th percentile", "minimum"]]
        for target, values in self.correlations.items():
            found = float(np.median(values)), float(np.quantile(values, 0.1)), min(values)
            lines.append([target, "gradcam", *(f"{value:.4f}" for value in found)])
        head = f"top-1 of int8 equals that of float: {same} of {len(self.classes)} ({distinct} classes)"
        head += f"; in its top 5: {self.near}\n"
        return "\n".join([head, *aligned(lines)])


def compare(
    model: nn.Module, pixels: np.ndarray, calibration: np.ndarray, say: Callable[[str], None] = lambda _: None
) -> Agreement:
    """Runs uint8 images (N x side x side x 3) through float and int8.

    Args:
        model: in eval mode, with the attribute `input_shape`.
        pixels: what to compare on.
        calibration: what to choose ranges from, in the same form.
        say: told what happens next.
    """
    images = to_input(pixels)
    say("quantize")
    module = Compilation(model, Settings(TARGETS, calibration=to_input(calibration))).to("quantized")
    say("torch.autograd")
    explained = {target: autograd_gradcam(model, images, target) for target in TARGETS}
    wanted = explained[TARGETS[0]].logits.argmax(1)
    argument = main_function(module).regions[0].blocks[0].arguments[0]
    classes, correlations = [], {target: [] for target in TARGETS}
    for i, (image, cls) in enumerate(zip(images, wanted, strict=True)):
        say(f"image {i + 1} of {len(images)}")
        logits, *maps = run_integer(module, quantize_array(image[None], argument), int(cls))
        classes.append((int(cls), int(logits[0].argmax())))
        for target, heatmap in zip(TARGETS, maps, strict=True):
            correlations[target].append(pearson(heatmap[0], explained[target].maps[i]))
    best = np.argsort(explained[TARGETS[0]].logits, 1)[:, -5:]
    near = sum(found in five for (_, found), five in zip(classes, best, strict=True))
    return Agreement(classes, near, correlations)


def _benchmark(width: int, side: int) -> None:
    with stages("photographs") as say:
        pixels = load_photographs(side)
        say("make the network")
        model = untrained(width, side, CLASSES, "imagenet")
        found = compare(model, pixels, photographs(CALIBRATION, side), say)
    print(f"ResNet-18, width {width}, {side}x{side}, untrained; {COUNT} photographs; maps before ReLU\n{found}")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the figures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage (default: 64)")
    parser.add_argument("--side", type=int, default=224, help="pixels, height and width of the image (default: 224)")
    options = parser.parse_args(argv)
    return run("photographs", lambda: _benchmark(options.width, options.side))


if __name__ == "__main__":
    sys.exit(main())
