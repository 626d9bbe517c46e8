"""The platform that a module is compiled for: one attribute of the module, which every level reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gradcam.dram import Dram
from gradcam.errors import GradcamError, fail
from gradcam.passes.ir.attributes import PLATFORM
from gradcam.pe import PE


@dataclass(frozen=True)
class Platform:
    """Facts of the hardware to compile for.

    Attributes:
        pe: the array of processing elements.
        dram: the DRAM that holds the weights; None keeps them on chip.
        clock: the clock that pipelines are made for, as `mhz` and `family`; None without a clock.
    """

    pe: PE = field(default_factory=lambda: PE(16, 16))
    dram: Dram | None = None
    clock: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, op: Any) -> Platform:
        """The platform of the module around an op; the default platform where no pass has set it.

        Raises:
            GradcamError: the attribute has another form than gradcam-set-platform and gradcam-target-clock write.
        """
        module = op.operation
        while module.parent is not None:
            module = module.parent
        if not PLATFORM.is_on(module):
            return cls()
        entries = PLATFORM.get(module)
        try:
            dram = Dram(**entries["dram"]) if "dram" in entries else None
            return cls(PE.parse(entries.get("pe", "16x16")), dram, entries.get("clock"))
        except (GradcamError, TypeError) as error:
            raise fail(module, f"'{PLATFORM.key}' is no platform: {error}; run gradcam-set-platform") from error

    def write(self, module: Any) -> None:
        """Sets the platform of a module, whose context must be the current one."""
        entries: dict[str, Any] = {"pe": str(self.pe)}
        if self.dram is not None:
            entries["dram"] = asdict(self.dram)
        if self.clock is not None:
            entries["clock"] = dict(self.clock)
        PLATFORM.set(module.operation, entries)
