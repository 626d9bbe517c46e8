"""What `--emit onnx` adds to an inference of a large network: `python benchmarks/onnx_overhead.py [--json FILE]`.

The network is ResNet-18 for 224x224 images and 1000 classes, on one thread. Time: the exported model in ONNX Runtime
against the plain model that torch.onnx.export writes, beside torch.autograd, pytorch-grad-cam, Captum and torch-cam
against an inference of PyTorch, all in turn, in CPU seconds, which other work on the machine disturbs least.

Memory: the largest and the last resident set of a process that loads the model and runs it three times, minus those of
one that only infers with the same imports. The processes give large blocks back to the system at once (glibc's
MALLOC_MMAP_THRESHOLD_), so that a figure is what was in use. `pip install -c constraints.txt '.[peers]'` brings the
libraries; onnxruntime and onnxscript come with '.[test]'. It fails where a figure is missed.

The plain model is one file, as `dynamo=False` writes it. Beside the memory of that one stands how much less one with
its weights in a second file needs, which the newer exporter writes.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradcam.command import run
from gradcam.errors import GradcamError
from gradcam.files import write_output

TARGETS = ("layer4", "layer3")
RUNTIME, FRAMEWORK = "ONNX Runtime", "PyTorch"
PLAIN, PLAIN_APART = "plain", "plain_apart"
RUNS = 3

#: Bytes from which a block is one of its own and goes back to the system when it is freed.
THRESHOLD = 1 << 16


@dataclass(frozen=True)
class Row:
    """One way to explain one layer.

    Attributes:
        subject: the exported model, or a library.
        target: module path of the target layer.
        milliseconds: of an inference with its explanation, median.
        overhead: explanation by inference: the median of rounds, and quartiles.
        peak, kept: bytes on top of an inference: of the largest resident set, and of the last one.
    """

    subject: str
    target: str
    milliseconds: float
    overhead: tuple[float, float, float]
    peak: int
    kept: int


def network() -> Any:
    """ResNet-18 with random weights and an image of noise."""
    import torch

    from gradcam.models import resnet18

    torch.manual_seed(0)
    torch.set_num_threads(1)
    return resnet18(num_classes=1000, stem="imagenet").eval()


def image() -> np.ndarray:
    """An image of noise."""
    return np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)


def write_models(folder: Path, targets: Sequence[str]) -> None:
    """Writes `NAME.onnx`: the plain model, also with its weights in a second file, and one for each target layer."""
    import warnings

    import onnx
    import torch

    from gradcam.compiler import Compilation, Settings
    from gradcam.onnx_export import compiled_model
    from gradcam.onnx_files import save_model

    model = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that names nodes is an older one
        names = {"input_names": ["image"], "output_names": ["logits"]}
        path = str(folder / f"{PLAIN}.onnx")
        torch.onnx.export(model, (torch.from_numpy(image()),), path, opset_version=17, dynamo=False, **names)
    apart = {"save_as_external_data": True, "location": f"{PLAIN_APART}.onnx.data"}
    onnx.save_model(onnx.load(path), str(folder / f"{PLAIN_APART}.onnx"), **apart)
    for target in targets:
        save_model(compiled_model(Compilation(model, Settings(target)), "resnet18"), str(folder / f"{target}.onnx"))


def session(path: Path) -> Callable[[], Any]:
    """A call that runs a model once, on one thread, with the settings that onnxruntime has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    made = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {"image": image(), "class": np.array([-1])}
    return functools.partial(made.run, None, {x.name: given[x.name] for x in made.get_inputs()})


@contextlib.contextmanager
def explaining(name: str, target: str) -> Iterator[Callable[[], Any]]:
    """A call that infers, and explains unless `target` is `PLAIN`, with PyTorch; `name` is a peer or `FRAMEWORK`."""
    import torch
    from peers import load_peers

    model, pixels, peers = network(), torch.from_numpy(image()), load_peers()[0]
    if target == PLAIN:
        yield torch.inference_mode()(lambda: model(pixels))
        return
    (peer,) = (p for p in peers if p.name == name)
    with peer.methods["gradcam"](model, target) as explain:
        yield functools.partial(explain, pixels)


def times(
    folder: Path, peers: Sequence[str], targets: Sequence[str], repeats: int
) -> dict[tuple[str, str], list[float]]:
    """CPU seconds of each subject and target, and of both inferences (target `PLAIN`), taken in turn."""
    from overheads import interleaved

    with contextlib.ExitStack() as opened:
        calls = {(RUNTIME, name): session(folder / f"{name}.onnx") for name in (PLAIN, *targets)}
        calls[FRAMEWORK, PLAIN] = opened.enter_context(explaining(FRAMEWORK, PLAIN))
        calls |= {(p, t): opened.enter_context(explaining(p, t)) for p in peers for t in targets}
        seconds = interleaved({" ".join(key): call for key, call in calls.items()}, repeats, time.process_time)
    return dict(zip(calls, seconds.values(), strict=True))


def memory(folder: Path, subject: str, target: str) -> tuple[int, int]:
    """Bytes of the largest and of the last resident set of a process that runs one subject.

    Raises:
        GradcamError: the process fails.
    """
    command = [sys.executable, __file__, "--models", str(folder), "--one", subject, target]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(THRESHOLD), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise GradcamError(f"{subject} at {target}: {done.stderr.strip().splitlines()[-1]}")
    peak, kept = map(int, done.stdout.splitlines()[-1].split())
    return peak, kept


def _run_one(folder: Path, subject: str, target: str) -> None:
    """What a process of its own does: runs a subject and prints its memory."""
    with contextlib.ExitStack() as opened:
        is_exported = subject == RUNTIME
        call = session(folder / f"{target}.onnx") if is_exported else opened.enter_context(explaining(subject, target))
        for _ in range(RUNS):
            call()
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        sizes = {name: value for name, _, value in (line.partition(":") for line in lines)}
        print(*(int(sizes[name].split()[0]) * 1024 for name in ("VmHWM", "VmRSS")))


def rows(folder: Path, targets: Sequence[str], repeats: int) -> list[Row]:
    """Everything that is measured."""
    from overheads import overhead, spread
    from peers import load_peers

    found, left_out = load_peers()
    for line in left_out:
        print(line)
    peers = [peer.name for peer in found]
    bases = {name: memory(folder, name, PLAIN) for name in (RUNTIME, FRAMEWORK)}
    seconds = times(folder, peers, targets, repeats)
    made = []
    for target in targets:
        for subject in (RUNTIME, *peers):
            runtime = RUNTIME if subject == RUNTIME else FRAMEWORK
            ratio = overhead(seconds[subject, target], seconds[runtime, PLAIN])
            used = [a - b for a, b in zip(memory(folder, subject, target), bases[runtime], strict=True)]
            quartiles = ratio.median, ratio.low, ratio.high
            made.append(Row(subject, target, 1e3 * spread(seconds[subject, target]).median, quartiles, *used))
    less = [a - b for a, b in zip(bases[RUNTIME], memory(folder, RUNTIME, PLAIN_APART), strict=True)]
    sizes = " and ".join(f"{size / 1e6:.1f} MB" for size in less)
    print(f"a plain model with its weights in a second file needs {sizes} less, at the peak and in the end")
    for runtime in (RUNTIME, FRAMEWORK):
        print(f"an inference of {runtime}: {1e3 * spread(seconds[runtime, PLAIN]).median:.1f} ms (median)")
    return made


def faults(found: Sequence[Row]) -> list[str]:
    """What is not as cheap as it has to be."""
    by = {(row.subject, row.target): row for row in found}
    missed = []
    if (ratio := by[RUNTIME, "layer4"].overhead[0]) > 0.01:
        missed.append(f"an explanation at layer4 takes {ratio:.4f} of an inference, more than 0.01")
    ours, autograd = (by[name, "layer3"].overhead[0] for name in (RUNTIME, "torch.autograd"))
    if ours > 1.1 * autograd:
        missed.append(f"an explanation at layer3 takes {ours:.3f} of an inference, autograd's {autograd:.3f}")
    for target in TARGETS:
        if (peer := by.get(("pytorch-grad-cam", target))) and by[RUNTIME, target].peak > peer.peak / 10:
            missed.append(f"the peak of {target} is above a tenth of pytorch-grad-cam's")
    return missed


def table(found: Sequence[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| target layer | subject | ms | explanation / inference | peak, MB | kept, MB |", "|" + 6 * "---|"]
    for row in found:
        median, low, high = row.overhead
        subject = "`--emit onnx`" if row.subject == RUNTIME else row.subject
        ratio = f"{median:.4f} ({low:.4f} to {high:.4f})"
        sizes = f"{row.peak / 1e6:.1f} | {row.kept / 1e6:.1f}"
        lines.append(f"| `{row.target}` | {subject} | {row.milliseconds:.1f} | {ratio} | {sizes} |")
    return "\n".join(lines)


def _measure(options: argparse.Namespace) -> None:
    if options.one:
        return _run_one(options.models, *options.one)
    if options.repeats < 1:
        raise GradcamError("--repeats must be at least 1")
    with tempfile.TemporaryDirectory() as folder:
        write_models(Path(folder), TARGETS)
        found = rows(Path(folder), TARGETS, options.repeats)
    print(table(found))
    if options.json:
        write_output(options.json, [json.dumps([asdict(row) for row in found], indent=1).encode() + b"\n"])
    if missed := faults(found):
        raise GradcamError("; ".join(missed))
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit code, which is 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=50, metavar="N", help="rounds of timing")
    parser.add_argument("--json", metavar="FILE", help="also write the measurements")
    parser.add_argument("--models", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    return run("onnx_overhead", lambda: _measure(options))


if __name__ == "__main__":
    sys.exit(main())
