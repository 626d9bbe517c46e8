"""gradcam-prefix-modules: the name of the design in front of the names of all modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pycde.circt import ir

from gradcam.names import check_name, prefixed
from gradcam.passes.infra.pass_base import Pass

#: The attribute with the name of a module or of a file, by op.
_NAMES = {"hw.module": "sym_name", "hw.instance": "moduleName", "sv.readmem": "filename"}


@dataclass(frozen=True)
class PrefixModules(Pass):
    """Puts the name of the design in front of modules and memory images, so that two designs fit one project.

    This pass turns:

        hw.module @biases(...) { ... sv.readmem %memory, "mem/biases.hex", MemBaseHex ... }
        hw.module @gradcam_top(...) { ... hw.instance "biases" @biases(...) ... }

    into, for the design "left":

        hw.module @left_biases(...) { ... sv.readmem %memory, "mem/left_biases.hex", MemBaseHex ... }
        hw.module @left_gradcam_top(...) { ... hw.instance "biases" @left_biases(...) ... }

    Instances, ports and signals keep their names: only those of modules and files are seen by a whole project.
    """

    name: ClassVar[str] = "gradcam-prefix-modules"
    source: ClassVar[str] = "circt"
    target: ClassVar[str] = "circt"
    design: str = ""

    def run(self, module: Any) -> None:
        """Renames the modules, and what refers to them."""
        check_name(self.design)

        def rename(op: Any) -> Any:
            if key := _NAMES.get(op.name):
                attribute = op.attributes[key]
                op.attributes[key] = type(attribute).get(prefixed(self.design, attribute.value))
            return ir.WalkResult.ADVANCE

        with module.context:
            module.operation.walk(rename)
