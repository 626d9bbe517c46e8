"""benchmarks/perfetto.py: Perfetto finds the slices and counters of a trace, and a changed trace is told from it."""

import json

import perfetto
import pytest
from folders import ROOT

from gradcam.compiler import Settings
from gradcam.design import Design
from gradcam.frontend import load_model
from gradcam.output import compile_to_folder
from gradcam.timeline import Timeline
from gradcam.trace_events import write_trace

pytestmark = pytest.mark.skipif(bool(perfetto.missing()), reason=f"Perfetto needs {perfetto.missing()}")

CHANGES = [
    (lambda e: e["ph"] == "X", lambda e: e.update(dur=e["dur"] - 1), "the slice"),
    (lambda e: e["ph"] == "X", lambda e: e.update(cat="wait"), "the slice"),
    (lambda e: e["name"] == "thread_name", lambda e: e["args"].update(name="other"), "the slice"),
    (lambda e: e["ph"] == "C", lambda e: e.update(ts=e["ts"] + 1), "the counter"),
    (lambda e: e["ph"] == "C", lambda e: e.update(args={"bytes": 1}), "the counter"),
    (lambda e: e["name"] == "process_name", lambda e: e["args"].update(name="other"), "the counter"),
]


def test_perfetto_finds_what_a_trace_says(tmp_path):
    net = load_model(f"{ROOT}/examples/walkthrough.py:network")
    compile_to_folder(net, "test", Settings("block", pe="4x4", validate=False, weights="dram"), tmp_path / "design")
    program = Design.load(tmp_path / "design").program
    timeline = Timeline.of(program)
    write_trace(tmp_path / "trace.json", program, {"one": timeline, "other": timeline})
    text = (tmp_path / "trace.json").read_text()
    with perfetto.opened(tmp_path / "trace.json") as page:
        assert perfetto.faults(text, page) == []
        for which, change, kind in CHANGES:
            changed = json.loads(text)
            change(next(event for event in changed["traceEvents"] if which(event)))
            found = perfetto.faults(json.dumps(changed), page)
            assert any(f"Perfetto lacks {kind}" in fault for fault in found)
            assert any(f"Perfetto has {kind}" in fault for fault in found)
