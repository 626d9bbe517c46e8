"""The names that every project of a synthesis tool has in it."""

from __future__ import annotations

from gradcam.schema.program import Program

#: Vendor, library and name of the core, as FuseSoC and IP-XACT name it.
VENDOR, LIBRARY = "gradcam", "mlir"

#: Period in ns that a synthesis aims at where a design was made for no clock in particular.
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
    """What `$readmemh` reads, by paths relative to the folder."""
    return sorted(name for name in program.memories if name.endswith(".hex"))
