"""Exported ONNX models, executed by onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from torch_mlir import ir

from gradcam.onnx_export import float_model
from gradcam.passes.infra.pass_manager import PassManager

#: From the imported network to what is exported.
PIPELINE = "gradcam-backward-pipeline"


def level1(module: ir.Module) -> ir.Module:
    """A network with its explanation, as `gradcam-compile` exports it."""
    return PassManager.parse(PIPELINE).run(module)


def execute(model: onnx.ModelProto, image: np.ndarray, cls: int = -1) -> list[np.ndarray]:
    """Logits and maps, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given: dict[str, Any] = {"image": image.astype(np.float32), "class": np.array([cls])}
    return session.run(None, {x.name: given[x.name] for x in session.get_inputs()})


def exported(module: ir.Module, image: np.ndarray, cls: int = -1) -> list[np.ndarray]:
    """What the ONNX model of a level-1 module computes."""
    return execute(float_model(module, "test"), image, cls)
