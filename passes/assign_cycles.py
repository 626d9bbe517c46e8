"""gradcam-assign-cycles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.engines import access_kind
from gradcam.passes.ir_queries import main_function
from gradcam.passes.nest import Dataflow, Nest, Node, nests
from gradcam.passes.pass_base import Pass
from gradcam.passes.streams import check_streams
from gradcam.passes.tape import Tape, read_tape
from gradcam.passes.tape_timing import TapeTiming

#: Cycles from the inputs of an op to its result; 0 means combinational within the stage.
LATENCY = {"arith.muli": 1, "arith.shrsi": 1, "arith.shrui": 1, "reduce": 1}

#: Cycles of a nest besides its steps and the stages of its pipeline: the one in which the sequencer issues it.
ISSUE = 1


@dataclass(frozen=True)
class AssignCycles(Pass):
    """Puts every op of a nest into a pipeline stage and every nest into a window of cycles.

    One step of the flattened time loops starts per cycle. A memory read, a product, a sum over lanes and a shift take
    one cycle, everything else none. A nest runs for its steps, the stages to its last write, and one cycle of issue.

    This pass turns:

        affine.for %oct = 0 to 2 { ... arith.muli ... affine.store ... }

    into:

        affine.for %oct = 0 to 2 {
          ... arith.muli ... {gradcam.stage = 1 : i64} ... affine.store ... {gradcam.stage = 6 : i64}
        } {gradcam.start = 0 : i64, gradcam.end = 727 : i64, gradcam.phase = "inference"}

    and sums the cycles by phase in the module's attribute `gradcam.cycles`. A nest that reads the weight tape also
    waits for late words of an ideal DRAM, for `gradcam.stalls` cycles (`passes/tape_timing.py`).
    """

    name: ClassVar[str] = "gradcam-assign-cycles"

    def run(self, module: ir.Module) -> None:
        """Sets the stage of every op, the start, end and phase of every nest, and the module's `gradcam.cycles`."""
        with module.context, ir.Location.unknown():
            program = list(nests(module))
            if not program:
                raise fail(main_function(module), "there is no loop nest to schedule")
            check_streams(program)
            phases = _phases(module, program)
            cycles: dict[str, int] = dict.fromkeys(("load", "inference", "explanation", "store", "total"), 0)
            depths = [assign_stages(nest) for nest in program]
            tape = read_tape(module, program)
            times = nest_times(program, depths, tape)
            for nest, phase, (start, stalls, end) in zip(program, phases, times, strict=True):
                if tape:
                    _set(nest.op, "stalls", stalls)
                _set(nest.op, "start", start)
                _set(nest.op, "end", end)
                nest.op.attributes["gradcam.phase"] = ir.StringAttr.get(phase)
                cycles[phase] += end - start
                cycles["total"] = end
            i64 = ir.IntegerType.get_signless(64)
            attribute = ir.DictAttr.get({n: ir.IntegerAttr.get(i64, v) for n, v in cycles.items()})
            module.operation.attributes["gradcam.cycles"] = attribute


def nest_times(program: Sequence[Nest], depths: Sequence[int], tape: Tape | None) -> list[tuple[int, int, int]]:
    """Start, cycles of waiting for the tape and end of every nest; `depths` are the stages of their last writes."""
    timing = TapeTiming(tape) if tape else None
    times, start = [], 0
    for number, (nest, depth) in enumerate(zip(program, depths, strict=True)):
        last = timing.nest(number, start, nest.steps) if timing else start + nest.steps
        end = last + depth + ISSUE
        times.append((start, last - start - nest.steps, end))
        start = end
    return times


def _set(op: Any, name: str, value: int) -> None:
    op.attributes[f"gradcam.{name}"] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)


def _phases(module: ir.Module, program: list[Nest]) -> list[str]:
    """Load and store touch streams; inference is what the first result (the logits) needs; the rest explains it."""
    kinds = [({access_kind(a) for a in n.loads}, {access_kind(a) for a in n.stores}) for n in program]
    stores = [i for i, (_, written) in enumerate(kinds) if "stream" in written]
    function = main_function(module)
    written = {program[i].stores[0].memref: i for i in stores}
    outputs = [written[a] for a in function.regions[0].blocks[0].arguments if a in written]
    if not outputs:
        raise fail(function, "no nest writes an argument: there is no output to compute")
    needed, wanted = set(), {a.memref for a in program[outputs[0]].loads}
    for i in reversed(range(len(program))):
        if any(a.memref in wanted for a in program[i].stores):
            needed.add(i)
            wanted |= {a.memref for a in program[i].loads}
    phases = []
    for i, (read, _) in enumerate(kinds):
        phase = (
            "store" if i in stores else "load" if "stream" in read else "inference" if i in needed else "explanation"
        )
        phases.append(phase)
    return phases


def assign_stages(nest: Nest) -> int:
    """Sets the stages of a nest as early as possible; returns the stage of its last write."""
    base = 1
    if nest.body is not None:
        base = 1 + _body_stages(nest.body)
    ready: dict[int, int] = {}
    for node in nest.epilogue.nodes:
        # An epilogue read is issued late, so that the address waits in the pipeline and not the data.
        _place_node(node, ready, read_stage=base - 1, accumulator_stage=base)
    return _place_sinks(nest.epilogue, ready)


def _body_stages(body: Dataflow) -> int:
    """Stages of a reduction body; returns the stage in which the accumulators change."""
    ready: dict[int, int] = {}
    for node in body.nodes:
        _place_node(node, ready, 0, 0)
    update = max(ready[id(s.value)] for s in body.sinks)
    ready.clear()
    for node in body.nodes:
        _place_node(node, ready, 0, update)
    for sink in body.sinks:
        if ready[id(sink.value)] != update:
            raise fail(
                sink.op, "an accumulator must change in one cycle: no product, shift or sum over lanes may depend on it"
            )
        _set(sink.op, "stage", update)
    return update


def _place_node(node: Node, ready: dict[int, int], read_stage: int, accumulator_stage: int) -> None:
    if node.kind in ("const", "iv"):
        ready[id(node)] = 0
    elif node.kind == "acc":
        ready[id(node)] = accumulator_stage
    elif node.kind == "load":
        direct = access_kind(node.what) in ("register", "port")
        stage = read_stage + direct
        _set(node.what.op, "stage", stage)
        ready[id(node)] = stage + (not direct)
    else:
        stage = max((ready[id(a)] for a in node.args), default=0)
        _set(node.op, "stage", stage)
        ready[id(node)] = stage + LATENCY.get(node.kind, 0)


def _place_sinks(flow: Dataflow, ready: dict[int, int]) -> int:
    """All writes of an epilogue happen in one stage, so that one flag ends the nest."""
    stage = max(ready[id(s.value)] for s in flow.sinks)
    for sink in flow.sinks:
        _set(sink.op, "stage", stage)
    return stage
