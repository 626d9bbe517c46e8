"""Files of ONNX models: a small one is a file; of a larger one the weights are in a second file beside it.

Runtimes read a file of ONNX into memory and take the weights out of it; those in a file of their own they map. ONNX
calls this external data, and `torch.onnx.export` writes it, too.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gradcam.files import check_new_file, replace_files, write_output
from gradcam.onnx_package import PRODUCER

if TYPE_CHECKING:
    from onnx import ModelProto

#: Bytes of the largest model that is one file.
ONE_FILE = 8 << 20


def data_name(name: str) -> str:
    """The file with the weights of a model in the file `name`; of a link, beside the file that it names."""
    return f"{Path(name).resolve() if Path(name).is_symlink() else name}.data"


def check_model_files(name: str, force: bool) -> None:
    """Refuses files of a model that cannot be written, or that are there and must not be replaced.

    Args:
        name: the file of the model.
        force: whether files of another exported model may be replaced.

    Raises:
        GradcamError: see `check_new_file`; for the file and for that of its weights.
    """
    for file in (name, data_name(name)):
        _check_file(file, force)


def _check_file(file: str, force: bool) -> None:
    check_new_file(file, force, PRODUCER.encode())


def save_model(model: ModelProto, name: str) -> list[str]:
    """Writes a model, and its weights beside it where it has more than `ONE_FILE` bytes; both files or none.

    It takes the place of an exported model that is there, and of that one's weights.

    Args:
        model: all weights are in it; afterwards they are where they were written.
        name: of its file. A link or a pipe gets the model with its weights: runtimes look for these beside the name.

    Returns:
        The names of the files.

    Raises:
        GradcamError: a file cannot be written, or one is there that is not of an exported model.
    """
    if Path(name).exists() and not Path(name).is_file():
        write_output(name, [model.SerializeToString()])
        return [name]
    weights = data_name(name)
    for file in filter(os.path.exists, (name, weights)):
        _check_file(file, True)
    with replace_files([name, weights]) as (file, data):
        if model.ByteSize() > ONE_FILE and not Path(name).is_symlink():
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
