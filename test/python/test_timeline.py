"""The timeline of a design: slices of engines and stays of buffers, compared with program.json."""

import dataclasses
import itertools
import json

import pytest
from folders import ROOT

from gradcam.compiler import Settings
from gradcam.design import Design
from gradcam.frontend import load_model
from gradcam.output import compile_to_folder
from gradcam.timeline import Level, Timeline

#: What each nest of the network of docs/architecture.md reads.
READS = {
    "image": (),
    "block.relu": ("image",),
    "block.relu_1": ("block.relu", "block.relu.2"),
    "pool": ("block.relu_1",),
    "fc": ("pool",),
    "explain.class": ("fc",),
    "explain.map": ("block.relu_1", "explain.class"),
    "logits": ("fc",),
    "heatmap": ("explain.map",),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    work = tmp_path_factory.mktemp("timeline") / "design"
    net = load_model(f"{ROOT}/examples/walkthrough.py:network")
    compile_to_folder(net, "test", Settings("block", pe="4x4", validate=False), work)
    return work


def test_what_nests_read(folder):
    assert {nest.name: nest.reads for nest in Design.load(folder).program.nests} == READS


def test_slices_are_those_of_program_json(folder):
    timeline, written = Timeline.of(Design.load(folder).program), json.loads((folder / "program.json").read_text())
    nests = written["nests"]
    assert [(s.number, s.name, s.engine, s.phase, s.begin, s.end, s.follows) for s in timeline.slices] == [
        (i, n["name"], n["engine"], n["phase"], n["start"], n["end"], n["follows"]) for i, n in enumerate(nests)
    ]
    assert timeline.cycles == sum(n["cycles"] for n in nests) == max(s.end for s in timeline.slices)
    assert timeline.engines == ["load", "mac", "sum", "scan", "store"]
    for engine in timeline.engines:
        own = [s for s in timeline.slices if s.engine == engine]
        assert all(a.end <= b.begin for a, b in itertools.pairwise(own))


def clashes(timeline):
    """Pairs of buffers that are in the same words in the same cycle."""
    return [
        (a.buffer, b.buffer)
        for a, b in itertools.combinations(timeline.stays, 2)
        if a.bank == b.bank
        and max(a.begin, b.begin) < min(a.end, b.end)
        and max(a.offset, b.offset) < min(a.offset + a.words, b.offset + b.words)
    ]


def test_a_bank_never_holds_more_than_it_has(folder):
    program = Design.load(folder).program
    timeline = Timeline.of(program)
    assert len(timeline.stays) == sum(b.bank is not None for b in program.buffers) and not clashes(timeline)
    for name, bank in program.banks.items():
        levels = timeline.occupancy(name)
        assert levels[0].cycle == 0 and levels[-1].bytes == 0
        assert all(0 <= level.bytes <= bank.size for level in levels)
    longer = [dataclasses.replace(stay, end=timeline.cycles) for stay in timeline.stays]
    assert ("image", "block.relu_1") in clashes(dataclasses.replace(timeline, stays=tuple(longer)))


def test_occupancy_by_hand(folder):
    """`pool` is one word of four bytes behind `block.relu`, which the second convolution reads until its end."""
    program = Design.load(folder).program
    timeline = Timeline.of(program)
    end = {s.name: s.end for s in timeline.slices}
    begin = {s.name: s.begin for s in timeline.slices}
    assert timeline.occupancy("bank1") == [
        Level(0, 4 * 8 * 4),
        Level(begin["pool"], 4 * 8 * 4 + 4),
        Level(end["block.relu_1"], 4),
        Level(end["fc"], 0),
    ]
