"""The sequencer: walks the program turn by turn; a turn is a nest, or several that run side by side."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from gradcam.passes.hw.builder import Builder, Value, bits_for, module
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.engines import Engine, tag
from gradcam.passes.program.nest import Nest
from gradcam.passes.program.runs import Follow, turns_of


def is_counted(engine: Engine, follows: Mapping[int, Follow]) -> bool:
    """Whether the engine runs a producer, so that it says when iterations are written."""
    return any(follow.producer in engine.rows for follow in follows.values())


def is_gated(engine: Engine, follows: Mapping[int, Follow]) -> bool:
    """Whether the engine runs a nest that follows another, so that it waits for what that has written."""
    return any(follow.nest in engine.rows for follow in follows.values())


def build_sequencer(program: list[Nest], engines: list[Engine], follows: Mapping[int, Follow]) -> Any:
    """The module `sequencer`.

    `start` begins a run while `busy` is 0. The nests of a turn take one cycle to issue (`go` of their engines), and the
    next turn is issued when each of their engines has given `done`. `nest` is the number of the first nest of the turn,
    and between runs that of the last turn; `running` has a bit per engine that is 1 from the issue of its nest to its
    `done`. `done` is 1 for one cycle after the last turn.

    For an engine that runs nests which follow, `NAME_written` says that the producer has written another iteration
    (`landed` of its engine), and `NAME_over` that it has ended. With a clock, these and `go` come a cycle later.
    """
    steps = ", ".join(f"{i} {nest.name} on {tag(nest, 'engine')}" for i, nest in enumerate(program))
    comment = f"Sequencer; the nests of the program and their engines: {steps}"
    sequencer = _Sequencer(program, engines, follows)
    return module("sequencer", *_ports(program, engines, follows), sequencer.build, comment=comment)


def _ports(
    program: list[Nest], engines: list[Engine], follows: Mapping[int, Follow]
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    inputs = [("start", 1), *((f"{e.name}_done", 1) for e in engines)]
    inputs += [(f"{e.name}_landed", 1) for e in engines if is_counted(e, follows)]
    outputs = [("busy", 1), ("done", 1), ("nest", bits_for(len(program))), ("running", len(engines))]
    for engine in engines:
        outputs.append((f"{engine.name}_go", 1))
        if len(engine.rows) > 1:
            outputs.append((f"{engine.name}_row", bits_for(len(engine.rows))))
        if is_gated(engine, follows):
            outputs += [(f"{engine.name}_written", 1), (f"{engine.name}_over", 1)]
    return inputs, outputs


class _Sequencer:
    def __init__(self, program: list[Nest], engines: list[Engine], follows: Mapping[int, Follow]) -> None:
        self.engines, self.follows = engines, follows
        self.turns = turns_of(program)
        self.starts = list(dict.fromkeys(self.turns))
        where = {id(nest): (e, r) for e, engine in enumerate(engines) for r, nest in enumerate(engine.rows)}
        self.places = [where[id(nest)] for nest in program]
        self.hop = Clock.of(program[0].op).hop

    def build(self, b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        busy, connect_busy = b.state(1, "busy", reset=0)
        issue, connect_issue = b.state(1, "issue", reset=0)
        begin = b.all_of(p["start"], b.negate(busy))
        self.moving, connect_moving = b.wire(1, "moving")
        width = bits_for(len(self.turns))
        # The first turn follows the last one: between runs the sequencer stands there.
        self.nest, connect_nest = b.state(width, "nest", reset=self.turns[-1])
        connect_nest(self._next(b, dict(zip(self.turns, self.turns, strict=True)), width), self.moving)
        last = self._of_turn(b, "last", {self.turns[-1]: 1}, 1)
        values = {"busy": busy, "nest": self.nest}
        running, left, pending = [], [], []
        for number, engine in enumerate(self.engines):
            #: By turn, the row that the engine runs in it.
            rows = {turn: r for turn, (e, r) in zip(self.turns, self.places, strict=True) if e == number}
            issued = b.all_of(issue, self._of_turn(b, f"{engine.name}_runs", dict.fromkeys(rows, 1), 1))
            before, connect = b.state(1, f"{engine.name}_pending", reset=0)
            running.append(b.any_of(issued, before))
            left.append(b.all_of(running[-1], b.negate(p[f"{engine.name}_done"])))
            pending.append(before)
            connect(left[-1])
            values[f"{engine.name}_go"] = b.register(issued, f"{engine.name}_go_q", reset=0) if self.hop else issued
            if len(engine.rows) > 1:
                values[f"{engine.name}_row"] = self._of_turn(
                    b, f"{engine.name}_row_q", rows, bits_for(len(engine.rows))
                )
        over = b.all_of(busy, b.negate(b.any_of(*left)))
        ended, advance = b.all_of(over, last), b.all_of(over, b.negate(last))
        connect_busy(b.any_of(begin, b.all_of(busy, b.negate(ended))))
        connect_issue(b.any_of(begin, advance))
        connect_moving(b.any_of(begin, advance))
        values |= {"running": b.concat(running[::-1]), "done": b.register(ended, "done_q", reset=0)}
        return values | self._progress(b, p, pending)

    def _of_turn(self, b: Builder, name: str, entries: Mapping[int, int], width: int) -> Value:
        """The entry of the turn that runs, 0 for a turn without one; from a register, read during the turn before."""
        if len(self.starts) == 1:
            return b.const(entries.get(0, 0), width)
        value, connect = b.state(width, name, reset=0)
        connect(self._next(b, entries, width), self.moving)
        return value

    def _next(self, b: Builder, entries: Mapping[int, int], width: int) -> Value:
        """The entry of the next turn."""
        after = dict(pairwise(self.starts))
        column = [entries.get(after.get(turn, 0), 0) for turn in range(len(self.turns))]
        return b.table(self.nest, column, width)

    def _progress(self, b: Builder, p: dict[str, Value], pending: list[Value]) -> dict[str, Value]:
        """What gated engines are told of their producers."""
        values = {}
        for number, engine in enumerate(self.engines):
            if is_gated(engine, self.follows):
                # The engine of the producer, where one of the turn's nests here follows it.
                producers = {self.turns[i]: self.places[i][0] for i in self.follows if self.places[i + 1][0] == number}
                choices = list(dict.fromkeys(producers.values()))
                numbers = {turn: choices.index(producer) for turn, producer in producers.items()}
                number_of = self._of_turn(b, f"{engine.name}_follows", numbers, bits_for(len(choices)))
                reports = {
                    "written": [p[f"{self.engines[c].name}_landed"] for c in choices],
                    "over": [b.negate(pending[c]) for c in choices],
                }
                for name, choice in reports.items():
                    value = b.choose(number_of, choice)
                    values[f"{engine.name}_{name}"] = b.register(value, f"{name}_q") if self.hop else value
        return values
