"""Executes a module op by op: the walk is here, what an op means is a table of kernels (`float32`, `integer`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.errors import GradcamError, fail

#: A kernel gets the op, for its attributes and types, and one array per operand; it returns its result or a tuple.
Kernel = Callable[..., Any]
#: Sees every value that a kernel computes: (op, result index, array).
OnValue = Callable[[Any, int, np.ndarray], None]
#: Names of the arguments of @main, in order.
ARGUMENTS = ("image", "class")


def run(
    module: ir.Module,
    inputs: Mapping[str, np.ndarray] | Sequence[np.ndarray],
    kernels: Mapping[str, Kernel],
    on_value: OnValue | None = None,
) -> list[np.ndarray]:
    """Executes `@main`.

    Args:
        module: its `@main` has one block; besides ops with a kernel it may hold `arith.constant` and `quant.scast`,
            which passes the stored integers through.
        inputs: one array per argument, in order, or by name ("image", "class"); of the argument's shape.
        kernels: by op name, such as "gradcam.conv2d".
        on_value: called with each result of each kernel, in program order.

    Returns:
        The values `@main` returns.

    Raises:
        GradcamError: no `@main`, inputs that do not fit it, or an op without a kernel.
    """
    body = main_function(module).entry_block
    values = dict(zip(body.arguments, _arguments(body.arguments, inputs), strict=True))
    for op in body.operations:
        operands = [values[v] for v in op.operands]
        if op.operation.name == "func.return":
            return operands
        results = _execute(op, operands, kernels, on_value)
        values.update(zip(op.results, results, strict=True))
    raise GradcamError("@main has no return")


def main_function(module: ir.Module) -> Any:
    """The `func.func @main` of a module.

    Raises:
        GradcamError: there is none.
    """
    for op in module.body.operations:
        if op.operation.name == "func.func" and ir.StringAttr(op.attributes["sym_name"]).value == "main":
            return op
    raise GradcamError("module has no func.func @main")


def constant(op: Any) -> np.ndarray:
    """The value of an `arith.constant` that holds a tensor, a view that keeps the attribute alive.

    Raises:
        GradcamError: the constant is not a `dense<...>` tensor.
    """
    attr = op.attributes["value"]
    if not isinstance(attr, ir.DenseElementsAttr):
        raise fail(op, f"constant must be a dense tensor, got {attr.type}")
    return np.asarray(attr)


def _arguments(arguments: Sequence[Any], inputs: Mapping[str, np.ndarray] | Sequence[np.ndarray]) -> list[np.ndarray]:
    names = ARGUMENTS[: len(arguments)]
    if isinstance(inputs, Mapping):
        if set(inputs) != set(names):
            raise GradcamError(f"@main takes {', '.join(names)}, got {', '.join(inputs)}")
        inputs = [inputs[name] for name in names]
    if len(inputs) != len(arguments):
        raise GradcamError(f"@main takes {len(arguments)} arguments, got {len(inputs)}")
    arrays = [np.asarray(x) for x in inputs]
    for i, (argument, array) in enumerate(zip(arguments, arrays, strict=True)):
        wanted = tuple(ir.RankedTensorType(argument.type).shape)
        if array.shape != wanted:
            raise GradcamError(f"argument {i} of @main must have shape {wanted}, got {array.shape}")
    return arrays


def _execute(
    op: Any, operands: list[np.ndarray], kernels: Mapping[str, Kernel], on_value: OnValue | None
) -> Sequence[np.ndarray]:
    name = op.operation.name
    if name == "arith.constant":
        return [constant(op)]
    if name == "quant.scast":
        return operands
    if name not in kernels:
        raise fail(op, f"the reference interpreter cannot execute '{name}'")
    results = kernels[name](op, *operands)
    if not isinstance(results, tuple):
        results = (results,)
    if on_value is not None:
        for i, result in enumerate(results):
            on_value(op, i, result)
    return results
