"""The program of level 1, inference and explanation, as an ONNX model."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch_mlir import ir

from gradcam.dialect.verify import shape
from gradcam.errors import GradcamError, fail
from gradcam.execution.interpreter import ARGUMENTS
from gradcam.images import Preprocessing
from gradcam.onnx_export import activations, adjoints, explanation, forward
from gradcam.onnx_export.graph import OPSET, Graph, Rule
from gradcam.onnx_package import onnx_package
from gradcam.outside import outside
from gradcam.passes.ir.attributes import decode
from gradcam.passes.ir.constants import dense_values
from gradcam.passes.ir.explanations import explanations, map_names
from gradcam.passes.ir.normalization import normalization_of
from gradcam.passes.ir.queries import location_name, main_function

if TYPE_CHECKING:
    from onnx import ModelProto

#: The rules of all ops of level 1 by op name.
RULES: dict[str, Rule] = {
    op.OPERATION_NAME: rule
    for table in (forward, activations, adjoints, explanation)
    for op, rule in table.RULES.items()
}

#: Distributions whose versions a model tells.
_VERSIONS = ("gradcam-mlir", "torch", "torch-mlir", "onnx")

#: Bytes of the largest message of protobuf.
_LARGEST = 1 << 31


def float_model(module: ir.Module, name: str, preprocessing: Preprocessing | None = None) -> ModelProto:
    """A level-1 module as an ONNX model of standard operators alone, checked by `onnx.checker`.

    Its inputs are `image` (float32, 1xCxHxW) and, where it explains, `class` (int64, 1): the class to explain first,
    the best one where it is negative. A class that does not exist is an error of the runtime. Its outputs are `logits`
    (float32, 1xK) and the maps (float32, 1xHxW) by the names of `map_names`: raw sums, before their ReLU.

    Args:
        module: level 1; it stays as it is.
        name: of the model, for the metadata.
        preprocessing: where it is given, the image is pixels of 0 to 1, and the model normalizes them by its mean and
            std. Without it the image is what the imported model takes.

    Raises:
        GradcamError: onnx is missing, the module has an op without ONNX form, mean or std does not fit the image, or
            the model is too large for a file of ONNX.
    """
    onnx_package("an ONNX model")
    main, graph = main_function(module), Graph()
    image, *classes = main.entry_block.arguments
    values: dict[ir.Value, str] = dict(zip((image, *classes), ARGUMENTS, strict=False))
    values[image] = _entering(graph, main, preprocessing)
    results = _translate(graph, main, values)
    return _model(graph, main, results, _metadata(main, name, preprocessing))


def _entering(graph: Graph, main: Any, preprocessing: Preprocessing | None) -> str:
    """The image behind the normalization that is asked for, and that of the model itself."""
    channels = shape(main.entry_block.arguments[0])[1]
    asked = None if preprocessing is None else preprocessing.of_channels(channels)
    value = ARGUMENTS[0]
    for step in filter(None, (asked, normalization_of(main))):
        mean, std = (np.reshape(numbers, (1, -1, 1, 1)) for numbers in (step.mean, step.std))
        value = graph("Div", graph("Sub", value, graph.constant(mean)), graph.constant(std))
    return value


def _translate(graph: Graph, main: Any, values: dict[ir.Value, str]) -> list[str]:
    """Adds what the ops of `main` compute; the names of its results."""
    for op in main.entry_block.operations:
        graph.scope = location_name(op)
        if op.operation.name == "func.return":
            return [values[value] for value in op.operands]
        if op.operation.name == "arith.constant":
            array = dense_values(op)
            values[op.results[0]] = graph.constant(array, array.dtype, "weight")
            continue
        if op.operation.name not in RULES:
            raise fail(op, f"'{op.operation.name}' has no form in ONNX")
        values[op.results[0]] = RULES[op.operation.name](graph, op, *(values[value] for value in op.operands))
    raise GradcamError("@main has no return")


def _model(graph: Graph, main: Any, results: list[str], metadata: Mapping[str, str]) -> ModelProto:
    import onnx
    from onnx import TensorProto, helper

    names = ["logits", *map_names(len(results) - 1)]
    graph.scope = ""
    for value, name in zip(results, names, strict=True):
        graph.output(value, name)
    types = zip(ARGUMENTS, (TensorProto.FLOAT, TensorProto.INT64), main.entry_block.arguments, strict=False)
    inputs = [helper.make_tensor_value_info(name, type_, shape(value)) for name, type_, value in types]
    returned = list(main.entry_block.operations)[-1].operands
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape(value))
        for name, value in zip(names, returned, strict=True)
    ]
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(
        helper.make_graph(graph.nodes, "main", inputs, outputs, graph.constants),
        producer_name="gradcam-mlir",
        producer_version=importlib.metadata.version("gradcam-mlir"),
        opset_imports=[opset],
        ir_version=helper.find_min_ir_version_for([opset]),
    )
    helper.set_model_props(model, dict(metadata))
    if (size := model.ByteSize()) >= _LARGEST:
        raise GradcamError(f"the ONNX model has {size:,} bytes; a file of ONNX has less than {_LARGEST:,}")
    with outside("the ONNX model does not pass onnx.checker"):
        onnx.checker.check_model(model, full_check=True)
    return model


def _metadata(main: Any, name: str, preprocessing: Preprocessing | None) -> dict[str, str]:
    """What a model tells of itself."""
    asked = [decode(entry) for entry in explanations(main)]
    maps = [
        {"output": output, "target": entry["target"], "rank": entry["rank"]}
        for output, entry in zip(map_names(len(asked)), asked, strict=True)
    ]
    pixels = preprocessing is not None
    return {
        "model": name,
        "target": ", ".join(dict.fromkeys(entry["target"] for entry in asked)),
        "method": asked[0]["method"] if asked else "",
        "maps": json.dumps(maps),
        "image": "pixels from 0 to 1" if pixels else "as the imported model takes it",
        "versions": ", ".join(f"{package} {importlib.metadata.version(package)}" for package in _VERSIONS),
    }
