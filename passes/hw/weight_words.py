"""Flags of the steps in which an engine reads another word, or one of the weight stream for the first or last time."""

from __future__ import annotations

from collections.abc import Mapping

from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.loop_counters import LoopCounters
from gradcam.passes.hw.ports import MemoryPort
from gradcam.passes.hw.value import Value, bits_for
from gradcam.passes.program.engines import Engine, Slot
from gradcam.passes.program.streams import held_steps, moving_loops


def begins_word(engine: Engine, counters: LoopCounters, slot: Slot) -> Value:
    """i1 in stage 0: the step, of an epilogue the output, needs another word through the slot than the one before."""
    return _begins_word(engine, counters, slot, counters.at_start, counters.at_end)


def _begins_word(
    engine: Engine, counters: LoopCounters, slot: Slot, start: Mapping[int, Value], end: Mapping[int, Value]
) -> Value:
    """`begins_word` of a step whose loops are at their first iteration as `start` says, at their last one as `end`."""
    firsts, flags = [], dict(start)
    for nest, access in zip(engine.configurations, slot.accesses, strict=True):
        loops = engine.loops(nest)
        if access is None:
            firsts.append(len(loops))
            continue
        if not nest.in_body(access):  # the output of a step in which the reduction ends
            flags |= {i: ends for i, ends in end.items() if engine.outer_depth <= i < engine.reduced_depth}
        moving = moving_loops(access, nest.loops if nest.in_body(access) else nest.outputs)
        firsts.append(loops.index(moving[-1]) + 1 if moving else 0)
    return counters.inside(firsts, flags)


def may_begin_word(b: Builder, engine: Engine, counters: LoopCounters, port: MemoryPort, step: Value) -> Value | None:
    """i1: the step reads no other word, or the memory has read the last one; `step` is i1: it is issued.

    None where the steps that need the same word always take as long as its reads.
    """
    reads = max(bank.reads for bank in port.banks)
    used = zip(engine.configurations, port.slot.accesses, strict=True)
    if all(access is None or held_steps(nest, access) >= reads for nest, access in used):
        return None
    left = b.state(bits_for(reads), f"left_{port.name}", reset=0)
    is_used = b.column(counters.configuration, [int(a is not None) for a in port.slot.accesses], 1)
    if counters.crossing:  # steps wait for words: what they need comes from a register
        begins = b.state(1, f"begins_{port.name}")
        needs = _begins_word(engine, counters, port.slot, counters.starting, counters.ending)
        begins.assign(needs & is_used, counters.moving)
    else:
        begins = begins_word(engine, counters, port.slot) & is_used
    left.assign(b.mux(step & begins, reads - 1, b.mux(left.eq(0), 0, left - 1)))
    return ~begins | left.eq(0)


def first_reads(b: Builder, engine: Engine, counters: LoopCounters, port: MemoryPort) -> Value:
    """i1: the step reads a word of the weight stream for the first time.

    With a target clock it comes from a register, since steps wait for words.
    """
    if not counters.crossing:
        return _reads(b, engine, counters, port, counters.at_start, counters.at_end)
    first = b.state(1, f"first_{port.name}")
    first.assign(_reads(b, engine, counters, port, counters.starting, counters.ending), counters.moving)
    return first


def last_reads(b: Builder, engine: Engine, counters: LoopCounters, port: MemoryPort) -> Value:
    """i1: the step reads a word of the weight stream for the last time."""
    return _reads(b, engine, counters, port, counters.at_end, counters.at_end)


def _reads(
    b: Builder,
    engine: Engine,
    counters: LoopCounters,
    port: MemoryPort,
    extreme: Mapping[int, Value],
    end: Mapping[int, Value],
) -> Value:
    """i1: the step reads the weight stream, and all loops that repeat its words are at their `extreme` iteration.

    Both have a flag per live loop: `extreme`, it is at its first iteration, or at its last one; `end`, at its last one.
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
        reduction = [i for i in counters.live if engine.outer_depth <= i < engine.reduced_depth]
        last = b.all_of(*(end[i] for i in reduction))
        flags.append(b.column(configuration, [int(not n) for n in late], 1) | last)
    return b.all_of(*flags)
