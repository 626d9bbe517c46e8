"""A network trained on normalized images, in RTL: `python benchmarks/normalized.py [--images 30]`.

The network is small and new: four convolutions, trained here in about a minute on cluttered digits of 32x32 pixels
that were normalized by mean and std, as torchvision's networks are. It is compiled from a folder of PNG files of 64x64
pixels with `--preset imagenet --resize 32`, and files of images that it has not seen are simulated. The class and the
map before ReLU are compared with those of `torch.autograd`, whose inputs Pillow and NumPy make of the same files. The
same without `--preset` shows what the wrong mean and std cost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import gradcam
from gradcam.command import run
from gradcam.data import CLASSES, compose
from gradcam.evaluate import Explained, autograd_gradcam, pearson
from gradcam.progress import stages

SIDE = 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TRAINING, CALIBRATION, EPOCHS, BATCH = 6000, 64, 8, 64
REQUIRED_PEARSON = 0.999


class Classifier(nn.Module):
    """Four convolutions with batch norm and ReLU, a global average pool and a linear layer."""

    input_shape = (1, 3, SIDE, SIDE)

    def __init__(self) -> None:
        super().__init__()
        channels = ((3, 16, 1), (16, 32, 2), (32, 64, 2), (64, 64, 1))
        layers = [[nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()] for i, o, s in channels]
        self.features = nn.Sequential(*(module for layer in layers for module in layer))
        self.fc = nn.Linear(64, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps float N x 3 x 32 x 32 to N x 10 logits."""
        return self.fc(self.features(x).mean((2, 3)))


def normalized(files: Sequence[Path]) -> np.ndarray:
    """The inputs of files by Pillow and NumPy alone; float32, N x 3 x 32 x 32."""
    pictures = [Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR) for file in files]
    pixels = np.stack([np.asarray(picture) for picture in pictures])
    return ((pixels / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)


def write_files(pixels: np.ndarray, folder: Path) -> list[Path]:
    """Writes images, uint8 N x H x W x 3, as PNG files."""
    folder.mkdir()
    files = [folder / f"{i:04}.png" for i in range(len(pixels))]
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image).save(file)
    return files


def trained(inputs: np.ndarray, labels: np.ndarray, epochs: int) -> Classifier:
    """A network in eval mode; the same arguments give the same one."""
    torch.manual_seed(0)
    model, rng = Classifier(), np.random.default_rng(0)
    steps = epochs * (len(inputs) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(epochs):
        order = rng.permutation(len(inputs))
        for i in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[i : i + BATCH]
            loss = F.cross_entropy(model(torch.from_numpy(inputs[chosen])), torch.from_numpy(labels[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@dataclass(frozen=True)
class Agreement:
    """What the RTL keeps of the float network.

    Attributes:
        classes: that float and RTL predict, one pair per image.
        correlations: Pearson of the maps before ReLU, one per image.
    """

    classes: Sequence[tuple[int, int]]
    correlations: Sequence[float]

    @property
    def reached(self) -> bool:
        """Whether every class is that of float, and the median of the correlations is high enough."""
        return all(a == b for a, b in self.classes) and float(np.median(self.correlations)) >= REQUIRED_PEARSON

    def __str__(self) -> str:
        same = sum(a == b for a, b in self.classes)
        tenth, median = np.quantile(self.correlations, (0.1, 0.5))
        found = f"median {median:.5f}, 10th percentile {tenth:.5f}, least {min(self.correlations):.5f}"
        return f"class of float in {same} of {len(self.classes)}, Pearson {found}"


def in_rtl(model: nn.Module, work: Path, files: Sequence[Path], explained: Explained, **how: str) -> Agreement:
    """Compiles for the calibration files in `work`, simulates `files`, and compares; the RTL equals the reference."""
    settings = {"calibration": work / "calibration", "resize": SIDE, "pe": "16x16"} | how
    design = gradcam.compile(model, work / "design", target_layer="features.11", **settings)
    results = design.simulate(list(files))
    classes = [(int(e.argmax()), int(r.logits.argmax())) for e, r in zip(explained.logits, results, strict=True)]
    maps = zip(results, explained.maps, strict=True)
    return Agreement(classes, [pearson(result.heatmap, wanted) for result, wanted in maps])


def measure(
    images: int, training: int, epochs: int, say: Callable[[str], None] = lambda _: None
) -> tuple[float, Agreement, Agreement]:
    """The accuracy of float, and the agreement with the right and with the assumed preprocessing."""
    with tempfile.TemporaryDirectory(prefix="gradcam-normalized-") as temporary:
        work = Path(temporary)
        say("train")
        train = compose("train", training, seed=1)
        model = trained(normalized(write_files(train.pixels, work / "train")), train.labels, epochs)
        write_files(compose("train", CALIBRATION, seed=3).pixels, work / "calibration")
        test = compose("test", images, seed=2, labels=np.arange(images) % CLASSES)
        files = write_files(test.pixels, work / "test")
        explained = autograd_gradcam(model, normalized(files), "features.11")
        say("compile and simulate")
        found = in_rtl(model, work, files, explained, preset="imagenet")
        say("compile and simulate without the preset")
        return float((explained.logits.argmax(1) == test.labels).mean()), found, in_rtl(model, work, files, explained)


def _benchmark(images: int) -> None:
    with stages("normalized") as say:
        accuracy, found, assumed = measure(images, TRAINING, EPOCHS, say)
    print(f"float: {accuracy:.0%} of {images} images right\n--preset imagenet: {found}\nno preset: {assumed}")
    if not found.reached:
        raise gradcam.GradcamError(f"wanted: the class of float in all, and a median of {REQUIRED_PEARSON}")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the figures; returns the exit code, 1 where they are not those that are wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=30, help="images to simulate (default: 30)")
    options = parser.parse_args(argv)
    return run("normalized", lambda: _benchmark(options.images))


if __name__ == "__main__":
    sys.exit(main())
