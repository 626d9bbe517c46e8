"""Progress of long work on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stages(title: str) -> Iterator[Callable[[str], None]]:
    """Tells the stage that the work of the block is in.

    Yields:
        A function to call as a stage begins, with its name, or with `name: detail` for a step of it. A terminal shows
        the last one behind a spinner; elsewhere each stage is a line, without its steps.
    """
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    from rich.console import Console

    console = Console(stderr=True)
    with console.status(title) as status:
        yield lambda stage: status.update(f"{title}: {stage}")


def _lines(title: str) -> Callable[[str], None]:
    last = ""

    def say(stage: str) -> None:
        nonlocal last
        name = stage.partition(":")[0]
        if name != last:
            last = name
            print(f"{title}: {name}", file=sys.stderr, flush=True)

    return say
