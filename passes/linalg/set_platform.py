"""gradcam-set-platform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch_mlir import ir

from gradcam.dram import Dram
from gradcam.errors import GradcamError, fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.platform import Platform
from gradcam.passes.program.clock import Clock
from gradcam.pe import PE


@dataclass(frozen=True)
class SetPlatform(Pass):
    """Sets the platform of the module: the array, the DRAM that holds the weights, and the FPGA family.

    A `dram-width` of 0 keeps weights on chip. With `resident` they are loaded from the DRAM before the first run, and
    the hardware depends on none of them. Without this pass the array is 16x16, weights are on chip, and the
    hardware is made for any family.

    This pass turns:

        module { ... }

    into:

        module attributes {gradcam.platform = {pe = "8x8",
          dram = {width = 32 : i64, outstanding = 8 : i64, latency = 64 : i64}, family = "xcup"}} { ... }
    """

    name: ClassVar[str] = "gradcam-set-platform"
    pe: str = "16x16"
    dram_width: int = 0
    dram_outstanding: int = 8
    dram_latency: int = 64
    resident: bool = False
    family: str = ""

    def run(self, module: ir.Module) -> None:
        """Sets `gradcam.platform` of the module; a clock that it has stays, and without another one its family."""
        with module.context, ir.Location.unknown():
            try:
                dram = Dram(self.dram_width, self.dram_outstanding, self.dram_latency) if self.dram_width else None
                family, mhz = _clock(module)
                if self.resident and dram is None:
                    raise GradcamError("resident weights are loaded from a DRAM; give its dram-width")
                platform = Platform(PE.parse(self.pe), dram, self.family or family, mhz, self.resident)
                Clock.on(platform)
            except GradcamError as error:
                raise fail(module.operation, error.message) from error
            platform.replace_in(module, self.name)


def _clock(module: ir.Module) -> tuple[str | None, float | None]:
    """Family and MHz that gradcam-target-clock has set; a platform that cannot be read is replaced whole."""
    try:
        platform = Platform.of(module.operation)
        return platform.family, platform.mhz
    except GradcamError:
        return None, None
