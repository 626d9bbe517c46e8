"""Malformed inputs of `gradcam-compile` and `gradcam-import`: models, weights, options, output folders, schedules."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from malformed import Case
from malformed_inputs import (
    COMPILE,
    MODEL,
    ROOT,
    differ,
    kind,
    level1,
    logits_of,
)
from mutations import NO_NUMBER, mutated_bytes, mutated_json, mutated_text, texts


def _compiled(arguments: list[str], files: dict[str, Any], change: str, model: Callable[[Path], Any] | None) -> Case:
    right = None if model is None else logits_of(model)
    options = ["--target-layer", "block", "--emit", "simplified", "-o", "out.mlirbc"]
    return Case("gradcam_compile", [*arguments, *options], files, right, change)


def _network() -> Any:
    return importlib.import_module("examples.walkthrough").network()


@kind("program .pt2")
def _(rng: random.Random, corpus: Path) -> Case:
    import torch

    data, change = mutated_bytes(rng, (corpus / "model.pt2").read_bytes(), head=400)
    return _compiled(["m.pt2"], {"m.pt2": data}, change, lambda folder: torch.export.load(folder / "m.pt2").module())


@kind("state dict .pth")
def _(rng: random.Random, corpus: Path) -> Case:
    import torch

    data, change = mutated_bytes(rng, (corpus / "state.pth").read_bytes(), head=600)

    def model(folder: Path) -> Any:
        network = _network()
        network.load_state_dict(torch.load(folder / "s.pth", weights_only=True))
        return network

    return _compiled([MODEL, "--state-dict", "s.pth"], {"s.pth": data}, change, model)


@kind("state dict .safetensors")
def _(rng: random.Random, corpus: Path) -> Case:
    from safetensors.torch import load

    data, change = mutated_bytes(rng, (corpus / "state.safetensors").read_bytes(), head=900)

    def model(folder: Path) -> Any:
        network = _network()
        network.load_state_dict(load(data))
        return network

    return _compiled([MODEL, "--state-dict", "s.safetensors"], {"s.safetensors": data}, change, model)


@kind("model in another form")
def _(rng: random.Random, corpus: Path) -> Case:
    form = rng.choice(texts("module.pth|script.pt|state.pth|state.safetensors|model.pt2|image.png|image.npy"))
    name = "m" + rng.choice(texts(".pt|.pth|.onnx|.ckpt|.bin|.ts|.h5|.pkl|.tflite|.PT2||.safetensors"))
    data, change = mutated_bytes(rng, (corpus / form).read_bytes(), head=400)
    return _compiled([name], {name: data}, f"{form} as {name}, {change}", None)


@kind("model file")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_text(rng, (ROOT / "examples" / "walkthrough.py").read_bytes())

    def model(folder: Path) -> Any:
        namespace: dict[str, Any] = {"__name__": "mine"}
        exec(compile(data, "mine.py", "exec"), namespace)
        return namespace["network"]()

    name = rng.choice(["mine:network", "mine.py:network", "mine.py:network()"])
    return _compiled([name], {"mine.py": data}, change, model)


MODULE, FILE = "examples.walkthrough", "examples/walkthrough.py"
NAMES = texts("|:|a:|:a|a:b:c|.:x|..a:b|/:x|a b:c d|\u00e9:\u00e8|sys:exit|math:pi|os:getcwd")
NAMES += texts("m.pt2|m.onnx|m.pth|m.py:network")
NAMES += ["x" * 5000 + ":y", "examples:x", "examples..walkthrough:x", "examples/:x", FILE, f"{FILE}x:network"]
NAMES += [f"{MODULE}:{rest}" for rest in texts("|no|Network.forward|np|network(|network(1)|network(x=1)|network()()")]
NAMES += [f"{MODULE}:network({rest})" for rest in texts("open('x')|*[1]|**{'a': 1}|1,,|x|lambda: 0|1+|network")]
NAMES += [f"{FILE}:{rest}" for rest in texts("|no|network(1)|network)|Network.nothing")]


@kind("model name")
def _(rng: random.Random, corpus: Path) -> Case:
    name = rng.choice(NAMES)
    if rng.random() < 0.5:
        name = mutated_text(rng, b"examples.walkthrough:netw0rk", printable=True)[0].decode()
    return Case("gradcam_import", [name, "--target-layer", "block", "-o", "out.mlir"], change=f"model {name[:60]!r}")


#: Texts that options do not take.
COMPILE_TEXTS = {
    "--top-k": f"{NO_NUMBER}|0|4|99999999999999999999|1.0|2,3",
    "--method": "|x|grad|score-cam-x|eigencam|gradcam gradcam|\u00e9",
    "--pe": f"|x|4|4x|x4|4x4x4|3x4|0x0|-4x4|4.0x4|1024x1024|{'9' * 400}x4|4*4",
    "--range": "|x|maximum",
    "--percentile": f"{NO_NUMBER}|0|100.5|1e-400",
    "--input-shape": "|x|1|3,4,8|1,3,4|2,3,4,8|1,0,4,8|1,3,-4,8|1,3,100000,100000|1,4,4,8",
    "--weights": "|x|DRAM!|onchip,dram",
    "--max-onchip-bytes": f"{NO_NUMBER}|0|1",
    "--clock-mhz": f"{NO_NUMBER}|0|1e9",
    "--emit": "|x|rtl|gradcam ",
    "--target-layer": "| |x|layer4|block.|.block|block..relu|fc.weight|block.conv9|\u00e9",
    "--calibration": "|none|/dev/null|examples.walkthrough|.|x.npy|x.npz:|\x7f",
    "--state-dict": "|none.pth|.|/dev/null|x.safetensors",
    "--schedule": "none.json|.|/dev/null",
    "--dram-width": f"{NO_NUMBER}|0|7|48|99999999999999999999",
    "--dram-outstanding": f"{NO_NUMBER}|0|99999999999999999999",
    "--dram-latency": f"{NO_NUMBER}|0|99999999999999999999",
    "--mean": f"{NO_NUMBER.replace('|-1', '')}|1,2|1,2,3,4",
    "--std": f"{NO_NUMBER}|0|1,2|1,0,1",
    "--preset": "|x|IMAGENET2",
    "--resize": f"{NO_NUMBER}|0|1x1x1|99999999999",
    "--crop": f"{NO_NUMBER}|0|9999",
    "--name": f"| |A|1a|_a|a_|a__b|a-b|a.b|module|soft|int|entity|\u00e9|{'a' * 65}",
    "--no-such-option": "|x",
}


@kind("options of gradcam-compile")
def _(rng: random.Random, corpus: Path) -> Case:
    option = rng.choice(list(COMPILE_TEXTS))
    text = rng.choice(texts(COMPILE_TEXTS[option]))
    options = ["--weights", "dram"] if option.startswith("--dram") else []
    layer = [] if option == "--target-layer" else ["--target-layer", "block"]
    pe = [] if option == "--pe" else ["--pe", "4x4"]
    arguments = [MODEL, *layer, *pe, *options, f"{option}={text}", "-o", "out"]
    return Case("gradcam_compile", arguments, change=f"{option}={text[:60]!r}")


@kind("options of gradcam-import")
def _(rng: random.Random, corpus: Path) -> Case:
    names = ("--top-k", "--method", "--input-shape", "--target-layer", "--state-dict", "--no-such-option")
    options = {name: COMPILE_TEXTS[name] for name in names}
    options |= {"--eps": "|x|nan|inf|-1|1e999", "--level": "|x|hw", "--mlir-elide-elementsattrs-if-larger": NO_NUMBER}
    option = rng.choice(list(options))
    text = rng.choice(texts(options[option]))
    layer = [] if option == "--target-layer" else ["--target-layer", "block"]
    arguments = [MODEL, *layer, f"{option}={text}", "-o", "out.mlir"]
    return Case("gradcam_import", arguments, change=f"{option}={text[:60]!r}")


@kind("options of gradcam-opt")
def _(rng: random.Random, corpus: Path) -> Case:
    passes = "set-platform=pe=3x4|set-platform=pe=x|set-platform=pe=1024x1024|set-platform=dram-width=-1|set-platform={"
    passes += "|set-platform='pe|set-platform=pe=4x4 pe=4x4|limit-memory|limit-memory=bytes=x|limit-memory=bytes=-5"
    passes += "|target-clock=mhz=0|target-clock=mhz=nan|target-clock=family=x|calibrate=images=none|calibrate"
    passes += "|calibrate=images=. range=x|choose-schedule=file=none"
    flags = (
        "--verify-each=x|--no-such-flag|--cse=x=1|-x|--=|-=|--canonicalize={|--list-passes=x|--mlir-print-ir-after=x"
    )
    flags += "|--mlir-elide-elementsattrs-if-larger=-1|--mlir-elide-elementsattrs-if-larger=x|--load-pass-plugin="
    flags += "|--run-reproducer"
    flag = rng.choice([*texts(flags), *(f"--gradcam-{text}" for text in texts(passes))])
    source = (ROOT / "examples" / "explain.mlir").read_bytes()
    return Case("gradcam_opt", ["in.mlir", flag, "-o", "out.mlir"], {"in.mlir": source}, change=flag)


@kind("output of gradcam-compile")
def _(rng: random.Random, corpus: Path) -> Case:
    target = rng.choice(["x" * 300, *texts("|.|/|..|-|file|file/out|full|full/in|/proc/x|/dev/null")])
    force = rng.choice([[], ["--force"]])
    files = {"file": b"mine", "full/notes.txt": b"mine", "full/in/rtl/notes.txt": b"mine"}
    arguments = [MODEL, *COMPILE, *force, "-o", target]
    return Case("gradcam_compile", arguments, files, change=f"-o {target[:40]!r} {force}")


@kind("output of gradcam-opt and gradcam-import")
def _(rng: random.Random, corpus: Path) -> Case:
    target = rng.choice(["x" * 300, *texts("|.|/|..|full|file/out|none/out|/proc/x|full/../none/out")])
    files = {"in.mlir": b"func.func private @f()", "file": b"mine", "full/notes.txt": b"mine"}
    change = f"-o {target[:40]!r}"
    if rng.random() < 0.7:
        return Case("gradcam_opt", ["in.mlir", "--cse", "-o", target], files, change=change)
    return Case("gradcam_import", [MODEL, "--target-layer", "block", "-o", target], files, change=change)


@kind("schedule.json")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_json(rng, (corpus / "design" / "schedule.json").read_bytes())
    passes = "gradcam-stream-inputs,gradcam-split-time-space,gradcam-choose-schedule{file=s.json}"

    def right(folder: Path) -> str:
        from gradcam.jit import run_affine

        image, cls = np.random.default_rng(0).integers(-128, 128, (4, 8, 3)).astype(np.int8), np.array([-1], np.int32)
        wanted = run_affine(level1(corpus / "affine.mlirbc"), image, cls)
        return differ("main", run_affine(level1(folder / "out.mlir"), image, cls), wanted)

    files = {"in.mlirbc": corpus / "affine.mlirbc", "s.json": data}
    options = ["in.mlirbc", f"--pass-pipeline=builtin.module({passes})", "-o", "out.mlir"]
    return Case("gradcam_opt", options, files, right, change)
