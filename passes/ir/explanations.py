"""The explanations of a function, in an attribute that outlives `gradcam.explain`, which derivation replaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch_mlir import ir

from gradcam.dialect import cam_ops
from gradcam.dialect.traits import ChoosesClass, has

#: Function attribute: a dictionary (target, rank, method, relu, normalize, eps); an array of them for several maps.
EXPLAIN_ATTR = "gradcam.explain"

_CONVENTIONS = ("method", "relu", "normalize", "eps")


def map_names(count: int) -> list[str]:
    """Names of the results, streams and files of `count` maps."""
    return ["heatmap"] if count == 1 else [f"heatmap{i}" for i in range(count)]


def class_rank(cls: ir.Value) -> int:
    """The rank of a chosen class: the number of classes that were chosen before it, 0 for the first one."""
    return len(cls.owner.operands) - 1 if isinstance(cls.owner, cam_ops.NextClassOp) else 0


def explanation(explain: Any, path: ir.StringAttr) -> ir.DictAttr:
    """The explanation that a `gradcam.explain` of the target `path` requests."""
    rank = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), class_rank(explain.cls))
    conventions = {name: explain.attributes[name] for name in _CONVENTIONS}
    return ir.DictAttr.get({"target": path, "rank": rank, **conventions})


def set_explanations(function: Any, asked: Sequence[ir.DictAttr]) -> None:
    """Writes the explanation of each map to `function`, in the order of the results."""
    function.attributes[EXPLAIN_ATTR] = asked[0] if len(asked) == 1 else ir.ArrayAttr.get(list(asked))


def explanations(function: Any) -> list[ir.DictAttr]:
    """The explanation of each map of `function`, in the order of the results; empty when it has no map."""
    if EXPLAIN_ATTR not in function.attributes:
        return []
    attribute = function.attributes[EXPLAIN_ATTR]
    return [ir.DictAttr(a) for a in attribute] if isinstance(attribute, ir.ArrayAttr) else [ir.DictAttr(attribute)]


def class_dependents(function: Any) -> set[ir.Value]:
    """The values of a derived function that depend on which class is explained: gradients, weights and maps."""
    dependent: set[ir.Value] = set()
    for op in function.entry_block.operations:
        if has(op, ChoosesClass) or any(v in dependent for v in op.operands):
            dependent.update(op.results)
    return dependent
