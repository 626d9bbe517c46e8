"""gradcam-form-engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch_mlir import ir

from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.attributes import ENGINE, EPILOGUE
from gradcam.passes.program.engines import engine_key, engine_name, signature
from gradcam.passes.program.nest import read_nests
from gradcam.passes.program.scheduled_program import ScheduledProgram


@dataclass(frozen=True)
class FormEngines(Pass):
    """Puts nests whose reduction bodies are equal up to constants and strides into one engine; numbers its epilogues.

    This pass turns:

        affine.for %oct = 0 to 2 { ... muli, sum of lanes, addi ... }
        affine.for %oct = 0 to 8 { ... muli, sum of lanes, addi ... }
        affine.for %ct = 0 to 1 { ... maxsi ... }

    into:

        affine.for %oct = 0 to 2 { ... } {gradcam.engine = "mac", gradcam.epilogue = "0"}
        affine.for %oct = 0 to 8 { ... } {gradcam.engine = "mac", gradcam.epilogue = "1"}
        affine.for %ct = 0 to 1 { ... } {gradcam.engine = "max", gradcam.epilogue = "0"}
    """

    name: ClassVar[str] = "gradcam-form-engines"
    preserves = (read_nests,)

    def run(self, module: ir.Module) -> None:
        """Tags every nest with `gradcam.engine` and `gradcam.epilogue`."""
        engines: dict[Any, str] = {}
        epilogues: dict[str, dict[Any, int]] = {}
        with module.context, ir.Location.unknown():
            for nest in ScheduledProgram.of(module).nests:
                key = engine_key(nest)
                if key not in engines:
                    engines[key] = _unique(engine_name(nest), set(engines.values()))
                engine = engines[key]
                variants = epilogues.setdefault(engine, {})
                variant = variants.setdefault(signature(nest.epilogue, nest.outputs), len(variants))
                ENGINE.set(nest.op, engine)
                EPILOGUE.set(nest.op, str(variant))


def _unique(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    return next(f"{name}{i}" for i in range(2, len(taken) + 3) if f"{name}{i}" not in taken)
