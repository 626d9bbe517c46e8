"""The levels of the IR below CIRCT, as passes take them: which ones a module is of, by the ops of its functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gradcam.errors import GradcamError

#: What a module of each level has.
LEVELS = {
    "torch": "torch ops (level 0)",
    "gradcam": "gradcam ops on f32 (level 1)",
    "quantized": "quantized gradcam ops (level 2)",
    "linalg": "linalg ops (level 3)",
    "affine": "affine loops (level 4)",
}

#: The levels whose functions have tensors of the builtin dialect as arguments.
_TENSORS = {"gradcam", "quantized"}


def takes(*levels: str) -> Callable[[Any], None]:
    """The check of a pass that takes modules of some levels.

    A module with ops of one of them is taken, also beside others, and so is one with no op of any level, except that
    the arguments of a function of level 1 or 2 are tensors.
    """

    def check(module: Any) -> None:
        found = set(levels_of(module))
        if found and found.isdisjoint(levels):
            wanted, present = (" and ".join(text for n, text in LEVELS.items() if n in s) for s in (levels, found))
            raise GradcamError(f"takes a module with {wanted}, this one has {present}")
        if not found and not _TENSORS.isdisjoint(levels):
            arguments = [argument for function in _functions(module) for argument in _arguments(function)]
            for other in (argument for argument in arguments if not str(argument.type).startswith("tensor<")):
                raise GradcamError(f"takes functions of tensors, this module has one of {other.type}")

    return check


def levels_of(module: Any) -> Iterator[str]:
    """The level of every op of the functions that tells one."""
    for function in _functions(module):
        for block in function.regions[0].blocks:
            for op in block.operations:
                dialect = op.operation.name.partition(".")[0]
                if dialect == "gradcam":
                    values = (*op.operation.operands, *op.operation.results)
                    yield "quantized" if any("!quant." in str(value.type) for value in values) else "gradcam"
                elif dialect in LEVELS:
                    yield dialect


def _functions(module: Any) -> list[Any]:
    return [op.operation for op in module.body.operations if op.operation.name == "func.func"]


def _arguments(function: Any) -> list[Any]:
    blocks = function.regions[0].blocks
    return list(blocks[0].arguments) if len(blocks) else []
