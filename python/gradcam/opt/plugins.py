"""Pass plugins: Python files that register passes."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from gradcam.errors import GradcamError
from gradcam.outside import describe, outside
from gradcam.passes.infra import registry
from gradcam.passes.infra.diagnostics import Diagnostic

#: The files that have been run.
_files = set[str]()

_NOTHING = (
    "the plugin registers no pass; put @register, of gradcam.passes.infra.registry, above each class derived from Pass"
)


def load_plugins(names: Iterable[str], loaded: Iterable[str] = ()) -> None:
    """Runs the Python files `names`, except those that are in `loaded` under any path.

    Raises:
        GradcamError: a file is named twice, cannot be run, or registers nothing.
    """
    known = {Path(name).resolve() for name in loaded}
    seen = set[Path]()
    for name in names:
        path = Path(name).resolve()
        if path in seen:
            raise GradcamError(f"the plugin {name} is named twice")
        seen.add(path)
        if path not in known:
            _load(name)


def fault_in_plugin(error: BaseException) -> Diagnostic | None:
    """The diagnostic for an exception from the code of a plugin, at its line there; None for one of other code."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if frame.filename in _files:
            notes = [f" [{note.removeprefix('in ')}]" for note in getattr(error, "__notes__", ())]
            line, column = frame.lineno or 0, (frame.colno or 0) + 1
            return Diagnostic("error", describe(error) + "".join(notes), frame.filename, line, column)
    return None


def _load(name: str) -> None:
    path = Path(name)
    if not path.is_file():
        raise GradcamError(f"the plugin {name} {'is no file' if path.exists() else 'does not exist'}")
    # The name cannot be that of another module, such as one of Python's own.
    spec = importlib.util.spec_from_file_location(f"gradcam plugin {path.resolve()}", path)
    if spec is None or spec.loader is None:
        raise GradcamError(f"{name}: a plugin is a Python file, whose name ends in .py")
    plugin = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = plugin  # dataclasses look their module up there
    _files.add(spec.origin or name)
    before = registry.names()
    try:
        with outside(f"cannot load the plugin {name}"):
            spec.loader.exec_module(plugin)
    except GradcamError as error:
        raise error if name in error.message else GradcamError(f"{name}: {error}") from error
    if registry.names() == before:
        raise GradcamError(f"{name}: {_NOTHING}")
