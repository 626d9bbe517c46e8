"""The form of rewrite patterns, the greedy driver that applies them, and small builders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch_mlir import ir, rewrite

from gradcam.dialect import cam_ops, ops
from gradcam.dialect.verify import shape

#: A pattern builds and returns the replacement of `op`'s result, or builds nothing and returns None.
Pattern = Callable[[Any], ir.Value | None]


def apply_patterns(module: ir.Module, patterns: Mapping[type, Sequence[Pattern]]) -> None:
    """Applies patterns, given by op class, until none matches; pure ops without a reader are erased.

    A replacement gets the location of the op it replaces.
    """
    pattern_set = rewrite.RewritePatternSet()
    for kind, functions in patterns.items():
        for function in functions:
            pattern_set.add(kind, _binding(function))
    config = rewrite.GreedyRewriteConfig()
    # Upstream folding would merge equal constants and lose the name of the layer that owns them.
    config.enable_constant_cse = False
    config.enable_folding = False
    rewrite.apply_patterns_and_fold_greedily(module, pattern_set.freeze(), config)


def merge_duplicates(module: ir.Module) -> None:
    """Merges equal gradcam ops: readers get the result of the first one, and the others are erased.

    Unlike upstream's common subexpression elimination, it does not merge constants, whose locations name their layers.
    """
    for function in module.body.operations:
        for block in (block for region in function.regions for block in region):
            seen: dict[tuple, Any] = {}
            for op in [op for op in block.operations if op.operation.name.startswith("gradcam.")]:
                attributes = tuple((name, op.attributes[name]) for name in op.attributes)
                key = (op.operation.name, *op.operands, *attributes, *(result.type for result in op.results))
                first = seen.setdefault(key, op)
                if first != op:
                    op.results[0].replace_all_uses_with(first.results[0])
                    op.erase()


def _binding(pattern: Pattern) -> Callable[[Any, Any], bool]:
    """Wraps `pattern` for MLIR's Python bindings, where a true result means that the pattern did not match."""

    def match_and_rewrite(op: Any, rewriter: Any) -> bool:
        with rewriter.ip, op.location:
            replacement = pattern(op)
        if replacement is not None:
            rewriter.replace_op(op, [replacement])
        return replacement is None

    return match_and_rewrite


def like(value: ir.Value, new_shape: Sequence[int]) -> ir.RankedTensorType:
    """The type of `value` with another shape."""
    return ir.RankedTensorType.get(list(new_shape), ir.RankedTensorType(value.type).element_type)


def integers(*values: int) -> ir.ArrayAttr:
    """An array attribute of i64."""
    return ir.ArrayAttr.get([ir.IntegerAttr.get(ir.IntegerType.get_signless(64), v) for v in values])


def scaled(x: ir.Value, factor: float) -> ir.Value:
    """scale(x)."""
    return cam_ops.ScaleOp(x, ir.FloatAttr.get(ir.F64Type.get(), factor), x.type).result


def rebuilt(op: Any, first: ir.Value, result_type: ir.Type | None = None) -> ir.Value:
    """A copy of `op` with `first` as operand 0 and, if given, another result type."""
    operands = [first, *list(op.operands)[1:]]
    attributes = {name: op.attributes[name] for name in op.attributes}
    return ir.Operation.create(op.operation.name, [result_type or op.results[0].type], operands, attributes).result


def is_point(value: ir.Value) -> bool:
    """Whether a feature map is 1x1."""
    return shape(value)[2:] == [1, 1]


def flat(g: ir.Value) -> ir.Value:
    """Flattens the gradient of a 1x1 map."""
    return ops.FlattenOp(g, like(g, shape(g)[:2])).result
