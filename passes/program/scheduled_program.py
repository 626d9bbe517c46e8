"""The read-only view of a level-4 module: its nests and their attributes, read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.infra.analyses import analysis
from gradcam.passes.ir.attributes import WEIGHT_STREAM
from gradcam.passes.ir.platform import Platform
from gradcam.passes.ir.queries import main_function
from gradcam.passes.program.banks import Bank, banks_of, constant_words, constants_of
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.engines import Engine, collect
from gradcam.passes.program.names import argument_names, registers_of
from gradcam.passes.program.nest import Access, Nest, read_nest, read_nests
from gradcam.passes.program.runs import Follow, follows_of, issue_groups_of
from gradcam.passes.program.weight_load import WeightLoad
from gradcam.passes.program.weight_stream import WeightStream, read_weight_stream


class ScheduledProgram:
    """A scheduled module as Python data.

    A property is read from the IR when it is first used. Where the pass that writes it has not run, it raises a
    `GradcamError` that names the pass. Later changes of the IR do not show in this object.

    Attributes:
        module: the module.
        nests: its nests, in program order.
    """

    def __init__(self, module: ir.Module) -> None:
        """Reads the nests, unless a pass has left them behind; see `gradcam.passes.infra.analyses`."""
        self.module = module
        self.nests: list[Nest] = analysis(read_nests, module)

    @staticmethod
    def of(module: ir.Module) -> ScheduledProgram:
        """The program of a module; the cached one where a pass has kept it."""
        return analysis(ScheduledProgram, module)

    def reread(self, number: int, op: Any = None) -> None:
        """Reads a nest again after a pass has changed it, or replaced it by `op`."""
        self.nests[number] = read_nest(op or self.nests[number].op)

    @cached_property
    def function(self) -> Any:
        """The function that holds the nests."""
        return main_function(self.module)

    @cached_property
    def platform(self) -> Platform:
        """The platform that the program is compiled for."""
        return Platform.of(self.module.operation)

    @cached_property
    def clock(self) -> Clock:
        """The clock that pipelines are made for."""
        return Clock.of(self.module.operation)

    @property
    def accesses(self) -> list[Access]:
        """All loads and stores, nest by nest, loads first."""
        return [access for nest in self.nests for access in (*nest.loads, *nest.stores)]

    @cached_property
    def engines(self) -> list[Engine]:
        """The engines, in the order of their first nests; their ops have stages."""
        return collect(self.nests)

    @cached_property
    def banks(self) -> Mapping[str, Bank]:
        """The banks by name."""
        return banks_of(self.module)

    @cached_property
    def constants(self) -> Mapping[ir.Value, np.ndarray]:
        """The elements of every constant that a bank holds, flat."""
        return constants_of(self.module)

    @cached_property
    def arguments(self) -> list[str]:
        """Names of the function's arguments, which become streams and ports."""
        return argument_names(self.module)

    @cached_property
    def registers(self) -> Mapping[ir.Value, str]:
        """Names of the one-element buffers."""
        return registers_of(self.nests)

    @cached_property
    def follows(self) -> Mapping[int, Follow]:
        """The followers by the number of their producer."""
        return follows_of(self.nests)

    @cached_property
    def issue_groups(self) -> Sequence[int]:
        """The issue group of each nest, as the number of the first nest of the group."""
        return issue_groups_of(self.nests)

    @cached_property
    def weight_load(self) -> WeightLoad | None:
        """The load of resident weights; None where constants are part of the design, or read while the program runs."""
        if not self.platform.resident or self.platform.dram is None:
            return None
        return WeightLoad([bank for bank in self.banks.values() if bank.loaded], self.platform.dram)

    @cached_property
    def load_image(self) -> bytes:
        """What the DRAM holds where weights are loaded; else nothing."""
        words = constant_words(self.banks, self.constants)
        return self.weight_load.contents(words) if self.weight_load else b""

    @cached_property
    def weight_stream(self) -> WeightStream | None:
        """The weight stream; None where all weights are on chip."""
        name = WEIGHT_STREAM.find(self.module.operation)
        if name is None:
            return None
        if self.platform.streamed is None:
            reason = "the platform lacks the DRAM that holds the weights; run gradcam-set-platform"
            raise fail(self.module.operation, reason)
        weight_stream = read_weight_stream(self.nests, self.banks[name], self.platform.streamed)
        if weight_stream.bank.words < weight_stream.least_ring_words:
            reason = f"the ring {name} needs {weight_stream.least_ring_words} words, it has {weight_stream.bank.words}"
            raise fail(self.module.operation, reason)
        return weight_stream
