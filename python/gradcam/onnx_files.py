"""Files of ONNX models: a small one is a file; of a larger one the weights are in a second file beside it.

Runtimes read a file of ONNX into memory and take the weights out of it; those in a file of their own they map. ONNX
calls this external data, and `torch.onnx.export` writes it, too.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gradcam.files import check_new_file, replace_files, write_output
from gradcam.onnx_package import PRODUCER

if TYPE_CHECKING:
    from onnx import ModelProto

#: Bytes of the largest model that is one file.
ONE_FILE = 8 << 20


def data_name(name: str) -> str:
    """The file with the weights of a model in the file `name`."""
    return f"{name}.data"


def check_model_files(name: str, force: bool) -> None:
    """Refuses files of a model that cannot be written, or that are there and must not be replaced.

    Args:
        name: the file of the model.
        force: whether files of another exported model may be replaced.

    Raises:
        GradcamError: see `check_new_file`; for the file and for that of its weights.
    """
    for file in (name, data_name(name)):
        check_new_file(file, force, PRODUCER.encode())


def check_data_file(name: str) -> None:
    """Refuses to replace a file that has the name of a model's weights and is something else.

    Raises:
        GradcamError: there is one beside the file `name`.
    """
    if Path(data_name(name)).exists():
        check_new_file(data_name(name), True, PRODUCER.encode())


def save_model(model: ModelProto, name: str) -> list[str]:
    """Writes a model, and its weights beside it where it has more than `ONE_FILE` bytes; both files or none.

    It takes the place of a model that is there, and of that one's weights.

    Args:
        model: all weights are in it; afterwards they are where they were written.
        name: of its file. A link or a pipe gets the model with its weights: runtimes look for these beside the name.

    Returns:
        The names of the files.

    Raises:
        GradcamError: a file cannot be written, or that of the weights is not one of an exported model.
    """
    if Path(name).is_symlink() or (Path(name).exists() and not Path(name).is_file()):
        write_output(name, [model.SerializeToString()])
        return [name]
    check_data_file(name)
    weights = data_name(name)
    with replace_files([name, weights]) as (file, data):
        if model.ByteSize() > ONE_FILE:
            with data.open("wb") as stream:
                _move_weights(model, stream, Path(weights).name)
        file.write_bytes(model.SerializeToString())
        return [name, weights] if data.exists() else [name]


def _move_weights(model: ModelProto, stream: BinaryIO, location: str) -> None:
    """Moves the weights of at least a page to a stream, each to a page of its own, as the specification asks.

    The first page tells what the file is.
    """
    from onnx.external_data_helper import set_external_data

    stream.write(f"{PRODUCER}: weights of an ONNX model".encode())
    for tensor in model.graph.initializer:
        if (size := len(tensor.raw_data)) >= mmap.PAGESIZE:
            begin = stream.seek(-(-stream.tell() // mmap.PAGESIZE) * mmap.PAGESIZE)
            stream.write(tensor.raw_data)
            set_external_data(tensor, location, begin, size)
            tensor.ClearField("raw_data")
