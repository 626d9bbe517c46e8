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
from gradcam.onnx_export import activations, adjoints, explanation, forward, integer_activations, integers
from gradcam.onnx_export.graph import OPSET, Graph, Rule
from gradcam.onnx_package import PRODUCER, onnx_package
from gradcam.outside import outside
from gradcam.passes.ir.attributes import decode
from gradcam.passes.ir.constants import dense_values
from gradcam.passes.ir.explanations import explanations, map_names
from gradcam.passes.ir.normalization import normalization_of
from gradcam.passes.ir.queries import location_name, main_function
from gradcam.quant_types import scale, storage_limits

if TYPE_CHECKING:
    from onnx import ModelProto


def _by_name(*tables: Any) -> dict[str, Rule]:
    """The rules of several modules by op name."""
    return {op.OPERATION_NAME: rule for table in tables for op, rule in table.RULES.items()}


#: The rules of all ops of level 1, and of all quantized ops of level 2, by op name.
RULES = _by_name(forward, activations, adjoints, explanation)
INTEGER_RULES = _by_name(integers, integer_activations)

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
    image = _entering(graph, main, preprocessing)
    results = _translate(graph, main, image, RULES)
    return _model(graph, main, results, np.float32, _metadata(main, name, preprocessing))


def integer_model(module: ir.Module, name: str, preprocessing: Preprocessing | None = None) -> ModelProto:
    """A level-2 module as an ONNX model that computes the integers of the reference; see `float_model`.

    Its image is float32, as in the float model, and quantized in the model. Its outputs are int32; their scales are in
    the metadata.

    Args:
        module: level 2; it stays as it is.
        name: of the model, for the metadata.
        preprocessing: as for a float model.

    Raises:
        GradcamError: as for a float model.
    """
    onnx_package("an ONNX model")
    main, graph = main_function(module), Graph(np.float64)
    argument = main.entry_block.arguments[0]
    real = graph.cast(_entering(graph, main, preprocessing), np.float64)
    steps = graph("Round", graph("Div", real, graph.constant(scale(argument))))  # of ties to the even one
    results = _translate(graph, main, integers.clip(graph, steps, *storage_limits(argument)), INTEGER_RULES)
    returned = zip(_output_names(main), list(main.entry_block.operations)[-1].operands, strict=True)
    metadata = _metadata(main, name, preprocessing) | {"scales": json.dumps({n: scale(v) for n, v in returned})}
    return _model(graph, main, [graph.cast(value, np.int32) for value in results], np.int32, metadata)


def _entering(graph: Graph, main: Any, preprocessing: Preprocessing | None) -> str:
    """The image behind the normalization that is asked for, and that of the model itself."""
    channels = shape(main.entry_block.arguments[0])[1]
    asked = None if preprocessing is None else preprocessing.of_channels(channels)
    value = ARGUMENTS[0]
    for step in filter(None, (asked, normalization_of(main))):
        mean, std = (
            graph.constant(np.reshape(numbers, (1, -1, 1, 1)), np.float32) for numbers in (step.mean, step.std)
        )
        value = graph("Div", graph("Sub", value, mean), std)
    return value


def _translate(graph: Graph, main: Any, image: str, rules: Mapping[str, Rule]) -> list[str]:
    """Adds what the ops of `main` compute of the image; the names of its results."""
    values: dict[ir.Value, str] = dict(zip(main.entry_block.arguments, (image, *ARGUMENTS[1:]), strict=False))
    for op in main.entry_block.operations:
        name = op.operation.name
        graph.scope = location_name(op)
        if name == "func.return":
            return [values[value] for value in op.operands]
        if name == "arith.constant":
            array = dense_values(op)
            stored = graph.constant(array, array.dtype, "weight")
            values[op.results[0]] = stored if array.dtype == graph.dtype else graph.cast(stored, graph.dtype)
        elif name == "quant.scast":
            values[op.results[0]] = values[op.operands[0]]
        elif name in rules:
            values[op.results[0]] = rules[name](graph, op, *(values[value] for value in op.operands))
        else:
            raise fail(op, f"'{name}' has no form in ONNX")
    raise GradcamError("@main has no return")


def _output_names(main: Any) -> list[str]:
    return ["logits", *map_names(len(explanations(main)))]


def _model(graph: Graph, main: Any, results: list[str], dtype: Any, metadata: Mapping[str, str]) -> ModelProto:
    """The model of a graph whose results are of `dtype`."""
    import onnx
    from onnx import TensorProto, helper

    graph.scope = ""
    for value, name in zip(results, _output_names(main), strict=True):
        graph.output(value, name)
    graph.drop_unused()
    types = zip(ARGUMENTS, (TensorProto.FLOAT, TensorProto.INT64), main.entry_block.arguments, strict=False)
    inputs = [helper.make_tensor_value_info(name, type_, shape(value)) for name, type_, value in types]
    returned = zip(_output_names(main), list(main.entry_block.operations)[-1].operands, strict=True)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    outputs = [helper.make_tensor_value_info(name, element, shape(value)) for name, value in returned]
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(
        helper.make_graph(graph.nodes, "main", inputs, outputs, graph.constants),
        producer_name=PRODUCER,
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
