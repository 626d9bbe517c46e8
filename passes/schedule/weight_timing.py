"""The timing of the weight stream: the cycles in which its words arrive from an ideal DRAM, and nests wait for them.

An ideal DRAM accepts a request in every cycle, has its first beat ready `latency` cycles later, and then delivers one
beat per cycle, with bursts in order. Cycle 0 is the first cycle of the run. The rules are those of the weight reader
(`passes/hw/weight_reader.py`):

- At most one burst is requested per cycle: when the ring has room for it, fewer than `outstanding` bursts are under
  way, and the nest from which its symbol is known has begun. Events of a cycle count from the next cycle on.
- A word can be read from the cycle after its last beat on.
- A word is free in the cycle after its last read, in the pipeline stage of the read.
"""

from __future__ import annotations

import numpy as np

from gradcam.passes.program.runs import Run
from gradcam.passes.program.weight_stream import Use, WeightStream
from gradcam.passes.schedule.stages import StagePlan


class WeightTiming:
    """Simulates the weight reader through a run, nest by nest in program order."""

    def __init__(self, weight_stream: WeightStream, plan: StagePlan) -> None:
        self._weight_stream, self._plan = weight_stream, plan
        # A search for the size of the ring goes through every word and burst ten times: these are looked up once.
        self._word_beats = weight_stream.word_beats
        self._capacity = weight_stream.bank.words * self._word_beats  # beats that the ring holds
        self._by_nest = {use.nest: use for use in weight_stream.uses}
        self._begins: list[int] = []  # first cycle of every nest
        self._bursts = iter(_bursts(weight_stream))
        self._requested = 0  # beats
        self._ends: list[int] = []  # cycle of the last beat of every burst
        self._last_request = -1
        self._arrivals: list[int] = []  # cycle of the last beat of every word
        self._freed: list[tuple[int, int]] = []  # (cycle, beats free in all)
        self._used_frees = 0

    def nest(self, number: int, begin: int, run: Run) -> Run:
        """The run of a nest with its waits for words.

        Args:
            number: the nest's number; nests are asked for in program order.
            begin: the cycle in which the nest is issued.
            run: the run of the nest if all its words were there.
        """
        self._begins.append(begin)
        use = self._by_nest.get(number)
        return run.waiting(self._waits(use, run)) if use else run

    def _waits(self, use: Use, run: Run) -> list[tuple[int, int]]:
        """Reads the words of a nest; returns its waits for them, as in `Run`."""
        steps, wanted, again = use.tile_steps()
        word, delay, first = use.position, 0, run.start + 1
        freed, stage = self._freed[-1][1] if self._freed else 0, self._plan.stage(use.access)
        waits: list[tuple[int, int]] = []
        for tile in range(use.tiles):
            places = tile * steps + np.array(wanted)
            for step in places.tolist():
                late = self._arrival(word) + 1 - first - step
                if late > delay:
                    delay = late
                    waits.append((step, delay))
                word += 1
            # When the first word is read for the last time, all words of the tile have arrived.
            over = places + again
            for cycle in (first + over + np.maximum(run.late(over), delay)).tolist():
                freed += self._word_beats
                self._freed.append((cycle + stage, freed))
        return waits

    def _arrival(self, word: int) -> int:
        while len(self._arrivals) <= word:
            self._request(*next(self._bursts))
        return self._arrivals[word]

    def _request(self, beats: int, after: int) -> None:
        """Requests the next burst as early as possible and notes when its beats arrive."""
        weight_stream, word_beats = self._weight_stream, self._word_beats
        cycle = max(self._last_request + 1, self._begins[after])
        if len(self._ends) >= weight_stream.outstanding:
            cycle = max(cycle, self._ends[-weight_stream.outstanding] + 1)
        missing = self._requested + beats - self._capacity
        if missing > 0:
            while self._freed[self._used_frees][1] < missing:
                self._used_frees += 1
            cycle = max(cycle, self._freed[self._used_frees][0] + 1)
        self._last_request = cycle
        first = max(cycle + weight_stream.latency, self._ends[-1] + 1 if self._ends else 0)
        self._ends.append(first + beats - 1)
        before, self._requested = self._requested, self._requested + beats
        complete = range(before // word_beats + 1, self._requested // word_beats + 1)
        self._arrivals.extend([first + words * word_beats - before - 1 for words in complete])


def _bursts(weight_stream: WeightStream) -> list[tuple[int, int]]:
    """For each burst its beats, and the number of the nest that must have been issued before its request."""
    bursts, burst = [], weight_stream.burst
    for segment in weight_stream.segments:
        whole, rest = divmod(segment.words * weight_stream.word_beats, burst)
        bursts += [(burst, segment.after)] * whole + [(rest, segment.after)] * bool(rest)
    return bursts
