"""What explaining costs beside inferring, compiled and in software: `python benchmarks/explanation_overhead.py`.

Overhead is (inference and explanation - inference) / inference: in cycles of the array for the compiler, which predicts
what the RTL takes, in wall time for PyTorch and the libraries, in this process, at batch size 1. Every side makes the
logits and the map of the predicted class from one forward pass. pytorch-grad-cam resizes the map to the image.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from overheads import Block, Compiled, Measured, Row, agreement, interleaved, overhead, spread, tables
from peers import FORMULAS, Peer, check_modules, load_peers
from torch import nn
from torch_mlir import ir

from gradcam.command import run
from gradcam.compiler import Compilation, Settings
from gradcam.data import load_test_images, to_input
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float
from gradcam.faults import each, line
from gradcam.files import write_output
from gradcam.frontend import load_model
from gradcam.passes.ir.attributes import CYCLES_BY_PHASE
from gradcam.progress import stages

TARGETS = ("layer4", "layer3", "layer2", "layer1", "layer1.0.relu", "conv1")
MODEL = "gradcam.models:tinyml_resnet18"
INFERENCE = "inference"


def compiled(model: nn.Module, target: str, method: str, pe: str, image: np.ndarray) -> tuple[Compiled, np.ndarray]:
    """The cycles of a compile, and the map (float32, hxw) that its simplified module gives in f32.

    Raises:
        GradcamError: the model has no such target layer, or there is no such method or array.
    """
    compilation = Compilation(model, Settings(target, method, pe))
    map_ = run_float(compilation.to("simplified"), image)[1][0]
    try:
        scheduled = compilation.to("scheduled")
    except GradcamError as error:  # there is a map, but no hardware for it
        return Compiled(reason="; ".join(line(fault) for fault in each(error))), map_
    return Compiled(cycles_by_phase(scheduled)), map_


def cycles_by_phase(scheduled: ir.Module) -> dict[str, int]:
    """The cycles of `load`, `inference`, `explanation` and `store`, and their `total`, of a level-4 module."""
    return CYCLES_BY_PHASE.get(scheduled.operation)


def measured(
    model: nn.Module, peers: Sequence[Peer], target: str, method: str, image: np.ndarray, ours: np.ndarray, repeats: int
) -> tuple[list[float], dict[str, Measured]]:
    """Times an inference and the explanations of every peer that has the method, on as many threads as are set.

    Args:
        model: stays as it is; every peer gets a copy.
        peers: the peers.
        target: module path of the target layer.
        method: name of the method.
        image: float32, 1xCxHxW.
        ours: the compiler's map, hxw.
        repeats: rounds.

    Returns:
        Seconds of the inferences, and each peer's figures by its name.
    """
    pixels = torch.from_numpy(image)
    agreements = {}
    with contextlib.ExitStack() as opened:
        subjects: dict[str, Callable[[], object]] = {INFERENCE: torch.inference_mode()(lambda: model(pixels))}
        for peer in peers:
            if method in peer.methods:
                explain = opened.enter_context(peer.methods[method](copy.deepcopy(model), target))
                agreements[peer.name] = agreement(ours, np.asarray(explain(pixels)[1]), peer.full_size)
                subjects[peer.name] = functools.partial(explain, pixels)
        seconds = interleaved(subjects, repeats)
    alone = seconds[INFERENCE]
    return alone, {n: Measured(spread(seconds[n]), overhead(seconds[n], alone), a) for n, a in agreements.items()}


def benchmark(options: argparse.Namespace, peers: Sequence[Peer], say: Callable[[str], None]) -> list[Block]:
    """Compiles every target layer with every method once, then times the peers for each number of threads.

    Raises:
        GradcamError: the model has no such target layer, or the array is not one of powers of two.
    """
    model: Any = load_model(MODEL)
    check_modules(model, options.targets)
    image = to_input(load_test_images().pixels[:1])
    pairs = [(target, method) for target in options.targets for method in options.methods]
    done = []
    for target, method in pairs:
        say(f"compile {target}, {method}")
        done.append(compiled(model, target, method, options.pe, image))
    blocks = []
    for threads in options.threads:
        rows, seconds = [], []
        for (target, method), (ours, heatmap) in zip(pairs, done, strict=True):
            say(f"{threads} threads: {target}, {method}")
            with _threads(threads):
                alone, found = measured(model, peers, target, method, image, heatmap, options.repeats)
            rows.append(Row(target, method, ours, found))
            seconds += alone
        blocks.append(Block(threads, spread(seconds), rows))
    return blocks


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """PyTorch on `count` threads while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def processor() -> str:
    """The CPU, and how many of its cores this machine has."""
    names = [platform.processor() or platform.machine()]
    with contextlib.suppress(OSError):  # only Linux has the file
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        names += [entry.partition(":")[2].strip() for entry in text.splitlines() if entry.startswith("model name")]
    return f"{names[-1]}, {os.cpu_count()} cores"


def versions(peers: Sequence[Peer]) -> dict[str, str]:
    """The version of every distribution that takes part; one that came by another name is left out."""
    found = {"python": platform.python_version()}
    for name in ("gradcam-mlir", "torch", "numpy", *(package for peer in peers for package in peer.packages)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def as_json(options: argparse.Namespace, blocks: Sequence[Block], peers: Sequence[Peer]) -> bytes:
    """The measurements as JSON; seconds and ratios, never percent."""
    record: dict[str, Any] = {"model": MODEL, "pe": options.pe, "repeats": options.repeats, "cpu": processor()}
    record |= {"versions": versions(peers), "blocks": [asdict(block) for block in blocks]}
    return json.dumps(record, indent=1).encode() + b"\n"


def _compare(options: argparse.Namespace) -> None:
    if options.repeats < 1 or min(options.threads) < 1:
        raise GradcamError("--repeats and --threads must be at least 1")
    peers, left_out = load_peers()
    with stages("explanation_overhead") as say:
        blocks = benchmark(options, peers, say)
    print(f"{processor()}; array {options.pe}; {options.repeats} rounds, median and quartiles")
    print(", ".join(f"{name} {version}" for name, version in versions(peers).items()))
    for text in [*left_out, *(f"{peer.name}: {peer.remark}" for peer in peers if peer.remark)]:
        print(text)
    print(tables(blocks, [peer.name for peer in peers]), end="")
    if options.json:
        write_output(options.json, [as_json(options, blocks, peers)])


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=TARGETS, metavar="PATH", help="target layers")
    parser.add_argument("--methods", nargs="+", default=tuple(FORMULAS), choices=tuple(FORMULAS), metavar="METHOD")
    parser.add_argument(
        "--threads", nargs="+", type=int, default=(1, 2), metavar="N", help="of PyTorch, one table each"
    )
    parser.add_argument("--repeats", type=int, default=50, metavar="N", help="rounds of timing")
    parser.add_argument("--pe", default="16x16", metavar="OCxIC", help="the array")
    parser.add_argument("--json", metavar="FILE", help="also write the measurements")
    options = parser.parse_args(argv)
    return run("explanation_overhead", lambda: _compare(options))


if __name__ == "__main__":
    sys.exit(main())
