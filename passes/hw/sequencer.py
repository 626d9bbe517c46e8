"""The sequencer: walks the program, one nest after the other, or a nest and the one that follows it side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gradcam.passes.engines import Engine, tag
from gradcam.passes.hw.builder import Builder, Value, bits_for, module
from gradcam.passes.nest import Nest
from gradcam.passes.runs import Follow


def progress_bits(follows: Mapping[int, Follow]) -> int:
    """Width of the count of what a producer has written, which also holds every number that is waited for."""
    return bits_for(max((max(int(f.needs.max()), f.count) for f in follows.values()), default=0) + 1)


def is_counted(engine: Engine, follows: Mapping[int, Follow]) -> bool:
    """Whether the engine runs a producer, so that it says when iterations are written."""
    return any(follow.producer in engine.rows for follow in follows.values())


def build_sequencer(program: list[Nest], engines: list[Engine], follows: Mapping[int, Follow]) -> Any:
    """The module `sequencer`.

    `start` begins a run while `busy` is 0. Each nest takes one cycle to issue (`go` of its engine) and then until that
    engine's `done`. `nest` is the number of the nest that runs; `done` is 1 for one cycle after the last.

    A nest that follows its producer is issued with it, and has `nest` only when it still runs after the producer has
    ended. `following` is 1 from its issue to its end. `progress` counts what the producer has written (`landed` of its
    engine); it is all ones when the producer has ended.
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
    outputs = [("busy", 1), ("done", 1), ("nest", bits_for(len(program)))]
    if follows:
        outputs += [("following", 1), ("progress", progress_bits(follows))]
    for engine in engines:
        outputs.append((f"{engine.name}_go", 1))
        if len(engine.rows) > 1:
            outputs.append((f"{engine.name}_row", bits_for(len(engine.rows))))
    return inputs, outputs


class _Sequencer:
    def __init__(self, program: list[Nest], engines: list[Engine], follows: Mapping[int, Follow]) -> None:
        self.count, self.engines, self.follows = len(program), engines, follows
        where = {id(nest): (e, r) for e, engine in enumerate(engines) for r, nest in enumerate(engine.rows)}
        self.places = [where[id(nest)] for nest in program]
        #: By engine, the producers beside which it runs the nest that follows.
        self.beside = [[i for i in follows if self.places[i + 1][0] == e] for e in range(len(engines))]

    def build(self, b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        width = bits_for(self.count)
        busy, connect_busy = b.state(1, "busy", reset=0)
        issue, connect_issue = b.state(1, "issue", reset=0)
        nest, connect_nest = b.state(width, "nest", reset=0)
        begin = b.all_of(p["start"], b.negate(busy))
        finished = b.any_of(*(self._done(b, p, nest, e) for e in range(len(self.engines))))
        last = b.compare("eq", nest, b.const(self.count - 1, width))
        values = {"busy": busy, "nest": nest}
        step, late = b.const(1, width), b.const(0, 1)
        following, connect_following = b.state(1, "following", reset=0) if self.follows else (late, None)
        if connect_following:
            # The nest that follows has `nest` until it ends; one that has ended beside its producer is passed over.
            late = b.all_of(following, b.negate(self._follower_done(b, p, nest)))
            skips = b.all_of(self._among(b, nest, self.follows), b.negate(late))
            step = b.mux(skips, b.const(2, width), step)
            last = b.any_of(last, b.all_of(skips, b.compare("eq", nest, b.const(self.count - 2, width))))
            values |= {"following": following, "progress": self._progress(b, p, nest, issue)}
        ended = b.all_of(finished, last)
        advance = b.all_of(finished, b.negate(last))
        after = b.mux(begin, b.const(0, width), b.add(nest, step))
        issued = b.any_of(begin, b.all_of(advance, b.negate(late)) if connect_following else advance)
        connect_busy(b.any_of(begin, b.all_of(busy, b.negate(ended))))
        connect_issue(issued)
        connect_nest(after, b.any_of(begin, advance))
        if connect_following:
            connect_following(b.any_of(late, b.all_of(issued, self._among(b, after, self.follows))))
        values["done"] = b.register(ended, "done_q", reset=0)
        for number, engine in enumerate(self.engines):
            mine = {i for i, (e, _) in enumerate(self.places) if e == number}
            values[f"{engine.name}_go"] = b.all_of(issue, self._among(b, nest, mine | set(self.beside[number])))
            if len(engine.rows) > 1:
                rows = [r if e == number else 0 for e, r in self.places]
                for i in self.beside[number]:
                    rows[i] = rows[i + 1]
                values[f"{engine.name}_row"] = b.table(nest, rows, bits_for(len(engine.rows)))
        return values

    def _among(self, b: Builder, nest: Value, numbers: Collection[int]) -> Value:
        """i1: the nest is one of these."""
        return b.table(nest, [int(i in numbers) for i in range(self.count)], 1)

    def _done(self, b: Builder, p: dict[str, Value], nest: Value, number: int) -> Value:
        """i1: an engine has ended the nest, and not one that runs beside it."""
        done = p[f"{self.engines[number].name}_done"]
        beside = self.beside[number]
        return b.all_of(done, b.negate(self._among(b, nest, beside))) if beside else done

    def _follower_done(self, b: Builder, p: dict[str, Value], nest: Value) -> Value:
        """i1: the nest that follows has ended, beside its producer or after it."""
        ends = []
        for engine, beside in zip(self.engines, self.beside, strict=True):
            if beside:
                here = self._among(b, nest, [n for i in beside for n in (i, i + 1)])
                ends.append(b.all_of(p[f"{engine.name}_done"], here))
        return b.any_of(*ends)

    def _progress(self, b: Builder, p: dict[str, Value], nest: Value, issue: Value) -> Value:
        """Iterations of the producer that are written; all ones after its end."""
        bits = progress_bits(self.follows)
        count, connect = b.state(bits, "count")
        landed = b.any_of(*(p[f"{e.name}_landed"] for e in self.engines if is_counted(e, self.follows)))
        connect(b.mux(issue, b.const(0, bits), b.add(count, b.zero_extend(landed, bits))))
        return b.mux(self._among(b, nest, self.follows), count, b.const(-1, bits))
