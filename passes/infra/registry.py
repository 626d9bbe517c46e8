"""Passes and pipelines by name; a pass's module is imported when the pass is first used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gradcam.errors import GradcamError
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.infra.pipeline_parser import NAME

PassClass = TypeVar("PassClass", bound=type[Pass])

_factories: dict[str, Callable[[], type[Pass]]] = {}

#: Checks of the modules that passes are given, by the pass's name.
_checks: dict[str, Callable[[Any], None]] = {}

#: Pipelines by name: their passes in order, each as a pipeline's text; they may use other pipelines.
PIPELINES: dict[str, Sequence[str]] = {}

#: Upstream passes worth suggesting for a misspelt name: the bindings do not list theirs.
UPSTREAM_PASSES: dict[str, tuple[str, ...]] = {
    "mlir": (
        "affine-loop-coalescing",
        "affine-loop-fusion",
        "affine-loop-normalize",
        "affine-loop-tile",
        "affine-loop-unroll",
        "affine-loop-unroll-jam",
        "affine-parallelize",
        "affine-scalrep",
        "affine-simplify-structures",
        "canonicalize",
        "convert-linalg-to-affine-loops",
        "convert-scf-to-cf",
        "convert-to-llvm",
        "cse",
        "inline",
        "lower-affine",
        "one-shot-bufferize",
        "reconcile-unrealized-casts",
        "symbol-dce",
        "transform-interpreter",
    ),
    "circt": (
        "canonicalize",
        "convert-fsm-to-sv",
        "cse",
        "hw-cleanup",
        "hw-legalize-modules",
        "lower-pipeline-to-hw",
        "lower-seq-to-sv",
        "map-arith-to-comb",
        "pipeline-explicit-regs",
        "prettify-verilog",
    ),
}


def _add(name: str, factory: Callable[[], type[Pass]]) -> None:
    if name in _factories or name in PIPELINES:
        raise GradcamError(f"pass name '{name}' is taken")
    _factories[name] = factory


def register_lazy(name: str, module: str, class_name: str, check: Callable[[Any], None] | None = None) -> None:
    """Registers the pass `name`, the class `class_name` of `module`; `check` refuses modules that it does not take.

    Raises:
        GradcamError: the name is taken.
    """
    _add(name, lambda: getattr(importlib.import_module(module), class_name))
    if check:
        _checks[name] = check


def check_input(name: str, module: Any) -> None:
    """Checks a module that the pass `name` is about to run on.

    Raises:
        GradcamError: the pass does not take it.
    """
    if name in _checks:
        _checks[name](module)


def register(cls: PassClass) -> PassClass:
    """Registers a user's own pass under its `name`; usable as a class decorator.

    Raises:
        GradcamError: the class is not derived from `Pass`, its name is none that a pipeline can hold, or is taken.
    """
    if not (isinstance(cls, type) and issubclass(cls, Pass)):
        raise GradcamError(f"{getattr(cls, '__name__', cls)} is registered as a pass, but not derived from Pass")
    check_name(cls)
    _add(cls.name, lambda: cls)
    return cls


def check_name(cls: type[Pass]) -> None:
    """Refuses a pass whose `name` cannot stand in a pipeline.

    Raises:
        GradcamError: it has such a name, or none.
    """
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise GradcamError(f"the pass {cls.__name__} needs a name such as 'my-pass', it has {name!r}")


def register_pipeline(name: str, passes: Sequence[str]) -> None:
    """Registers the pipeline `name`.

    Raises:
        GradcamError: the name is taken.
    """
    if name in _factories or name in PIPELINES:
        raise GradcamError(f"pipeline name '{name}' is taken")
    PIPELINES[name] = passes


def is_pass(name: str) -> bool:
    """Whether a project or user pass has this name; imports nothing."""
    return name in _factories


def names() -> list[str]:
    """Names of the passes and the pipelines, in the order of their registration."""
    return [*_factories, *PIPELINES]


def pass_names() -> list[str]:
    """Names of the project's and the user's passes, in the order of their registration."""
    return list(_factories)


def suggestions() -> list[str]:
    """Names to suggest for a misspelt pass: the registered ones, the pipelines, and some of upstream's."""
    return [*names(), *UPSTREAM_PASSES["mlir"], *UPSTREAM_PASSES["circt"]]


def lookup(name: str) -> type[Pass]:
    """The class of the pass `name`, imported if need be.

    Raises:
        GradcamError: there is no such pass, or its module cannot be imported.
    """
    if name not in _factories:
        raise GradcamError(f"unknown pass '{name}'")
    try:
        return _factories[name]()
    except (ImportError, AttributeError) as error:
        raise GradcamError(f"pass '{name}' is not available: {error}") from error
