"""What a file in the Trace Event format must be like, so that viewers show what program.json and a run say."""

from collections.abc import Iterator
from typing import Any

from gradcam.schema.program import Program

#: The members of an event of each kind, beside ph, name, pid, tid and args.
MEMBERS = {"M": set(), "X": {"cat", "ts", "dur"}, "C": {"ts"}}


def faults(document: dict[str, Any], program: Program, cycles: list[int]) -> list[str]:
    """Everything that is wrong with a file of runs of so many cycles each, one process per run; [] for nothing."""
    events, found = document["traceEvents"], list(_malformed(document["traceEvents"]))
    if found:
        return found
    pids = sorted({event["pid"] for event in events})
    if pids != list(range(1, len(cycles) + 1)):
        return [f"processes {pids} for {len(cycles)} runs"]
    for pid, total in zip(pids, cycles, strict=True):
        own = [event for event in events if event["pid"] == pid]
        found += [*_names(own), *_nesting(own), *_nests(own, program, total), *_counters(own, program, total)]
    return found


def _malformed(events: list[dict[str, Any]]) -> Iterator[str]:
    for event in events:
        if set(event) != {"ph", "name", "pid", "tid", "args"} | MEMBERS.get(event["ph"], {"?"}):
            yield f"members of {event}"
        elif any(not isinstance(event[key], int) or event[key] < 0 for key in ("ts", "dur") if key in event):
            yield f"times of {event}"


def _slices(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["ph"] == "X"]


def _names(events: list[dict[str, Any]]) -> Iterator[str]:
    """Every thread with slices has one name."""
    named = [event["tid"] for event in events if event["name"] == "thread_name"]
    if sorted(named) != sorted(set(named)) or {event["tid"] for event in _slices(events)} - set(named):
        yield f"names of the threads {named}"


def _nesting(events: list[dict[str, Any]]) -> Iterator[str]:
    """Two slices of a thread are apart, or one is in the other; what is inside lies behind it in the file."""
    for tid in {event["tid"] for event in events}:
        around: list[dict[str, Any]] = []
        for event in _slices(events):
            if event["tid"] != tid:
                continue
            end = event["ts"] + event["dur"]
            while around and around[-1]["ts"] + around[-1]["dur"] <= event["ts"]:
                around.pop()
            if around and (event["ts"] < around[-1]["ts"] or end > around[-1]["ts"] + around[-1]["dur"]):
                yield f"{event['name']} from {event['ts']} to {end} crosses {around[-1]['name']}"
            if bool(around) != (event["cat"] == "wait"):
                yield f"{event['name']} at {event['ts']} is {'inside' if around else 'outside'} of a nest"
            around.append(event)


def _nests(events: list[dict[str, Any]], program: Program, total: int) -> Iterator[str]:
    """Every nest stands there once, on the thread of its engine; the last one ends with the run."""
    phases = {nest.phase for nest in program.nests}
    nests = [event for event in _slices(events) if event["cat"] in phases]
    threads = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    stated = [(e["args"]["nest"], e["name"], threads.get(e["tid"]), e["cat"]) for e in nests]
    if stated != [(i, nest.name, nest.engine, nest.phase) for i, nest in enumerate(program.nests)]:
        yield f"nests {stated}"
    if (end := max((e["ts"] + e["dur"] for e in _slices(events)), default=0)) != total:
        yield f"the last slice ends in {end}, the run in {total}"
    transfers = [event for event in _slices(events) if event["cat"] == "dram"]
    reads = [(i, nest.weights.bytes) for i, nest in enumerate(program.nests) if nest.weights]
    if [(event["args"]["nest"], event["args"]["bytes"]) for event in transfers] != reads:
        yield f"transfers {transfers}"


def _counters(events: list[dict[str, Any]], program: Program, total: int) -> Iterator[str]:
    """Counters go on in time, from 0 on, are never negative, nor more than the bank has, and end empty."""
    counters: dict[str, list[tuple[int, float]]] = {}
    for event in events:
        if event["ph"] == "C":
            (value,) = event["args"].values()
            counters.setdefault(event["name"], []).append((event["ts"], value))
    written = {buffer.bank for buffer in program.buffers if buffer.bank}
    if set(counters) != written | ({program.dram.ring, "DRAM"} if program.dram else set()):
        yield f"counters {sorted(counters)}"
    for name, values in counters.items():
        times = [time for time, _ in values]
        if times[0] or times != sorted(set(times)) or times[-1] > total or values[-1][1]:
            yield f"the times of counter {name} are {times}, its last value is {values[-1][1]}"
        if any(value < 0 or (name in program.banks and value > program.banks[name].size) for _, value in values):
            yield f"counter {name} has values {sorted({value for _, value in values})}"
