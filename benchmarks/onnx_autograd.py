"""Maps of `--emit onnx` in ONNX Runtime against `torch.autograd` in f64: `python benchmarks/onnx_autograd.py`.

The shipped networks are explained at every block output, public networks (see `benchmarks/zoo.py`) at their last stage
and an earlier one, by every method. An error is the largest difference of a map by the largest magnitude of autograd's.
It fails where one is above 1e-4.

Images are noise of the first seed with which no activation is so close to a bound that f32 may take the other side of
it: f64 gives the same maps with relative noise of 1e-7 in all weights. A map of xgradcam or gradcam++ that this noise
changes does not count: the sums that they divide by cancel. `pip install -c constraints.txt '.[zoo]'` and onnxruntime
are needed.
"""

from __future__ import annotations

import argparse
import copy
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradcam import models
from gradcam.command import run
from gradcam.compiler import Compilation, Settings
from gradcam.dialect.methods import METHODS
from gradcam.errors import GradcamError
from gradcam.models import BasicBlock
from gradcam.onnx_export import compiled_model

sys.path.append(str(Path(__file__).parents[1] / "test/python/support"))
from cam_formulas import cam
from onnx_runs import execute
from oracles import gradients

#: The networks of `gradcam.models` with their arguments.
SHIPPED: dict[str, dict[str, Any]] = {"tinyml_resnet18": {}, "resnet18": {"num_classes": 1000, "stem": "imagenet"}}
ZOO = ("mobilenet_v2", "densenet121", "googlenet")
TOLERANCE = 1e-4

#: Relative noise of the weights, how many times it is drawn, and seeds of images that are tried.
NOISE, DRAWS, SEEDS = 1e-7, 4, 60

#: The methods that divide by sums that can cancel.
QUOTIENTS = ("xgradcam", "gradcam++")


@dataclass(frozen=True)
class Row:
    """One network and method.

    Attributes:
        network: its name.
        method: of the maps.
        maps: number of target layers.
        logits: error of the logits.
        error: largest error of a map that counts.
        excused: maps with a larger error whose quotients cancel.
    """

    network: str
    method: str
    maps: int
    logits: float
    error: float
    excused: int

    @property
    def is_met(self) -> bool:
        """Whether all errors that count are small enough."""
        return max(self.logits, self.error) <= TOLERANCE


def subject(name: str, side: int | None) -> tuple[Any, tuple[int, ...], list[str]]:
    """A network by its name, the shape of its image, and the layers to explain."""
    torch.manual_seed(0)
    if name in SHIPPED:
        model: Any = getattr(models, name)(**SHIPPED[name]).eval()
        return model, model.input_shape, [n for n, module in model.named_modules() if isinstance(module, BasicBlock)]
    from zoo_networks import networks, prepared, targets

    found = next((network for network in networks() if network.name == name), None)
    if found is None:
        raise GradcamError(f"there is no network {name}; benchmarks/zoo.py has {', '.join(n.name for n in networks())}")
    made = prepared(found, side)
    return made.model, made.shape, [path for path in targets(made) if path]


Gradients = tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]


def stable_image(model: nn.Module, shape: Sequence[int], paths: Sequence[str]) -> tuple[Tensor, list[Gradients]]:
    """An image with which noise in the weights does not change a map.

    Returns:
        The image, and what autograd makes of it: without noise, then with it.

    Raises:
        GradcamError: none of `SEEDS` gives one.
    """
    for seed in range(SEEDS):
        image = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
        found = [gradients(model, image, paths)]
        for number in range(DRAWS):
            found.append(gradients(_noisy(model, number), image, paths))
            if not all(_is_near(found, path, "hirescam") for path in paths):  # it reads every gradient
                break
        else:
            return image, found
    raise GradcamError(f"none of {SEEDS} images keeps its maps when the weights have noise of {NOISE:g}")


def _noisy(model: nn.Module, seed: int) -> nn.Module:
    noise, found = torch.Generator().manual_seed(seed), copy.deepcopy(model).double()
    for weights in found.parameters():
        weights.data *= 1 + NOISE * torch.randn(weights.shape, generator=noise)
    return found


def _is_near(found: Sequence[Gradients], path: str, method: str) -> bool:
    """Whether all maps of a layer are the first one."""
    exact, *moved = (cam(method, *by_path[path]).numpy() for _, by_path in found)
    return all(relative(other, exact) <= TOLERANCE for other in moved)


def compared(name: str, side: int | None, methods: Sequence[str]) -> list[Row]:
    """Every method for one network."""
    model, shape, paths = subject(name, side)
    image, known = stable_image(model, shape, paths)
    logits, wanted = known[0]
    rows = []
    for method in methods:
        settings = Settings(paths, method, input_shape=tuple(image.shape))
        found, *maps = execute(compiled_model(Compilation(model, settings), name), image.numpy())
        errors, excused = [0.0], 0
        for path, map_ in zip(paths, maps, strict=True):
            error = relative(map_, cam(method, *wanted[path]).numpy())
            is_excused = error > TOLERANCE and method in QUOTIENTS and not _is_near(known, path, method)
            excused += is_excused
            errors += [] if is_excused else [error]
        rows.append(Row(name, method, len(paths), relative(found, logits.numpy()), max(errors), excused))
    return rows


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference by the largest magnitude."""
    if found.shape != wanted.shape:
        raise GradcamError(f"a map of {found.shape} is compared with one of {wanted.shape}")
    return float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-30))


def _compare(options: argparse.Namespace) -> None:
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    print(
        "| network | method | maps | logits | largest error of a map | cancelled | ok |", "|---|" + 6 * "---|", sep="\n"
    )
    met = True
    for name in options.networks:
        for r in compared(name, options.side, options.methods):
            met &= r.is_met
            figures = f"{r.maps} | {r.logits:.1e} | {r.error:.1e} | {r.excused} | {'yes' if r.is_met else 'NO'}"
            print(f"| {r.network} | {r.method} | {figures} |", flush=True)
    if not met:
        raise GradcamError(f"an error is above {TOLERANCE:g}")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=(*SHIPPED, *ZOO), metavar="NAME", help="what to compare")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS, metavar="METHOD")
    parser.add_argument("--side", type=int, metavar="N", help="height and width of the images of public networks")
    options = parser.parse_args(argv)
    return run("onnx_autograd", lambda: _compare(options))


if __name__ == "__main__":
    sys.exit(main())
