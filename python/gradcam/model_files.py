"""Files of networks and weights: what a file holds, told without running code of it, and how to go on with it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from gradcam.outside import outside

#: What a file holds: a program of torch.export, TorchScript, whatever `torch.save` pickled, or as the name says.
Kind = Literal["program", "script", "pickle", "safetensors", "ONNX", "unknown"]

#: The ways to name a model.
FORMS = "package.module:callable, path/file.py:callable or a .pt2 or .onnx file"

#: How to go on with a file that holds a network in a form that is not taken.
BY_CODE = "compile the code that makes the network, path/file.py:callable"


def with_state(file: str) -> str:
    """How to go on with a file of weights."""
    return f"{BY_CODE}, with --state-dict {file} (in Python, gradcam.state.load_state)"


#: How to go on with a network whose weights can be read where it was made.
WITH_STATE = f"save its state dict by torch.save(model.state_dict(), FILE), and {with_state('FILE')}"


def kind_of(path: Path, noun: str) -> Kind:
    """What a file holds, by its first bytes or, of an archive, by the names in it.

    Raises:
        GradcamError: the file cannot be read; `noun` says what it was to be.
    """
    with outside(f"cannot read {noun} {path}"), path.open("rb") as file:
        start = file.read(64)
        if start.startswith(b"PK"):
            return _kind_of_archive(path)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return "safetensors"
    if start.startswith(b"\x80"):
        return "pickle"
    # A protobuf message: field 1, the version of the IR; field 2, the name of what wrote it, or field 7, the graph.
    return "ONNX" if start[:1] == b"\x08" and start[2:3] in (b"\x12", b"\x3a") else "unknown"


def _kind_of_archive(path: Path) -> Kind:
    with outside(f"{path} is damaged"), zipfile.ZipFile(path) as archive:
        inner = {name.partition("/")[2] for name in archive.namelist()} | set(archive.namelist())
    if inner & {"archive_format", "serialized_exported_program.json"}:
        return "program"
    if any(name.startswith("code/") for name in inner):
        return "script"
    return "pickle" if "data.pkl" in inner else "unknown"


def advice(path: Path, kind: Kind) -> str:
    """Why a file is no model, in a sentence, and how to go on; "" for a kind that a sentence cannot be made of."""
    return {
        "script": f"{path} holds TorchScript, of which torch.export makes no program; {WITH_STATE}",
        "ONNX": f"{path} holds an ONNX graph with weights of its own; compile it by itself, named as an .onnx file",
        "safetensors": f"{path} holds weights without a network; {with_state(str(path))}",
    }.get(kind, "")
