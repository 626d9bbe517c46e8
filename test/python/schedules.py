"""Random orders of the time loops of a program, and what the compiler makes of a network with a schedule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

#: What a schedule file says about nests: loops by nest.
Loops = dict[str, list[str]]


def chosen(schedule: dict[str, Any]) -> Loops:
    """The loops of a schedule.json without tiles."""
    return {name: nest["loops"] for name, nest in schedule["nests"].items()}


def random_loops(schedule: dict[str, Any], rng: np.random.Generator) -> Loops:
    """Every nest in an order of its own: outer loops among themselves, reduction loops among themselves, one tiled.

    Names of reduction loops are those that a nest of outputs cannot have.
    """
    loops = {}
    for name, nest in schedule["nests"].items():
        trips = dict(zip(nest["loops"], nest["trips"], strict=True))
        tiled = str(rng.choice(nest["loops"]))
        tiles = [n for n in range(2, trips[tiled]) if trips[tiled] % n == 0]
        groups: list[list[str]] = [[], []]
        for loop in nest["loops"]:
            parts = [f"{loop}/{(tile := rng.choice(tiles))}", f"{loop}%{tile}"] if loop == tiled and tiles else [loop]
            groups[loop in ("ic", "ky", "kx")] += parts
        loops[name] = [str(part) for group in groups for part in rng.permutation(group)]
    return loops


def write(path: Path, loops: Loops, **more: Any) -> Path:
    """A schedule file."""
    path.write_text(json.dumps(more | {"nests": {name: {"loops": order} for name, order in loops.items()}}))
    return path
