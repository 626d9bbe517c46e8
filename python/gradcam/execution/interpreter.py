"""Executes a module op by op, with the kernels of a table that defines the meaning of each op."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.errors import GradcamError, fail
from gradcam.passes.ir.constants import dense_values
from gradcam.passes.ir.queries import main_function

#: A kernel gets the op, for its attributes and types, and one array per operand; it returns its result or a tuple.
Kernel = Callable[..., Any]
#: A callback for every value that a kernel computes: (op, result index, array).
OnValue = Callable[[Any, int, np.ndarray], None]
#: Names of the arguments of @main, in order.
ARGUMENTS = ("image", "class")


def run(
    module: ir.Module,
    inputs: Mapping[str, np.ndarray] | Sequence[np.ndarray],
    kernels: Mapping[str, Kernel],
    on_value: OnValue | None = None,
    batch: int = 1,
) -> list[np.ndarray]:
    """Executes `@main`.

    Args:
        module: its `@main` has one block; besides ops with a kernel it may hold `arith.constant` and `quant.scast`,
            which passes the stored integers through.
        inputs: one array per argument, in order, or by name ("image", "class"); of the argument's shape, or `batch`
            such arrays along the first axis, which in the IR has size 1.
        kernels: by op name, such as "gradcam.conv2d".
        on_value: called with each result of each kernel, in program order.
        batch: the number of images that the kernels take at once; they must support it.

    Returns:
        The values `@main` returns, `batch` along the first axis.

    Raises:
        GradcamError: no `@main`, inputs that do not fit it, or an op without a kernel.
    """
    body = main_function(module).entry_block
    values = dict(zip(body.arguments, _arguments(body.arguments, inputs, batch), strict=True))
    for op in body.operations:
        operands = [values[v] for v in op.operands]
        if op.operation.name == "func.return":
            return operands
        results = _execute(op, operands, kernels, on_value)
        values.update(zip(op.results, results, strict=True))
    raise GradcamError("@main has no return")


def _arguments(
    arguments: Sequence[Any], inputs: Mapping[str, np.ndarray] | Sequence[np.ndarray], batch: int
) -> list[np.ndarray]:
    names = ARGUMENTS[: len(arguments)]
    if isinstance(inputs, Mapping):
        if set(inputs) != set(names):
            raise GradcamError(f"@main takes {', '.join(names)}, got {', '.join(inputs)}")
        inputs = [inputs[name] for name in names]
    if len(inputs) != len(arguments):
        raise GradcamError(f"@main takes {len(arguments)} arguments, got {len(inputs)}")
    arrays = [np.asarray(x) for x in inputs]
    for i, (argument, array) in enumerate(zip(arguments, arrays, strict=True)):
        shape = list(ir.RankedTensorType(argument.type).shape)
        wanted = (*(n * batch for n in shape[:1]), *shape[1:])
        if array.shape != wanted:
            raise GradcamError(f"argument {i} of @main must have shape {wanted}, got {array.shape}")
    return arrays


def _execute(
    op: Any, operands: list[np.ndarray], kernels: Mapping[str, Kernel], on_value: OnValue | None
) -> Sequence[np.ndarray]:
    name = op.operation.name
    if name == "arith.constant":
        return [dense_values(op)]
    if name == "quant.scast":
        return operands
    if name not in kernels:
        raise fail(op, f"the interpreter cannot execute '{name}'")
    results = kernels[name](op, *operands)
    if not isinstance(results, tuple):
        results = (results,)
    if on_value is not None:
        for i, result in enumerate(results):
            on_value(op, i, result)
    return results
