"""Analyses of a module that outlive the pass that asked for them, as MLIR's analysis manager keeps them.

An analysis is a function of a module. Inside `keeping()` its result is kept until a pass runs that does not name it
among those that it `preserves`; outside of it every request computes anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Result = TypeVar("Result")

#: The kept results by analysis, each with the module that it is of; None where nothing is kept.
_kept: ContextVar[dict[Callable[[Any], Any], tuple[Any, Any]] | None] = ContextVar("kept", default=None)


@contextmanager
def keeping() -> Iterator[None]:
    """Keeps analyses from one request to the next; inside another `keeping()` those of that one."""
    if _kept.get() is not None:
        yield
        return
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def analysis(compute: Callable[[Any], Result], module: Any) -> Result:
    """`compute(module)`, or what is kept of it."""
    kept = _kept.get()
    if kept is None:
        return compute(module)
    if compute not in kept or kept[compute][0] is not module:
        kept[compute] = module, compute(module)
    return kept[compute][1]


def invalidate(preserved: Collection[Callable[[Any], Any]] = ()) -> None:
    """Forgets all analyses but the preserved ones."""
    kept = _kept.get() or {}
    for compute in [c for c in kept if c not in preserved]:
        del kept[compute]
