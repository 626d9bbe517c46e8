"""Writes timelines in the Trace Event format, which Perfetto (https://ui.perfetto.dev) and chrome://tracing open.

The format is that of "Trace Event Format" (Google, 2016): timestamps are in microseconds. A cycle is shown as one of
them, so that all times are whole and equal those of `program.json` and of the run. At a clock's nanoseconds they would
be fractions, which Perfetto rounds one by one; it drops slices then (findings/perfetto_touching_slices.sh).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gradcam.errors import GradcamError
from gradcam.files import check_new_file, write_output
from gradcam.schema.program import Level, Program
from gradcam.timeline import Timeline

Event = dict[str, Any]

#: The thread of the weights' way from DRAM.
DRAM = "DRAM"


def check_trace_target(file: Path, folders: Sequence[Path], force: bool) -> None:
    """Refuses a trace file that cannot be written or must not be replaced.

    Raises:
        GradcamError: it is stdout ("-"), it is in one of the output folders `folders`, which are replaced as a whole,
            or see `check_new_file`.
    """
    if str(file) == "-":
        raise GradcamError("--trace writes a file, not to stdout; name it")
    target, parent = file.resolve(), file.resolve().parent
    for folder in folders:
        if folder.resolve() in (target, *target.parents):
            raise GradcamError(f"{file} is in {folder}, which may hold no other files; write the trace beside it")
    if parent.exists() or not any(parent in folder.resolve().parents for folder in folders):  # which are made
        check_new_file(str(file), force, b'"displayTimeUnit"')


def write_trace(file: Path, program: Program, timelines: Mapping[str, Timeline]) -> None:
    """Writes timelines of a design, whole or not at all; see `trace_events`.

    Raises:
        GradcamError: the file cannot be written.
    """
    facts = {"cycle": "1 us", "clock_ns": program.clock_ns, "runs": {n: t.cycles for n, t in timelines.items()}}
    lines = ",\n".join(json.dumps(event, allow_nan=False) for event in trace_events(program, timelines))
    text = f'{{"displayTimeUnit": "ns", "otherData": {json.dumps(facts)}, "traceEvents": [\n{lines}\n]}}\n'
    write_output(str(file.resolve()), [text.encode()])


def trace_events(program: Program, timelines: Mapping[str, Timeline]) -> list[Event]:
    """The events of timelines of a design, by their names.

    Each timeline is a process. Its threads are the engines, with a slice per nest and in it one per wait, and the DRAM,
    with a slice per transfer of weights. Its counters are the bytes in use of each bank that nests write, and with
    weights from DRAM those of their ring, and the bytes that come per cycle, on average over a transfer.
    """
    return [event for pid, (name, t) in enumerate(timelines.items(), 1) for event in _Process(program, pid, t, name)]


class _Process:
    """The events of one timeline; viewers show a counter by its name and that of its value."""

    def __init__(self, program: Program, pid: int, timeline: Timeline, name: str) -> None:
        self.program, self.pid, self.timeline, self.name = program, pid, timeline, name
        threads = [*timeline.engines, *([DRAM] if program.ring else [])]
        self.threads = {thread: tid for tid, thread in enumerate(threads, 1)}

    def __iter__(self) -> Iterator[Event]:
        yield self._about("process_name", 0, name=f"{self.name} (1 us = 1 cycle)")
        yield self._about("process_sort_index", 0, sort_index=self.pid)
        for thread, tid in self.threads.items():
            yield self._about("thread_name", tid, name=thread)
            yield self._about("thread_sort_index", tid, sort_index=tid)
        yield from self._nests()
        yield from self._transfers()
        written = dict.fromkeys(stay.bank for stay in self.timeline.stays)
        for bank in written:
            yield from self._counter(bank, self.timeline.occupancy(bank))
        if self.program.ring:
            yield from self._counter(self.program.ring, self.timeline.ring)

    def _nests(self) -> Iterator[Event]:
        """Nests, each before its waits."""
        waits: dict[int, list[Event]] = {}
        for wait in self.timeline.waits:
            tid = self.threads[self.timeline.slices[wait.number].engine]
            name = f"waits for {' or '.join(wait.operands)}"
            waits.setdefault(wait.number, []).append(self._slice(name, "wait", tid, wait.begin, wait.end))
        for own, nest in zip(self.timeline.slices, self.program.nests, strict=True):
            facts = {
                "nest": own.number,
                "phase": own.phase,
                "issue group": own.group,
                "adds cycles": nest.cycles,
                "predicted cycles": nest.end - nest.start,
                "steps": nest.steps,
                "trips": " x ".join(map(str, nest.trips)),
                "reads": ", ".join(nest.reads),
                "writes": ", ".join(nest.writes),
            }
            facts |= {"follows": own.follows} if own.follows is not None else {}
            facts |= {"weights from DRAM": nest.weights.bytes} if nest.weights else {}
            yield self._slice(own.name, own.phase, self.threads[own.engine], own.begin, own.end, **facts)
            yield from waits.get(own.number, [])

    def _transfers(self) -> Iterator[Event]:
        """Transfers of weights, and their rates."""
        rates = [(0, 0.0)]
        for transfer in self.timeline.transfers:
            name = self.program.nests[transfer.number].name
            facts = {"nest": transfer.number, "bytes": transfer.bytes}
            yield self._slice(f"weights of {name}", "dram", self.threads[DRAM], transfer.begin, transfer.end, **facts)
            if rates[-1][0] == transfer.begin:
                rates.pop()
            rates.append((transfer.begin, round(transfer.bytes / (transfer.end - transfer.begin), 4)))
            rates.append((transfer.end, 0.0))
        if self.program.ring:
            for cycle, rate in rates:
                yield self._event("C", DRAM, 0, ts=cycle, args={"bytes per cycle": rate})

    def _counter(self, name: str, levels: Sequence[Level]) -> Iterator[Event]:
        for level in levels:
            yield self._event("C", name, 0, ts=level.cycle, args={"bytes": level.bytes})

    def _slice(self, name: str, category: str, tid: int, begin: int, end: int, **facts: Any) -> Event:
        return self._event("X", name, tid, cat=category, ts=begin, dur=end - begin, args=facts)

    def _about(self, metadata: str, tid: int, **facts: Any) -> Event:
        return self._event("M", metadata, tid, args=facts)

    def _event(self, kind: str, name: str, tid: int, **rest: Any) -> Event:
        return {"ph": kind, "name": name, "pid": self.pid, "tid": tid, **rest}
