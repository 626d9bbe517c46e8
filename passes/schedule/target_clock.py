"""gradcam-target-clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch_mlir import ir

from gradcam.errors import GradcamError, fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.program.clock import Clock


@dataclass(frozen=True)
class TargetClock(Pass):
    """Says for which clock and family of FPGAs the stages of all pipelines are made.

    More stages cost cycles where pipelines fill and drain. Without this pass a product, a shift and a lane sum take a
    stage each, as `passes/schedule/stages.py` says, and everything else none.

    This pass turns:

        module { ... }

    into:

        module attributes {gradcam.clock = {family = "ecp5", mhz = 1.200000e+02 : f64}} { ... }
    """

    name: ClassVar[str] = "gradcam-target-clock"
    mhz: float = 100.0
    family: str = "ecp5"

    def run(self, module: ir.Module) -> None:
        """Sets the module's `gradcam.clock`."""
        try:
            Clock.named(self.family, self.mhz)
        except GradcamError as error:
            raise fail(module.operation, error.message) from error
        with module.context, ir.Location.unknown():
            entries = {"family": ir.StringAttr.get(self.family), "mhz": ir.FloatAttr.get(ir.F64Type.get(), self.mhz)}
            module.operation.attributes["gradcam.clock"] = ir.DictAttr.get(entries)
