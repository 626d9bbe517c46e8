"""Models by name: a callable of a package or of a file, with literal arguments, a `.pt2` program or an ONNX file."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from gradcam.errors import GradcamError, did_you_mean
from gradcam.frontend.onnx_model import OnnxModel, load_onnx
from gradcam.frontend.programs import load_program, why_no_model
from gradcam.model_files import FORMS
from gradcam.outside import outside
from gradcam.state import load_state

_log = logging.getLogger(__name__)

#: Endings of files that hold a network or weights in a form that is not taken.
_SAVED = (".bin", ".ckpt", ".pkl", ".pt", ".pth", ".safetensors", ".torchscript")


def load_model(
    spec: str | Path, weights: str | Path | None = None
) -> nn.Module | torch.export.ExportedProgram | OnnxModel:
    """Loads the model that `spec` names.

    Args:
        spec: `package.module:name` or `path/file.py:name`, where the name is that of a module object, or of a callable
            that gives an `nn.Module` or a program; it is called with the literal arguments that follow it, such as in
            `file.py:make(width=16)`, or with none. Or the path of a `.pt2` file written by `torch.export.save`, or of
            an `.onnx` file.
        weights: a file with a state dict for the module; see `gradcam.state.load_state`.

    Returns:
        The program, the ONNX model, or the module in eval mode: a warning says so when it was not.

    Packages are searched in the current folder first, and a file's imports in the folder of the file.

    Load only what you trust. Naming a callable runs its code, and a `.pt2` file can run code too: `torch.export.load`
    reads plain weights as bytes and the example inputs with `weights_only=True`, but where that fails, and for tensor
    subclasses and script objects, it unpickles whatever the file holds.

    Raises:
        GradcamError: there is no such model, or loading it fails.
    """
    text = str(spec)
    if text.endswith((".pt2", ".onnx")):
        if weights is not None:
            raise GradcamError(f"{text} has weights of its own; a state dict is for a model that code makes")
        return load_program(Path(text)) if text.endswith(".pt2") else load_onnx(Path(text))
    name = _Name.parse(text)
    model = name.load()
    if isinstance(model, torch.export.ExportedProgram):
        if weights is not None:
            raise GradcamError(f"{text} gave a program, which has weights of its own; leave the state dict out")
        return model
    if not isinstance(model, nn.Module):
        raise GradcamError(f"{name.call} gave {type(model).__name__}; it must give an nn.Module")
    if weights is not None:
        load_state(model, weights)
        model.eval()
    if any(module.training for module in model.modules()):
        _log.warning("%s gave a model in training mode; it is taken in eval mode", name.call)
        model.eval()
    return model


@dataclass(frozen=True)
class _Name:
    """The name of a callable or a module object.

    Attributes:
        place: `package.module`, or the path of a Python file.
        attribute: the name there, with dots.
        args: positional arguments.
        kwargs: keyword arguments.
        call: the whole name as a call, for messages.
    """

    place: str
    attribute: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    call: str

    @classmethod
    def parse(cls, text: str) -> _Name:
        """Parses the text, evaluating nothing but literals."""
        place, colon, rest = text.partition(".py:") if ".py:" in text else text.partition(":")
        place += ".py" if colon == ".py:" else ""
        if not (place and colon and rest):
            raise GradcamError(_no_model(text))
        try:
            tree = ast.parse(rest.strip(), mode="eval").body
            call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
            args = tuple(map(ast.literal_eval, call.args))
            kwargs = {keyword.arg or "": ast.literal_eval(keyword.value) for keyword in call.keywords}
            compile(rest.strip(), text, "eval")  # it refuses an argument that is named twice
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            raise GradcamError(
                f"model '{text}': arguments must be literals, each named once, such as make(width=16)"
            ) from None
        attribute = ast.unparse(call.func)
        if "" in kwargs or not all(part.isidentifier() for part in attribute.split(".")):
            raise GradcamError(f"model '{text}': '{rest}' is not the name of a callable, such as make(width=16)")
        return cls(place, attribute, args, kwargs, text if text.endswith(")") else f"{text}()")

    def load(self) -> Any:
        """The object that the name stands for; user code prints to stderr, since stdout may be the output."""
        with contextlib.redirect_stdout(sys.stderr):
            _search(Path.cwd())
            found = _attribute(_import(self.place, self.attribute), self.place, self.attribute)
            if isinstance(found, nn.Module | torch.export.ExportedProgram):
                if self.call.endswith("()"):
                    return found
                raise GradcamError(f"{self.place}:{self.attribute} is a model already; leave the arguments out")
            if not callable(found):
                raise GradcamError(f"{self.place}:{self.attribute} is not callable")
            self._check_arguments(found)
            with outside(f"{self.call} failed"):
                return found(*self.args, **self.kwargs)

    def _check_arguments(self, found: Any) -> None:
        """Refuses arguments that the callable does not take, with those that it takes."""
        with contextlib.suppress(ValueError):  # some callables written in C have no signature
            signature = inspect.signature(found)
            try:
                signature.bind(*self.args, **self.kwargs)
            except TypeError as error:
                takes = f"{self.attribute}{signature.replace(return_annotation=inspect.Signature.empty)}"
                raise GradcamError(f"{self.call}: {error}; it is declared as {takes}") from None


def _no_model(text: str) -> str:
    """Why a text names no model: by what the file of this name holds, where there is one."""
    path = Path(text)
    if path.suffix == ".py":
        return f"model '{text}' names a file but nothing in it; add a callable, such as {text}:make"
    if not (path.is_file() or path.suffix in _SAVED):
        return f"model '{text}' is none that is known; give {FORMS}"
    return why_no_model(path)


def _search(folder: Path) -> None:
    """Lets Python search a folder first for modules, as `python file.py` and `python -m` do."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _import(place: str, attribute: str) -> ModuleType:
    """Imports a package's module, or a Python file by its path."""
    if not place.endswith(".py"):
        with outside(f"cannot import {place}"):
            if importlib.util.find_spec(place.partition(".")[0]) is None and Path(f"{place}.py").is_file():
                raise GradcamError(f"there is no module '{place}'; did you mean '{place}.py:{attribute}'?")
            return importlib.import_module(place)
    path = Path(place).resolve()
    if not path.is_file():
        raise GradcamError(f"no file {place}")
    # Its own name, so that a file may be called like a package that it imports, as resnet.py or torch.py.
    name = f"gradcam_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "the suffix .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    _search(path.parent)
    with outside(f"cannot import {place}"):
        spec.loader.exec_module(module)
    return module


def _attribute(module: ModuleType, place: str, attribute: str) -> Any:
    """The attribute of a module with a name with dots."""
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            candidates = [name for name in dir(found) if callable(getattr(found, name, None))]
            raise GradcamError(f"module {place} has no {attribute}{did_you_mean(part, candidates)}")
        found = getattr(found, part)
    return found
