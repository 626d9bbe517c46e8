"""The sequencer: walks the program, one nest after the other."""

from __future__ import annotations

from typing import Any

from gradcam.passes.engines import Engine
from gradcam.passes.hw.builder import Builder, Value, bits_for, module
from gradcam.passes.nest import Nest


def build_sequencer(program: list[Nest], engines: list[Engine]) -> Any:
    """The module `sequencer`.

    `start` begins a run while `busy` is 0. Each nest takes one cycle to issue (`go` of its engine) and then until that
    engine's `done`. `nest` is the number of the nest that runs; `done` is 1 for one cycle after the last.
    """
    where = {id(nest): (e, r) for e, engine in enumerate(engines) for r, nest in enumerate(engine.rows)}
    places = [where[id(nest)] for nest in program]
    width = bits_for(len(program))
    inputs = [("start", 1), *((f"{e.name}_done", 1) for e in engines)]
    outputs = [("busy", 1), ("done", 1), ("nest", width)]
    for engine in engines:
        outputs.append((f"{engine.name}_go", 1))
        if len(engine.rows) > 1:
            outputs.append((f"{engine.name}_row", bits_for(len(engine.rows))))

    def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        busy, connect_busy = b.state(1, "busy", reset=0)
        issue, connect_issue = b.state(1, "issue", reset=0)
        nest, connect_nest = b.state(width, "nest", reset=0)
        finished = b.any_of(*(p[f"{e.name}_done"] for e in engines))
        last = b.compare("eq", nest, b.const(len(program) - 1, width))
        begin = b.all_of(p["start"], b.negate(busy))
        advance = b.all_of(finished, b.negate(last))
        end = b.all_of(finished, last)
        connect_busy(b.any_of(begin, b.all_of(busy, b.negate(end))))
        connect_issue(b.any_of(begin, advance))
        connect_nest(b.mux(begin, b.const(0, width), b.add(nest, b.const(1, width))), b.any_of(begin, advance))
        values = {"busy": busy, "done": b.register(end, "done_q", reset=0), "nest": nest}
        for number, engine in enumerate(engines):
            mine = b.table(nest, [int(e == number) for e, _ in places], 1)
            values[f"{engine.name}_go"] = b.all_of(issue, mine)
            if len(engine.rows) > 1:
                entries = [r if e == number else 0 for e, r in places]
                values[f"{engine.name}_row"] = b.table(nest, entries, bits_for(len(engine.rows)))
        return values

    return module("sequencer", inputs, outputs, build)
