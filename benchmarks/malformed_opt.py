"""Malformed inputs of `gradcam-opt`: IR, pipelines, plugins, reproducers, images for a calibration."""

from __future__ import annotations

import random
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from malformed import Case
from malformed_inputs import (
    ROOT,
    circt,
    differ,
    kind,
    level1,
    passes_keep_values,
    same_module,
)
from mutations import mutated_bytes, mutated_text


def _opt(name: str, data: bytes, *options: str, **rest: Any) -> Case:
    return Case("gradcam_opt", [name, *options, "-o", "out.mlir"], {name: data}, **rest)


def _is_empty(module: Any) -> bool:
    """Whether a module has no function."""
    return not len(module.body.operations)


@kind("mlir, level 1")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_text(rng, (ROOT / "examples" / "explain.mlir").read_bytes())
    passes = ("--gradcam-derive-backward", "--gradcam-simplify-backward")
    return _opt("in.mlir", data, *passes, right=passes_keep_values(data), change=change)


@kind("mlir, level 2")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_text(rng, (corpus / "quantized.mlir").read_bytes())

    def right(folder: Path) -> str:
        from gradcam.jit import run_linalg
        from gradcam.passes.quantize.calibrate import input_shape
        from gradcam.reference.integer import run_integer

        module = level1(data)
        if _is_empty(module):  # nothing to compile
            return "" if _is_empty(level1(folder / "out.mlir")) else "something came from nothing"
        image = np.random.default_rng(0).integers(-128, 128, input_shape(module)).astype(np.int8)
        got = run_linalg(level1(folder / "out.mlir"), image[0].transpose(1, 2, 0).copy(), np.array([-1], np.int32))
        return differ("main", got, [value[0] for value in run_integer(module, image)])

    passes = ("--gradcam-set-platform=pe=4x4", "--convert-gradcam-to-linalg", "--fuse-epilogues")
    return _opt("in.mlir", data, *passes, right=right, change=change)


@kind("mlir, level 4")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_text(rng, (corpus / "affine.mlir").read_bytes())

    def right(folder: Path) -> str:
        from gradcam.jit import run_affine

        module = level1(data)
        if _is_empty(module):  # nothing to schedule
            return "" if _is_empty(level1(folder / "out.mlir")) else "something came from nothing"
        image, cls = np.random.default_rng(0).integers(-128, 128, (4, 8, 3)).astype(np.int8), np.array([-1], np.int32)
        return differ("main", run_affine(level1(folder / "out.mlir"), image, cls), run_affine(module, image, cls))

    passes = ("--gradcam-schedule-pipeline",)
    return _opt("in.mlir", data, *passes, right=right, change=change)


@kind("mlir, CIRCT")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_text(rng, (corpus / "hw.mlir").read_bytes())
    return _opt("in.mlir", data, right=same_module(data, circt), change=change)


@kind("bytecode, level 1")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_bytes(rng, (corpus / "simplified.mlirbc").read_bytes())
    return _opt("in.mlirbc", data, right=same_module(data, level1), change=change)


@kind("pipeline text")
def _(rng: random.Random, corpus: Path) -> Case:
    source = (ROOT / "examples" / "explain.mlir").read_bytes()
    pipeline = (
        "builtin.module(gradcam-derive-backward,gradcam-simplify-backward,func.func(cse,canonicalize{top-down=0}))"
    )
    data, change = mutated_text(rng, pipeline.encode(), printable=True)
    options = ["in.mlir", f"--pass-pipeline={data.decode()}", "-o", "out.mlir"]
    right = passes_keep_values(source)

    def derived(folder: Path) -> str:
        return right(folder) if b"gradcam.explain" not in (folder / "out.mlir").read_bytes() else ""

    return Case("gradcam_opt", options, {"in.mlir": source}, right=derived, change=change)


_PLUGIN = b'''from dataclasses import dataclass
from typing import ClassVar, Literal
from gradcam.errors import fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.infra.registry import register
from torch_mlir import ir

@register
@dataclass(frozen=True)
class Count(Pass):
    """Counts."""

    name: ClassVar[str] = "count"
    limit: int = 3
    style: Literal["a", "b"] = "a"

    def run(self, module):
        found = len(list(module.body.operations))
        if found > self.limit:
            raise fail(module.body.operations[0], "too many")
        module.operation.attributes["count"] = ir.IntegerAttr.get(ir.IntegerType.get_signless(8), found)
'''


@kind("plugin")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_text(rng, _PLUGIN)
    source = b"func.func private @f()"

    def right(folder: Path) -> str:
        from gradcam.passes.infra import registry

        plugin = sys.modules["plugin"] = types.ModuleType("plugin")  # where dataclasses look for it
        exec(compile(data, "plugin.py", "exec"), vars(plugin))
        module = level1(source)
        with module.context:
            registry.lookup("count")(limit=2).run(module)
        return "" if str(module) == str(level1(folder / "out.mlir")) else "the pass did something else"

    options = ["in.mlir", "--load-pass-plugin=plugin.py", "--count=limit=2", "-o", "out.mlir"]
    return Case("gradcam_opt", options, {"in.mlir": source, "plugin.py": data}, right=right, change=change)


@kind("reproducer")
def _(rng: random.Random, corpus: Path) -> Case:
    head = b"// configuration: --verify-each=0 --pass-pipeline='builtin.module(gradcam-derive-backward)'\n"
    source = (ROOT / "examples" / "explain.mlir").read_bytes()
    head, change = mutated_text(rng, head)
    right = passes_keep_values(source)

    def derived(folder: Path) -> str:
        return right(folder) if b"gradcam.explain" not in (folder / "out.mlir").read_bytes() else ""

    return _opt("in.mlir", head + source, "--run-reproducer", right=derived, change=change)


def _calibrated(name: str, values: Callable[[Path], np.ndarray]) -> dict[str, Any]:
    """Options that measure ranges from `name`; right is the largest magnitude of what `values` reads."""

    def right(folder: Path) -> str:
        found = re.search(r"gradcam.range = ([0-9.Ee+-]+)", (folder / "out.mlir").read_text())
        array = values(folder)
        largest = np.abs(array / (255 if array.dtype == np.uint8 else 65535 if array.dtype == np.uint16 else 1)).max()
        return (
            "" if found and np.isclose(float(found[1]), largest, 1e-5) else f"range {found and found[1]} of {largest}"
        )

    options = f"--gradcam-calibrate=images={name} range=max mean=0 std=1"
    return {"arguments": ["in.mlirbc", options, "-o", "out.mlir"], "right": right}


def _calibration(
    corpus: Path, name: str, files: dict[str, Any], values: Callable[[Path], np.ndarray], change: str
) -> Case:
    inputs = {"in.mlirbc": corpus / "simplified.mlirbc", **files}
    return Case("gradcam_opt", files=inputs, change=change, **_calibrated(name, values))


@kind("calibration .npy")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_bytes(rng, (corpus / "images.npy").read_bytes(), head=128)
    return _calibration(corpus, "x.npy", {"x.npy": data}, lambda folder: np.load(folder / "x.npy"), change)


@kind("calibration .npz")
def _(rng: random.Random, corpus: Path) -> Case:
    data, change = mutated_bytes(rng, (corpus / "images.npz").read_bytes(), head=180)

    def values(folder: Path) -> np.ndarray:
        (array,) = np.load(folder / "x.npz").values()
        return array

    return _calibration(corpus, "x.npz", {"x.npz": data}, values, change)


@kind("calibration folder")
def _(rng: random.Random, corpus: Path) -> Case:
    from PIL import Image

    data, change = mutated_bytes(rng, (corpus / "image.png").read_bytes(), head=60)
    files = {"x": corpus / "images", f"x/new{rng.choice(['.png', '.PNG', '.jpg', '.bmp', '.tiff'])}": data}

    def values(folder: Path) -> np.ndarray:
        return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in (folder / "x").iterdir()])

    return _calibration(corpus, "x", files, values, change)
