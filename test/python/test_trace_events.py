"""Schedules in the Trace Event format: what viewers ask of a file, and that a file with a fault is found out."""

import copy
import json

import pytest
from folders import ROOT
from trace_checks import faults

from gradcam.compiler import Settings
from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.frontend import load_model
from gradcam.output import compile_to_folder
from gradcam.timeline import Timeline
from gradcam.trace_events import check_trace_target, write_trace


@pytest.fixture(scope="module", params=["onchip", "dram"])
def compiled(request, tmp_path_factory):
    """The program of a compile, and the trace that it wrote."""
    work = tmp_path_factory.mktemp(request.param)
    settings = Settings("block", pe="4x4", validate=False, weights=request.param)
    net = load_model(f"{ROOT}/examples/walkthrough.py:network")
    compile_to_folder(net, "test", settings, work / "design", trace=work / "trace.json")
    return Design.load(work / "design").program, json.loads((work / "trace.json").read_text())


def test_the_schedule(compiled):
    program, document = compiled
    assert faults(document, program, [program.cycles.total]) == []
    assert document["otherData"] == {
        "cycle": "1 us",
        "clock_ns": None,
        "runs": {"schedule of test": program.cycles.total},
    }
    nests = [event for event in document["traceEvents"] if event["ph"] == "X" and event["cat"] != "dram"]
    assert [(e["ts"], e["ts"] + e["dur"]) for e in nests] == [(nest.start, nest.end) for nest in program.nests]
    (name,) = [event for event in document["traceEvents"] if event["name"] == "process_name"]
    assert name["args"]["name"] == "schedule of test (1 us = 1 cycle)"


def test_several_runs_are_several_processes(compiled, tmp_path):
    program, _ = compiled
    timeline = Timeline.of(program)
    write_trace(tmp_path / "two.json", program, {"one": timeline, "other": timeline})
    document = json.loads((tmp_path / "two.json").read_text())
    assert faults(document, program, [timeline.cycles] * 2) == []
    assert faults(document, program, [timeline.cycles]) == ["processes [1, 2] for 1 runs"]


def slice_of(events, name):
    return next(event for event in events if event["ph"] == "X" and event["name"] == name)


def level_of(events, name):
    return next(event for event in events if event["ph"] == "C" and event["name"] == name)


def wait(events, ts, dur):
    """A wait in the first convolution, behind it in the file."""
    nest = slice_of(events, "block.relu")
    events.insert(events.index(nest) + 1, {**nest, "name": "waits", "cat": "wait", "ts": ts, "dur": dur, "args": {}})


#: A change of the events, and what is said about it.
FAULTS = [
    (lambda events: events.remove(slice_of(events, "pool")), "nests "),
    (lambda events: events.append(slice_of(events, "pool")), "nests "),
    (lambda events: slice_of(events, "pool").update(tid=1), "nests "),
    (lambda events: slice_of(events, "heatmap").update(dur=1), "the last slice ends in "),
    (
        lambda events: slice_of(events, "block.relu_1").update(ts=5, dur=10**6),
        "block.relu_1 from 5 to 1000005 crosses block.relu",
    ),
    (lambda events: slice_of(events, "fc").update(ts=10), "fc at 10 is inside of a nest"),
    (lambda events: slice_of(events, "fc").update(dur=0.5), "times of "),
    (lambda events: slice_of(events, "fc").update(dur=-1), "times of "),
    (lambda events: slice_of(events, "fc").pop("ts"), "members of "),
    (lambda events: wait(events, 0, 10**6), "waits from 0 to 1000000 crosses block.relu"),
    (lambda events: wait(events, 10**6, 1), "waits at 1000000 is outside of a nest"),
    (lambda events: level_of(events, "bank0").update(args={"bytes": -1}), "counter bank0 has values"),
    (lambda events: level_of(events, "bank0").update(args={"bytes": 129}), "counter bank0 has values"),
    (lambda events: [e for e in events if e["ph"] == "C"][-1].update(ts=10**6), "the times of counter "),
    (lambda events: level_of(events, "bank0").update(name="bank9"), "counters "),
    (lambda events: events.remove(next(e for e in events if e["name"] == "thread_name")), "names of the threads "),
]


@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_a_fault_is_found(compiled, number):
    program, document = compiled
    change, message = FAULTS[number]
    changed = copy.deepcopy(document)
    change(changed["traceEvents"])
    found = faults(changed, program, [program.cycles.total])
    assert any(fault.startswith(message) for fault in found), found


def test_a_wait_inside_a_nest_is_none(compiled):
    program, document = compiled
    changed = copy.deepcopy(document)
    wait(changed["traceEvents"], 3, 5)
    assert faults(changed, program, [program.cycles.total]) == []


def test_targets_that_cannot_be(compiled, tmp_path):
    design, file = tmp_path / "design", tmp_path / "trace.json"
    check_trace_target(file, [design], False)
    check_trace_target(tmp_path / "new/trace.json", [tmp_path / "new/design"], False)
    write_trace(file, compiled[0], {})
    check_trace_target(file, [design], True)
    (tmp_path / "image.npy").write_bytes(b"an input")
    with pytest.raises(GradcamError, match=r"image.npy exists and holds something else; choose another file$"):
        check_trace_target(tmp_path / "image.npy", [design], True)
    design.mkdir()
    (tmp_path / "link").symlink_to(design)
    for target, message in (
        (file, "trace.json exists; choose another file, or add --force to replace it"),
        (tmp_path / "none/trace.json", "there is no folder .*none"),
        (design / "trace.json", "is in .*design, which may hold no other files; write the trace beside it"),
        (tmp_path / "link/rtl/trace.json", "is in .*design, which may hold no other files; write the trace beside it"),
        (tmp_path, "is a folder; name a file"),
        (type(file)("-"), "--trace writes a file, not to stdout; name it"),
    ):
        with pytest.raises(GradcamError, match=message) as caught:
            check_trace_target(target, [design], False)
        assert "\n" not in str(caught.value)


def test_a_compile_makes_the_folder_of_both(tmp_path):
    net = load_model(f"{ROOT}/examples/walkthrough.py:network")
    new = tmp_path / "new"
    compile_to_folder(net, "test", Settings("block", validate=False), new / "design", trace=new / "trace.json")
    assert sorted(path.name for path in new.iterdir()) == ["design", "trace.json"]


def test_a_compile_that_fails_writes_no_trace(tmp_path):
    net = load_model(f"{ROOT}/examples/walkthrough.py:network")
    for target in ("none/trace.json", "design/trace.json"):
        with pytest.raises(GradcamError):
            compile_to_folder(net, "test", Settings("block"), tmp_path / "design", trace=tmp_path / target)
    with pytest.raises(GradcamError, match="block1"):
        compile_to_folder(net, "test", Settings("block1"), tmp_path / "design", trace=tmp_path / "trace.json")
    assert list(tmp_path.iterdir()) == []
