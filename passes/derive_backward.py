"""Derives the backward pass from the class score to the target feature map."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Any, ClassVar

from torch_mlir import ir

from gradcam.dialect import cam_ops, ops
from gradcam.dialect.adjoints import adjoint, part_location
from gradcam.dialect.verify import shape
from gradcam.errors import fail
from gradcam.passes.pass_base import Pass

#: Function attribute that keeps what `gradcam.explain` asked for.
EXPLAIN_ATTR = "gradcam.explain"


@dataclass(frozen=True)
class DeriveBackward(Pass):
    """Replaces `gradcam.explain` by the adjoint ops from the class score to the target and the CAM formula.

    Only ops on a path from the target to the logits get an adjoint. A module without `gradcam.explain` stays as it is.

    This pass turns:

        %a = "gradcam.target"(%x) {path = "features"}
        %f = "gradcam.flatten"(%a)
        %logits = "gradcam.linear"(%f, %w, %b)
        %map = "gradcam.explain"(%logits, %a, %class) {method = "gradcam", relu = true, ...}

    into:

        %f = "gradcam.flatten"(%x)
        %logits = "gradcam.linear"(%f, %w, %b)
        %cls = "gradcam.select_class"(%logits, %class)
        %seed = "gradcam.one_hot"(%cls)
        %gf = "gradcam.linear_adjoint"(%seed, %w)
        %gx = "gradcam.unflatten"(%gf)
        %weights = "gradcam.channel_weights"(%gx)
        %map = "gradcam.weighted_sum"(%weights, %x)
    """

    name: ClassVar[str] = "gradcam-derive-backward"

    def run(self, module: ir.Module) -> None:
        """Transforms every function of `module` in place.

        Raises:
            GradcamError: more than one explanation, a target that does not reach the logits, an op without an adjoint.
        """
        with module.context:
            for function in module.body.operations:
                explains = _ops_of(function, cam_ops.ExplainOp)
                if len(explains) > 1:
                    raise fail(explains[1], "a function can hold only one gradcam.explain")
                if explains:
                    _expand(function, explains[0])


def _ops_of(function: Any, kind: type) -> list[Any]:
    blocks = [block for region in function.regions for block in region]
    return [op for block in blocks for op in block.operations if isinstance(op, kind)]


def _expand(function: Any, explain: Any) -> None:
    """Replaces `explain` and every target by the derived backward pass."""
    target = explain.target.owner
    if not isinstance(target, cam_ops.TargetOp):
        raise fail(explain, "operand 'target' must come from gradcam.target")
    x, path = target.x, target.path
    logits, method = explain.logits, ir.StringAttr(explain.method).value
    for op in _ops_of(function, cam_ops.TargetOp):
        op.y.replace_all_uses_with(op.x)
        op.erase()

    with ir.InsertionPoint(explain):
        with part_location(explain, "class"):
            cls = cam_ops.SelectClassOp(logits, explain.cls, explain.cls.type).result
        with part_location(explain, "seed"):
            seed = cam_ops.OneHotOp(cls, logits.type).result
        gradient = _gradient(explain, logits, seed, x)
        if gradient is None:
            raise fail(explain, f"target {path} does not reach the logits: no class score depends on it")
        with part_location(explain, "weights"):
            weights = _channel_weights(gradient) if method == "gradcam" else gradient
        with part_location(explain, "map"):
            result = cam_ops.WeightedSumOp(weights, x, explain.map.type).result

    function.attributes[EXPLAIN_ATTR] = ir.DictAttr.get(
        {"target": path, **{name: explain.attributes[name] for name in ("method", "relu", "normalize", "eps")}}
    )
    explain.map.replace_all_uses_with(result)
    explain.erase()


def _channel_weights(gradient: ir.Value) -> ir.Value:
    type_ = ir.RankedTensorType(gradient.type)
    return cam_ops.ChannelWeightsOp(gradient, ir.RankedTensorType.get(shape(gradient)[:2], type_.element_type)).result


def _gradient(explain: Any, logits: ir.Value, seed: ir.Value, x: ir.Value) -> ir.Value | None:
    """Builds the gradient at `x`, given the gradient `seed` at `logits`; None when the logits do not depend on `x`."""
    forward = list(takewhile(lambda op: op != explain, explain.operation.block.operations))
    dependent = _dependents(forward, x)
    gradients = {logits: seed}
    for op in reversed(forward):
        if len(op.results) != 1 or op.results[0] not in gradients:
            continue
        for i, operand in enumerate(op.operands):
            if operand in dependent:
                _accumulate(gradients, operand, adjoint(op, gradients[op.results[0]], i), part_location(op, "adjoint"))
    return gradients.get(x)


def _dependents(forward: list[Any], x: ir.Value) -> set[ir.Value]:
    """`x` and every value computed from it."""
    dependent = {x}
    for op in forward:
        if any(operand in dependent for operand in op.operands):
            dependent.update(op.results)
    return dependent


def _accumulate(gradients: dict[ir.Value, ir.Value], value: ir.Value, g: ir.Value, location: ir.Location) -> None:
    """A value with several uses has the sum of their gradients."""
    if value in gradients:
        with location:
            g = ops.AddOp(gradients[value], g, value.type).result
    gradients[value] = g
