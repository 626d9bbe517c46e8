"""Trains the shipped digit classifier and writes its weights and the shipped test images.

Run as `python -m gradcam.tools.train_tinyml --out DIR`; the package's own copy of DIR is python/gradcam/assets.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from gradcam import data, models
from gradcam.errors import GradcamError
from gradcam.evaluate import accuracy, autograd_gradcam, pointing_hit

BATCH = 64
REQUIRED_ACCURACY = 0.98
TRAIN_SEED, TEST_SEED = 1, 2  # the splits share no sample, so the seeds only have to be fixed


def train(model: nn.Module, images: data.Images, epochs: int, seed: int) -> None:
    """Trains in place with AdamW on a one-cycle schedule; shows a progress bar if stderr is a terminal."""
    rng = np.random.default_rng(seed)
    steps = epochs * (len(images.labels) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.15)
    # Channels-last convolutions are half as fast again on a CPU. (torch's annotations of `to` lack memory_format.)
    model.train().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("training", total=steps)
        for epoch in range(epochs):
            total = 0.0
            order = rng.permutation(len(images.labels))
            for i in range(0, len(order) - BATCH + 1, BATCH):
                chosen = order[i : i + BATCH]
                # Colours carry no class: permuting the channels makes new images for free.
                pixels = images.pixels[chosen][..., rng.permutation(3)]
                x = torch.from_numpy(data.to_input(pixels)).contiguous(memory_format=torch.channels_last)
                loss = F.cross_entropy(model(x), torch.from_numpy(images.labels[chosen]), label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item()
                progress.update(task, advance=1, description=f"loss {loss.item():.3f}")
            print(f"epoch {epoch + 1} of {epochs}: loss {total * epochs / steps:.4f}", flush=True)
    model.eval().to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]


def round_to_half(model: nn.Module) -> dict[str, torch.Tensor]:
    """Rounds the floating-point parameters and buffers to float16 precision in place; returns the float16 state."""
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return {k: v.contiguous() for k, v in state.items()}


def gradcam_hits(model: models.ResNet18, images: data.Images) -> int:
    """Counts the images whose Grad-CAM maximum (layer4, predicted class, resized) lies in the digit's box."""
    maps = autograd_gradcam(model, data.to_input(images.pixels), "layer4").maps
    size = (data.SIZE, data.SIZE)
    return sum(pointing_hit(np.maximum(m, 0), box, size) for m, box in zip(maps, images.boxes, strict=True))


def main(argv: list[str] | None = None) -> int:
    """Trains, measures and writes; returns the exit status, 1 if the accuracy is below 98 % or an argument is bad."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory for the weights and the images")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the training images (default: 5)")
    parser.add_argument("--images", type=int, default=24000, help="composed training images (default: 24000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and the order (default: 0)")
    args = parser.parse_args(argv)
    try:
        return _run(args)
    except GradcamError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(args: argparse.Namespace) -> int:
    if args.epochs < 1 or args.images < BATCH:
        raise GradcamError(f"--epochs must be at least 1 and --images at least {BATCH}")
    start = time.perf_counter()
    torch.manual_seed(args.seed)
    model = models.tinyml_architecture()
    train(model, data.compose("train", args.images, TRAIN_SEED, augment=True), args.epochs, args.seed)
    print(f"trained in {time.perf_counter() - start:.0f} s")

    model.eval()
    test = data.compose("test", 3000, TEST_SEED)
    inputs = data.to_input(test.pixels)
    exact = accuracy(model, inputs, test.labels)
    state = round_to_half(model)
    rounded = accuracy(model, inputs, test.labels)
    print(f"accuracy on {len(test.labels)} test images: float32 {exact:.4f}, rounded to float16 {rounded:.4f}")
    if rounded < REQUIRED_ACCURACY:
        print(f"error: accuracy {rounded:.4f} is below {REQUIRED_ACCURACY}; nothing written", file=sys.stderr)
        return 1
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(state, args.out / models.TINYML_WEIGHTS.name)
    data.write_test_images(args.out / "images")
    shipped = data.load_test_images(args.out / "images")
    correct = round(accuracy(model, data.to_input(shipped.pixels), shipped.labels) * len(shipped.labels))
    print(
        f"shipped images: {correct} of {len(shipped.labels)} right, "
        f"Grad-CAM maximum in the box for {gradcam_hits(model, shipped)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
