"""Programs that `torch.export.save` wrote, and what to do with saved files that are none."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import torch

from gradcam.errors import GradcamError
from gradcam.frontend.quiet import quiet
from gradcam.model_files import FORMS, WITH_STATE, advice, kind_of, with_state
from gradcam.outside import describe, outside
from gradcam.state import read_state

_OPERATOR = re.compile(r'"target": ?"torch\.ops\.([\w.]+)"')


def load_program(path: Path) -> torch.export.ExportedProgram:
    """Loads a `.pt2` file.

    Raises:
        GradcamError: the file is missing, is no program, has operators that are not registered, or torch itself cannot
            read it.
    """
    if not path.is_file():
        raise GradcamError(f"no file {path}")
    if kind_of(path, "program") != "program":
        raise GradcamError(f"{path} is not a program saved by torch.export.save: {why_no_model(path)}")
    if unknown := _unregistered(path):
        some = f"'{unknown[0]}'" + (f" and {len(unknown) - 1} more" if len(unknown) > 1 else "")
        remedy = "register them in a Python file, and return torch.export.load(...) there: path/file.py:callable"
        if any("quantize" in name for name in unknown):
            remedy = "export the model before it is quantized: gradcam-compile quantizes it itself"
        raise GradcamError(f"{path} calls operators that are not registered in torch, {some}; {remedy}")
    with quiet() as logged:
        try:
            return torch.export.load(path)
        except Exception as error:  # a damaged archive surfaces as many types, also from its unpickler
            reason = describe(logged[-1] if logged else error)
            raise GradcamError(f"torch {torch.__version__} cannot read the program {path}: {reason}") from error


def why_no_model(path: Path) -> str:
    """Why a saved file is no model that is taken, and how to go on with it.

    Raises:
        GradcamError: the file cannot be read.
    """
    kind = kind_of(path, "model")
    if kind == "program":
        return f"{path} holds a program of torch.export; give it a name that ends in .pt2"
    if kind != "pickle":
        return advice(path, kind) or f"{path} holds nothing that is known; give {FORMS}"
    try:
        read_state(path)
    except GradcamError as error:
        return error.message if WITH_STATE in error.message else f"{error.message}; give {FORMS}"
    return f"{path} holds a state dict, weights without a network; {with_state(str(path))}"


def _unregistered(path: Path) -> list[str]:
    """Operators that a program calls and torch does not know, in the order of their first call."""
    with outside(f"cannot read the program {path}"), zipfile.ZipFile(path) as archive:
        graphs = [name for name in archive.namelist() if re.search(r"(models/[^/]*|exported_program)\.json$", name)]
        text = "".join(archive.read(name).decode("utf-8", "replace") for name in graphs)
    return [name for name in dict.fromkeys(_OPERATOR.findall(text)) if not _is_registered(name)]


def _is_registered(name: str) -> bool:
    found = torch.ops
    for part in name.split("."):
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True
