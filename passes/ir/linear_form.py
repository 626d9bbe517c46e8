"""Linear forms over loops and symbols, to which the affine maps and integer sets of a program are reduced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch_mlir import ir

from gradcam.errors import fail

#: A symbolic term: "mod" or "floordiv", index value, divisor.
Term = tuple[str, ir.Value, int]

#: A linear form over loops and symbols: {None: constant, loop value: coefficient, (kind, value, divisor): coefficient}.
#: `kind` is "mod" or "floordiv", of a symbol by a constant; a symbol alone is its floordiv by 1. No coefficient is 0.
Linear = dict[Any, int]


def plus(a: Linear, b: Linear, factor: int = 1) -> Linear:
    """a + factor * b."""
    out = dict(a)
    for term, coefficient in b.items():
        out[term] = out.get(term, 0) + factor * coefficient
    return {t: c for t, c in out.items() if c}


def substitute(form: Linear, by: Mapping[Any, Linear]) -> Linear:
    """`form` with the terms that `by` names replaced."""
    out: Linear = {}
    for term, coefficient in form.items():
        out = plus(out, by.get(term, {term: 1}), coefficient)
    return out


def map_forms(op: Any, map_: ir.AffineMap, dims: Sequence[Linear], symbols: Sequence[Linear] = ()) -> list[Linear]:
    """The results of a map with its dims and symbols replaced by forms.

    Raises:
        GradcamError: at `op`: a result is not linear; `mod` and `floordiv` are only of one symbol by a constant.
    """
    return [_linear(op, expr, dims, symbols) for expr in map_.results]


def access_forms(op: Any, indices: Sequence[ir.Value]) -> list[Linear]:
    """The index forms of an affine.load or affine.store, over its index operands.

    Raises:
        GradcamError: an index is not linear in loops and symbols.
    """
    return _applied(op, ir.AffineMapAttr(op.attributes["map"]).value, indices)


def guard_forms(op: Any) -> list[Linear]:
    """The constraints of an affine.if over its operands; each form must be at least 0.

    Raises:
        GradcamError: a constraint is an equality or not linear.
    """
    text = str(op.attributes["condition"]).removeprefix("affine_set<").removesuffix(">")
    head, _, body = text.partition(" : ")
    body = body.strip().removeprefix("(").removesuffix(")")
    if "== " in body:
        raise fail(op, "a padding condition may hold inequalities only, not '=='")
    # The bindings give no access to a set's constraints: as a map, one result per constraint, they can be read.
    results = ", ".join(c.strip().removesuffix(">= 0") for c in body.split(","))
    return _applied(
        op, ir.AffineMapAttr(ir.Attribute.parse(f"affine_map<{head} -> ({results})>", op.context)).value, op.operands
    )


def guarded_store(op: Any) -> Any:
    """The affine.store that an affine.if without a result guards.

    Raises:
        GradcamError: the affine.if guards anything else.
    """
    then, *otherwise = [list(region.blocks[0].operations) for region in op.regions if region.blocks]
    if [o.operation.name for o in then] != ["affine.store", "affine.yield"] or otherwise:
        raise fail(op, "affine.if without a result must guard one store")
    return then[0]


def _applied(op: Any, map_: ir.AffineMap, operands: Sequence[ir.Value]) -> list[Linear]:
    dims, symbols = list(operands)[: map_.n_dims], list(operands)[map_.n_dims :]
    return map_forms(op, map_, [{value: 1} for value in dims], [symbol(value) for value in symbols])


def symbol(value: ir.Value) -> Linear:
    """A symbol, such as the class read from a buffer, as a form."""
    return {("floordiv", value, 1): 1}


def _linear(op: Any, expr: ir.AffineExpr, dims: Sequence[Linear], symbols: Sequence[Linear]) -> Linear:
    if isinstance(expr, ir.AffineConstantExpr):
        return {None: expr.value} if expr.value else {}
    if isinstance(expr, ir.AffineDimExpr):
        return dims[expr.position]
    if isinstance(expr, ir.AffineSymbolExpr):
        return symbols[expr.position]
    lhs, rhs = (_linear(op, side, dims, symbols) for side in (expr.lhs, expr.rhs))
    if isinstance(expr, ir.AffineAddExpr):
        return plus(lhs, rhs)
    if isinstance(expr, ir.AffineMulExpr) and set(rhs) <= {None}:
        return plus({}, lhs, rhs.get(None, 0))
    if isinstance(expr, (ir.AffineModExpr, ir.AffineFloorDivExpr)) and len(lhs) == 1 and set(rhs) <= {None}:
        ((term, coefficient),) = lhs.items()
        if coefficient == 1 and isinstance(term, tuple) and term[2] == 1:
            return {("mod" if isinstance(expr, ir.AffineModExpr) else "floordiv", term[1], rhs[None]): 1}
    raise fail(
        op, f"'{expr}' is not linear; only loops times constants, and one symbol mod or floordiv a constant, are"
    )
