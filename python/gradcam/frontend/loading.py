"""Models by name: `package.module:callable` or a saved `.pt2` program."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gradcam.errors import GradcamError
from gradcam.state import load_state

_log = logging.getLogger(__name__)


def load_model(spec: str, weights: str | Path | None = None) -> nn.Module | torch.export.ExportedProgram:
    """Loads the model that `spec` names.

    Args:
        spec: `package.module:callable`, called without arguments and giving an `nn.Module`; or the path of a `.pt2`
            file written by `torch.export.save`.
        weights: a file with a state dict for the module; see `gradcam.state.load_state`.

    Returns:
        The program, or the module in eval mode: it was just made for this call, and a warning says so when it was not.

    Load only what you trust. Naming a callable runs its code, and a `.pt2` file can run code too: `torch.export.load`
    reads plain weights as bytes and the example inputs with `weights_only=True`, but where that fails, and for tensor
    subclasses and script objects, it unpickles whatever the file holds.

    Raises:
        GradcamError: there is no such model, or loading it fails.
    """
    if spec.endswith(".pt2"):
        if weights is not None:
            raise GradcamError(
                f"{spec} has weights of its own; a state dict needs a model named package.module:callable"
            )
        return _load_program(Path(spec))
    module_name, colon, attribute = spec.partition(":")
    if not (module_name and colon and attribute):
        raise GradcamError(f"model '{spec}' is neither package.module:callable nor a .pt2 file")
    factory = _find(module_name, attribute)
    try:
        model = factory()
    except Exception as error:  # user code: it can raise anything
        raise GradcamError(f"{spec}() failed: {describe(error)}") from error
    if not isinstance(model, nn.Module):
        raise GradcamError(f"{spec}() gave {type(model).__name__}; it must give an nn.Module")
    if weights is not None:
        load_state(model, weights)
        model.eval()
    if any(module.training for module in model.modules()):
        _log.warning("%s() gave a model in training mode; it is taken in eval mode", spec)
        model.eval()
    return model


def _load_program(path: Path) -> torch.export.ExportedProgram:
    if not path.is_file():
        raise GradcamError(f"no file {path}")
    try:
        return torch.export.load(path)
    except Exception as error:  # a damaged archive surfaces as many types, also from its unpickler
        raise GradcamError(f"{path} is not a program saved by torch.export.save: {describe(error)}") from error


def _find(module_name: str, attribute: str) -> Callable[[], Any]:
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # importing runs user code
        raise GradcamError(f"cannot import {module_name}: {describe(error)}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise GradcamError(f"module {module_name} has no {attribute}")
        found = getattr(found, part)
    if not callable(found):
        raise GradcamError(f"{module_name}:{attribute} is not callable")
    return found


def describe(error: Exception) -> str:
    """Type and first line of an exception of other people's code."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
