"""gradcam-target-clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch_mlir import ir

from gradcam.errors import GradcamError, fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.platform import Platform
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.nest import read_nests


@dataclass(frozen=True)
class TargetClock(Pass):
    """Sets the clock and the FPGA family that pipeline stages are made for.

    More stages cost cycles where pipelines fill and drain. Without this pass a product, a shift and a lane sum take a
    stage each, as `passes/schedule/stages.py` says, and everything else none.

    This pass turns:

        module { ... }

    into:

        module attributes {gradcam.platform = {family = "ecp5", mhz = 1.200000e+02 : f64, ...}} { ... }
    """

    name: ClassVar[str] = "gradcam-target-clock"
    preserves = (read_nests,)
    mhz: float = 100.0
    family: str = "ecp5"

    def run(self, module: ir.Module) -> None:
        """Sets the clock in the module's `gradcam.platform`."""
        with module.context, ir.Location.unknown():
            platform = replace(Platform.of(module.operation), mhz=self.mhz, family=self.family)
            try:
                Clock.on(platform)
            except GradcamError as error:
                raise fail(module.operation, error.message) from error
            platform.replace_in(module, self.name)
