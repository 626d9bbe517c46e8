"""ResNet-18 of any size, untrained, for benchmarks: `python benchmarks/networks.py --width 64 --side 224 -o DIR`.

The weights are seeded, and the statistics of the batch norms are those of photographs, so that activations are scaled
as in a trained network. DIR gets `model.pt2` and `calibration.npy`, as gradcam-compile takes them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from gradcam.command import run
from gradcam.data import to_input
from gradcam.models import ResNet18, resnet18

SEED = 0
STATISTICS, CALIBRATION = 16, 4  # crops of photographs for the batch norms, and for the ranges of int8


def photographs(count: int, side: int, seed: int = SEED) -> np.ndarray:
    """Crops of scikit-learn's two sample photographs, in turn, of random place and size.

    Returns:
        uint8, count x side x side x 3.
    """
    from sklearn.datasets import load_sample_images

    rng, pictures = np.random.default_rng(seed), load_sample_images().images
    return np.stack([random_crop(pictures[i % len(pictures)], side, rng) for i in range(count)])


def random_crop(picture: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """A square of at least half the picture's shorter side, resized; uint8, side x side x 3."""
    height, width = picture.shape[:2]
    shorter = min(height, width)
    size = int(rng.integers(shorter // 2, shorter + 1))
    y, x = int(rng.integers(0, height - size + 1)), int(rng.integers(0, width - size + 1))
    crop = Image.fromarray(picture[y : y + size, x : x + size])
    return np.asarray(crop.resize((side, side), Image.Resampling.BILINEAR))


def untrained(width: int, side: int, classes: int, stem: str) -> ResNet18:
    """Makes a network in eval mode; the same arguments give the same one."""
    torch.manual_seed(SEED)
    model = resnet18(width, classes, stem)
    model.input_shape = (1, 3, side, side)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the statistics are then the average of what it sees
    with torch.no_grad():
        model.train()(torch.from_numpy(to_input(photographs(STATISTICS, side))))
    return model.eval()


def write(width: int, side: int, classes: int, stem: str, folder: Path) -> None:
    """Writes a network and its calibration images into a folder that exists."""
    model = untrained(width, side, classes, stem)
    program = torch.export.export(model, (torch.zeros(model.input_shape),), strict=False)
    torch.export.save(program, folder / "model.pt2")
    np.save(folder / "calibration.npy", to_input(photographs(CALIBRATION, side)))


def main(argv: Sequence[str] | None = None) -> int:
    """Writes a network; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage (default: 64)")
    parser.add_argument("--side", type=int, default=224, help="pixels, height and width of the image (default: 224)")
    parser.add_argument("--classes", type=int, default=1000, help="default: 1000")
    parser.add_argument("--stem", choices=("imagenet", "cifar"), default="imagenet", help="default: imagenet")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="DIR", help="a folder that exists")
    o = parser.parse_args(argv)
    return run("networks", lambda: write(o.width, o.side, o.classes, o.stem, o.output))


if __name__ == "__main__":
    sys.exit(main())
