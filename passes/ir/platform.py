"""The platform that a module is compiled for: one attribute of the module, which every level reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import msgspec

from gradcam.dram import Dram
from gradcam.errors import GradcamError, fail
from gradcam.passes.ir.attributes import CYCLES_BY_PHASE, PLATFORM
from gradcam.pe import PE


class _Form(msgspec.Struct, forbid_unknown_fields=True):
    """The members of the attribute."""

    pe: str = "16x16"
    dram: dict[Literal["width", "outstanding", "latency"], int] | None = None
    resident: bool = False
    family: str | None = None
    mhz: float | None = None


@dataclass(frozen=True)
class Platform:
    """Facts of the hardware to compile for.

    Attributes:
        pe: the array of processing elements.
        dram: the DRAM that holds the weights; None keeps them on chip.
        resident: whether all that follows from weights is loaded from the DRAM once, before the first run, and not read
            while the program runs.
        family: the FPGA family that the hardware is made for; None makes it for any.
        mhz: the clock that pipelines are made for, with a family; None without a clock.
    """

    pe: PE = field(default_factory=lambda: PE(16, 16))
    dram: Dram | None = None
    family: str | None = None
    mhz: float | None = None
    resident: bool = False

    @property
    def streamed(self) -> Dram | None:
        """The DRAM from which the weights are read while the program runs; None where they are on chip then."""
        return None if self.resident else self.dram

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
        try:
            form = msgspec.convert(PLATFORM.get(module), _Form)
            if form.mhz is not None and form.family is None:
                raise GradcamError("a clock needs a family")
            if form.resident and form.dram is None:
                raise GradcamError("resident weights need a dram that they are loaded from")
            dram = None if form.dram is None else Dram(**form.dram)
            return cls(PE.parse(form.pe), dram, form.family, form.mhz, form.resident)
        except (GradcamError, TypeError, msgspec.ValidationError) as error:
            reason = f"'{PLATFORM.key}' is no platform: {error}; leave it out and run gradcam-set-platform"
            raise fail(module, reason) from error

    def replace_in(self, module: Any, writer: str) -> None:
        """Sets the platform of a module that is not scheduled yet.

        Raises:
            GradcamError: the module has cycles, which hold for its old platform; `writer` is the pass to run earlier.
        """
        if CYCLES_BY_PHASE.is_on(module.operation):
            raise fail(module.operation, f"the cycles are those of another platform; run {writer} before the schedule")
        self.write(module)

    def write(self, module: Any) -> None:
        """Sets the platform of a module, whose context must be the current one."""
        entries: dict[str, Any] = {"pe": str(self.pe)}
        if self.dram is not None:
            entries["dram"] = asdict(self.dram)
        if self.resident:
            entries["resident"] = True
        entries |= {name: value for name in ("family", "mhz") if (value := getattr(self, name)) is not None}
        PLATFORM.set(module.operation, entries)
