"""The timing of the weight stream: the cycles in which its words arrive from an ideal DRAM, and nests wait for them.

An ideal DRAM accepts a request in every cycle, has its first beat ready `latency` cycles later, and then delivers one
beat per cycle, with bursts in order. Cycle 0 is the first cycle of the run. The rules are those of the weight reader
(`passes/hw/weight_reader.py`):

- At most one burst is requested per cycle: when the ring has room for it, fewer than `outstanding` bursts are under
  way, and the nest from which its symbol is known has begun. Events of a cycle count from the next cycle on, and with
  a target clock from the one after that on. With one, the first request of a segment that a symbol selects waits
  until its address is known, too.
- A word can be read from the cycle after its last beat on.
- A word is free in the cycle after its last read, in the pipeline stage of the read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradcam.passes.program.clock import Clock
from gradcam.passes.program.runs import Run
from gradcam.passes.program.weight_stream import Use, WeightStream
from gradcam.passes.schedule.stages import StagePlan


class WeightTiming:
    """Simulates the weight reader through a run, nest by nest in program order."""

    def __init__(self, weight_stream: WeightStream, plan: StagePlan, clock: Clock) -> None:
        self._weight_stream, self._plan, self._crossing = weight_stream, plan, clock.crossing
        self._by_nest = {use.nest: use for use in weight_stream.uses}
        self._begins: list[int] = []  # first cycle of every nest
        self._freed: list[int] = []  # for every word the cycle of its last read
        self._ends: list[int] = []  # cycle of the last beat of every burst that has been requested
        self._requests: list[int] = []  # cycle of the request of every burst
        beats, self._after, self._placing = _bursts(weight_stream, clock.placing)
        self._beats = beats.tolist()
        self._requested = requested = np.cumsum(beats)  # beats up to the end of every burst
        word_beats = weight_stream.word_beats
        words = np.arange(word_beats, requested[-1] + 1, word_beats)  # beats up to the end of every word
        self._burst = np.searchsorted(requested, words)  # of every word, the burst with its last beat,
        self._tail = requested[self._burst] - words  # and the beats of that burst behind it
        # Of every burst, the last word whose place it takes; negative as long as the ring has free places.
        self._taken = (-(-requested // word_beats) - 1 - weight_stream.bank.words).tolist()

    def nest(self, number: int, begin: int, run: Run, missing: int = 0) -> Run:
        """The run of a nest with its waits for words.

        Args:
            number: the nest's number; nests are asked for in program order.
            begin: the cycle in which the nest is issued.
            run: the run of the nest if all its words were there.
            missing: the cycles by which the reads of a word outlast the steps that need it; not 0 only where every
                word is read once.
        """
        self._begins.append(begin)
        use = self._by_nest.get(number)
        return run.waiting(self._waits(use, run, missing)) if use else run

    def beats_of(self, use: Use) -> tuple[int, int]:
        """The cycles of the first and of the last beat of a nest's words, after `nest` for it."""
        beats, word = np.array([use.position, use.position + use.words]), self._weight_stream.word_beats
        first, last = (beats * word - [0, 1]).tolist()
        bursts = np.searchsorted(self._requested, [first, last], side="right")
        begin, end = (np.array(self._ends)[bursts] + 1 - self._requested[bursts] + [first, last]).tolist()
        return begin, end

    def taken(self, cycles: Sequence[int]) -> list[int]:
        """The words of the ring that are requested and not read for the last time, in each of the cycles, in beats.

        A request and a read count from the next cycle on. All nests have been asked for.
        """
        requested = np.array([0, *self._requested])[np.searchsorted(self._requests, cycles)]
        return (requested - np.searchsorted(self._freed, cycles) * self._weight_stream.word_beats).tolist()

    def _waits(self, use: Use, run: Run, missing: int) -> list[tuple[int, int]]:
        """Reads the words of a nest; returns its waits for them, as in `Run`."""
        steps, wanted, again = use.tile_steps()
        places, delay, first = np.array(wanted), 0, run.start + 1
        stage = self._plan.stage(use.access)
        waits: list[tuple[int, int]] = []
        for word in range(use.position, use.position + use.words, use.tile):
            late = self._arrivals(word, use.tile) + 1 - first - places
            late = np.maximum(late, delay + missing if word > use.position else 0)
            if late.max() > delay:
                late = np.maximum.accumulate(np.maximum(late, delay))
                later = np.flatnonzero(np.diff(late, prepend=delay))
                waits += zip(places[later].tolist(), late[later].tolist(), strict=True)
                delay = waits[-1][1]
            # When the first word is read for the last time, all words of the tile have arrived.
            over = places + again
            self._freed += (first + over + np.maximum(run.late(over), delay) + stage).tolist()
            places = places + steps
        return waits

    def _arrivals(self, word: int, count: int) -> np.ndarray:
        """The cycles of the last beats of `count` successive words; requests their bursts as early as possible."""
        bursts = self._burst[word : word + count]
        begins, freed, ends, outstanding = self._begins, self._freed, self._ends, self._weight_stream.outstanding
        for number in range(len(ends), bursts[-1] + 1):
            cycle = max(self._requests[-1] + 1 if self._requests else 0, begins[self._after[number]])
            cycle += self._placing[number]
            if number >= outstanding:
                cycle = max(cycle, ends[number - outstanding] + 1)
            if (taken := self._taken[number]) >= 0:
                cycle = max(cycle, freed[taken] + 1)
            cycle += self._crossing
            self._requests.append(cycle)
            first = max(cycle + self._weight_stream.latency, ends[-1] + 1 if ends else 0)
            ends.append(first + self._beats[number] - 1)
        return np.array(ends[bursts[0] :])[bursts - bursts[0]] - self._tail[word : word + count]


def _bursts(weight_stream: WeightStream, placing: int) -> tuple[np.ndarray, list[int], list[int]]:
    """For each burst its beats, the number of the nest that must have been issued before its request, and the cycles
    until its address is known then, which are `placing` where a symbol selects it.
    """
    beats, after, places, burst = list[int](), list[int](), list[int](), weight_stream.burst
    for segment in weight_stream.segments:
        whole, rest = divmod(segment.words * weight_stream.word_beats, burst)
        sizes = [burst] * whole + [rest] * bool(rest)
        beats += sizes
        after += [segment.after] * len(sizes)
        places += [placing * (segment.symbol is not None), *[0] * (len(sizes) - 1)]
    return np.array(beats), after, places
