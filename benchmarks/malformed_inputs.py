"""The kinds of malformed inputs that `malformed.py` runs: how each is made from a seed, and what is right for it."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from malformed import Case

ROOT = Path(__file__).resolve().parents[1]
MODEL, SHAPE = "examples.walkthrough:network", (1, 3, 4, 8)
COMPILE = ["--target-layer", "block", "--pe", "4x4"]

Maker = Callable[[random.Random, Path], Case]
KINDS: dict[str, Maker] = {}


def kind(name: str) -> Callable[[Maker], Maker]:
    """Registers the maker of a kind."""

    def register(maker: Maker) -> Maker:
        KINDS[name] = maker
        return maker

    return register


def make(name: str, seed: int, corpus: Path) -> Case:
    """The case of a kind with a seed: always the same."""
    return KINDS[name](random.Random(f"{name} {seed}"), corpus)


def import_all() -> None:
    """Imports what commands import, so that a forked process need not; makes no MLIR context, which has threads."""
    sys.path.insert(0, str(ROOT))
    names = ["gradcam.design", "gradcam.frontend", "gradcam.jit", "gradcam.opt.driver", "gradcam.output", "gradcam.sim"]
    names += ["gradcam.sim.check", "gradcam.sim.output", "gradcam.synth", "gradcam.passes.registry", "torch.export"]
    names += ["pycde.circt", "pycde.circt.passmanager", "torch_mlir.passmanager", "examples.walkthrough"]
    names += ["malformed_opt", "malformed_compile", "malformed_sim"]
    names += [f"gradcam.tools.gradcam_{tool}" for tool in ("compile", "import", "opt", "sim", "synth")]
    for name in names:
        importlib.import_module(name)
    from gradcam.passes.infra import registry

    for name in registry.pass_names():
        registry.lookup(name)


def write_corpus(corpus: Path) -> None:
    """Writes the valid inputs that are changed."""
    import torch
    from PIL import Image

    from examples.walkthrough import network
    from gradcam.compiler import Compilation, Settings
    from gradcam.tools import gradcam_compile, gradcam_sim

    model = network()
    images = model.calibration_images()
    pixels = np.round(images * 255).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    (corpus / "images").mkdir()
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(corpus / "images" / f"{number}.png")
    Image.fromarray(pixels[0]).save(corpus / "image.png")
    Image.fromarray(pixels[0]).save(corpus / "image.jpg", quality=95)
    np.save(corpus / "image.npy", images[0])
    np.save(corpus / "images.npy", images)
    np.savez(corpus / "images.npz", images=images)
    torch.save(model.state_dict(), corpus / "state.pth")
    torch.save(model, corpus / "module.pth")
    torch.jit.save(torch.jit.trace(model, torch.from_numpy(images[:1])), corpus / "script.pt")
    from safetensors.torch import save_file

    save_file(model.state_dict(), corpus / "state.safetensors")
    torch.export.save(torch.export.export(model, (torch.from_numpy(images[:1]),)), corpus / "model.pt2")
    for level in ("simplified", "quantized", "affine", "hw"):
        module = Compilation(model, Settings("block", pe="4x4")).to(level)
        (corpus / f"{level}.mlir").write_text(module.operation.get_asm(enable_debug_info=level != "hw"))
        with (corpus / f"{level}.mlirbc").open("wb") as file:
            module.operation.write_bytecode(file)
    design = corpus / "design"
    gradcam_compile.main([MODEL, *COMPILE, "-o", str(design)])
    gradcam_sim.main([str(design), "--input", str(corpus / "image.npy"), "-o", str(corpus / "run")])


def level1(text: bytes | Path) -> Any:
    """Parses a module of torch-mlir's side."""
    from torch_mlir import ir

    from gradcam.dialect import make_context

    return ir.Module.parse(text.read_bytes() if isinstance(text, Path) else text, make_context())


def circt(text: bytes | Path) -> Any:
    """Parses a module of CIRCT's side."""
    from gradcam.passes.infra import contexts

    return contexts.parse_module(text.read_bytes() if isinstance(text, Path) else text, contexts.make_context("circt"))


def random_image(module: Any) -> np.ndarray:
    """An image of the size that a module takes, float32."""
    from gradcam.passes.quantize.calibrate import input_shape

    return np.random.default_rng(0).standard_normal(input_shape(module)).astype(np.float32)


def differ(name: str, got: Any, wanted: Any, tolerance: float = 0.0) -> str:
    """The first output that is not the one wanted, in words; "" where all are equal."""
    for number, (one, other) in enumerate(zip(got, wanted, strict=True)):
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        if one.shape != other.shape or not np.allclose(one, other, tolerance, tolerance, equal_nan=True):
            return f"output {number} of {name} differs"
    return ""


def passes_keep_values(source: bytes) -> Callable[[Path], str]:
    """The backward pass of the output gives what that before the simplification gives."""

    def right(folder: Path) -> str:
        from gradcam.execution.float32 import run_float
        from gradcam.passes.infra.pass_manager import PassManager

        if not len(level1(source).body.operations):  # nothing to compile
            return "" if not len(level1(folder / "out.mlir").body.operations) else "something came from nothing"
        derived = PassManager.parse("gradcam-derive-backward").run(level1(source))
        image = random_image(derived)
        return differ("main", run_float(level1(folder / "out.mlir"), image), run_float(derived, image), 1e-3)

    return right


def same_module(source: bytes, parse: Callable[[bytes | Path], Any]) -> Callable[[Path], str]:
    """The output is the module that the parser makes of the source."""

    def right(folder: Path) -> str:
        same = str(parse(source)) == str(parse(folder / "out.mlir"))
        return "" if same else "another module than the parser's"

    return right


def logits_of(model: Callable[[Path], Any]) -> Callable[[Path], str]:
    """The compiled network gives the logits of the one that `model` makes in PyTorch."""

    def right(folder: Path) -> str:
        import torch

        from gradcam.execution.float32 import run_float

        image = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
        with torch.no_grad():
            wanted = model(folder)(torch.from_numpy(image)).numpy()
        return differ("logits", run_float(level1(folder / "out.mlirbc"), image)[:1], [wanted], 1e-4)

    return right
