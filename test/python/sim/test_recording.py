"""Timelines of runs: the predicted ones with the memory that the compiler assumed; else waits explain the rest."""

import dataclasses
import itertools

import numpy as np
import pytest
from folders import ROOT
from trace_checks import faults

from gradcam.compiler import Settings
from gradcam.errors import GradcamError
from gradcam.frontend import load_model
from gradcam.output import compile_to_folder
from gradcam.sim import DramModel, Simulator
from gradcam.sim.recording import read_timelines
from gradcam.timeline import Timeline
from gradcam.trace_events import trace_events

DESIGNS = {
    "onchip": {},
    "dram": {"weights": "dram"},
    "clock": {"weights": "dram", "dram_width": 32, "clock_mhz": 100.0},
}
IMAGES = np.random.default_rng(1).integers(-128, 128, (2, 3, 4, 8)).astype(np.int8)
SLOW = DramModel(latency=100, interval=3)
STALLING = DramModel(stall_seed=1, stall=0.8)


@pytest.fixture(scope="module", params=DESIGNS)
def simulator(request, tmp_path_factory):
    work = tmp_path_factory.mktemp(request.param) / "design"
    net = load_model(f"{ROOT}/examples/walkthrough.py:network")
    settings = Settings("block", pe="4x4", validate=False, **DESIGNS[request.param])
    compile_to_folder(net, "test", settings, work)
    return Simulator(work)


def waited(timeline, number):
    """The cycles that a nest waited."""
    return sum(w.end - w.begin for w in timeline.waits if w.number == number)


def runs(simulator):
    """Results with memories and streams of all kinds."""
    drams = [DramModel(), SLOW, STALLING] if simulator.program.dram else [DramModel()]
    for dram, seed in itertools.product(drams, (None, 5)):
        yield from simulator.run(IMAGES, stall_seed=seed, dram=dram, timeline=True)


def test_a_run_as_predicted_has_the_predicted_timeline(simulator):
    predicted = Timeline.of(simulator.program)
    for result in simulator.run(IMAGES, timeline=True, jobs=2):
        assert dataclasses.replace(result.timeline, waits=()) == predicted
    assert simulator.run(IMAGES[:1])[0].timeline is None


def test_without_its_waits_a_nest_always_takes_the_same_cycles(simulator):
    program, working = simulator.program, set()
    for result in runs(simulator):
        timeline = result.timeline
        assert [s.end - s.begin for s in timeline.slices] == result.nest_cycles
        assert timeline.cycles == result.cycles.total
        document = {"traceEvents": trace_events(program, {"run": timeline})}
        assert faults(document, program, [result.cycles.total]) == []
        working.add(tuple(s.end - s.begin - waited(timeline, s.number) for s in timeline.slices))
    (cycles,) = working
    # A nest takes its steps, a cycle of issue and the stages of its pipeline, which are few.
    assert all(0 < c - nest.steps <= 25 for c, nest in zip(cycles, program.nests, strict=True))


def test_waits_lie_in_their_nests_and_say_what_was_missing(simulator):
    program, seen = simulator.program, set()
    for result in runs(simulator):
        timeline = result.timeline
        for wait in timeline.waits:
            nest, own = program.nests[wait.number], timeline.slices[wait.number]
            assert own.begin < wait.begin < wait.end <= own.end and wait.operands
            may = {"input": nest.phase == "load", "output": nest.phase == "store", "weights": nest.weights}
            may["producer"] = nest.follows is not None
            assert all(may[operand] for operand in wait.operands)
            seen.update(wait.operands)
        for number, nest in enumerate(program.nests):
            own = [w for w in timeline.waits if w.number == number]
            assert all(a.end <= b.begin for a, b in itertools.pairwise(own))
            if nest.phase == "store":  # an output that is not taken is all that it may wait for
                assert waited(timeline, number) == result.nest_cycles[number] - (nest.end - nest.start)
    assert seen == {"input", "output", "producer", *(["weights"] if program.dram else [])}


def test_weights_come_when_the_memory_sends_them(simulator):
    if simulator.program.dram is None:
        pytest.skip("all weights are on chip")
    program = simulator.program
    (slow,) = simulator.run(IMAGES[:1], dram=SLOW, timeline=True)
    first, *others = slow.timeline.transfers
    beats = program.nests[first.number].weights.bytes * 8 // program.dram.width
    begin = SLOW.latency + (program.clock_ns is not None)  # a request comes from a register then
    assert (first.begin, first.end) == (begin, begin + (beats - 1) * SLOW.interval + 1)
    assert all(a.end + SLOW.interval - 1 <= b.begin for a, b in itertools.pairwise([first, *others]))
    size = program.banks[program.dram.ring].size
    for result in runs(simulator):
        ring = result.timeline.ring
        assert all(0 <= level.bytes <= size for level in ring)
        assert ring[0] == (type(ring[0])(0, 0)) and ring[-1].bytes == 0
        assert [level.cycle for level in ring] == sorted({level.cycle for level in ring})


def test_a_recording_that_ends_early_is_refused(simulator):
    with pytest.raises(GradcamError, match="the recording of a run is incomplete"):
        read_timelines(b"\0" * 8, simulator.program, [[1] * len(simulator.program.nests)])
