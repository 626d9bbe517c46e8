"""Writes affine IR from linear forms, the inverse of `nest.map_forms`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import affine

from gradcam.passes.ir.linear_form import Linear


def as_affine(forms: Sequence[Linear]) -> tuple[list[ir.AffineExpr], list[ir.Value], list[ir.Value]]:
    """The forms as affine expressions over the loops and symbols they mention: (expressions, dims, symbols)."""
    dims: list[ir.Value] = []
    symbols: list[ir.Value] = []
    for term in (t for form in forms for t in form if t is not None):
        values, value = (symbols, term[1]) if isinstance(term, tuple) else (dims, term)
        if value not in values:
            values.append(value)

    def expression(term: Any, coefficient: int) -> ir.AffineExpr:
        if term is None:
            return ir.AffineConstantExpr.get(coefficient)
        if isinstance(term, tuple):
            kind, value, divisor = term
            symbol = ir.AffineSymbolExpr.get(symbols.index(value))
            build = ir.AffineExpr.get_mod if kind == "mod" else ir.AffineExpr.get_floor_div
            return build(symbol, divisor) * coefficient
        return ir.AffineDimExpr.get(dims.index(term)) * coefficient

    def total(form: Linear) -> ir.AffineExpr:
        # The constant comes last, as in hand-written maps.
        terms = sorted(form.items(), key=lambda item: item[0] is None)
        out = ir.AffineConstantExpr.get(0)
        for term, coefficient in terms:
            out = out + expression(term, coefficient)
        return out

    return [total(f) for f in forms], dims, symbols


def load(memref: ir.Value, forms: Sequence[Linear]) -> ir.Value:
    """affine.load of `memref` at the forms."""
    exprs, dims, symbols = as_affine(forms)
    map_ = ir.AffineMapAttr.get(ir.AffineMap.get(len(dims), len(symbols), exprs))
    element = ir.MemRefType(memref.type).element_type
    return ir.Operation.create("affine.load", [element], [memref, *dims, *symbols], {"map": map_}).results[0]


def store(value: ir.Value, memref: ir.Value, forms: Sequence[Linear]) -> None:
    """affine.store of `value` into `memref` at the forms."""
    exprs, dims, symbols = as_affine(forms)
    map_ = ir.AffineMapAttr.get(ir.AffineMap.get(len(dims), len(symbols), exprs))
    ir.Operation.create("affine.store", [], [value, memref, *dims, *symbols], {"map": map_})


def guarded_load(
    memref: ir.Value, forms: Sequence[Linear], guards: Sequence[Linear], otherwise: ir.Value | None
) -> ir.Value:
    """affine.load where every guard is at least 0, `otherwise` elsewhere; a plain load without guards."""
    if not guards:
        return load(memref, forms)
    assert otherwise is not None
    op = _if(guards, [ir.MemRefType(memref.type).element_type])
    with ir.InsertionPoint(op.regions[0].blocks[0]):
        yield_([load(memref, forms)])
    with ir.InsertionPoint(op.regions[1].blocks[0]):
        yield_([otherwise])
    return op.results[0]


def guarded_store(value: ir.Value, memref: ir.Value, forms: Sequence[Linear], guards: Sequence[Linear]) -> None:
    """affine.store where every guard is at least 0, nothing elsewhere; a plain store without guards."""
    if not guards:
        return store(value, memref, forms)
    with ir.InsertionPoint(_if(guards, []).regions[0].blocks[0]):
        store(value, memref, forms)
        yield_([])


def _if(guards: Sequence[Linear], results: Sequence[ir.Type]) -> Any:
    """affine.if on every guard being at least 0, its blocks empty; with an else block when it has results."""
    exprs, dims, symbols = as_affine(guards)
    condition = ir.IntegerSet.get(len(dims), len(symbols), exprs, [False] * len(exprs))
    return affine.AffineIfOp(condition, list(results), cond_operands=[*dims, *symbols], has_else=bool(results))


def yield_(values: Sequence[ir.Value]) -> None:
    """Terminator of an affine region."""
    ir.Operation.create("affine.yield", [], list(values))


def for_loops(trips: Sequence[int]) -> tuple[list[ir.Value], ir.Block]:
    """Nested affine.for from 0 to each trip count, at least one: (loop variables, innermost block, terminated)."""
    ivs: list[ir.Value] = []
    point = ir.InsertionPoint.current
    for trip in trips:
        op = affine.AffineForOp(0, trip, ip=point)
        with ir.InsertionPoint(op.body):
            yield_([])
        point = ir.InsertionPoint.at_block_begin(op.body)
        ivs.append(op.induction_variable)
    return ivs, point.block


def parallel(extents: Sequence[int], reduced: ir.Type | None = None) -> ir.Operation:
    """affine.parallel from 0 to the extents, its block not terminated; `reduced`: the type summed over all points."""
    upper = ir.AffineMap.get(0, 0, [ir.AffineConstantExpr.get(n) for n in extents])
    lower = ir.AffineMap.get(0, 0, [ir.AffineConstantExpr.get(0)] * len(extents))
    i64 = ir.IntegerType.get_signless(64)
    groups = ir.Attribute.parse(f"dense<1> : tensor<{len(extents)}xi32>")
    attributes = {
        "reductions": ir.ArrayAttr.get([ir.IntegerAttr.get(i64, 1)] if reduced else []),
        "lowerBoundsMap": ir.AffineMapAttr.get(lower),
        "upperBoundsMap": ir.AffineMapAttr.get(upper),
        "lowerBoundsGroups": groups,
        "upperBoundsGroups": groups,
        "steps": ir.ArrayAttr.get([ir.IntegerAttr.get(i64, 1)] * len(extents)),
    }
    op = ir.Operation.create("affine.parallel", [reduced] if reduced else [], [], attributes, regions=1)
    op.regions[0].blocks.append(*[ir.IndexType.get()] * len(extents))
    return op


def clone_into(op: Any, values: dict[ir.Value, ir.Value]) -> None:
    """A copy of `op` at the insertion point with operands replaced by `values`, to which its results are added."""
    copy = op.operation.clone()
    for i, operand in enumerate(op.operands):
        copy.operands[i] = values.get(operand, operand)
    values.update(zip(op.results, copy.results, strict=True))
