"""What a function explains: the attribute that keeps it once `gradcam.explain` is derived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch_mlir import ir

from gradcam.dialect import cam_ops

#: Function attribute: a dictionary (target, method, relu, normalize, eps); an array of them for several maps.
EXPLAIN_ATTR = "gradcam.explain"

_CONVENTIONS = ("method", "relu", "normalize", "eps")


def explanation(explain: Any, path: ir.StringAttr) -> ir.DictAttr:
    """What a `gradcam.explain` of the target `path` asks for."""
    return ir.DictAttr.get({"target": path, **{name: explain.attributes[name] for name in _CONVENTIONS}})


def set_explanations(function: Any, asked: Sequence[ir.DictAttr]) -> None:
    """Notes on `function` what each of its maps explains, in the order of the results."""
    function.attributes[EXPLAIN_ATTR] = asked[0] if len(asked) == 1 else ir.ArrayAttr.get(list(asked))


def explanations(function: Any) -> list[ir.DictAttr]:
    """What each map of `function` explains, in the order of the results; empty when it has none."""
    if EXPLAIN_ATTR not in function.attributes:
        return []
    attribute = function.attributes[EXPLAIN_ATTR]
    return [ir.DictAttr(a) for a in attribute] if isinstance(attribute, ir.ArrayAttr) else [ir.DictAttr(attribute)]


def class_dependents(function: Any) -> set[ir.Value]:
    """The values of a derived function that depend on which class is explained: gradients, weights and maps."""
    dependent: set[ir.Value] = set()
    for op in function.entry_block.operations:
        if isinstance(op, cam_ops.SelectClassOp) or any(v in dependent for v in op.operands):
            dependent.update(op.results)
    return dependent
