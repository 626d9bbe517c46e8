"""gradcam-limit-memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.program.nest import read_nests
from gradcam.passes.program.packets import Packets
from gradcam.passes.program.scheduled_program import ScheduledProgram


def memory_sizes(program: ScheduledProgram) -> dict[str, int]:
    """Bytes of every memory on chip: the banks, and the buffers of packets in the core."""
    return {b.name: b.bytes for b in program.banks.values()} | Packets.of(program).buffers


@dataclass(frozen=True)
class LimitMemory(Pass):
    """Refuses a program whose memories on chip together exceed `bytes`; the error lists the size of each memory.

    This pass turns:

        module attributes {gradcam.banks = {bank0 = {bits = 8, lanes = 16, words = 8192, ...}, ...}} { ... }

    into:

        the same module
    """

    name: ClassVar[str] = "gradcam-limit-memory"
    preserves = (read_nests, ScheduledProgram)
    bytes: int

    def run(self, module: ir.Module) -> None:
        """Changes nothing."""
        with module.context:
            program = ScheduledProgram.of(module)
            sizes = memory_sizes(program)
            total = sum(sizes.values())
            if total > self.bytes:
                largest = sorted(sizes.items(), key=lambda item: -item[1])
                parts = ", ".join(f"{name} {size:,}" for name, size in largest)
                over = f"{total - self.bytes:,} more than the {self.bytes:,} allowed"
                raise fail(program.function, f"the memories on chip take {total:,} bytes, {over}: {parts}")
