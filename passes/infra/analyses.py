"""Analyses of a module that are cached across passes, like those of MLIR's analysis manager.

An analysis is a function of a module. Inside `keeping()` its result is cached until a pass runs that does not name it
in `preserves`. Outside of `keeping()` every request computes the analysis anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Result = TypeVar("Result")

#: The cached results by analysis, each with its module; None outside of `keeping()`.
_kept: ContextVar[dict[Callable[[Any], Any], tuple[Any, Any]] | None] = ContextVar("kept", default=None)


@contextmanager
def keeping() -> Iterator[None]:
    """Caches analyses inside the context; a nested `keeping()` shares the cache of the outer one."""
    if _kept.get() is not None:
        yield
        return
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


@contextmanager
def forgetting() -> Iterator[None]:
    """Hides the cache inside the context, from code that may change a module between two requests."""
    token = _kept.set(None)
    try:
        yield
    finally:
        _kept.reset(token)


def analysis(compute: Callable[[Any], Result], module: Any) -> Result:
    """Returns the cached result of `compute(module)`, or computes it."""
    kept = _kept.get()
    if kept is None:
        return compute(module)
    if compute not in kept or kept[compute][0] is not module:
        kept[compute] = module, compute(module)
    return kept[compute][1]


def invalidate(preserved: Collection[Callable[[Any], Any]] = ()) -> None:
    """Drops all cached analyses but the preserved ones."""
    kept = _kept.get() or {}
    for compute in [c for c in kept if c not in preserved]:
        del kept[compute]
