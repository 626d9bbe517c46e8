"""Flags of the steps in which an engine reads a word of the weight stream for the first or the last time."""

from __future__ import annotations

from collections.abc import Mapping

from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.loop_counters import LoopCounters
from gradcam.passes.hw.ports import MemoryPort
from gradcam.passes.hw.value import Value
from gradcam.passes.program.engines import Engine


def first_reads(b: Builder, engine: Engine, counters: LoopCounters, port: MemoryPort) -> Value:
    """i1: the step reads a word of the weight stream for the first time."""
    return _reads(b, engine, counters, port, counters.at_start)


def last_reads(b: Builder, engine: Engine, counters: LoopCounters, port: MemoryPort) -> Value:
    """i1: the step reads a word of the weight stream for the last time."""
    return _reads(b, engine, counters, port, counters.at_end)


def _reads(b: Builder, engine: Engine, counters: LoopCounters, port: MemoryPort, extreme: Mapping[int, Value]) -> Value:
    """i1: the step reads the weight stream, and all loops that repeat its words are at their `extreme` iteration.

    `extreme` has a flag per live loop: it is at its first iteration, or at its last one.
    """
    configuration = counters.configuration
    flags = [b.column(configuration, [int(use is not None) for use in port.uses], 1)]
    for i in counters.live:
        loops = [engine.loops(nest)[i] for nest in engine.configurations]
        back = [use is not None and use.repeats(loop) for use, loop in zip(port.uses, loops, strict=True)]
        if any(back):
            flags.append(b.column(configuration, [int(not n) for n in back], 1) | extreme[i])
    late = [use is not None and not use.in_body for use in port.uses]
    if any(late):
        flags.append(b.column(configuration, [int(not n) for n in late], 1) | counters.last)
    return b.all_of(*flags)
