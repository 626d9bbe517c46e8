"""Linear forms over loops and symbols: what the affine maps and integer sets of a program come down to."""

from __future__ import annotations

from typing import Any

from torch_mlir import ir

#: A linear form over loops and symbols: {None: constant, loop value: coefficient, (kind, value, divisor): coefficient}.
Linear = dict[Any, int]


def plus(a: Linear, b: Linear, factor: int = 1) -> Linear:
    """a + factor * b."""
    out = dict(a)
    for term, coefficient in b.items():
        out[term] = out.get(term, 0) + factor * coefficient
    return {t: c for t, c in out.items() if c}


def linear(expr: ir.AffineExpr, dims: list[Linear], symbols: list[Linear]) -> Linear:
    """`expr` as a linear form, with its dims and symbols replaced; `mod` and `floordiv` only of a single symbol by a constant."""
    if isinstance(expr, ir.AffineConstantExpr):
        return {None: expr.value} if expr.value else {}
    if isinstance(expr, ir.AffineDimExpr):
        return dims[expr.position]
    if isinstance(expr, ir.AffineSymbolExpr):
        return symbols[expr.position]
    lhs, rhs = linear(expr.lhs, dims, symbols), linear(expr.rhs, dims, symbols)
    if isinstance(expr, ir.AffineAddExpr):
        return plus(lhs, rhs)
    if isinstance(expr, ir.AffineMulExpr) and set(rhs) <= {None}:
        return plus({}, lhs, rhs.get(None, 0))
    if isinstance(expr, (ir.AffineModExpr, ir.AffineFloorDivExpr)) and len(lhs) == 1 and set(rhs) <= {None}:
        ((value, coefficient),) = lhs.items()
        if coefficient == 1 and isinstance(value, ir.Value):
            return {("mod" if isinstance(expr, ir.AffineModExpr) else "floordiv", value, rhs[None]): 1}
    raise ValueError(f"not linear in the loops: {expr}")


def map_forms(map_: ir.AffineMap, operands: list[ir.Value]) -> list[Linear]:
    """The results of `map_` applied to `operands`, as linear forms."""
    forms: list[Linear] = [{v: 1} for v in operands]
    return [linear(e, forms[: map_.n_dims], forms[map_.n_dims :]) for e in map_.results]


def set_forms(set_: Any, operands: list[ir.Value]) -> list[Linear]:
    """The constraints of an integer set applied to `operands`; each form must be at least 0."""
    text = str(set_).removeprefix("affine_set<").removesuffix(">")
    head, _, body = text.partition(" : ")
    body = body.strip().removeprefix("(").removesuffix(")")
    if "== " in body:
        raise ValueError(f"only inequalities are lowered, got {set_}")
    # The bindings give no access to a set's constraints: as a map, one result per constraint, they can be read.
    results = ", ".join(c.strip().removesuffix(">= 0") for c in body.split(","))
    return map_forms(ir.AffineMapAttr(ir.Attribute.parse(f"affine_map<{head} -> ({results})>")).value, operands)
