"""The base class of passes: a pass is a named, frozen dataclass whose fields are its options."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Pass:
    """Base of all project passes.

    A subclass is a frozen dataclass. `name` is its kebab-case pipeline name, its fields are its options
    (`my-pass{tile=4 method=hirescam}`), its docstring is one sentence, then `This pass turns:` / `into:` with IR before
    and after. `run` changes the module in place and raises `GradcamError` (see `gradcam.errors.fail`) on input it
    cannot take.
    """

    name: ClassVar[str]
    #: Which MLIR holds the module: "mlir" (torch-mlir's bindings) or "circt"; only the pass that crosses has two.
    source: ClassVar[str] = "mlir"
    target: ClassVar[str] = "mlir"
    #: The analyses (see `gradcam.passes.infra.analyses`) that still hold after the pass has run.
    preserves: ClassVar[tuple[Callable[[Any], Any], ...]] = ()

    def run(self, module: Any) -> Any:
        """Transforms `module` (an `ir.Module` of the side `source`).

        Returns:
            None when the module was changed in place; a new module of the side `target` when the pass crosses.

        Raises:
            GradcamError: the input is valid IR that this pass cannot transform.
        """
        raise NotImplementedError

    @classmethod
    def options(cls) -> dict[str, dataclasses.Field]:
        """The pass's options by their pipeline spelling (kebab-case)."""
        return {f.name.replace("_", "-"): f for f in dataclasses.fields(cls)}

    @staticmethod
    def named(field: str) -> str:
        """An option, by the name of its field, as the checks of a class name it."""
        return f"option '{field.replace('_', '-')}'"
