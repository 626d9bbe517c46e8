"""gradcam-set-platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch_mlir import ir

from gradcam.dram import Dram
from gradcam.errors import GradcamError, fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.platform import Platform
from gradcam.pe import PE


@dataclass(frozen=True)
class SetPlatform(Pass):
    """Sets the platform of the module: the array, and the DRAM that holds the weights.

    A `dram-width` of 0 keeps weights on chip. Without this pass the array is 16x16 and weights are on chip.

    This pass turns:

        module { ... }

    into:

        module attributes {gradcam.platform = {pe = "8x8",
          dram = {width = 32 : i64, outstanding = 8 : i64, latency = 64 : i64}}} { ... }
    """

    name: ClassVar[str] = "gradcam-set-platform"
    pe: str = "16x16"
    dram_width: int = 0
    dram_outstanding: int = 8
    dram_latency: int = 64

    def run(self, module: ir.Module) -> None:
        """Sets `gradcam.platform` of the module; a clock that it has stays."""
        with module.context, ir.Location.unknown():
            try:
                dram = Dram(self.dram_width, self.dram_outstanding, self.dram_latency) if self.dram_width else None
                platform = Platform(PE.parse(self.pe), dram, _clock(module))
            except GradcamError as error:
                raise fail(module.operation, error.message) from error
            platform.replace_in(module, self.name)


def _clock(module: ir.Module) -> Mapping[str, Any] | None:
    """The clock that gradcam-target-clock has set; a platform that cannot be read is replaced whole."""
    try:
        return Platform.of(module.operation).clock
    except GradcamError:
        return None
