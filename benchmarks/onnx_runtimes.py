"""Models of `--emit onnx` in other runtimes than ONNX Runtime: `write DIR`, then `compare DIR` wherever a runtime is.

    python benchmarks/onnx_runtimes.py write build/runtimes
    python3 -m venv other && other/bin/pip install openvino opencv-python-headless tract onnx2torch
    other/bin/python benchmarks/onnx_runtimes.py compare build/runtimes

`write` exports the shipped network and ResNet-18 for 224x224 images and 1000 classes, and what ONNX Runtime computes of
an image for which no activation is so close to 0 that f32 may take the other side (see `benchmarks/onnx_autograd.py`).
`compare` needs NumPy and the runtimes alone: for each that is installed it prints the largest difference of logits and
of maps by the largest magnitude, over all models, for the best class and another; it fails where one is above 1e-4. For
LiteRT, onnx2tf must be on the PATH, and ai-edge-litert be installed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = 1e-4

#: The target layers of each network, and its methods where there is more than one.
TARGETS = {
    "tinyml_resnet18": ("layer4", "layer3", "layer2", "layer1"),
    "resnet18": ("layer4", "layer3", "layer1", "maxpool"),
}
METHODS = {"layer3": ("gradcam", "gradcam++")}

#: The classes that are explained: the best one, and another.
CLASSES = (-1, 2)

#: Logits and map of an image and a class.
Model = Callable[[np.ndarray, np.ndarray], Sequence[np.ndarray]]


def write(folder: Path) -> None:
    """Writes models, `NAME.onnx`, and what ONNX Runtime makes of an image, `NAME.npz`."""
    import onnxruntime
    from onnx_autograd import stable_image, subject

    import gradcam

    folder.mkdir(parents=True, exist_ok=True)
    for network, targets in TARGETS.items():
        model, shape, _ = subject(network, None)
        image = stable_image(model, shape, targets)[0].numpy()
        for target, method in ((t, m) for t in targets for m in METHODS.get(t, ("gradcam",))):
            file = gradcam.export_onnx(model, folder / f"{network}_{target}_{method}.onnx", target, method)
            session = onnxruntime.InferenceSession(file)
            found = [session.run(None, {"image": image, "class": np.array([cls])}) for cls in CLASSES]
            values = {
                f"{name}{n}": v for n, pair in enumerate(found) for name, v in zip(("logits", "map"), pair, strict=True)
            }
            np.savez(file.with_suffix(".npz"), image=image, **values)


def openvino(file: Path) -> Model:
    """OpenVINO on the CPU."""
    core: Any = importlib.import_module("openvino").Core()
    model = core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(image: np.ndarray, cls: np.ndarray) -> list[np.ndarray]:
        found = model({"image": image, "class": cls})
        return [found[name] for name in ("logits", "heatmap")]

    return run


def opencv(file: Path) -> Model:
    """OpenCV's module dnn."""
    net: Any = importlib.import_module("cv2").dnn.readNetFromONNX(str(file))

    def run(image: np.ndarray, cls: np.ndarray) -> list[np.ndarray]:
        net.setInput(image, "image")
        net.setInput(cls, "class")
        names = net.getUnconnectedOutLayersNames()
        found = dict(zip(names, net.forward(names), strict=True))
        return [found[name] for name in ("logits", "heatmap")]

    return run


def tract(file: Path) -> Model:
    """tract, which is written in Rust."""
    model: Any = importlib.import_module("tract").onnx().load(str(file)).into_model().into_runnable()
    return lambda image, cls: [value.to_numpy() for value in model.run([image, cls])]


def onnx2torch(file: Path) -> Model:
    """The graph as a module of PyTorch."""
    torch: Any = importlib.import_module("torch")
    model: Any = importlib.import_module("onnx2torch").convert(str(file)).eval()

    def run(image: np.ndarray, cls: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return [value.numpy() for value in model(torch.from_numpy(image), torch.from_numpy(cls))]

    return run


def litert(file: Path) -> Model:
    """LiteRT, the former TensorFlow Lite, by onnx2tf: its images have their channels last."""
    interpreter: Any = importlib.import_module("ai_edge_litert.interpreter").Interpreter
    folder = file.with_suffix("")
    subprocess.run(["onnx2tf", "-n", "-i", str(file), "-o", str(folder)], check=True, capture_output=True)
    model = interpreter(str(folder / f"{file.stem}_float32.tflite"))
    model.allocate_tensors()

    def run(image: np.ndarray, cls: np.ndarray) -> list[np.ndarray]:
        for port in model.get_input_details():
            given = cls if "class" in port["name"] else image.transpose(0, 2, 3, 1)
            model.set_tensor(port["index"], np.ascontiguousarray(given, port["dtype"]))
        model.invoke()
        return sorted((model.get_tensor(port["index"]) for port in model.get_output_details()), key=np.ndim)

    return run


#: The runtimes by the name of their distribution.
RUNTIMES: dict[str, Callable[[Path], Model]] = {
    "openvino": openvino,
    "opencv-python-headless": opencv,
    "tract": tract,
    "onnx2torch": onnx2torch,
    "ai-edge-litert": litert,
}


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference by the largest magnitude; infinite for another shape."""
    if np.shape(found) != wanted.shape:
        return float("inf")
    return float(np.abs(np.float64(found) - wanted).max() / np.abs(wanted).max())


def errors(model: Model, known: Any) -> Iterator[tuple[float, float]]:
    """The errors of logits and map, for each class."""
    for number, cls in enumerate(CLASSES):
        found = model(np.ascontiguousarray(known["image"]), np.array([cls], np.int64))
        logits, map_ = (
            relative(value, known[f"{name}{number}"]) for name, value in zip(("logits", "map"), found, strict=True)
        )
        yield logits, map_


def compare(folder: Path) -> bool:
    """Prints a line for each runtime that is installed; returns whether all are near ONNX Runtime."""
    files = sorted(folder.glob("*.onnx"))
    if not files:
        raise SystemExit(f"{folder} has no models; write them first")
    print("| runtime | models | logits | maps |", "|---|" + 3 * "---|", sep="\n")
    is_near = True
    for name, load in RUNTIMES.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found = [pair for file in files for pair in errors(load(file), np.load(file.with_suffix(".npz")))]
        logits, maps = (max(values) for values in zip(*found, strict=True))
        is_near &= max(logits, maps) <= TOLERANCE
        print(f"| {name} {version} | {len(files)} | {logits:.1e} | {maps:.1e} |", flush=True)
    return is_near


def main(argv: Sequence[str] | None = None) -> int:
    """Writes or compares; returns the exit code, which is 1 where a runtime computes something else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("write", "compare"))
    parser.add_argument("folder", type=Path, metavar="DIR")
    options = parser.parse_args(argv)
    if options.what == "write":
        write(options.folder)
        return 0
    return 0 if compare(options.folder) else 1


if __name__ == "__main__":
    sys.exit(main())
