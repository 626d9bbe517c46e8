"""Classes of values that are to be treated alike, such as maps that are stored at one scale."""

from __future__ import annotations

from torch_mlir import ir


class Classes:
    """Values in classes: those that were joined, and those joined with them, are of one class."""

    def __init__(self) -> None:
        self._parents: dict[ir.Value, ir.Value] = {}

    def join(self, a: ir.Value, b: ir.Value) -> None:
        """Puts two values, and all of their classes, into one class."""
        self._parents[self.of(a)] = self.of(b)

    def of(self, value: ir.Value) -> ir.Value:
        """The value that stands for the class of a value."""
        while (parent := self._parents.get(value, value)) != value:
            value = parent
        return value
