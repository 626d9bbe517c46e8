"""Pipeline stages of a nest: which cycle after its step each op of a lane runs in."""

from __future__ import annotations

from typing import Any

from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.engines import access_kind
from gradcam.passes.nest import Dataflow, Nest, Node

#: Cycles from the inputs of an op to its result; 0 means combinational within the stage.
LATENCY = {"arith.muli": 1, "arith.shrsi": 1, "arith.shrui": 1, "reduce": 1}


def set_integer(op: Any, name: str, value: int) -> None:
    """Sets the attribute `gradcam.<name>`, an i64."""
    op.attributes[f"gradcam.{name}"] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)


def assign_stages(nest: Nest) -> int:
    """Sets `gradcam.stage` of every op of a nest, as early as possible; returns the stage of its writes."""
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
        set_integer(sink.op, "stage", update)
    return update


def _place_node(node: Node, ready: dict[int, int], read_stage: int, accumulator_stage: int) -> None:
    if node.kind in ("const", "iv"):
        ready[id(node)] = 0
    elif node.kind == "acc":
        ready[id(node)] = accumulator_stage
    elif node.kind == "load":
        direct = access_kind(node.what) in ("register", "port")
        stage = read_stage + direct
        set_integer(node.what.op, "stage", stage)
        ready[id(node)] = stage + (not direct)
    else:
        stage = max((ready[id(a)] for a in node.args), default=0)
        set_integer(node.op, "stage", stage)
        ready[id(node)] = stage + LATENCY.get(node.kind, 0)


def _place_sinks(flow: Dataflow, ready: dict[int, int]) -> int:
    """All writes of an epilogue happen in one stage, so that one flag ends the nest."""
    stage = max(ready[id(s.value)] for s in flow.sinks)
    for sink in flow.sinks:
        set_integer(sink.op, "stage", stage)
    return stage
