"""Derives the backward pass from the class score to the target feature map."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Any, ClassVar

from torch_mlir import ir

from gradcam.dialect import cam_ops, ops
from gradcam.dialect.adjoints import adjoint, part_location
from gradcam.dialect.traits import ChoosesClass, has
from gradcam.errors import fail
from gradcam.passes.backward.cam_methods import build_map
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.explanations import class_rank, explanation, set_explanations


@dataclass(frozen=True)
class DeriveBackward(Pass):
    """Replaces `gradcam.explain` by the adjoint ops from the class score to the target and the CAM formula.

    Only ops on a path from a target to the logits get an adjoint. Explanations of one class score share one traversal
    from the logits back, however many targets they have. A class that is not the result of a class op is a request, and
    gets a `gradcam.select_class`. A module without `gradcam.explain` stays as it is.

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
            GradcamError: the logits do not depend on a target, or an op has no adjoint.
        """
        with module.context:
            for function in module.body.operations:
                explains = _ops_of(function, cam_ops.ExplainOp)
                if explains:
                    _expand(function, explains)


def _ops_of(function: Any, kind: type) -> list[Any]:
    blocks = [block for region in function.regions for block in region]
    return [op for block in blocks for op in block.operations if isinstance(op, kind)]


def _expand(function: Any, explains: list[Any]) -> None:
    """Replaces all explanations and targets by the derived backward pass."""
    paths = [_target(explain).path for explain in explains]
    asked = [explanation(explain, path) for explain, path in zip(explains, paths, strict=True)]
    for op in _ops_of(function, cam_ops.TargetOp):
        op.y.replace_all_uses_with(op.x)
        op.erase()
    scores: dict[tuple[ir.Value, ir.Value], list[tuple[Any, Any]]] = {}
    for explain, path in zip(explains, paths, strict=True):
        scores.setdefault((explain.logits, explain.cls), []).append((explain, path))
    for group in scores.values():
        _explain_score(group)
    for explain in explains:
        explain.erase()
    set_explanations(function, asked)


def _target(explain: Any) -> Any:
    """The `gradcam.target` of `explain`."""
    target = explain.target.owner
    if not isinstance(target, cam_ops.TargetOp):
        raise fail(explain, "operand 'target' must come from gradcam.target")
    return target


def _explain_score(explains: list[tuple[Any, Any]]) -> None:
    """Builds the maps of explanations of one class score, given with their targets' paths, before the first of them."""
    first, _ = explains[0]
    with ir.InsertionPoint(first):
        cls = first.cls
        if not has(cls.owner, ChoosesClass):
            with part_location(first, "class"):
                cls = cam_ops.SelectClassOp(first.logits, cls, cls.type).result
        with part_location(first, "seed"):
            seed = cam_ops.OneHotOp(cls, first.logits.type).result
        gradients = _gradients(first, seed, [explain.target for explain, _ in explains])
        for explain, path in explains:
            if explain.target not in gradients:
                raise fail(explain, f"target {path} does not reach the logits: no class score depends on it")
            explain.map.replace_all_uses_with(build_map(explain, gradients[explain.target], explain.target))


def _gradients(explain: Any, seed: ir.Value, targets: list[ir.Value]) -> dict[ir.Value, ir.Value]:
    """Builds the gradient, given `seed` at the logits, at every value between one of `targets` and the logits."""
    forward = list(takewhile(lambda op: op != explain, explain.operation.block.operations))
    dependent = _dependents(forward, targets)
    gradients = {explain.logits: seed}
    part = f"adjoint{class_rank(explain.cls) or ''}"
    for op in reversed(forward):
        if len(op.results) != 1 or op.results[0] not in gradients:
            continue
        for i, operand in enumerate(op.operands):
            if operand in dependent:
                g = adjoint(op, gradients[op.results[0]], i, part)
                _accumulate(gradients, operand, g, part_location(op, part))
    return gradients


def _dependents(forward: list[Any], targets: list[ir.Value]) -> set[ir.Value]:
    """`targets` and every value computed from them."""
    dependent = set(targets)
    for op in forward:
        if any(operand in dependent for operand in op.operands):
            dependent.update(op.results)
    return dependent


def _accumulate(gradients: dict[ir.Value, ir.Value], value: ir.Value, g: ir.Value, location: ir.Location) -> None:
    """Adds a gradient to those of a value's other uses: its gradient is the sum over all uses."""
    if value in gradients:
        with location:
            g = ops.AddOp(gradients[value], g, value.type).result
    gradients[value] = g
