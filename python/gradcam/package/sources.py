"""Names and files that the projects of all synthesis tools share."""

from __future__ import annotations

from gradcam.schema.program import Program

#: Vendor, library and name of the core, as FuseSoC and IP-XACT name it.
VENDOR, LIBRARY = "gradcam", "mlir"

#: Period in ns that a synthesis aims at for a design without a clock.
PERIOD = 5.0


def version(program: Program) -> str:
    """The version of registers and packets: MAJOR.MINOR."""
    fields = program.core.registers["VERSION"].fields
    return f"{fields['major'].reset}.{fields['minor'].reset}"


def period(program: Program) -> float:
    """The period of the clock that a synthesis aims at, in ns."""
    return program.clock_ns or PERIOD


def rtl_files(program: Program) -> list[str]:
    """The SystemVerilog, by paths relative to the folder."""
    return sorted(program.rtl)


def memory_files(program: Program) -> list[str]:
    """The files that `$readmemh` reads, by paths relative to the folder."""
    return sorted(name for name in program.memories if name.endswith(".hex"))
