"""Malformed inputs of `gradcam-sim` and `gradcam-synth`: images, and what lies in the folder of a design."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from malformed import Case
from malformed_inputs import (
    SHAPE,
    differ,
    kind,
    level1,
)
from mutations import NO_NUMBER, mutated_bytes, mutated_json, texts


def _outputs(folder: Path) -> dict[str, Any]:
    arrays = {path.name: np.load(path).tolist() for path in sorted(folder.glob("*.npy"))}
    report = json.loads((folder / "report.json").read_text())
    names = ("scales", "explained_class", "predicted_class", "simulated_cycles", "reference_equal")
    return arrays | {name: report[name] for name in names}


def _simulated(corpus: Path, files: dict[str, Any], change: str, name: str = "image.npy") -> Case:
    """A simulation whose outputs are those of the unchanged design and image."""

    def right(folder: Path) -> str:
        got, wanted = _outputs(folder / "out"), _outputs(corpus / "run")
        return next((f"{key} differs" for key in wanted if got.get(key) != wanted[key]), "")

    inputs = {"design": corpus / "design", name: corpus / "image.npy"} | files
    return Case("gradcam_sim", ["design", "--input", name, "-o", "out"], inputs, right, change)


def _pictured(corpus: Path, name: str, data: bytes, change: str) -> Case:
    """A simulation of an image file whose logits are those of the integer reference for Pillow's pixels."""

    def right(folder: Path) -> str:
        from PIL import Image

        from gradcam.reference.integer import run_integer

        program = json.loads((folder / "design" / "program.json").read_text())
        (scale,) = (stream["scale"] for stream in program["streams"] if stream["name"] == "image")
        how = program.get("preprocessing") or {"mean": [0.5], "std": [0.5]}
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        pixels = (np.asarray(picture, np.float64).transpose(2, 0, 1) / 255 - how["mean"][0]) / how["std"][0]
        integers = np.clip(np.rint(np.float64(np.float32(pixels)) / scale), -128, 127).astype(np.int8)
        module = level1(folder / "design" / "ir" / "quantized.mlirbc")
        return differ("logits", [np.load(folder / "out" / "logits.npy")], [run_integer(module, integers[None])[0][0]])

    files = {"design": corpus / "design", name: data}
    return Case("gradcam_sim", ["design", "--input", name, "-o", "out"], files, right, change)


@kind("image .png")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_bytes(rng, (corpus / "image.png").read_bytes(), head=60)
    return _pictured(corpus, "x.png", data, change)


@kind("image .jpg")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_bytes(rng, (corpus / "image.jpg").read_bytes(), head=200)
    return _pictured(corpus, "x.jpg", data, change)


@kind("image .npy")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_bytes(rng, (corpus / "image.npy").read_bytes(), head=128)
    case = _simulated(corpus, {"image.npy": data}, change)

    def right(folder: Path) -> str:
        from gradcam.reference.integer import run_integer

        program = json.loads((folder / "design" / "program.json").read_text())
        (scale,) = (stream["scale"] for stream in program["streams"] if stream["name"] == "image")
        values = np.load(folder / "image.npy")
        if values.dtype == np.int8:
            integers = values
        else:
            integers = np.clip(np.rint(np.float64(np.float32(values)) / scale), -128, 127).astype(np.int8)
        module = level1(folder / "design" / "ir" / "quantized.mlirbc")
        integers = integers.reshape(SHAPE) if integers.shape != (4, 8, 3) else integers.transpose(2, 0, 1)[None]
        return differ("logits", [np.load(folder / "out" / "logits.npy")], [run_integer(module, integers)[0][0]])

    return Case(case.tool, case.arguments, case.files, right, change)


@kind("program.json")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_json(rng, (corpus / "design" / "program.json").read_bytes())
    return _simulated(corpus, {"design/program.json": data}, change)


@kind("report.json")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_json(rng, (corpus / "design" / "report.json").read_bytes())
    return _simulated(corpus, {"design/report.json": data}, change)


def _damaged(rng: random.Random, corpus: Path, tool: str) -> tuple[dict[str, Any], str]:
    """A design with one damaged file that the tool reads."""
    kept = ("rtl/*.sv", "mem/*", *(("ir/quantized.mlirbc", "sim/key") if tool == "sim" else ()))
    path = rng.choice(sorted(path for pattern in kept for path in (corpus / "design").glob(pattern)))
    data, change = mutated_bytes(rng, path.read_bytes())
    name = path.relative_to(corpus / "design")
    return {f"design/{name}": data}, f"{name}: {change}"


@kind("file of a design, gradcam-sim")
def _(rng: random.Random, corpus: Path) -> Case:
    return _simulated(corpus, *_damaged(rng, corpus, "sim"))


@kind("folder of a design")
def _(rng: random.Random, corpus: Path) -> Case:
    """A design with a file that is missing, or that is a folder."""
    design = corpus / "design"
    names = ["program.json", "report.json", "ir/quantized.mlirbc", *(f"rtl/{p.name}" for p in design.glob("rtl/*.sv"))]
    names += [f"mem/{path.name}" for path in design.glob("mem/*")]
    gone, is_folder = rng.choice(sorted(names)), rng.random() < 0.3
    kept = {str(p.relative_to(design)): p for p in sorted(design.rglob("*")) if p.is_file()}
    files: dict[str, Any] = {f"design/{name}": path for name, path in kept.items() if name != gone}
    if is_folder:
        files[f"design/{gone}/x"] = b""
    change = f"{gone} is {'a folder' if is_folder else 'missing'}"
    if rng.random() < 0.3 and gone.startswith(("program", "rtl", "mem")):
        return Case("gradcam_synth", ["design", "--family", "xcup"], files, change=change)
    files["image.npy"] = corpus / "image.npy"
    return Case("gradcam_sim", ["design", "--input", "image.npy", "-o", "out"], files, change=change)


def _given(name: str, value: str) -> list[str]:
    return [f"{name}={value}"] if name.startswith("--") else [name, value]


@kind("options of gradcam-sim")
def _(rng: random.Random, corpus: Path) -> Case:
    options = {
        "--class": f"{NO_NUMBER}|3|99999999999999999999",
        "--stall": NO_NUMBER.replace("|-1", ""),
        "--dram-latency": f"{NO_NUMBER}|0|5",
        "--dram-interval": f"{NO_NUMBER}|0|5",
        "--dram-stall": f"{NO_NUMBER}|5",
        "--input": "|none.png|design|/dev/null|image.npz:x",
        "-o": f"|.|design|image.npy|image.npy/out|/proc/x|none/out|{'x' * 300}",
        "--no-such-option": "|x",
    }
    option = rng.choice(list(options))
    text = rng.choice(texts(options[option]))
    given = {"--input": "image.npy", "-o": "out"} | {option: text}
    arguments = ["design", *(part for name, value in given.items() for part in _given(name, value))]
    files = {"design": corpus / "design", "image.npy": corpus / "image.npy"}
    return Case("gradcam_sim", arguments, files, change=f"{option}={text[:60]!r}")


@kind("program.json, gradcam-synth")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_json(rng, (corpus / "design" / "program.json").read_bytes())
    files = {"design": corpus / "design", "design/program.json": data}
    return Case("gradcam_synth", ["design", "--family", "xcup"], files, lambda _: "", change)  # Yosys is not run


@kind("file of a design, gradcam-synth")
def _(rng: random.Random, corpus: Path) -> Case:
    files, change = _damaged(rng, corpus, "synth")
    return Case("gradcam_synth", ["design", "--family", "ecp5"], {"design": corpus / "design"} | files, change=change)


@kind("options of gradcam-synth")
def _(rng: random.Random, corpus: Path) -> Case:
    options = {
        "--family": "|x|XCUP!|ice40|../xcup|\u00e9",
        "--clock-mhz": NO_NUMBER,
        "--seeds": f"{NO_NUMBER}|0|1.5|99999999999999999999",
        "--no-such-option": "|x",
        "design": f"|.|none|/dev/null|design/rtl|design/program.json|{'x' * 300}",
    }
    option = rng.choice(list(options))
    text = rng.choice(texts(options[option]))
    arguments = [text if option == "design" else "design", "--family=ecp5"]
    if option != "design":
        arguments.append(f"{option}={text}")
    return Case("gradcam_synth", arguments, {"design": corpus / "design"}, change=f"{option}={text[:60]!r}")
