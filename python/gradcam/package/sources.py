"""The names that every project of a synthesis tool has in it."""

from __future__ import annotations

from typing import Any

#: Vendor, library and name of the core, as FuseSoC and IP-XACT name it.
VENDOR, LIBRARY = "gradcam", "mlir"

#: MHz that a synthesis aims at where nothing else is asked.
CLOCK = 200


def version(program: dict[str, Any]) -> str:
    """The version of registers and packets: MAJOR.MINOR."""
    fields = program["core"]["registers"]["VERSION"]["fields"]
    return f"{fields['major']['reset']}.{fields['minor']['reset']}"


def rtl_files(program: dict[str, Any]) -> list[str]:
    """The SystemVerilog, by paths relative to the folder."""
    return sorted(program["rtl"])


def memory_files(program: dict[str, Any]) -> list[str]:
    """What `$readmemh` reads, by paths relative to the folder."""
    return sorted(m["file"] for m in program["memories"].values() if m["file"].endswith(".hex"))
