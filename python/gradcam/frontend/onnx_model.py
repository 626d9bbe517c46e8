"""ONNX files as checked protobuf messages: no code of a file runs, and it names no file outside of its folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcam.errors import GradcamError
from gradcam.frontend.programs import why_no_model
from gradcam.model_files import kind_of
from gradcam.onnx_package import onnx_package
from gradcam.outside import outside

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

#: The names of the domain of ONNX's own operators.
DOMAINS = ("", "ai.onnx")

#: The oldest opset that is taken as it is; models of older ones are converted to it.
OLDEST = 13

#: How to go on with a model of an opset that is not taken.
_EXPORT_AGAIN = "export it again, as by torch.onnx.export(..., opset_version=17)"


@dataclass(frozen=True)
class OnnxModel:
    """A network of an ONNX file: checked, of an opset from `OLDEST` on, its functions inlined, its weights read.

    Attributes:
        path: the file.
        proto: the message.
    """

    path: Path
    proto: ModelProto


def load_onnx(path: Path) -> OnnxModel:
    """Reads an ONNX file.

    Raises:
        GradcamError: the package onnx is missing, or the file is no valid model of an opset that can be taken.
    """
    if not path.is_file():
        raise GradcamError(f"no file {path}")
    kind = kind_of(path, "model")
    if kind not in ("ONNX", "unknown"):
        raise GradcamError(f"{path} is no ONNX file: {why_no_model(path)}")
    onnx = onnx_package(str(path))
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception:  # a message cut short, or none at all
        model.Clear()
    if not model.graph.node:
        reason = "it holds no graph, or is cut short; export it again" if kind == "ONNX" else why_no_model(path)
        raise GradcamError(f"{path} is no ONNX file: {reason}")
    _read_external(model, path)
    version = _opset(model, path)
    for info in model.graph.output:
        if not info.type.tensor_type.HasField("shape"):  # the checker asks for one, and nothing else does
            info.type.tensor_type.shape.dim.add()
    with outside(f"{path} is no valid ONNX model"):
        onnx.checker.check_model(model)
    if model.functions:
        from onnx import inliner

        with outside(f"onnx cannot inline the functions of {path}"):
            model = inliner.inline_local_functions(model)
    if version < OLDEST:
        from onnx import version_converter

        with outside(f"onnx cannot convert {path} from opset {version} to {OLDEST}; {_EXPORT_AGAIN}"):
            model = version_converter.convert_version(model, OLDEST)
    return OnnxModel(path, model)


def _opset(model: ModelProto, path: Path) -> int:
    """The version of the operators of ONNX that a model uses; refuses one that the package does not know."""
    import onnx

    versions = opset_versions(model)
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1:
        raise GradcamError(f"{path} is no valid ONNX model: it names {len(versions)} versions of the ONNX operators")
    if versions[0] > newest:
        raise GradcamError(f"{path} has opset {versions[0]}, onnx {onnx.__version__} knows {newest}; {_EXPORT_AGAIN}")
    return versions[0]


def opset_versions(model: ModelProto) -> list[int]:
    """The versions of ONNX's own operators that a model names."""
    return [entry.version for entry in model.opset_import if entry.domain in DOMAINS]


def _read_external(model: ModelProto, path: Path) -> None:
    """Reads the weights that lie in files of their own, which must be regular files in the folder of the model."""
    from onnx import TensorProto

    folder = path.resolve().parent
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = (folder / location).resolve()
        if not (location and file.is_relative_to(folder) and file.is_file()):
            where = f"{path}: the weights '{tensor.name}' lie in '{location}'"
            raise GradcamError(f"{where}, which is no file in the folder of the model; put it there")
        with outside(f"cannot read the weights '{tensor.name}' from {file}"), file.open("rb") as data:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
            data.seek(offset)
            tensor.raw_data = data.read(length if length >= 0 else -1)
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """All tensors of a graph and of the graphs in it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def array(tensor: TensorProto, where: str) -> np.ndarray:
    """The values of a tensor.

    Raises:
        GradcamError: the tensor has another number of values than its shape says, or a type that NumPy lacks.
    """
    from onnx import numpy_helper

    with outside(f"{where} cannot be read"):
        return numpy_helper.to_array(tensor)


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """The value of an attribute of a node."""
    from onnx import helper

    found = [a for a in node.attribute if a.name == name]
    return helper.get_attribute_value(found[0]) if found else default


def replace(field: Any, items: Sequence[Any]) -> None:
    """Gives a repeated field of a message other items, which may be items of it."""
    copies = list(items)
    del field[:]
    field.extend(copies)
