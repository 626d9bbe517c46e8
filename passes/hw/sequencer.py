"""The sequencer: issues the program's nests in order, those of an issue group together, as far as engines are free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.ports import Control
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import State, Value, bits_for
from gradcam.passes.ir.attributes import ENGINE
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.engines import Engine
from gradcam.passes.program.nest import Nest
from gradcam.passes.program.runs import Follow, issues_of


def build_sequencer(program: list[Nest], engines: list[Engine], follows: Mapping[int, Follow]) -> Any:
    """Builds the module `sequencer`.

    `start` begins a run while `busy` is 0. The nests of an issue group are issued in one cycle, by `go` of their
    engines. The next group is issued when each of these engines has given `done`. A last nest that runs on the engine
    of the first one is issued alone, when that engine has given `done`, and the others run on.

    - `nest` is the number of the first nest that was issued last; it stays between runs.
    - `running` has a bit per engine, which is 1 from the issue of its nest to its `done`.
    - `done` is 1 for one cycle after the last group.
    - `NAME_written` and `NAME_over` go to engines with nests that follow a producer. The first one says that the
      producer has committed another iteration (port `landed` of its engine), the second one that it has ended.

    With a target clock, `NAME_go`, `NAME_written` and `NAME_over` are registered and come one cycle later. Engines
    register what they are told once more.

    Args:
        program: the nests in program order.
        engines: the engines that run them.
        follows: the nests that run behind a producer, by its number.
    """
    steps = ", ".join(f"{i} {nest.name} on {ENGINE.get(nest.op)}" for i, nest in enumerate(program))
    comment = f"Sequencer; the nests of the program and their engines: {steps}"
    controls = [Control(engine, follows) for engine in engines]
    inputs = [Signal("start"), *(c.done.of(c.engine) for c in controls)]
    inputs += [c.committed.of(c.engine) for c in controls if c.counted]
    outputs = [Signal("busy"), Signal("done"), Signal("nest", bits_for(len(program))), Signal("running", len(engines))]
    outputs += [signal.of(c.engine) for c in controls for signal in c.inputs]

    def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        return _Sequencer(b, p, program, engines, follows).build()

    return module("sequencer", inputs, outputs, build, comment=comment)


class _Sequencer:
    """The body of the sequencer."""

    def __init__(
        self,
        b: Builder,
        p: Mapping[str, Value],
        program: list[Nest],
        engines: list[Engine],
        follows: Mapping[int, Follow],
    ) -> None:
        self.b, self.p, self.engines, self.follows = b, p, engines, follows
        self.controls = [Control(engine, follows) for engine in engines]
        #: Per nest, its issue: the number of the first nest that is issued in the same cycle.
        self.issues = issues_of(program)
        self.starts = list(dict.fromkeys(self.issues))
        where = {id(nest): (e, c) for e, engine in enumerate(engines) for c, nest in enumerate(engine.configurations)}
        #: Per nest, the numbers of its engine and of its configuration.
        self.places = [where[id(nest)] for nest in program]
        #: By the number of an engine, the issues in which it runs on, with its number of the configuration.
        self.runs_on = [self._runs_on(number) for number in range(len(engines))]
        self.crossing = Clock.of(program[0].op).crossing

    def _runs_on(self, number: int) -> dict[int, int]:
        """The issues at which an engine still runs a nest of the same group, with the number of its configuration."""
        late = [i + 1 for i, follow in self.follows.items() if follow.after is not None]
        before = {issue: [n for n, i in enumerate(self.issues) if i == self.issues[issue - 1]] for issue in late}
        places = {issue: dict(self.places[n] for n in nests) for issue, nests in before.items()}
        return {issue: at[number] for issue, at in places.items() if number in at and number != self.places[issue][0]}

    def build(self) -> dict[str, Value]:
        """Builds the sequencer and returns its outputs by name."""
        b, p = self.b, self.p
        busy = b.state(1, "busy", reset=0)
        issue = b.state(1, "issue", reset=0)
        begin = p["start"] & ~busy
        self.moving = b.wire(Signal("moving"))
        # The first issue comes after the last one, whose number `nest` keeps between runs.
        self.nest = b.state(bits_for(len(self.issues)), "nest", reset=self.issues[-1])
        self.nest.assign(self._next({issue: issue for issue in self.starts}, self.nest.width), self.moving)
        last = self._of_issue("last", {self.issues[-1]: 1}, 1)
        self.values: dict[str, Value] = {"busy": busy, "nest": self.nest}
        pending, running, left = zip(*(self._issue(n, issue) for n in range(len(self.engines))), strict=True)
        group_done = busy & ~b.any_of(*(self._awaited(n, value) for n, value in enumerate(left)))
        ended, advance = group_done & last, group_done & ~last
        busy.assign(begin | (busy & ~ended))
        issue.assign(begin | advance)
        self.moving.assign(begin | advance)
        self.values |= {"running": b.concat(running[::-1]), "done": b.register(ended, "done_q", reset=0)}
        for number, control in enumerate(self.controls):
            if control.gated:
                self._report_producer(number, control, pending)
        return self.values

    def _issue(self, number: int, issue: State) -> tuple[Value, Value, Value]:
        """Builds the issue of an engine's nest.

        Returns:
            i1: the nest was issued in an earlier cycle and has not ended; i1: it runs in this cycle; i1: it still runs
            in the next cycle.
        """
        b, control = self.b, self.controls[number]
        #: By issue, the number of the configuration that the engine runs.
        configurations = {issue: c for issue, (e, c) in zip(self.issues, self.places, strict=True) if e == number}
        issued = issue & self._of_issue(f"{control.engine}_runs", dict.fromkeys(configurations, 1), 1)
        pending = b.state(1, f"{control.engine}_pending", reset=0)
        running = issued | pending
        left = running & ~self.p[control.done.of(control.engine)]
        pending.assign(left)
        go = control.go.of(control.engine)
        self.values[go] = b.register(issued, f"{go}_q", reset=0) if self.crossing else issued
        if control.configuration in control.inputs:
            configuration = control.configuration.of(control.engine)
            rows = configurations | self.runs_on[number]
            self.values[configuration] = self._of_issue(f"{configuration}_q", rows, configuration.bits)
        return pending, running, left

    def _awaited(self, number: int, left: Value) -> Value:
        """i1: the next issue waits for an engine that still runs in the next cycle (`left`)."""
        after = dict(pairwise(self.starts))
        before = {issue: 1 for issue in self.starts if after.get(issue) in self.runs_on[number]}
        return left & ~self._of_issue(f"{self.controls[number].engine}_outlasts", before, 1) if before else left

    def _of_issue(self, name: str, entries: Mapping[int, int], width: int) -> Value:
        """The entry of the latest issue; 0 for one without an entry.

        It comes from a register, which is loaded with the issue.
        """
        if len(self.starts) == 1:
            return self.b.const(entries.get(0, 0), width)
        value = self.b.state(width, name, reset=0)
        value.assign(self._next(entries, width), self.moving)
        return value

    def _next(self, entries: Mapping[int, int], width: int) -> Value:
        """The entry of the next issue, 0 for one without an entry."""
        after = dict(pairwise(self.starts))
        column = [entries.get(after.get(issue, 0), 0) for issue in range(len(self.issues))]
        return self.b.table(self.nest, column, width)

    def _report_producer(self, number: int, control: Control, pending: Sequence[Value]) -> None:
        """Connects a gated engine to the progress of its producer.

        The producer's engine depends on the issue and is selected by it. A follower that is issued later is told of its
        producer from the issue of that on. When another nest runs on the producer's engine, the producer has ended.
        """
        b, p, engine = self.b, self.p, control.engine
        producers = {
            issue: self.places[i][0]
            for i in self.follows
            if self.places[i + 1][0] == number
            for issue in (self.issues[i], self.issues[i + 1])
        }
        choices = list(dict.fromkeys(producers.values()))
        numbers = {issue: choices.index(producer) for issue, producer in producers.items()}
        number_of = self._of_issue(f"{engine}_follows", numbers, bits_for(len(choices)))
        committed = [p[control.committed.of(self.controls[c].engine)] for c in choices]
        ended = [~pending[c] for c in choices]
        if self.runs_on[number]:
            outlived = self._of_issue(f"{engine}_outlives", dict.fromkeys(self.runs_on[number], 1), 1)
            ended = [value | outlived for value in ended]
        for signal, choice in ((control.written, committed), (control.producer_done, ended)):
            value = b.select(number_of, choice)
            self.values[signal.of(engine)] = b.register(value, f"{signal}_q") if self.crossing else value
