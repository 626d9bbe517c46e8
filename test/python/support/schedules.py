"""A network and schedules for it: files, random orders of loops, and the way from level 4 to a program."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rtl_networks import Network
from torch_mlir import ir

from gradcam.compiler import Compilation, Settings, pipeline_for
from gradcam.dialect import make_context
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.program import describe_program
from gradcam.schedule import describe_schedule
from gradcam.schema.schedule import Schedule

#: What a schedule file says about nests: loops by nest.
Loops = dict[str, list[str]]


def chosen(schedule: Schedule) -> Loops:
    """The loops of every nest."""
    return {name: list(nest.loops) for name, nest in schedule.nests.items()}


def random_loops(module: ir.Module, rng: np.random.Generator) -> Loops:
    """For a module in which no loop has parts but pixel loops: every nest in an order of its own, with a tiled loop.

    Outer loops change places among themselves, reduction loops among themselves. One of the outer loops may stand
    inside the reduction.

    Names of reduction loops are those that a nest of outputs cannot have.
    """
    loops = {}
    orders = chosen(describe_schedule(ScheduledProgram.of(module))).items()
    for (name, names), nest in zip(orders, describe_program(ScheduledProgram.of(module)).nests, strict=True):
        trips: dict[str, int] = {}
        for part, trip in zip(names, nest.trips, strict=True):
            loop = re.split("[/%]", part)[0]
            trips[loop] = trips.get(loop, 1) * trip
        tiled = str(rng.choice(list(trips)))
        tiles = [n for n in range(2, trips[tiled]) if trips[tiled] % n == 0]
        groups: list[list[str]] = [[], []]
        for loop in trips:
            parts = [f"{loop}/{(tile := rng.choice(tiles))}", f"{loop}%{tile}"] if loop == tiled and tiles else [loop]
            groups[loop in ("ic", "ky", "kx")] += parts
        outer, reduction = (list(rng.permutation(group)) for group in groups)
        pixels = [outer.pop()] if reduction and len(outer) > 1 and rng.integers(2) else []
        loops[name] = list(map(str, [*outer, *reduction, *pixels]))
    return loops


def write(path: Path, loops: Loops, **more: Any) -> Path:
    """A schedule file."""
    path.write_text(json.dumps(more | {"nests": {name: {"loops": order} for name, order in loops.items()}}))
    return path


def write_json(path: Path, data: Any) -> Path:
    """A file that should be a schedule; a text stands as it is."""
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def network() -> Network:
    """Four convolutions of more than one tile, a pool between them, a head; 8x6 pixels behind the stem."""
    net = Network(3, 16, 12, seed=4)
    x = net.add(torch.nn.ReLU(), net.conv(0, 9, 3, 2, 1))
    x = net.add(torch.nn.MaxPool2d(2), net.block(x, 9))
    net.explain(net.add(torch.nn.ReLU(), net.conv(x, 12)))
    net.add(torch.nn.AdaptiveAvgPool2d(1))
    return net.classify(5)


def affine(compilation: Compilation) -> bytes:
    """A network before it is scheduled, as bytecode: it can be scheduled many times."""
    file = BytesIO()
    compilation.to("affine").operation.write_bytecode(file)
    return file.getvalue()


def scheduled(bytecode: bytes, settings: Settings) -> ir.Module:
    """The program of a network."""
    module = ir.Module.parse(bytecode, make_context())
    return pipeline_for("scheduled", settings).run(module)
